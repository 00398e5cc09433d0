/* Threads that run tasks, now or when they are due. Who waits for a delay costs no thread.
 *
 * Any thread may add. A task is embedded in its owner's struct and must live until it has run; it may add itself again
 * from its callback. The pool's lock is innermost and not held while a task runs. */
#ifndef RENDER_API_POOL_H
#define RENDER_API_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pool;

struct task {
	void (*run_cb)(struct task *t);
	/* the pool's */
	struct task *next;
	int64_t due_at_ms;
	uint64_t order;
};

/* At most tasks_cap tasks wait at a time; the owner keeps to that. -ENOMEM, or the thread's error. */
int pool_new(unsigned threads, size_t tasks_cap, struct pool **ret_pool);

/* Runs t after delay_ms; urgent ones that are due go before all others. Once the pool is stopping t never runs. */
void pool_add(struct pool *p, struct task *t, int64_t delay_ms, bool urgent);

/* Waits for the running tasks; those that wait are dropped and stay their owners'. Not from a task. */
void pool_stop(struct pool *p);

/* After pool_stop(): the next of the tasks that were dropped, for its owner to let go of; NULL when there is none left.
 */
struct task *pool_take_dropped(struct pool *p);

/* After pool_stop(). */
void pool_free(struct pool *p);

#endif
