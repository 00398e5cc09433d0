/* top_sample.h: what `raincheck top` shows of a broker, asked for without waiting. One thread. */
#ifndef RAINCHECK_CLI_TOP_SAMPLE_H
#define RAINCHECK_CLI_TOP_SAMPLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/raincheck.h"

#define TOP_NAME 132 /* bytes, with the NUL */

struct top_queue {
	char name[TOP_NAME];
	char limit[TOP_NAME]; /* "": none */
	bool paused;
	int64_t scheduled, ready, running;
	int64_t put;  /* ever */
	int64_t done; /* ever: in a final state now, or gone */
	int64_t oldest_ready_at_ms;
	int64_t run_ms; /* what an attempt takes; 0: not known */
};

struct top_limit {
	char name[TOP_NAME];
	struct raincheck_limit_now now;
	bool is_adaptive;
};

struct top_worker {
	char name[TOP_NAME];
	char address[64];
	char queues[256];
	enum raincheck_worker_state state;
	bool has_slots;
	int64_t slots, in_hand, waiting;
};

struct top_sample {
	int64_t at_ms; /* clock_mono_ms(), when the broker's own numbers came */
	struct raincheck_stats stats;
	char version[64];
	struct top_queue *queues;
	size_t queue_count;
	struct top_limit *limits;
	size_t limit_count;
	struct top_worker *workers;
	size_t worker_count;

	int pending;		      /* answers that have not come yet */
	struct raincheck_error error; /* of the first that was none; code 0: there is none */
};

/* Asks for everything. The sample must stay where it is until nothing is pending, or the handle is closed; answers come
 * in raincheck_run(). What cannot be asked is in error. */
void top_sample_begin(struct top_sample *s, struct raincheck *rc);
void top_sample_done(struct top_sample *s);

/* The same thing in another sample; NULL where it was not there. */
const struct top_queue *top_sample_queue(const struct top_sample *s, const char *name);
const struct top_limit *top_sample_limit(const struct top_sample *s, const char *name);

#endif
