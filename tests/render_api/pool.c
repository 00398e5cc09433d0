/* The pool: two first-in-first-out lines of tasks that are due (urgent, other) and a binary heap of those that are not.
 *
 * A thread with nothing due sleeps until the earliest of the heap. The heap's memory is taken at the start, so that
 * adding cannot fail. Among equal due times the order of adding decides. */
#include "pool.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "util.h"

struct line {
	struct task *first;
	struct task **tail;
};

struct pool {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct line urgent;
	struct line due;
	struct task **heap; /* heap[0] is due first */
	size_t heap_count;
	size_t heap_cap;
	uint64_t next_order;
	bool stopping;
	unsigned thread_count;
	pthread_t threads[];
};

static void line_init(struct line *l)
{
	l->first = NULL;
	l->tail = &l->first;
}

static void line_push(struct line *l, struct task *t)
{
	t->next = NULL;
	*l->tail = t;
	l->tail = &t->next;
}

static struct task *line_pop(struct line *l)
{
	struct task *t = l->first;

	if (t == NULL)
		return NULL;
	l->first = t->next;
	if (l->first == NULL)
		l->tail = &l->first;
	return t;
}

static bool is_before(const struct task *a, const struct task *b)
{
	return a->due_at_ms != b->due_at_ms ? a->due_at_ms < b->due_at_ms : a->order < b->order;
}

static void heap_push(struct pool *p, struct task *t)
{
	size_t i = p->heap_count++;

	assert(i < p->heap_cap);
	for (; i > 0 && is_before(t, p->heap[(i - 1) / 2]); i = (i - 1) / 2)
		p->heap[i] = p->heap[(i - 1) / 2];
	p->heap[i] = t;
}

static struct task *heap_pop(struct pool *p)
{
	struct task *top = p->heap[0], *last = p->heap[--p->heap_count];
	size_t i = 0;

	for (;;) {
		size_t child = 2 * i + 1;

		if (child + 1 < p->heap_count && is_before(p->heap[child + 1], p->heap[child]))
			child++;
		if (child >= p->heap_count || !is_before(p->heap[child], last))
			break;
		p->heap[i] = p->heap[child];
		i = child;
	}
	p->heap[i] = last;
	return top;
}

/* The next task to run, or NULL when the pool stops. The lock is held. */
static struct task *wait_task(struct pool *p)
{
	while (!p->stopping) {
		struct task *t;

		while (p->heap_count > 0 && p->heap[0]->due_at_ms <= now_ms())
			line_push(&p->due, heap_pop(p));
		t = line_pop(&p->urgent);
		if (t == NULL)
			t = line_pop(&p->due);
		if (t != NULL)
			return t;
		if (p->heap_count == 0) {
			pthread_cond_wait(&p->wake, &p->lock);
		} else {
			struct timespec until = timespec_of_ms(p->heap[0]->due_at_ms);

			pthread_cond_timedwait(&p->wake, &p->lock, &until);
		}
	}
	return NULL;
}

static void *run_thread(void *arg)
{
	struct pool *p = arg;
	struct task *t;

	pthread_mutex_lock(&p->lock);
	while ((t = wait_task(p)) != NULL) {
		/* This thread may have moved several tasks into the line while the others sleep on the heap. */
		if (p->due.first != NULL || p->urgent.first != NULL)
			pthread_cond_signal(&p->wake);
		pthread_mutex_unlock(&p->lock);
		t->run_cb(t);
		pthread_mutex_lock(&p->lock);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

static int start_threads(struct pool *p, unsigned threads)
{
	while (p->thread_count < threads) {
		int rc = pthread_create(&p->threads[p->thread_count], NULL, run_thread, p);

		if (rc != 0)
			return -rc;
		p->thread_count++;
	}
	return 0;
}

int pool_new(unsigned threads, size_t tasks_cap, struct pool **ret_pool)
{
	struct pool *p = calloc(1, sizeof(*p) + threads * sizeof(p->threads[0]));
	pthread_condattr_t monotonic;
	int rc;

	if (p == NULL)
		return -ENOMEM;
	p->heap = calloc(tasks_cap, sizeof(struct task *));
	if (p->heap == NULL) {
		free(p);
		return -ENOMEM;
	}
	p->heap_cap = tasks_cap;
	line_init(&p->urgent);
	line_init(&p->due);
	pthread_mutex_init(&p->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&p->wake, &monotonic);
	pthread_condattr_destroy(&monotonic);

	rc = start_threads(p, threads);
	if (rc < 0) {
		pool_stop(p);
		pool_free(p);
		return rc;
	}
	*ret_pool = p;
	return 0;
}

void pool_add(struct pool *p, struct task *t, int64_t delay_ms, bool urgent)
{
	pthread_mutex_lock(&p->lock);
	t->order = p->next_order++;
	t->due_at_ms = now_ms() + delay_ms;
	if (delay_ms > 0)
		heap_push(p, t);
	else
		line_push(urgent ? &p->urgent : &p->due, t);
	pthread_cond_signal(&p->wake);
	pthread_mutex_unlock(&p->lock);
}

void pool_stop(struct pool *p)
{
	pthread_mutex_lock(&p->lock);
	p->stopping = true;
	pthread_cond_broadcast(&p->wake);
	pthread_mutex_unlock(&p->lock);
	for (unsigned i = 0; i < p->thread_count; i++)
		pthread_join(p->threads[i], NULL);
	p->thread_count = 0;
}

struct task *pool_take_dropped(struct pool *p)
{
	struct task *t = line_pop(&p->urgent);

	if (t == NULL)
		t = line_pop(&p->due);
	if (t == NULL && p->heap_count > 0)
		t = heap_pop(p);
	return t;
}

void pool_free(struct pool *p)
{
	if (p == NULL)
		return;
	pthread_cond_destroy(&p->wake);
	pthread_mutex_destroy(&p->lock);
	free(p->heap);
	free(p);
}
