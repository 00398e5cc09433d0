/* Happy path: take all that waits, begin, apply each, finish, commit, tell the events, release all. Failure: the
 * transaction is aborted and every command of the batch is released with the error, so that none is acknowledged that
 * the disk does not have.
 */
#include "server/writer/writer.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/clean.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "server/store/keys.h"
#include "server/store/layout.h"
#include "server/writer/doubtful.h"
#include "server/writer/intake.h"
#include "server/writer/meter.h"

#define BATCH_MAX	4096
#define SUBSCRIBERS_MAX 8
#define RANDOM_BYTES	4096 /* drawn from the system at once */
#define TOLD_MAX	20   /* damaged jobs, of one batch */
#define AGAIN_MOST	256  /* tries of a batch that met damage which none of its commands asked for */
#define PAUSE_MS	100  /* after a failed batch of due work, so that a broken disk is not hammered */

/* The commands of one batch, sorted by what became of them. */
struct batch {
	struct command *items[BATCH_MAX];
	size_t count;
};

struct subscribers {
	struct {
		writer_event_cb cb;
		void *user;
	} items[SUBSCRIBERS_MAX];
	size_t count;
};

struct writer {
	struct store *store;
	struct blob_store *blobs;
	struct engine *engine;
	struct uuid_gen ids;
	uint8_t random[RANDOM_BYTES];
	size_t random_used;
	int64_t batch_ms; /* the moment of the last batch */
	struct intake intake;
	struct log_pause failures;
	struct log_pause leftovers;
	char why[64]; /* what the last batch that was taken back ran into */
	bool damage;  /* that was a damaged page */
	bool shared;  /* which no command of the batch asked for: each batch needs it; so it is until a command fails */
	int failure;  /* of the last batch, where it was taken back; not for a damaged page that few need */
	bool reloaded; /* the engine has read the queues again, or is to, since the last look at the damaged ones */
	/* Damaged queues and limits that were told since the last commit. */
	size_t repaired;
	size_t repaired_limits;
	struct doubtful doubtful;
	struct meter meter;
	int64_t commit_us; /* what the last commit took */

	struct subscribers before, after; /* the release */

	struct batch batch, single; /* the thread's */
	pthread_t thread;
	bool started;

	pthread_mutex_t lock; /* guards what follows */
	struct writer_stats stats;
};

static void log_repaired_limits(struct writer *w)
{
	const char *name;
	size_t i = 0;

	for (; (name = engine_repaired_limit(w->engine, i)); i++)
		if (i >= w->repaired_limits)
			log_error("limit %s: its record is damaged in the store or gone; it lets one call begin at a "
				  "time until you set it anew (raincheck limit set)",
				  name);
	w->repaired_limits = i;
}

/* Those that were not told yet. */
static void log_repaired(struct writer *w)
{
	const char *name;
	size_t i = 0;

	for (; (name = engine_repaired(w->engine, i)); i++)
		if (i >= w->repaired)
			log_error(
				"queue %s: its record is damaged in the store; its jobs are kept, its settings are the "
				"defaults again, and it is paused: look at them, then resume it",
				name);
	w->repaired = i;
	log_repaired_limits(w);
}

int writer_new(const struct settings *settings, struct store *s, struct blob_store *blobs, struct writer **ret)
{
	struct writer *w = calloc(1, sizeof(*w));
	int rc;

	if (!w)
		return ERR_NO_MEMORY;
	w->store = s;
	w->blobs = blobs;
	meter_init(&w->meter);
	intake_init(&w->intake);
	w->random_used = sizeof(w->random);
	pthread_mutex_init(&w->lock, NULL);
	rc = engine_new(settings, s, &w->engine);
	if (rc < 0) {
		writer_free(w);
		return rc;
	}
	log_repaired(w);
	*ret = w;
	return 0;
}

void writer_free(struct writer *w)
{
	if (!w)
		return;
	engine_free(w->engine);
	doubtful_done(&w->doubtful);
	meter_done(&w->meter);
	intake_done(&w->intake);
	pthread_mutex_destroy(&w->lock);
	free(w);
}

static void subscribe(struct subscribers *s, writer_event_cb cb, void *user)
{
	if (s->count == SUBSCRIBERS_MAX)
		abort();
	s->items[s->count].cb = cb;
	s->items[s->count].user = user;
	s->count++;
}

void writer_subscribe(struct writer *w, writer_event_cb cb, void *user)
{
	subscribe(&w->before, cb, user);
}

