/* The table of renders: who holds them, how they are accepted, and what callers may ask. What they live through is in
 * renders_life.c.
 *
 * References: the table has one, so has the task while it is in the pool, so has every caller. The last one to go frees
 * the render and removes its files, after the lock is released (renders__unlock()). Locks taken while ours is held, all
 * of them innermost: the pool's, the hooks', the stats', a child's, and the waiter's own.
 *
 * The table is bounded: renders in flight by IN_FLIGHT_MAX, final ones by config.keep, oldest forgotten first. */
#include "renders_priv.h"

#include <assert.h>
#include <errno.h>
#include <search.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "util.h"

#define IN_FLIGHT_MAX	 200000
#define OVERLOAD_BASE_MS 100

static int compare_id(const void *a, const void *b)
{
	return strcmp(((const struct render *)a)->id, ((const struct render *)b)->id);
}

static int compare_key(const void *a, const void *b)
{
	return strcmp(((const struct render *)a)->key, ((const struct render *)b)->key);
}

/* --- references and the lock -------------------------------------------------------------------------------------- */

static void render_free(struct render *r)
{
	clip_remove(r->owner->config.clips, r->id);
	child_done(&r->child);
	input_free(r->in);
	free(r->key);
	free(r);
}

void renders__lock(struct renders *rs)
{
	pthread_mutex_lock(&rs->lock);
}

void renders__unlock(struct renders *rs)
{
	struct render_list dead = TAILQ_HEAD_INITIALIZER(dead);
	struct render *r;

	TAILQ_CONCAT(&dead, &rs->dead, link);
	pthread_mutex_unlock(&rs->lock);
	while ((r = TAILQ_FIRST(&dead)) != NULL) {
		TAILQ_REMOVE(&dead, r, link);
		render_free(r);
	}
}

void renders__unref(struct render *r)
{
	assert(r->refs > 0);
	if (--r->refs == 0)
		TAILQ_INSERT_TAIL(&r->owner->dead, r, link);
}

void renders_put(struct renders *rs, struct render *r)
{
	if (r == NULL)
		return;
	renders__lock(rs);
	renders__unref(r);
	renders__unlock(rs);
}

void renders__forget_oldest(struct renders *rs)
{
	struct render *r = TAILQ_FIRST(&rs->final);

	TAILQ_REMOVE(&rs->final, r, link);
	rs->final_count--;
	tdelete(r, &rs->by_id, compare_id);
	if (r->key != NULL)
		tdelete(r, &rs->by_key, compare_key);
	renders__unref(r);
}

/* --- submit ------------------------------------------------------------------------------------------------------- */

static int make_id(char id[RENDER_ID_BYTES + 1])
{
	unsigned char random[RENDER_ID_BYTES / 2];

	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return -EIO;
	for (size_t i = 0; i < sizeof(random); i++)
		sprintf(id + 2 * i, "%02x", random[i]);
	return 0;
}

static struct render *find_key(struct renders *rs, const char *key)
{
	struct render probe = { .key = (char *)key };
	struct render *const *found = tfind(&probe, &rs->by_key, compare_key);

	return found == NULL ? NULL : *found;
}

static void decide_work(struct renders *rs, struct render *r)
{
	int64_t n = (int64_t)rs->in_flight + 1, capacity = (int64_t)rs->config.capacity;
	int64_t base = r->in->behave.delay_ms;

	r->work_ms = base;
	if (capacity == 0 || n <= capacity)
		return;
	if (base == 0)
		base = OVERLOAD_BASE_MS;
	r->overloaded = n > 2 * capacity;
	r->work_ms = r->overloaded ? 4 * base : base * n * n / (capacity * capacity);
}

