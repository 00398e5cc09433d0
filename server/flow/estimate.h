/* estimate.h: a queue's pace, and what it means for those who wait, as a range.
 *
 * The pace is the rate at which jobs are done with, in two averages that forget within one minute and within ten, and
 * the time an attempt that succeeded took, with its spread. What was begun is not counted: a limit that has just been
 * opened begins many at once. The range spans both averages, and what so few jobs as they rest on may deviate by chance
 * (two standard deviations of a Poisson process; of the fast one one and a half). Where more are under way than those
 * averages know of, since a crowd came after a calm, it also spans what those would do: its low end at once, its high
 * end as soon as it is known how long attempts take.
 *
 * tests/unit/test_flow_estimate.c measures how often the real end lies within: some nine times in ten. Pure; any
 * thread.
 */
#ifndef RAINCHECK_FLOW_ESTIMATE_H
#define RAINCHECK_FLOW_ESTIMATE_H

#include <stdbool.h>
#include <stdint.h>

#include "server/store/records.h"

/* Milliseconds from now until a job is done. */
struct estimate {
	int64_t low_ms;
	int64_t high_ms;
};

/* An attempt begins; running: how many were under way before. */
void pace_began(struct pace *p, int64_t now_ms, int64_t running);
/* A job is done with: it does not come back into line. */
void pace_done(struct pace *p, int64_t now_ms);
/* An attempt succeeded. */
void pace_succeeded(struct pace *p, int64_t run_ms);

/* What attempts that succeeded have taken, over some queues: each counts by how much was done there lately. Zeroed it
 * is over none. */
struct run_mix {
	double weight;
	double run_ms;	  /* times the weight; likewise: */
	double spread_ms; /* by how much they differ from that */
};

void run_mix_add(struct run_mix *mix, const struct pace *p, int64_t now_ms);
/* Whole milliseconds. False where there is nothing to tell: no attempt has succeeded, or long ago. */
bool run_mix_tell(const struct run_mix *mix, int64_t *ret_mean_ms, int64_t *ret_spread_ms);

/* Where a job stands. */
struct in_line {
	int64_t least;	 /* jobs in line up to and including it, at least */
	int64_t most;	 /* and at most */
	int64_t held_ms; /* nobody may begin for so long; 0 or less: somebody may */
};

/* Of a job in line, with so many running. False while there is nothing to estimate from: no attempt has succeeded yet,
 * or nothing was done for a long time and no two are under way. */
bool estimate_waiting(const struct pace *p, int64_t now_ms, int64_t running, const struct in_line *line,
		      struct estimate *ret);
/* All that the estimate of one in line hangs on, for whoever makes it later and elsewhere. */
struct outlook {
	struct pace pace;
	int64_t now_ms;
	int64_t running;
	struct in_line line;
	bool paused; /* none begins, and nobody knows until when */
};

bool estimate_outlook(const struct outlook *o, struct estimate *ret);
/* Of one that runs since then. */
bool estimate_running(const struct pace *p, int64_t now_ms, int64_t started_at_ms, struct estimate *ret);

/* Milliseconds from one job done with to the next, at the present rate; 0 while there is none. */
int64_t pace_gap_ms(const struct pace *p, int64_t now_ms);

#endif
