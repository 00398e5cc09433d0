/* limit_record.h: a limit as it stands in TABLE_LIMITS: a named budget toward one external API, which any number of
 * queues may share; what an operator set, and what it has learned. How many of its calls are under way is not in it:
 * that is the number of running jobs of its queues. The arithmetic on it is server/flow's. Any thread; no state. */
#ifndef RAINCHECK_STORE_LIMIT_RECORD_H
#define RAINCHECK_STORE_LIMIT_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/buf.h"
#include "proto/base/slice.h"
#include "proto/base/uuid.h"
#include "proto/messages.h"

#define LIMIT_SCHEDULE_MAX 64
#define BREAKER_SLOTS	   10 /* that a breaker's window is cut into */

/* The bounds of what may be set; record_read_limit() takes nothing outside them. */
#define LIMIT_CONCURRENCY_MAX	    1000000 /* of adaptive.min and .max too */
#define LIMIT_RATE_MIN		    0.000001
#define LIMIT_RATE_MAX		    1000000.0
#define LIMIT_BURST_MAX		    1000000.0
#define LIMIT_LATENCY_TARGET_MAX_MS (24 * 3600 * 1000)
#define BREAKER_WINDOW_MIN_MS	    1000
#define BREAKER_WINDOW_MAX_MS	    (3600 * 1000)
#define BREAKER_CALLS_MAX	    100000
#define BREAKER_OPEN_MIN_MS	    100
#define BREAKER_OPEN_MAX_MS	    (3600 * 1000)

/* What may be under way or begin. In a schedule's entry −1 means: as the limit has it otherwise. */
struct limit_caps {
	int32_t concurrency; /* calls at once, at least 1; −1: no bound */
	double rate;	     /* calls a second, above 0; −1: no bound */
	/* Calls that may begin at once after a pause, at least 1; −1: as many as the rate in effect lets begin in a
	 * second, at least 1. Means nothing without a rate. */
	double burst;
};

/* Other caps for a while: from the first moment, up to but not including the second. */
struct limit_spell {
	int64_t from_at_ms;
	int64_t until_at_ms;
	struct limit_caps caps;
};

struct adaptive_settings {
	int32_t min; /* 1 ≤ min ≤ max */
	int32_t max;
	int64_t latency_target_ms; /* 0: none is known, the API's own at low load is taken */
};

struct breaker_settings {
	int64_t window_ms;    /* the past that is looked at */
	int32_t min_calls;    /* that must have ended in it before anything is concluded */
	double failure_ratio; /* of them, above 0 and at most 1, opens it */
	int64_t open_ms;      /* how long nothing is let through before a probe */
};

struct limit_settings {
	struct limit_caps caps;
	bool has_adaptive;
	struct adaptive_settings adaptive;
	bool has_breaker;
	struct breaker_settings breaker;
	struct limit_spell schedule[LIMIT_SCHEDULE_MAX]; /* in order, none overlaps another */
	size_t schedule_count;
};

/* A token bucket. */
struct bucket_state {
	double tokens;
	int64_t at_ms; /* when that was so; 0: it was never used and is full */
};

/* The calls that ended in a part of the window. */
struct breaker_slot {
	uint32_t calls;
	uint32_t failures;
};

struct breaker_state {
	uint8_t phase;	       /* enum breaker_phase */
	int64_t open_until_ms; /* of BREAKER_OPEN */
	bool has_probe;	       /* of BREAKER_HALF_OPEN: one call was let through and is under way */
	struct uuid probe;     /* its job */
	int64_t slot_number;   /* of the newest slot: moment / slot length */
	/* By number modulo BREAKER_SLOTS. */
	struct breaker_slot slots[BREAKER_SLOTS];
	int64_t since_ms;     /* calls that began before are not looked at: the breaker has closed since */
	int64_t opened_total; /* how often it has opened from BREAKER_CLOSED: a probe that fails is none more */
};

/* What adaptive concurrency has learned; see server/flow/adapt.h for what each means. */
#define ADAPT_NUMBERS 16
struct adapt_state {
	double value; /* calls at once that it holds for right; 0: it has not begun */
	double numbers[ADAPT_NUMBERS];
};

struct limit_record {
	struct slice name;
	struct limit_settings settings;
	struct bucket_state bucket;
	struct breaker_state breaker;
	struct adapt_state adapt;
	int32_t adapt_opened; /* what adapt held for right when the breaker opened; 0: there is nothing to go back to */
	int64_t spell_at_ms;  /* from_at_ms of the spell that adapt was told of last; 0: of none */
	int64_t held_until_ms; /* the API asked to be left alone until then; 0: it did not */
	int64_t started_total; /* calls, since the limit was made; how some ended nobody knows */
	int64_t succeeded_total;
	int64_t failed_total; /* those throttled not among them */
	int64_t throttled_total;
};

/* Appends the record to out (reset by the caller); the error of out. */
int record_write_limit(struct buf *out, const struct limit_record *l);
/* ERR_CORRUPT where the checksum or the shape is wrong. name points into bytes. */
int record_read_limit(struct slice bytes, struct limit_record *ret);

#endif