static int render_new(struct renders *rs, const char *key, struct render **ret_render)
{
	struct render *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return -ENOMEM;
	if (key != NULL)
		r->key = strdup(key);
	if ((key != NULL && r->key == NULL) || make_id(r->id) < 0) {
		free(r->key);
		free(r);
		return -ENOMEM;
	}
	r->task.run_cb = renders__run_cb;
	r->owner = rs;
	child_init(&r->child);
	LIST_INIT(&r->waiters);
	*ret_render = r;
	return 0;
}

/* Into the trees, or nowhere. */
static int index_render(struct renders *rs, struct render *r)
{
	if (tsearch(r, &rs->by_id, compare_id) == NULL)
		return -ENOMEM;
	if (r->key != NULL && tsearch(r, &rs->by_key, compare_key) == NULL) {
		tdelete(r, &rs->by_id, compare_id);
		return -ENOMEM;
	}
	return 0;
}

/* The lock is held. */
static int accept_render(struct renders *rs, struct input *in, const char *key, struct render **ret_render)
{
	struct render *r;
	int rc;

	if (rs->config.max_in_flight != 0 && rs->in_flight >= rs->config.max_in_flight)
		return -EBUSY;
	if (rs->task_count >= IN_FLIGHT_MAX)
		return -ENOSPC;
	rc = render_new(rs, key, &r);
	if (rc < 0)
		return rc;
	rc = index_render(rs, r);
	if (rc < 0) {
		render_free(r);
		return rc;
	}

	r->in = in;
	r->refs = 3; /* the table's, the task's, the caller's */
	decide_work(rs, r);
	TAILQ_INSERT_TAIL(&rs->live, r, link);
	if (++rs->in_flight > rs->max_in_flight)
		rs->max_in_flight = rs->in_flight;
	rs->task_count++;
	pool_add(rs->pool, &r->task, 0, true);
	*ret_render = r;
	return 0;
}

int renders_submit(struct renders *rs, struct input *in, const char *key, struct render **ret_render, bool *ret_replay)
{
	struct render *r;
	int rc = 0;

	renders__lock(rs);
	r = key == NULL ? NULL : find_key(rs, key);
	*ret_replay = r != NULL;
	if (r != NULL)
		r->refs++;
	else
		rc = accept_render(rs, in, key, &r);
	renders__unlock(rs);
	if (rc < 0)
		return rc;

	if (*ret_replay)
		input_free(in);
	*ret_render = r;
	return 0;
}

/* --- what callers ask --------------------------------------------------------------------------------------------- */

int renders_find(struct renders *rs, const char *id, struct render **ret_render)
{
	struct render probe;
	struct render *const *found;

	if (strlen(id) > RENDER_ID_BYTES)
		return -ENOENT;
	strcpy(probe.id, id);
	renders__lock(rs);
	found = tfind(&probe, &rs->by_id, compare_id);
	if (found != NULL) {
		(*found)->refs++;
		*ret_render = *found;
	}
	renders__unlock(rs);
	return found == NULL ? -ENOENT : 0;
}

int renders_find_key(struct renders *rs, const char *key, struct render **ret_render)
{
	struct render *found;

	renders__lock(rs);
	found = find_key(rs, key);
	if (found != NULL) {
		found->refs++;
		*ret_render = found;
	}
	renders__unlock(rs);
	return found == NULL ? -ENOENT : 0;
}

void renders_release(struct renders *rs)
{
	struct render *r;

	renders__lock(rs);
	TAILQ_FOREACH(r, &rs->live, link)
	{
		if (r->held)
			renders__go_on(r);
	}
	renders__unlock(rs);
}

void renders_cancel(struct renders *rs, struct render *r)
{
	renders__lock(rs);
	if (!renders__is_final(r)) {
		child_kill(&r->child);
		renders__move(r, RENDER_CANCELLED);
	}
	renders__unlock(rs);
}

bool renders_wait(struct renders *rs, struct render *r, struct render_waiter *w)
{
	bool waits;

	renders__lock(rs);
	waits = !renders__is_final(r);
	if (waits) {
		w->render = r;
		LIST_INSERT_HEAD(&r->waiters, w, link);
	}
	renders__unlock(rs);
	return waits;
}

