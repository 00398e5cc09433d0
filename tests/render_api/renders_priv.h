/* The insides of renders.h, shared by the two files that implement it: renders.c (table, references, callers) and
 * renders_life.c (states and work). No one else includes this. */
#ifndef RENDER_API_RENDERS_PRIV_H
#define RENDER_API_RENDERS_PRIV_H

#include <pthread.h>
#include <stdint.h>

#include "child.h"
#include "pool.h"
#include "renders.h"

struct render {
	struct task task; /* first: renders__run_cb() gets from it to the render */
	TAILQ_ENTRY(render) link;
	struct renders *owner;
	unsigned refs;
	char id[RENDER_ID_BYTES + 1];
	char *key;
	struct input *in;
	enum render_state state;
	bool has_still;
	bool overloaded;
	bool held; /* RUNNING until it is released */
	int64_t work_ms;
	int64_t running_at_ms;
	int64_t final_at_ms;
	int polls;
	struct behave_fail failure;
	struct child child;
	LIST_HEAD(waiter_list, render_waiter) waiters;
};

TAILQ_HEAD(render_list, render);

struct renders {
	struct renders_config config;
	pthread_mutex_t lock;
	struct pool *pool;
	void *by_id; /* tsearch roots of struct render */
	void *by_key;
	struct render_list live;
	struct render_list final; /* oldest first */
	struct render_list dead;  /* no reference left; freed by renders_unlock() */
	size_t in_flight;
	size_t task_count; /* renders in the pool or running: the cancelled stay there until they are due */
	size_t max_in_flight;
	size_t final_count;
	bool stopping;
};

/* The lock guards all of both structs but what a render's reference makes safe to read: owner, id, key, in, child.
 * Unlocking frees the renders whose last reference went meanwhile. */
void renders__lock(struct renders *rs);
void renders__unlock(struct renders *rs);

/* The following want the lock held, but for the task's callback, which takes it. */
void renders__unref(struct render *r);
void renders__forget_oldest(struct renders *rs);
bool renders__is_final(const struct render *r);
void renders__move(struct render *r, enum render_state to);
json_t *renders__status(const struct render *r);
void renders__run_cb(struct task *task);
/* A RUNNING render is to be worked on. */
void renders__go_on(struct render *r);

#endif
