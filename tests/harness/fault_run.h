/* fault_run.h: each call of a life (fault_life.h), or of a start, meets a fault in turn: what all such campaigns do.
 *
 * One thread. Whatever goes wrong fails the test, with all that may help.
 */
#ifndef RAINCHECK_TEST_FAULT_RUN_H
#define RAINCHECK_TEST_FAULT_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/harness/fault_life.h"

struct fault_run {
	struct fault fault;
	uint32_t kinds;	     /* of the calls that are counted */
	const char *setting; /* in the environment: how many points are tried, or "all" */
	int64_t points;	     /* where it is not there */
	unsigned lives;	     /* so far */
	char now[120];	     /* what is being tried */
};

/* Calls of an undisturbed life, or of a start. */
int64_t fault_run_count(struct fault_run *r, bool of_start);
/* From one point that is tried to the next, of this many. */
int64_t fault_run_stride(const struct fault_run *r, int64_t calls);

/* The next call to fail, and what to call it: "EIO once". */
void fault_run_arm(struct fault_run *r, const struct fault_plan *plan, const char *name);

/* A new disk, a start, a life that the plan may meet. False where it had not that many calls; then the broker is
 * stopped. */
bool fault_run_live(struct fault_run *r, const struct fault_plan *plan, const char *name, struct life *ret);

/* No more calls fail: the same broker works, has what it acknowledged to the life, ends well, and its data are whole.
 */
void fault_run_recover(struct fault_run *r, struct life *life);

/* Ends the test where the life's log and the broker differ. */
void fault_run_verify(struct fault_run *r, struct life *life, const char *when);

void fault_run_failed(struct fault_run *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
