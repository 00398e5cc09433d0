/* Subjects are what is waited for: a link, by its token, or a job. One exists as long as somebody waits for it.
 *
 * A connection is suspended and resumed under the lock, and listed by its due second exactly while it is suspended: so
 * none is resumed twice, and no news comes between a watcher's last look and its falling asleep. The lock is taken
 * before the library's own and never the other way round: the library holds none when it calls us, but for the one of a
 * response that nobody else touches.
 *
 * The writer's thread takes only the short lock of the news, and that only for jobs that somebody waits for. */
#include "watch.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "proto/base/clean.h"
#include "proto/base/clock.h"
#include "proto/error.h"
#include "server/engine/engine.h"
#include "server/engine/link.h"
#include "server/http/board.h"
#include "server/http/site.h"

#define BUCKETS	 16384
#define NEWS_MAX 4096 /* jobs; beyond, every subject is looked at */
#define SECONDS	 128  /* of the wheel: none waits for longer */
#define ROUND_MS 1000 /* from one look at all links to the next, at least */
#define SHARE	 10   /* … and so many times as long as it took */
#define STEP	 32   /* links that are looked at between two looks at the news */

struct subject {
	struct subject *next; /* of its bucket */
	struct subject *next_all, **link_all;
	struct uuid job;
	char token[LINK_TOKEN_SIZE + 1]; /* "": a job */
	struct posting *posting;	 /* of a link; NULL once it is none any more */
	struct watcher *watchers;
	bool kept; /* by the thread, outside of the lock: not to be freed */
	bool news; /* the writer told of it */
};

struct watch {
	struct site *site;
	int most;
	atomic_int count;
	pthread_t thread;
	struct uuid taken[NEWS_MAX]; /* the thread's */

	pthread_mutex_t lock; /* guards what follows */
	struct subject *buckets[BUCKETS];
	struct subject *all, **last; /* the one looked at longest ago first */
	int subjects;
	struct watcher *wheel[SECONDS]; /* those asleep, by the second that they are due in */
	int64_t wheel_s;		/* up to here it is empty */
	bool ending;

	atomic_ushort waited[BUCKETS]; /* subjects of each bucket, for the writer */
	pthread_mutex_t news_lock;     /* guards what follows */
	pthread_cond_t news_came;
	struct uuid news[NEWS_MAX];
	size_t news_count;
	bool news_lost;
	bool stopping;
};

static uint32_t bucket_of(const struct uuid *job)
{
	uint32_t hash;

	/* The end of a UUID is where its randomness is. */
	memcpy(&hash, job->bytes + 12, sizeof(hash));
	return hash % BUCKETS;
}

/* ---- subjects; all under the lock ---- */

static void line_up(struct watch *w, struct subject *s)
{
	s->next_all = NULL;
	s->link_all = w->last;
	*w->last = s;
	w->last = &s->next_all;
}

static void step_out(struct watch *w, struct subject *s)
{
	*s->link_all = s->next_all;
	if (s->next_all)
		s->next_all->link_all = s->link_all;
	else
		w->last = s->link_all;
}

static void step_to_front(struct watch *w, struct subject *s)
{
	s->next_all = w->all;
	s->link_all = &w->all;
	if (w->all)
		w->all->link_all = &s->next_all;
	else
		w->last = &s->next_all;
	w->all = s;
}

static struct subject *subject_find(struct watch *w, const struct uuid *job, const char *token)
{
	struct subject *s = w->buckets[bucket_of(job)];

	while (s && !(uuid_equal(&s->job, job) && strcmp(s->token, token) == 0))
		s = s->next;
	return s;
}

static struct subject *subject_new(struct watch *w, const struct uuid *job, const char *token, struct posting *posting)
{
	struct subject *s = calloc(1, sizeof(*s));
	uint32_t at = bucket_of(job);

	if (!s)
		return NULL;
	s->job = *job;
	memcpy(s->token, token, strlen(token) + 1);
	s->posting = posting ? posting_hold(posting) : NULL;
	s->next = w->buckets[at];
	w->buckets[at] = s;
	line_up(w, s);
	w->subjects++;
	atomic_fetch_add(&w->waited[at], 1);
	return s;
}

