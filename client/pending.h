/* pending.h: the calls under way of one handle: found by message id when an answer comes, kept in order of their start
 * while they wait to be sent.
 *
 *   (new) ──▶ QUEUED ──sent──▶ SENT ──timeout──▶ ABANDONED
 *
 * A request leaves the table when it is answered or called off. An ABANDONED one has been called back; it stays,
 * because the broker still counts it among those in flight, until its answer comes or the connection ends. Loop thread
 * only.
 */
#ifndef RAINCHECK_CLIENT_PENDING_H
#define RAINCHECK_CLIENT_PENDING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/messages.h"
#include "raincheck.h"

/* Who is to be told: a callback, or the blocking call that waits. Neither: nobody. */
struct call {
	raincheck_cb cb;
	void *user;
	struct waiter *waiter;
};

enum pending_state { PENDING_QUEUED, PENDING_SENT, PENDING_ABANDONED };

struct pending {
	uint64_t id;
	enum method_id method;
	enum pending_state state;
	bool repeatable; /* may be sent again when the connection breaks under it; that clears it */
	struct call call;
	size_t items;	   /* that the answer must have; 0 where it has none of its own */
	uint64_t heard;	   /* bytes that had come when it was sent */
	uint64_t deadline; /* loop time, ms */
	uint8_t *bytes;	   /* encoded; kept while QUEUED, and after that while repeatable */
	size_t size;
	struct pending *next_in_bucket;
	struct pending *next, *prev; /* in the list it is in: queued, or one of the caller's */
};

/* A list of requests in order. Zeroed: empty. */
struct pending_list {
	struct pending *first, *last;
};

struct pending_table {
	struct pending **buckets;
	size_t bucket_count; /* a power of two */
	size_t count;
	struct pending_list queued;
	size_t queued_count;
	size_t queued_bytes;
	size_t in_flight; /* SENT and ABANDONED */
};

/* ERR_NO_MEMORY. */
int pending_table_init(struct pending_table *t);
/* The table must be empty. */
void pending_table_done(struct pending_table *t);

/* Takes r (from pending_new()) as QUEUED, last in order. ERR_NO_MEMORY. */
int pending_table_add(struct pending_table *t, struct pending *r);
/* A queued one as SENT, after heard bytes had come; the caller has taken its bytes before. */
void pending_table_sent(struct pending_table *t, struct pending *r, uint64_t heard);
/* Back to QUEUED, before all others; only a SENT one that has its bytes. */
void pending_table_requeue(struct pending_table *t, struct pending *r);
/* SENT → ABANDONED; the call is taken out of it. */
void pending_table_abandon(struct pending *r);
/* NULL where there is none. */
struct pending *pending_table_find(const struct pending_table *t, uint64_t id);
/* r is the caller's again. */
void pending_table_remove(struct pending_table *t, struct pending *r);

/* Takes every request out that match() says, in the order of their start, into ret, which must be empty. */
void pending_table_extract(struct pending_table *t, bool (*match)(const struct pending *r, const void *arg),
			   const void *arg, struct pending_list *ret);
/* The earliest deadline of those not abandoned; UINT64_MAX where there is none. */
uint64_t pending_table_deadline(const struct pending_table *t);

/* The first of a list, taken out; NULL where it is empty. */
struct pending *pending_list_pop(struct pending_list *list);

/* With a copy of the encoded bytes; NULL: out of memory. */
struct pending *pending_new(uint64_t id, enum method_id method, const void *bytes, size_t size);
void pending_free(struct pending *r);

#endif