void writer_subscribe_after(struct writer *w, writer_event_cb cb, void *user)
{
	subscribe(&w->after, cb, user);
}

void writer_submit(struct writer *w, struct command *cmd)
{
	struct error_info info;

	if (intake_add(&w->intake, cmd))
		return;
	error_set(&info, ERR_SHUTTING_DOWN, NULL, "%s", error_text(ERR_SHUTTING_DOWN));
	cmd->refuse(cmd, &info);
	cmd->release(cmd, ERR_SHUTTING_DOWN);
}

void writer_stats(struct writer *w, struct writer_stats *ret)
{
	pthread_mutex_lock(&w->lock);
	*ret = w->stats;
	pthread_mutex_unlock(&w->lock);
}

void writer_totals(struct writer *w, struct writer_totals *ret)
{
	meter_read(&w->meter, ret);
}

/* ---- randomness and ids ---- */

/* Without randomness no lease is safe: the batch fails. A thread's first draw takes memory. */
static int draw(struct writer *w, uint8_t *ret, size_t size)
{
	if (sizeof(w->random) - w->random_used < size) {
		if (gnutls_rnd(GNUTLS_RND_RANDOM, w->random, sizeof(w->random)) < 0)
			return ERR_NO_MEMORY;
		w->random_used = 0;
	}
	memcpy(ret, w->random + w->random_used, size);
	memset(w->random + w->random_used, 0, size);
	w->random_used += size;
	return 0;
}

/* What purity forbids the engine to get for itself. */
static int furnish(struct writer *w, struct command *cmd, int64_t now_ms)
{
	uint8_t random[UUID_RANDOM_SIZE];
	int rc = 0;

	if (cmd->kind == COMMAND_LEASE)
		rc = draw(w, cmd->random, sizeof(cmd->random));
	if (cmd->kind == COMMAND_PUT) {
		const struct command_put *put = cmd->params;
		struct uuid last;

		rc = draw(w, random, sizeof(random));
		if (rc < 0)
			return rc;
		uuid_v7(&w->ids, now_ms, random, &cmd->first_id);
		last = cmd->first_id;
		for (size_t i = 1; i < put->count; i++)
			uuid_next(&last, &last);
		uuid_gen_advance(&w->ids, &last);
	}
	return rc;
}

/* ---- the loop ---- */

/* False when it is time to stop. */
static bool gather(struct writer *w, struct batch *b, bool failed)
{
	return intake_take(&w->intake, engine_next_ms(w->engine), failed ? PAUSE_MS : 0, w->batch_ms, b->items,
			   BATCH_MAX, &b->count);
}

/* Of a batch that has failed already. */
static void forget_anyway(struct writer *w, const struct command *cmd)
{
	if (cmd->kind == COMMAND_LEASE_CANCEL || cmd->kind == COMMAND_FORGET)
		engine_forget(w->engine, cmd);
}

static int apply_one(struct writer *w, struct command *cmd, int64_t now_ms, bool *ret_parked)
{
	int rc = furnish(w, cmd, now_ms);

	return rc < 0 ? rc : engine_apply(w->engine, cmd, ret_parked);
}

/* Applies the batch. Parked commands are taken out of it: they are the engine's from then on. */
static int apply(struct writer *w, struct store_txn *t, struct batch *b)
{
	int64_t now_ms = w->batch_ms;
	uint8_t random[32];
	size_t kept = 0;
	int rc;

	rc = draw(w, random, sizeof(random));
	if (rc == 0)
		rc = engine_begin(w->engine, t, now_ms, random);
	for (size_t i = 0; i < b->count; i++) {
		struct command *cmd = b->items[i];
		bool parked = false;

		if (rc < 0) {
			forget_anyway(w, cmd);
		} else {
			rc = apply_one(w, cmd, now_ms, &parked);
			w->shared = rc == 0;
		}
		if (!parked)
			b->items[kept++] = cmd;
	}
	b->count = kept;
	return rc < 0 ? rc : engine_finish(w->engine);
}

/* Each is told once in its life; where a disk gives thousands back wrong, the check names them all. */
static void log_damage(struct writer *w)
{
	size_t count;
	const struct job_event *events = engine_events(w->engine, &count);
	int told = 0;

	for (size_t i = 0; i < count && told < TOLD_MAX; i++)
		if (events[i].damage && ++told)
			log_error("job %s: its %s is damaged in the store; it is set aside and the others go on",
				  uuid_format(&events[i].id).text, events[i].damage);
}

