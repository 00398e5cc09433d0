/* breaker.h: a circuit breaker (M. Nygard, Release It!, 2007): an API that fails most of its calls is left alone for a
 * while, then asked with one call at a time, until one succeeds.
 *
 *   CLOSED ──failure ratio in the window──▶ OPEN ──open_ms are over──▶ HALF_OPEN ──the probe succeeds──▶ CLOSED
 *                                            ▲                             │
 *                                            └────── the probe fails ──────┘
 *
 * Failures are timeout, unavailable and invalid: what the API did. What was throttled, rejected, or went wrong on our
 * side counts for neither; a probe that ends so, or whose end nobody knows, lets another one through.
 *
 * Calls that began before it opened say nothing about the API of now: when they end nothing changes, neither while it
 * is open or half open nor after it has closed.
 *
 * Pure; any thread.
 */
#ifndef RAINCHECK_FLOW_BREAKER_H
#define RAINCHECK_FLOW_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/base/uuid.h"
#include "server/flow/call_report.h"
#include "server/store/limit_record.h"

/* Calls that may begin now: INT64_MAX where it is closed, 1 for a probe, 0. *ret_again_ms: where 0, when time alone
 * will change that, INT64_MAX for never. */
int64_t breaker_room(const struct breaker_state *s, int64_t now_ms, int64_t *ret_again_ms);
/* What the phase is by now: an OPEN one whose time is over is HALF_OPEN, also before anybody called. */
enum breaker_phase breaker_phase(const struct breaker_state *s, int64_t now_ms);
/* The job's call begins; there was room for it. */
void breaker_started(struct breaker_state *s, const struct uuid *job, int64_t now_ms);
/* It has ended, r says how; NULL: nobody knows (its lease was lost, it was canceled or given back). */
void breaker_ended(struct breaker_state *s, const struct breaker_settings *set, const struct uuid *job,
		   const struct call_report *r, int64_t now_ms);
/* The end of the job's call will never be told here, NULL: of some call. If it may have been the probe, another one may
 * be let through; true: it may. */
bool breaker_forget(struct breaker_state *s, const struct uuid *job);
/* Closed, with nothing remembered but how often it has opened: an operator's word, or a breaker that is new. */
void breaker_reset(struct breaker_state *s, int64_t now_ms);
/* Other settings than before: the phase is kept, for not longer than the new open_ms; the window only where it has the
 * same length. */
void breaker_bound(struct breaker_state *s, const struct breaker_settings *was, const struct breaker_settings *set,
		   int64_t now_ms);
/* After the clock went back: it is open for not longer than open_ms from now, and calls that begin from now on count.
 * True: something was changed. */
bool breaker_clock(struct breaker_state *s, const struct breaker_settings *set, int64_t now_ms);

#endif