static void subject_drop(struct watch *w, struct subject *s)
{
	uint32_t at = bucket_of(&s->job);
	struct subject **link = &w->buckets[at];

	if (s->watchers || s->kept)
		return;
	while (*link != s)
		link = &(*link)->next;
	*link = s->next;
	step_out(w, s);
	w->subjects--;
	atomic_fetch_sub(&w->waited[at], 1);
	posting_release(s->posting);
	free(s);
}

/* ---- sleep; all under the lock ---- */

static void fall_asleep(struct watch *w, struct watcher *me)
{
	struct watcher **slot;
	int64_t due_s = me->due_ms / 1000 + 1;

	if (due_s <= w->wheel_s)
		due_s = w->wheel_s + 1;
	if (due_s >= w->wheel_s + SECONDS)
		due_s = w->wheel_s + SECONDS - 1;
	slot = &w->wheel[due_s % SECONDS];
	me->next_due = *slot;
	if (me->next_due)
		me->next_due->link_due = &me->next_due;
	me->link_due = slot;
	*slot = me;
	if (me->connection)
		MHD_suspend_connection(me->connection);
}

static bool get_up(struct watcher *me)
{
	if (!me->link_due)
		return false;
	*me->link_due = me->next_due;
	if (me->next_due)
		me->next_due->link_due = me->link_due;
	me->link_due = NULL;
	return true;
}

static void wake(struct watcher *me)
{
	if (!get_up(me))
		return;
	if (me->connection)
		MHD_resume_connection(me->connection);
	else
		me->wake(me);
}

static void tell(struct subject *s)
{
	for (struct watcher *me = s->watchers; me; me = me->next) {
		me->told = true;
		wake(me);
	}
}

/* ---- watchers ---- */

static void enlist(struct watch *w, struct watcher *me, struct subject *s)
{
	me->watch = w;
	me->subject = s;
	me->next = s->watchers;
	me->link = &s->watchers;
	if (me->next)
		me->next->link = &me->next;
	s->watchers = me;
}

static bool join(struct watch *w, struct watcher *me, const struct uuid *job, const char *token, struct posting *seen)
{
	struct subject *s;

	if (atomic_fetch_add(&w->count, 1) >= w->most) {
		atomic_fetch_sub(&w->count, 1);
		return false;
	}
	pthread_mutex_lock(&w->lock);
	s = subject_find(w, job, token);
	if (!s)
		s = subject_new(w, job, token, seen);
	if (s) {
		enlist(w, me, s);
		me->told = seen && (!s->posting || strcmp(s->posting->tag, seen->tag) != 0);
	}
	pthread_mutex_unlock(&w->lock);
	if (!s)
		atomic_fetch_sub(&w->count, 1);
	return s != NULL;
}

bool watch_join_link(struct watch *w, struct watcher *me, const char *token, struct posting *seen)
{
	return join(w, me, &seen->job, token, seen);
}

bool watch_join_job(struct watch *w, struct watcher *me, const struct uuid *job)
{
	return join(w, me, job, "", NULL);
}

void watch_leave(struct watcher *me)
{
	struct watch *w = me->watch;

	if (!me->subject)
		return;
	pthread_mutex_lock(&w->lock);
	assert(!(me->link_due && me->connection));
	get_up(me);
	*me->link = me->next;
	if (me->next)
		me->next->link = me->link;
	subject_drop(w, TAKE_PTR(me->subject));
	pthread_mutex_unlock(&w->lock);
	atomic_fetch_sub(&w->count, 1);
}

enum watch_verdict watch_wait(struct watcher *me, int64_t until_ms)
{
	struct watch *w = me->watch;
	enum watch_verdict verdict = WATCH_ASLEEP;

