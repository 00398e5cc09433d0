/* traffic.h: what the HTTP front has answered so far, for metrics. Counted with relaxed atomics on whichever thread
 * answers; a reader may see one request half counted.
 */
#ifndef RAINCHECK_HTTP_TRAFFIC_H
#define RAINCHECK_HTTP_TRAFFIC_H

#include <stdatomic.h>
#include <stdint.h>

#include "proto/base/histogram.h"
#include "server/http/path.h"

#define TRAFFIC_CLASSES 5 /* of a status: 1xx to 5xx */

/* What a suspended request waits for. */
enum traffic_wait { TRAFFIC_WRITE, TRAFFIC_JOB, TRAFFIC_WAITS };

/* Zeroed: nothing yet. */
struct traffic {
	atomic_int_fast64_t requests[ROUTES][TRAFFIC_CLASSES];
	/* From a request's head to the end of its answer, of traffic_scale; a request that asked to wait is in none. */
	atomic_int_fast64_t durations[ROUTES][HISTOGRAM_STEPS + 1];
	atomic_int_fast64_t duration_sum_us[ROUTES];
	atomic_int_fast64_t connections;	      /* open now */
	atomic_int_fast64_t suspended[TRAFFIC_WAITS]; /* requests that wait, without a thread */
	atomic_int_fast64_t body_bytes;		      /* of bodies that are on their way in, see exchange.h */
};

/* In microseconds. */
extern const struct histogram_scale traffic_scale;

/* status: 0 where nothing was answered. took_us: negative where it says nothing. */
void traffic_count(struct traffic *t, enum route route, unsigned status, int64_t took_us);

#endif
