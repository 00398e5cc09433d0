/* filter.h: which jobs a list, or a change of many at once, is about.
 *
 * Within a transaction of any kind, on its thread. What asked points to must outlive the filter.
 */
#ifndef RAINCHECK_ENGINE_FILTER_H
#define RAINCHECK_ENGINE_FILTER_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/messages.h"
#include "server/store/records.h"
#include "server/store/store.h"

struct filter {
	struct msg_job_filter asked;
	uint32_t queue; /* the number of asked.queue */
	/* Jobs of the server's own queue are meant only where it is named. */
	bool has_internal;
	uint32_t internal;
	int64_t bytes; /* of inputs, read so far */
};

/* ERR_NOT_FOUND where there is no such queue, so that no job can match; the store's errors. */
int filter_begin(struct store_txn *t, const struct msg_job_filter *asked, struct filter *ret);

/* From as little of the job as tells: most of those looked at are not asked for. The store's errors. */
int filter_matches(struct store_txn *t, struct filter *f, const struct uuid *id, const struct job *job,
		   bool *ret_matches);

/* The number of the queue of that name. ERR_NOT_FOUND, ERR_CORRUPT, the store's errors. */
int filter_find_queue(struct store_txn *t, struct slice name, uint32_t *ret);

#endif
