/* estimate.h: a queue's pace, and what it means for those who wait.
 *
 * The pace is the rate of leases, in an average that forgets with a time constant of one minute, and the time an
 * attempt that succeeded took, smoothed. Pure; any thread.
 */
#ifndef RAINCHECK_ENGINE_ESTIMATE_H
#define RAINCHECK_ENGINE_ESTIMATE_H

#include <stdbool.h>
#include <stdint.h>

#include "server/store/records.h"

/* One job was leased. */
void estimate_leased(struct queue_record *q, int64_t now_ms);
/* One attempt succeeded. */
void estimate_succeeded(struct queue_record *q, int64_t run_ms);

/* Milliseconds until a job is done that has position jobs before and including it in line (0: it runs since
 * started_at_ms). False while there is nothing to estimate from. */
bool estimate_done(const struct queue_record *q, int64_t now_ms, int64_t position, int64_t started_at_ms,
		   int64_t *ret_ms);

/* Milliseconds from one lease to the next, at the present rate; 0 while there is none. */
int64_t estimate_gap_ms(const struct queue_record *q, int64_t now_ms);

#endif
