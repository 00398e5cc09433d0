/* api_model.h: an external API in simulated time: how its calls fare when so many of them are under way at once.
 *
 * Deterministic: the same seed and the same calls give the same ends. It knows no real time: the caller says what time
 * it is, in milliseconds as a double, never backwards. One thread. For the tests, the simulation and the benchmarks.
 *
 * A call brings work (work_ms on average, log-normal, of which cv is the coefficient of variation). With n calls at
 * once and a capacity of C slots each call's work is done at the pace of
 *
 *     n ≤ C:  1 / (1 + growth × n / C)                     growth 0: nothing slows down below the capacity
 *     n > C:  1 / (1 + growth) × (C / n)^(1 + collapse)    collapse 0: processor sharing, the same work done in all;
 *                                                          above 0: the more there are the less is done in all
 *
 * and what is not done within timeout_ms fails as a timeout: its work is wasted. Or the slots are hard: whatever comes
 * beyond them is refused with refused_kind after answer_ms and takes no slot. So the best is C calls at once.
 */
#ifndef RAINCHECK_TEST_API_MODEL_H
#define RAINCHECK_TEST_API_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/messages.h"

#define API_CALLS_MAX  32768 /* under way at once; one more ends the process: the driver is wrong */
#define API_PHASES_MAX 64

/* The API changes: from this moment on, until the next phase. */
struct api_phase {
	double from_ms; /* the first phase's is 0 */
	double slots;	/* the capacity; 0: dead */
	double slow;	/* each call's work is so many times as much; 1 */
};

struct api_shape {
	double work_ms;
	double cv;
	double growth;
	double collapse;
	double timeout_ms; /* 0: no call times out, and a dead API refuses */
	bool hard;
	enum failure_kind refused_kind; /* of hard slots, and of a dead API without hangs */
	double answer_ms;		/* how long a refusal takes */
	bool hangs;			/* dead: no call ends before its timeout, instead of being refused */
	double bad_ratio; /* of the calls fail for reasons of their own, as unavailable, after their work */
	struct api_phase phases[API_PHASES_MAX];
	size_t phase_count;
};

struct api_ended {
	uint64_t call; /* as given to api_model_start() */
	bool succeeded;
	enum failure_kind kind; /* where it did not */
	double started_ms;
	double ended_ms;
};

struct api_counts {
	uint64_t started;
	uint64_t succeeded;
	uint64_t refused; /* failed at once: throttled, unavailable, dead */
	uint64_t wasted;  /* failed after work was done on them */
	size_t under_way;
	size_t most_under_way;
};

struct api_model;

/* Copies the shape. Ends the process where there is no memory. */
struct api_model *api_model_new(const struct api_shape *shape, uint64_t seed);
/* NULL is nothing. */
void api_model_free(struct api_model *m);

/* A call begins at the moment. */
void api_model_start(struct api_model *m, double now_ms, uint64_t call);
/* When something happens next if no call begins before: a call ends or the API changes. INFINITY: never. */
double api_model_next_ms(struct api_model *m);
/* Goes on to the moment, at most to api_model_next_ms(), and takes out a call that has ended by then. False: none has.
 */
bool api_model_take(struct api_model *m, double now_ms, struct api_ended *ret);

struct api_counts api_model_counts(const struct api_model *m);
/* Calls that would have succeeded from one moment to the other with exactly C at once all the time. */
double api_model_best(const struct api_model *m, double from_ms, double until_ms);
/* The slots at a moment; 0: dead. */
double api_model_slots(const struct api_model *m, double now_ms);

/* From 0 up to but not including 1, of the same kind as the model draws its own; *state is the seed. */
double api_model_draw(uint64_t *state);

#endif
