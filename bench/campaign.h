/* campaign.h: a campaign in simulated time: a crowd of visitors, an external API that bears so many calls at once and
 * fails when it is pushed further, and a strategy that brings the one to the other.
 *
 * campaign.c makes the crowd and keeps the books, campaign_plain.c is what is usually done, campaign_raincheck.c is the
 * real engine with its limits. All is drawn from one seed: the same seed is the same crowd for every strategy. Moments
 * are milliseconds from the first moment, as doubles, and never go back. One thread; ends the process where something
 * fails, as all of the bench driver does.
 */
#ifndef RAINCHECK_BENCH_CAMPAIGN_H
#define RAINCHECK_BENCH_CAMPAIGN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct api_ended;
struct api_model;

#define CAMPAIGN_GROUPS 9
#define CAMPAIGN_TRIES	5 /* that a visitor's browser, a pool's job and Raincheck's each have */

struct visitor {
	double came_ms;
	double still_ms; /* told that all is safe, and shown a still; NAN: nobody told */
	double done_ms;	 /* has the result; NAN: has not */
	int group;
	int tries; /* calls begun */
	bool lost; /* gave up, or was given up */
};

struct campaign {
	struct visitor *visitors; /* in the order of their coming */
	size_t count;
	size_t came; /* of them, by now */
	size_t served, lost;
	size_t *order; /* those served, in this order */
	struct api_model *api;
	size_t in_flight;
	uint64_t draws;
	double ended_ms; /* the last was served or lost */
};

/* How the crowd fared, for the one line of JSON; see campaign_print(). */
struct campaign_promises {
	size_t at_put, at_put_kept;   /* promised when the put was acknowledged; came within the range */
	size_t at_look, at_look_kept; /* at a later look */
	/* Medians, as parts of what the wait then was: */
	double width_at_put, width; /* of the ranges, at put and at the later look */
	double off;		    /* how far the middle of the later ones was from it */
};

/* ---- for a strategy ---- */

/* The next visitor comes then; INFINITY: all have. */
double campaign_next_ms(const struct campaign *c);
/* The next visitor comes: its number. */
size_t campaign_came(struct campaign *c);
/* A call for the visitor begins. */
void campaign_call(struct campaign *c, size_t visitor, double now_ms);
/* A call that has ended by then, as api_model_take(); its call is the visitor's number. */
bool campaign_take(struct campaign *c, double now_ms, struct api_ended *ret);
void campaign_served(struct campaign *c, size_t visitor, double now_ms);
void campaign_lost(struct campaign *c, size_t visitor, double now_ms);
/* Before anything happens at the moment: what has been so until then is noted. concurrency: what a limit lets be at
 * once, −1 where there is none. */
void campaign_pass(struct campaign *c, double until_ms, int32_t concurrency);
/* Nobody waits any more. */
bool campaign_over(const struct campaign *c);

/* ---- memory: never NULL ---- */

void *campaign_zeros(size_t count, size_t size);
/* realloc() to so many. */
void *campaign_more(void *p, size_t count, size_t size);

/* ---- strategies ---- */

/* Every call by whoever wants it, with retries: by so many workers in the order of coming, or, with 0 of them, by each
 * visitor at once. */
void campaign_run_plain(struct campaign *c, size_t workers);
void campaign_run_raincheck(struct campaign *c, struct campaign_promises *ret);

#endif