	pthread_mutex_lock(&w->lock);
	get_up(me); /* one without a connection may have got up by itself */
	if (me->told)
		verdict = WATCH_NEWS;
	else if (w->ending)
		verdict = WATCH_END;
	else if (clock_mono_ms() >= until_ms)
		verdict = WATCH_TIME;
	me->told = false;
	me->due_ms = until_ms;
	if (verdict == WATCH_ASLEEP)
		fall_asleep(w, me);
	pthread_mutex_unlock(&w->lock);
	return verdict;
}

struct posting *watch_posting(struct watcher *me)
{
	struct posting *p;

	pthread_mutex_lock(&me->watch->lock);
	p = me->subject->posting;
	if (p)
		posting_hold(p);
	pthread_mutex_unlock(&me->watch->lock);
	return p;
}

int watch_count(const struct watch *w)
{
	return atomic_load(&w->count);
}

/* ---- news ---- */

void watch_changed(struct watch *w, const struct job_event *events, size_t count)
{
	if (atomic_load(&w->count) == 0)
		return;
	for (size_t i = 0; i < count; i++) {
		if (atomic_load(&w->waited[bucket_of(&events[i].id)]) == 0)
			continue;
		pthread_mutex_lock(&w->news_lock);
		if (w->news_count == NEWS_MAX)
			w->news_lost = true;
		else
			w->news[w->news_count++] = events[i].id;
		pthread_cond_signal(&w->news_came);
		pthread_mutex_unlock(&w->news_lock);
	}
}

/* Looks at a link, which is kept meanwhile, and tells those who wait for it what is new. */
static void look(struct watch *w, struct subject *s)
{
	struct request r = { .site = w->site, .token = s->token };
	struct posting *now = NULL;
	int rc;

	s->kept = true;
	pthread_mutex_unlock(&w->lock);
	rc = board_get(&r, BOARD_STATUS, &now);
	pthread_mutex_lock(&w->lock);
	s->kept = false;
	/* Of a store that cannot be read nothing is told: the next look may find it well. */
	if (rc == 0 ? (!s->posting || strcmp(now->tag, s->posting->tag) != 0)
		    : s->posting && (rc == ERR_NOT_FOUND || rc == ERR_GONE)) {
		posting_release(s->posting);
		s->posting = TAKE_PTR(now);
		tell(s);
	}
	posting_release(now);
	subject_drop(w, s);
}

/* The first in line to the end, and a look at it unless it can tell nothing new. */
static void look_at_next(struct watch *w)
{
	struct subject *s = w->all;

	step_out(w, s);
	line_up(w, s);
	if (!s->token[0] || !s->posting || (s->posting->final && !s->news))
		return;
	s->news = false;
	look(w, s);
}

static void hear_of(struct subject *s)
{
	if (!s->token[0])
		tell(s);
	else
		s->news = true;
}

/* A job that changed: a link to it comes to the front of the line. */
static void hear(struct watch *w, const struct uuid *job)
{
	for (struct subject *s = w->buckets[bucket_of(job)]; s; s = s->next) {
		if (!uuid_equal(&s->job, job))
			continue;
		hear_of(s);
		step_out(w, s);
		step_to_front(w, s);
	}
}

static void hear_all(struct watch *w, size_t count, bool lost)
{
	for (size_t i = 0; i < count; i++)
		hear(w, &w->taken[i]);
	for (struct subject *s = lost ? w->all : NULL; s; s = s->next_all)
		hear_of(s);
	while (w->all && w->all->news)
		look_at_next(w);
}

/* ---- the thread ---- */

struct round {
	int left;	  /* links to look at yet */
	int64_t began_ms; /* this round */
	int64_t next_ms;  /* the next begins then */
};

static void wait_for_news(struct watch *w, int64_t until_ms)
{
	struct timespec at = { .tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000 };

	while (w->news_count == 0 && !w->news_lost && !w->stopping && clock_mono_ms() < until_ms)
		pthread_cond_timedwait(&w->news_came, &w->news_lock, &at);
}

