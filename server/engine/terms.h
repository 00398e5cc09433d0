/* terms.h: what holds for a job where it, its queue and the server may each have a say: the first of them that does.
 *
 * Looked up when it is needed, so that a change of the queue's settings reaches the jobs that wait in it. Pure.
 */
#ifndef RAINCHECK_ENGINE_TERMS_H
#define RAINCHECK_ENGINE_TERMS_H

#include <stdint.h>

#include "server/engine/settings.h"
#include "server/store/records.h"

#define DEFAULT_MAX_ATTEMPTS 5

uint32_t terms_max_attempts(const struct job *job, const struct queue_record *q);
/* own: the job's, NULL for the queue's alone. No member of the answer is −1. */
struct backoff terms_backoff(const struct backoff *own, const struct queue_record *q);
/* 0: none. */
int64_t terms_attempt_timeout_ms(const struct job_input *input, const struct queue_record *q);
int64_t terms_result_ttl_ms(const struct job *job, const struct queue_record *q, const struct settings *settings);

/* A queue about which nothing is said yet. */
struct queue_record terms_new_queue(struct slice name);

#endif