void renders_unwait(struct renders *rs, struct render_waiter *w)
{
	renders__lock(rs);
	if (w->render != NULL)
		LIST_REMOVE(w, link);
	w->render = NULL;
	renders__unlock(rs);
}

const char *render_id(const struct render *r)
{
	return r->id;
}

const struct input *render_input(const struct render *r)
{
	return r->in;
}

void renders_outcome(struct renders *rs, struct render *r, struct render_outcome *ret_outcome)
{
	renders__lock(rs);
	*ret_outcome = (struct render_outcome){
		.state = r->state,
		.overloaded = r->overloaded,
		.failure = r->failure,
	};
	renders__unlock(rs);
}

bool renders_has(struct renders *rs, struct render *r, enum clip_kind kind)
{
	bool has;

	renders__lock(rs);
	has = kind == CLIP_STILL ? r->has_still : r->state == RENDER_SUCCEEDED;
	renders__unlock(rs);
	return has;
}

bool renders_poll_fails(struct renders *rs, struct render *r)
{
	bool fails;

	renders__lock(rs);
	fails = r->polls < r->in->behave.poll_fail_times;
	if (fails)
		r->polls++;
	renders__unlock(rs);
	return fails;
}

json_t *renders_status(struct renders *rs, struct render *r)
{
	json_t *status;

	renders__lock(rs);
	status = renders__status(r);
	renders__unlock(rs);
	return status;
}

void renders_load(struct renders *rs, size_t *ret_in_flight, size_t *ret_max_in_flight)
{
	renders__lock(rs);
	*ret_in_flight = rs->in_flight;
	*ret_max_in_flight = rs->max_in_flight;
	renders__unlock(rs);
}

void renders_reset_load(struct renders *rs)
{
	renders__lock(rs);
	rs->max_in_flight = rs->in_flight;
	renders__unlock(rs);
}

/* --- start and end ------------------------------------------------------------------------------------------------ */

int renders_new(const struct renders_config *config, struct renders **ret_renders)
{
	struct renders *rs = calloc(1, sizeof(*rs));
	int rc;

	if (rs == NULL)
		return -ENOMEM;
	rs->config = *config;
	pthread_mutex_init(&rs->lock, NULL);
	TAILQ_INIT(&rs->live);
	TAILQ_INIT(&rs->final);
	TAILQ_INIT(&rs->dead);
	rc = pool_new(config->slots, IN_FLIGHT_MAX, &rs->pool);
	if (rc < 0) {
		pthread_mutex_destroy(&rs->lock);
		free(rs);
		return rc;
	}
	*ret_renders = rs;
	return 0;
}

void renders_stop(struct renders *rs)
{
	struct render *r;

	renders__lock(rs);
	rs->stopping = true;
	TAILQ_FOREACH(r, &rs->live, link)
	child_kill(&r->child);
	renders__unlock(rs);
	pool_stop(rs->pool);
}

/* Gives back the references of tasks that will not run any more. */
static void drop_tasks(struct renders *rs)
{
	struct task *t;

	renders__lock(rs);
	while ((t = pool_take_dropped(rs->pool)) != NULL)
		renders__unref((struct render *)t);
	renders__unlock(rs);
}

static void free_list(struct render_list *list)
{
	struct render *r;

	while ((r = TAILQ_FIRST(list)) != NULL) {
		TAILQ_REMOVE(list, r, link);
		render_free(r);
	}
}

static void leave_node_cb(void *node)
{
	(void)node;
}

void renders_free(struct renders *rs)
{
	if (rs == NULL)
		return;
	tdestroy(rs->by_id, leave_node_cb);
	tdestroy(rs->by_key, leave_node_cb);
	drop_tasks(rs);
	free_list(&rs->live);
	free_list(&rs->final);
	pool_free(rs->pool);
	pthread_mutex_destroy(&rs->lock);
	free(rs);
}