static void tell_events(struct writer *w, const struct subscribers *s)
{
	size_t count;
	const struct job_event *events = engine_events(w->engine, &count);

	for (size_t i = 0; count > 0 && i < s->count; i++)
		s->items[i].cb(s->items[i].user, events, count);
}

static void remove_blob(void *user, const struct uuid *blob)
{
	struct writer *w = user;
	struct log_unsaid unsaid;

	if (blob_remove(w->blobs, blob) < 0 && log_after_pause(&w->leftovers, &unsaid))
		log_warning("cannot remove blob %s: %s%s; it goes with the sweep of the next start",
			    uuid_format(blob).text, strerror(errno), unsaid.text);
}

/* Files that no record names any more. */
static void remove_garbage(struct writer *w)
{
	size_t count;
	const struct uuid *garbage = engine_garbage(w->engine, &count);

	for (size_t i = 0; i < count; i++)
		remove_blob(w, &garbage[i]);
}

static void release_list(struct command *cmd, int rc)
{
	while (cmd) {
		struct command *next = cmd->next;

		cmd->release(cmd, rc);
		cmd = next;
	}
}

static void release(struct batch *b, struct command *answered, int rc)
{
	for (size_t i = 0; i < b->count; i++)
		b->items[i]->release(b->items[i], rc);
	release_list(answered, rc);
}

/* What those are told whom a batch held: ERR_DAMAGED where it was taken back for a damaged page. */
static int told_rc(const struct writer *w, int rc)
{
	return rc == ERR_STORE_ERROR && w->damage ? ERR_DAMAGED : rc;
}

/* A damaged page is in the way of whoever needs it, and of nobody else. */
static void note_failure(struct writer *w, int rc)
{
	if (told_rc(w, rc) == ERR_DAMAGED && !w->shared)
		return;
	w->failure = rc;
	if (rc == 0)
		w->stats.failure[0] = '\0';
	else
		snprintf(w->stats.failure, sizeof(w->stats.failure), "%s (%s)", error_text(rc), w->why);
}

/* Before the release, so that whoever has an answer finds it counted. */
static void count_batch(struct writer *w, size_t commands, int rc)
{
	pthread_mutex_lock(&w->lock);
	note_failure(w, rc);
	w->stats.parked = (int64_t)engine_parked(w->engine);
	w->stats.commits += rc == 0;
	w->stats.failed_commits += rc < 0;
	w->stats.commands += (int64_t)commands;
	if ((int64_t)commands > w->stats.largest_batch)
		w->stats.largest_batch = (int64_t)commands;
	pthread_mutex_unlock(&w->lock);
}

/* Not for each: a disk that is gone or full fails every batch. */
static void log_failure(struct writer *w, size_t commands, int rc)
{
	struct log_unsaid unsaid;

	if (log_after_pause(&w->failures, &unsaid))
		log_error("a batch of %zu commands was taken back: %s (%s)%s", commands, error_text(rc), w->why,
			  unsaid.text);
}

/* Where there is no room, what frees some must not fail on a page more; and store_room() tells of that. */
static bool needs_probe(const struct writer *w)
{
	return w->failure < 0 && w->failure != ERR_STORE_FULL;
}

/* A commit without a change syncs nothing and proves nothing: this is one that changes nothing of what it says. */
static int probe(struct store_txn *t)
{
	struct key key = key_word(META_FORMAT);
	struct key format;
	struct slice value;
	int rc;

	rc = store_get(t, TABLE_META, key_slice(&key), &value);
	if (rc < 0)
		return rc == ERR_NOT_FOUND ? 0 : rc;
	format = key_copy(value);
	return store_put(t, TABLE_META, key_slice(&key), key_slice(&format));
}

static void look_at_repaired(struct writer *w, int rc)
{
	if (rc < 0 || w->reloaded)
		log_repaired(w);
	w->reloaded = rc < 0;
	/* With the commit they are whole. */
	if (rc == 0)
		w->repaired = 0;
}

static void take_back(struct writer *w, struct command **ret_answered)
{
	const struct uuid *blobs;
	size_t count;

	/* Before the engine reads anew, which may fail of itself. */
	w->damage = store_error_is_damage();
	snprintf(w->why, sizeof(w->why), "%s", store_error_detail());
	engine_aborted(w->engine, store_uncertain(w->store), ret_answered);
	blobs = engine_garbage(w->engine, &count);
	doubtful_add(&w->doubtful, blobs, count);
}

