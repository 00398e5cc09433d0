/* view.h: jobs, queues and counts as everybody outside sees them, read from any transaction.
 *
 * Any thread, within a transaction of its own. What a view holds points into the map: it is good until the transaction
 * ends (or, in a write transaction, writes). Copy or encode before that, and end it before bytes go to a peer.
 */
#ifndef RAINCHECK_ENGINE_VIEW_H
#define RAINCHECK_ENGINE_VIEW_H

#include <stdint.h>

#include "proto/error.h"
#include "proto/messages.h"
#include "server/engine/cursor.h"
#include "server/engine/link.h"
#include "server/engine/settings.h"
#include "server/store/records.h"
#include "server/store/store.h"

struct run_mix;

#define VIEW_ARTIFACTS 16 /* of one job, at most; the engine refuses more */
#define VIEW_METADATA  MAX_METADATA

struct job_view {
	struct msg_job job; /* points into the members below and into the map */
	struct job record;
	struct job_input input;
	struct msg_artifact artifacts[VIEW_ARTIFACTS];
	char sha256[VIEW_ARTIFACTS][65];
	struct pair metadata[VIEW_METADATA];
	char link[512];
};

/* ERR_NOT_FOUND: never was, or long forgotten. ERR_GONE: its record's time is over. ERR_CORRUPT: damaged; never served.
 * And the store's errors. */
int view_job(struct store_txn *t, const struct settings *settings, int64_t now_ms, const struct uuid *id,
	     struct job_view *ret);

/* The job whose live link has this token, as view_job(). ERR_NOT_FOUND for whatever is no live link, ERR_GONE when the
 * job's time is over or its artifacts were taken by retention. */
int view_link(struct store_txn *t, const struct settings *settings, int64_t now_ms, struct slice token,
	      struct uuid *ret_id, struct job_view *ret);

/* ERR_NOT_FOUND where the job or the artifact is not there. */
int view_artifact(struct store_txn *t, const struct uuid *job, struct slice name, struct artifact *ret);

/* The put's bytes: content type and data. ERR_NOT_FOUND, ERR_GONE, ERR_CORRUPT. */
int view_payload(struct store_txn *t, const struct uuid *id, struct msg_job_payload_result *ret);

/* What a job.list asks for, and how far it is. */
struct list_place {
	struct msg_job_filter filter;
	struct uuid after; /* only jobs before this one in age: the list runs from the newest to the oldest */
	bool has_after;
};

/* Reads filter and cursor. ERR_BAD_REQUEST for a cursor that job.list did not give for this filter. */
int view_list_begin(const struct settings *settings, const struct msg_job_list *params, struct list_place *ret,
		    struct error_info *info);
/* The cursor that leads on from there. */
struct cursor_text view_list_cursor(const struct settings *settings, const struct list_place *place);
/* Fills up to cap views, looking at no more than a bounded number of records. *ret_more: there may be more, from
 * place on, which is moved. */
int view_list(struct store_txn *t, const struct settings *settings, int64_t now_ms, struct list_place *place,
	      struct job_view *ret, size_t cap, size_t *ret_count, bool *ret_more);

/* The record of the queue that a job names. ERR_CORRUPT where there is none, the store's. */
int view_read_queue(struct store_txn *t, uint32_t number, struct queue_record *ret);
/* One queue, from its record in the store or a later state of it; *ret points into the texts of q and to weights, which
 * is room for MAX_WEIGHTS. */
int view_queue(struct store_txn *t, uint32_t number, const struct queue_record *q, struct group_weight *weights,
	       struct msg_queue *ret);
/* The same by name. ERR_NOT_FOUND, ERR_CORRUPT, the store's. */
int view_queue_by_name(struct store_txn *t, struct slice name, struct group_weight *weights, struct msg_queue *ret);

/* The queues in order of their names' making; the slices point into the map. */
struct queues_view {
	struct msg_queue *items;
	size_t count;
	struct group_weight *weights; /* that the items point to */
};
/* ERR_NO_MEMORY, the store's. */
int view_queues(struct store_txn *t, struct queues_view *ret);
void queues_view_done(struct queues_view *v);
/* When the first in line of any priority became ready, the earliest of them; by its id's moment, which is when it was
 * put. */
int view_oldest_ready(struct store_txn *t, uint32_t number, const struct queue_record *q, bool *ret_found,
		      int64_t *ret_at_ms);
/* What the mix says of how long attempts take; *ret_known: it says something. */
void view_run_time(const struct run_mix *mix, bool *ret_known, struct msg_run_time *ret);
/* Sums over all queues. */
int view_totals(struct store_txn *t, struct msg_counts *ret, int64_t *ret_queues, int64_t *ret_put_total);

#endif
