/* adapt.h: adaptive concurrency: finds how many calls at once an API can bear, from how its calls fare.
 *
 * Hill climbing on goodput by trials, with multiplicative decrease on failures; adapt.c says why, after whom, and how.
 * Proved in tests/unit/test_flow_adapt.c on models of APIs (tests/harness/api_model.h) with 5, 50 and 500 slots and
 * durations whose coefficient of variation is 0, 0.3 and 1: hard slots, processor sharing with timeouts, latency that
 * grows with the load below the capacity and collapse beyond it; capacity steps, a brown-out, an outage, flapping.
 * Where durations vary as much as their mean and latency grows with the load, goodput stays at 0.94 of the best with 50
 * slots and 0.85 with 5, on the mean of many seeds (of single runs with 5 slots one in twenty at less than 0.7): more
 * cannot be told from so noisy calls in that time. With such durations one run in a hundred begins slowly: where its
 * first few calls were lucky, and the others seem to wait for one another.
 *
 * Pure arithmetic: it reads no clock, draws nothing and keeps nothing but the state it is given. A damaged state (not
 * finite, out of range) begins anew. Moments may go back. Any thread.
 */
#ifndef RAINCHECK_FLOW_ADAPT_H
#define RAINCHECK_FLOW_ADAPT_H

#include <stdbool.h>
#include <stdint.h>

#include "server/flow/call_report.h"
#include "server/store/limit_record.h"

/* Begins to learn, with few calls at once; also after settings changed a lot. */
void adapt_begin(struct adapt_state *s, const struct adaptive_settings *set, int64_t now_ms);
/* The bounds have changed: what was learned is kept as far as they allow. */
void adapt_bound(struct adapt_state *s, const struct adaptive_settings *set);
/* Somebody knows that the API bears so many from now on (a schedule): goes on from there, within the bounds. */
void adapt_hint(struct adapt_state *s, const struct adaptive_settings *set, int32_t concurrency, int64_t now_ms);
/* A call has ended. What says nothing about the API (rejected, internal) changes nothing; the value is raised only by
 * calls that held_back others, with about as many in_flight as the value. */
void adapt_report(struct adapt_state *s, const struct adaptive_settings *set, const struct call_report *r);
/* Calls at once that are right now, min to max; min before it has begun. Never changes anything. */
int32_t adapt_value(const struct adapt_state *s, const struct adaptive_settings *set);

#endif