static int commit(struct writer *w, struct store_txn *t)
{
	int64_t began_ns = clock_mono_ns();
	int rc = store_commit(t);

	w->commit_us = (clock_mono_ns() - began_ns) / 1000;
	return rc;
}

/* One transaction. *ret_answered as engine_committed() gives it. *ret_reached: it came as far as the commit. */
static int try_batch(struct writer *w, struct batch *b, struct command **ret_answered, bool *ret_reached)
{
	struct store_txn *t = NULL;
	int rc;

	*ret_reached = false;
	w->shared = true;
	w->batch_ms = clock_wall_ms();
	rc = store_begin_write(w->store, &t);
	for (size_t i = 0; i < b->count && rc < 0; i++)
		forget_anyway(w, b->items[i]);
	if (rc == 0)
		rc = apply(w, t, b);
	if (rc == 0 && needs_probe(w))
		rc = probe(t);
	if (rc < 0) {
		store_abort(t);
	} else {
		*ret_reached = true;
		rc = commit(w, t);
	}
	if (rc == 0)
		engine_committed(w->engine, ret_answered);
	else
		take_back(w, ret_answered);
	look_at_repaired(w, rc);
	return rc;
}

static int settle(struct writer *w, struct batch *b, size_t commands, struct command *answered, int rc)
{
	if (rc == 0) {
		log_damage(w);
		tell_events(w, &w->before);
		meter_add(&w->meter, commands, w->commit_us, engine_tally(w->engine));
	} else {
		log_failure(w, commands, rc);
	}
	count_batch(w, commands, rc);
	release(b, answered, told_rc(w, rc));
	/* Nobody waits for it. */
	if (rc == 0) {
		tell_events(w, &w->after);
		remove_garbage(w);
		doubtful_settle(&w->doubtful, w->store, remove_blob, w);
	}
	return rc;
}

/* As long as the engine goes without more each time: nobody is refused for what another job's moment met. A try that
 * would fare like the one before is not made, for it costs the work of all who are in the batch. */
static int try_anew(struct writer *w, struct batch *b, struct command **ret_answered, bool *ret_reached)
{
	int rc;

	for (int i = 0;; i++) {
		rc = try_batch(w, b, ret_answered, ret_reached);
		if (rc == 0 || *ret_reached || i == AGAIN_MOST || !engine_goes_without(w->engine) ||
		    (rc != ERR_CORRUPT && told_rc(w, rc) != ERR_DAMAGED))
			return rc;
		/* What was kept by the engine and answered is released as of the failed one. */
		release_list(TAKE_PTR(*ret_answered), told_rc(w, rc));
	}
}

/* Each command in a transaction of its own: where a page of the store is damaged, whoever needs it fails alone. */
static int run_each(struct writer *w, struct batch *b)
{
	int worst = 0;

	for (size_t i = 0; i < b->count; i++) {
		struct command *answered = NULL;
		bool reached;
		int rc;

		w->single.items[0] = b->items[i];
		w->single.count = 1;
		rc = try_anew(w, &w->single, &answered, &reached);
		rc = settle(w, &w->single, 1, answered, rc);
		worst = rc < 0 ? rc : worst;
	}
	return worst;
}

static int run_batch(struct writer *w, struct batch *b)
{
	struct command *answered = NULL;
	size_t commands = b->count;
	bool reached;
	int rc;

	rc = try_anew(w, b, &answered, &reached);
	if (rc != ERR_STORE_ERROR || reached || b->count == 0)
		return settle(w, b, commands, answered, rc);
	release_list(answered, told_rc(w, rc));
	return run_each(w, b);
}

static void *writer_main(void *arg)
{
	struct writer *w = arg;
	bool failed = false;

	while (gather(w, &w->batch, failed))
		failed = run_batch(w, &w->batch) < 0;
	return NULL;
}

int writer_start(struct writer *w)
{
	if (pthread_create(&w->thread, NULL, writer_main, w) != 0)
		return ERR_NO_MEMORY;
	w->started = true;
	return 0;
}

void writer_stop(struct writer *w)
{
	intake_stop(&w->intake);
	if (w->started)
		pthread_join(w->thread, NULL);
	w->started = false;
	release_list(engine_stop(w->engine), ERR_SHUTTING_DOWN);
}
