/* owed.h: answers that are owed: of requests that were suspended and are not answered yet. When the front ends, these
 * are to be out first, for they tell of what was written, or were promised for the end of a wait.
 *
 * Any thread, but for making and freeing.
 */
#ifndef RAINCHECK_HTTP_OWED_H
#define RAINCHECK_HTTP_OWED_H

#include <pthread.h>
#include <stdint.h>

struct owed {
	pthread_mutex_t lock; /* guards the rest */
	pthread_cond_t none;
	int64_t count;
};

void owed_init(struct owed *o);
void owed_done(struct owed *o);
void owed_add(struct owed *o);
/* It is out, or its peer has gone. */
void owed_settle(struct owed *o);
/* Until there is none, but for so long at most. */
void owed_wait(struct owed *o, int64_t ms);

#endif
