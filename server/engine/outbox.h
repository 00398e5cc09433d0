/* outbox.h: the webhooks that tell a producer how its job ended: a transactional outbox.
 *
 * A delivery is a job of the queue "_webhooks", put in the transaction that ends the job it tells of, so that neither
 * can be without the other. Workers carry it out. Its id follows from the job's id and the moment it ended, so that
 * nothing has to be stored to find it, and a receiver that is told twice sees the same id twice.
 *
 *   payload   {"type": "job.succeeded", "timestamp": …, "data": {…}}, what the worker signs and sends
 *   metadata  url: where to
 *
 * A job has one delivery at most: a retry of a dead job takes back what was said of its death.
 */
#ifndef RAINCHECK_ENGINE_OUTBOX_H
#define RAINCHECK_ENGINE_OUTBOX_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/base/uuid.h"

struct engine;
struct job;

#define OUTBOX_QUEUE "_webhooks"
#define OUTBOX_URL   "url"

/* The delivery of what became of that job when it ended at that moment. Any thread. */
struct uuid outbox_id(const struct uuid *job, int64_t finished_at_ms);

/* The job has just ended, and its put named a callback: puts the delivery. What job's texts point to may be gone
 * afterwards. ERR_NO_MEMORY, the store's errors. The writer's thread, as all below. */
int outbox_put(struct engine *e, const struct uuid *id, const struct job *job);
/* Takes away the delivery of that end, in whatever state it is; whoever carries it out is told as by a cancel. The
 * store's errors. */
int outbox_drop(struct engine *e, const struct uuid *id, int64_t finished_at_ms);
/* Tells of it once more, at once: a delivery that waits is made ready, one that is over or gone begins anew.
 * *ret_changed: false where one is ready or under way. job is loaded anew. ERR_INVALID_STATE for a job that has not
 * ended, or whose put named no callback; the store's errors. */
int outbox_again(struct engine *e, const struct uuid *id, struct job *job, bool *ret_changed);

#endif