/* Takes the news, waiting for some until a moment. False when it is time to stop. */
static bool take_news(struct watch *w, int64_t until_ms, size_t *ret_count, bool *ret_lost)
{
	bool go_on;

	pthread_mutex_lock(&w->news_lock);
	wait_for_news(w, until_ms);
	memcpy(w->taken, w->news, w->news_count * sizeof(w->taken[0]));
	*ret_count = w->news_count;
	*ret_lost = w->news_lost;
	w->news_count = 0;
	w->news_lost = false;
	go_on = !w->stopping;
	pthread_mutex_unlock(&w->news_lock);
	return go_on;
}

/* Wakes those whose second has come. */
static void turn_wheel(struct watch *w)
{
	int64_t now_s = clock_mono_ms() / 1000;

	for (; w->wheel_s < now_s; w->wheel_s++)
		while (w->wheel[(w->wheel_s + 1) % SECONDS])
			wake(w->wheel[(w->wheel_s + 1) % SECONDS]);
}

static void walk(struct watch *w, struct round *round)
{
	int64_t now_ms = clock_mono_ms();

	if (round->left == 0 && now_ms >= round->next_ms) {
		round->left = w->subjects;
		round->began_ms = now_ms;
	}
	for (int i = 0; i < STEP && round->left > 0 && w->all; i++, round->left--)
		look_at_next(w);
	if (!w->all)
		round->left = 0;
	if (round->left == 0 && round->next_ms <= round->began_ms) {
		int64_t took_ms = clock_mono_ms() - round->began_ms;

		round->next_ms = round->began_ms + (took_ms * SHARE > ROUND_MS ? took_ms * SHARE : ROUND_MS);
	}
}

static void *run(void *user)
{
	struct watch *w = user;
	struct round round = { .next_ms = clock_mono_ms() };
	int64_t until_ms = 0;
	size_t count;
	bool lost;

	while (take_news(w, until_ms, &count, &lost)) {
		pthread_mutex_lock(&w->lock);
		hear_all(w, count, lost);
		turn_wheel(w);
		walk(w, &round);
		until_ms = round.left > 0 ? 0 : (w->wheel_s + 1) * 1000;
		if (round.left == 0 && w->all && round.next_ms < until_ms)
			until_ms = round.next_ms;
		pthread_mutex_unlock(&w->lock);
	}
	return NULL;
}

/* ---- life ---- */

static void init_locks(struct watch *w)
{
	pthread_condattr_t how;

	pthread_mutex_init(&w->lock, NULL);
	pthread_mutex_init(&w->news_lock, NULL);
	pthread_condattr_init(&how);
	pthread_condattr_setclock(&how, CLOCK_MONOTONIC);
	pthread_cond_init(&w->news_came, &how);
	pthread_condattr_destroy(&how);
}

static void done(struct watch *w)
{
	pthread_cond_destroy(&w->news_came);
	pthread_mutex_destroy(&w->news_lock);
	pthread_mutex_destroy(&w->lock);
	free(w);
}

int watch_new(struct site *site, int most, struct watch **ret)
{
	struct watch *w = calloc(1, sizeof(*w));

	if (!w)
		return ERR_NO_MEMORY;
	w->site = site;
	w->most = most;
	w->last = &w->all;
	w->wheel_s = clock_mono_ms() / 1000;
	init_locks(w);
	if (pthread_create(&w->thread, NULL, run, w) != 0) {
		done(w);
		return ERR_NO_MEMORY;
	}
	*ret = w;
	return 0;
}

void watch_end(struct watch *w)
{
	pthread_mutex_lock(&w->news_lock);
	w->stopping = true;
	pthread_cond_signal(&w->news_came);
	pthread_mutex_unlock(&w->news_lock);
	pthread_mutex_lock(&w->lock);
	if (!w->ending)
		for (size_t i = 0; i < SECONDS; i++)
			while (w->wheel[i])
				wake(w->wheel[i]);
	w->ending = true;
	pthread_mutex_unlock(&w->lock);
}

void watch_free(struct watch *w)
{
	if (!w)
		return;
	watch_end(w);
	pthread_join(w->thread, NULL);
	assert(atomic_load(&w->count) == 0);
	done(w);
}
