/* limit.h: how many calls a limit lets begin now: the least of what its concurrency, its rate, its breaker, its
 * schedule and the API's own Retry-After allow; and what it learns from each call.
 *
 * Nothing here counts calls: in_flight is given, counted from the running jobs of the limit's queues. Pure; any thread.
 *
 * The clock may go back. What would then hold calls up until it is there again is brought right by limit_clock(); the
 * functions that change a limit do that themselves, but before limit_room() and limit_look() it is the caller's.
 */
#ifndef RAINCHECK_FLOW_LIMIT_H
#define RAINCHECK_FLOW_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/base/uuid.h"
#include "proto/error.h"
#include "server/flow/call_report.h"
#include "server/store/limit_record.h"

/* However long an API asks to be left alone, it is asked again after this. */
#define LIMIT_HOLD_MAX_MS (10 * 60 * 1000)

/* A picture for people and programs. A limit whose breaker is half open and could let its probe through, if it were not
 * for its concurrency or its rate, is in that state: LIMIT_PROBING has a probe under way, or room for it. */
struct limit_view {
	enum limit_state state;
	/* In effect now, the least of the cap, the schedule's or its own, and of what was learned; −1: no bound */
	int32_t concurrency;
	double rate;		    /* in effect now; −1: no bound */
	enum breaker_phase breaker; /* BREAKER_CLOSED also where there is none */
	int64_t held_until_ms;	    /* of LIMIT_HELD and LIMIT_BROKEN; else 0 */
	int64_t again_ms;	    /* as of limit_room(); now where a call may begin */
};

/* Calls that may begin now; INT64_MAX where there is no bound. *ret_again_ms: where 0, when to look again if no call
 * ends: before it none may begin, at it one may or there is a later moment to be told. INT64_MAX: only the end of a
 * call changes it. */
int64_t limit_room(const struct limit_record *l, int64_t in_flight, int64_t now_ms, int64_t *ret_again_ms);
struct limit_view limit_look(const struct limit_record *l, int64_t in_flight, int64_t now_ms);
/* The view's held_until_ms and its concurrency alone, for whoever asks for each job: neither looks at all the rest. */
int64_t limit_held_until(const struct limit_record *l, int64_t now_ms);
int32_t limit_concurrency(const struct limit_record *l, int64_t now_ms);

/* The job's call begins; there was room for it. */
void limit_started(struct limit_record *l, const struct uuid *job, int64_t now_ms);
/* It has ended, r says how; NULL: nobody knows (its lease was lost, it was canceled or given back). */
void limit_ended(struct limit_record *l, const struct uuid *job, const struct call_report *r, int64_t now_ms);
/* The API asked for no calls for so long. Never shortens a hold; negative is nothing. */
void limit_hold(struct limit_record *l, int64_t retry_after_ms, int64_t now_ms);
/* Where the clock may have gone back: nobody waits for longer than the rate, open_ms and LIMIT_HOLD_MAX_MS say, from
 * now. True: the record was changed. */
bool limit_clock(struct limit_record *l, int64_t now_ms);

/* New settings, which limit_settings_check() took: what was learned is kept as far as they allow; a breaker or an
 * adaptive part that is new begins anew. The spells are put in order, those that are over left out. A record that is
 * all zero but for its name is fine. */
void limit_configure(struct limit_record *l, const struct limit_settings *set, int64_t now_ms);
/* Whether the settings make sense. ERR_BAD_REQUEST; info names the field (schedule[2].until_at_ms) and says why.
 * now_ms: a spell that ends before it is refused; schedule_forget() takes out those that were taken long ago.
 *
 * adaptive.max may be more than concurrency, since a spell may raise that: the least of both holds. adaptive.min may
 * not. A spell never raises what was learned above adaptive.max. */
int limit_settings_check(const struct limit_settings *set, int64_t now_ms, struct error_info *info);

#endif
