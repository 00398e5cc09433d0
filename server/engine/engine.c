#include "server/engine/engine.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "server/engine/engine_priv.h"
#include "server/engine/groups.h"
#include "server/engine/limits.h"
#include "server/engine/link.h"
#include "server/engine/queues_repair.h"
#include "server/store/hook_record.h"

/* Bytes of a record besides the payload: metadata, title and the like at their most. */
#define BESIDE_PAYLOAD (1 << 20)
#define LEFT_MS	       100 /* until what could not be read is tried again */

static int64_t largest(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/* Of what one record holds. */
static size_t record_bytes(const struct settings *settings)
{
	return (size_t)largest(HOOK_BODY_BYTES, largest(settings->payload_bytes, settings->inline_bytes)) +
	       BESIDE_PAYLOAD;
}

/* ---- life ---- */

static int load_caches(struct engine *e, struct store_txn *t)
{
	int rc = store_count(t, TABLE_SET_ASIDE, &e->set_aside);

	if (rc == 0)
		rc = queues_load(e->queues, t);
	if (rc == 0)
		rc = limits_load(e->limits, t, e->queues);
	groups_reset(e->groups);
	e->loaded = true;
	return rc;
}

static int load_queues(struct engine *e)
{
	_cleanup_(store_abortp) struct store_txn *t = NULL;
	int rc;

	rc = store_begin_read(e->store, &t);
	return rc < 0 ? rc : load_caches(e, t);
}

/* Before anybody reads: the damaged records, and counts that may be wrong, stand in the store until then. */
static int save_repaired(struct engine *e)
{
	_cleanup_(store_abortp) struct store_txn *t = NULL;
	int rc;

	rc = store_begin_write(e->store, &t);
	if (rc == 0)
		rc = queues_recount(e->queues, t);
	/* Of a damaged index: the counts stay as they are, and the next start tries again. */
	if (rc == ERR_STORE_ERROR && store_error_is_damage())
		rc = load_caches(e, t);
	/* What runs was counted by the records as they were. */
	for (size_t i = 0; rc == 0 && limits_get(e->limits, i); i++)
		limits_recount(limits_get(e->limits, i));
	if (rc == 0)
		rc = queues_save(e->queues, t, &e->record);
	if (rc == 0)
		rc = limits_save(e->limits, t, &e->record);
	return rc == 0 ? store_commit(TAKE_PTR(t)) : rc;
}

int engine_new(const struct settings *settings, struct store *s, struct engine **ret)
{
	struct engine *e = calloc(1, sizeof(*e));
	int rc;

	if (!e)
		return ERR_NO_MEMORY;
	e->settings = settings;
	e->store = s;
	buf_init(&e->record, record_bytes(settings));
	command_list_init(&e->answered);
	command_list_init(&e->sweeps);
	e->limits_again_ms = INT64_MAX;
	e->look_again_ms = INT64_MAX;
	rc = parking_new(&e->parking);
	if (rc == 0)
		rc = queues_new(&e->queues);
	if (rc == 0)
		rc = limits_new(&e->limits);
	if (rc == 0)
		rc = groups_new(e->queues, &e->groups);
	if (rc == 0)
		rc = link_signer_new(settings->link_secret, &e->links);
	if (rc == 0)
		rc = load_queues(e);
	if (rc == 0)
		rc = save_repaired(e);
	if (rc < 0) {
		engine_free(e);
		return rc;
	}
	/* The first batch looks for what came due while nobody ran. */
	e->due_ms = 0;
	*ret = e;
	return 0;
}

const char *engine_repaired(const struct engine *e, size_t n)
{
	struct queue *q;

	for (uint32_t i = 0; (q = queues_get(e->queues, i)); i++)
		if (q->repaired && n-- == 0)
			return q->name;
	return NULL;
}

const char *engine_repaired_limit(const struct engine *e, size_t n)
{
	struct limit *l;

	for (size_t i = 0; (l = limits_get(e->limits, i)); i++)
		if (l->repaired && n-- == 0)
			return l->name;
	return NULL;
}

void engine_free(struct engine *e)
{
	if (!e)
		return;
	assert(e->sweeps.count == 0);
	parking_free(e->parking);
	queues_free(e->queues);
	limits_free(e->limits);
	groups_free(e->groups);
	free(e->events.items);
	free(e->garbage.items);
	free(e->adopted.items);
	free(e->shunned.items);
	free(e->put_off.items);
	lease_room_free(e->lease_room);
	link_signer_free(e->links);
	buf_done(&e->record);
	free(e);
}

/* ---- a batch ---- */

/* Limits that keep somebody waiting and that time alone may have opened. */
static void limits_look_again(struct engine *e)
{
	struct limit *l;

	if (e->limits_again_ms > e->now_ms)
		return;
	e->limits_again_ms = INT64_MAX;
	for (size_t n = 0; (l = limits_get(e->limits, n)); n++) {
		if (l->again_ms == INT64_MAX)
			continue;
		/* It is found out anew who waits, and for how long. */
		l->again_ms = INT64_MAX;
		parked_limit_gained(e, l);
	}
}

/* Nobody waits for longer because the clock was set back, or stood later when the limits were written. */
static void set_clock(struct engine *e, int64_t now_ms)
{
	if (now_ms < e->now_ms)
		parked_shift(e, now_ms - e->now_ms);
	if (now_ms < e->now_ms || e->loaded) {
		limits_clock(e->limits, now_ms);
		e->limits_again_ms = INT64_MAX;
		e->serve_all = true;
	}
	if (now_ms < e->now_ms)
		e->due_ms = 0;
	e->loaded = false;
	e->now_ms = now_ms;
}

/* What was left is looked at again by this, too. */
static int run_due(struct engine *e)
{
	e->serve_all = e->serve_all || e->look_again_ms != INT64_MAX;
	e->look_again_ms = INT64_MAX;
	return due_run(e);
}

int engine_begin(struct engine *e, struct store_txn *t, int64_t now_ms, const uint8_t random[32])
{
	int rc;

	e->txn = t;
	e->wiser = false;
	e->draws = 0;
	e->room_bytes = -1;
	e->walked = false;
	e->adopted.count = 0;
	memcpy(e->random, random, sizeof(e->random));
	e->events.count = 0;
	e->garbage.count = 0;
	e->tally = (struct engine_tally){ .repeated = 0 };
	if (e->stale) {
		rc = load_caches(e, t);
		if (rc < 0)
			return rc;
		e->stale = false;
	}
	set_clock(e, now_ms);
	limits_begin(e->limits);
	limits_look_again(e);
	e->left = false;
	rc = e->due_ms <= now_ms ? run_due(e) : 0;
	return rc < 0 ? rc : parked_expire(e);
}

static int apply_lease(struct engine *e, struct command *cmd, bool *ret_parked)
{
	const struct msg_job_lease *lease = cmd->params;
	struct msg_job_lease_result nothing = { .has_jobs = true };
	size_t granted;
	int rc;

	rc = command_lease(e, cmd, &granted);
	if (rc < 0 || granted > 0)
		return rc;
	if (lease->has_wait_ms && lease->wait_ms > 0) {
		rc = parked_add(e, cmd);
		*ret_parked = rc == 0;
		return rc;
	}
	cmd->answer(cmd, &MSG_job_lease_result, &nothing);
	return 0;
}

void engine_forget(struct engine *e, const struct command *cmd)
{
	parked_forget(e, cmd->session);
	if (cmd->kind == COMMAND_FORGET)
		sweep_forget(e, cmd->session);
}

static int apply_forget(struct engine *e, struct command *cmd)
{
	struct msg_empty nothing = { 0 };

	engine_forget(e, cmd);
	cmd->answer(cmd, &MSG_empty, &nothing);
	return 0;
}

int engine_apply(struct engine *e, struct command *cmd, bool *ret_parked)
{
	*ret_parked = false;
	switch (cmd->kind) {
	case COMMAND_PUT:
		return command_put(e, cmd);
	case COMMAND_LEASE:
		return apply_lease(e, cmd, ret_parked);
	case COMMAND_EXTEND:
		return command_extend(e, cmd);
	case COMMAND_CHECKPOINT:
		return command_checkpoint(e, cmd);
	case COMMAND_COMPLETE:
		return command_complete(e, cmd);
	case COMMAND_FAIL:
		return command_fail(e, cmd);
	case COMMAND_RELEASE:
		return command_release(e, cmd);
	case COMMAND_ATTACH:
		return command_attach(e, cmd);
	case COMMAND_CHANGE:
		return command_change(e, cmd, ret_parked);
	case COMMAND_QUEUE:
		return command_queue(e, cmd);
	case COMMAND_LIMIT:
		return command_limit(e, cmd);
	case COMMAND_LINK:
		return command_link(e, cmd);
	case COMMAND_HOOK:
		return command_hook(e, cmd);
	case COMMAND_WOKEN:
		return command_woken(e, cmd);
	case COMMAND_LEASE_CANCEL:
	case COMMAND_FORGET:
		return apply_forget(e, cmd);
	case COMMAND_KINDS:
		break;
	}
	return ERR_INTERNAL;
}

static int find_next_due(struct engine *e)
{
	struct slice key, value;
	struct uuid id;
	int rc;

	rc = store_seek(e->txn, TABLE_DUE, slice_of(NULL, 0), &key, &value);
	if (rc < 0 && rc != ERR_NOT_FOUND)
		return rc;
	if (rc == ERR_NOT_FOUND)
		e->due_ms = INT64_MAX;
	else if (key_read_due(key, &e->due_ms, &id) < 0)
		e->due_ms = 0; /* damage, for the next batch to take out */
	/* What is due and was left is no reason to hurry; nor is there another one to look again. Whoever comes upon
	 * it meanwhile does not put that off. */
	if (e->left && e->look_again_ms == INT64_MAX)
		e->look_again_ms = e->now_ms + LEFT_MS;
	if (e->look_again_ms != INT64_MAX && (e->due_ms <= e->now_ms || e->due_ms > e->look_again_ms))
		e->due_ms = e->look_again_ms;
	return 0;
}

int engine_finish(struct engine *e)
{
	int rc;

	rc = sweep_run(e);
	if (rc == 0)
		rc = parked_serve(e);
	if (rc == 0)
		rc = queues_save(e->queues, e->txn, &e->record);
	if (rc == 0)
		rc = limits_save(e->limits, e->txn, &e->record);
	if (rc == 0)
		rc = groups_save(e->groups, e->txn, &e->record);
	if (rc == 0)
		rc = find_next_due(e);
	return rc;
}

void engine_committed(struct engine *e, struct command **ret_answered)
{
	e->txn = NULL;
	e->swept = NULL;
	/* They are their commands', which end now: the next batch may fail before it has begun. */
	e->adopted.count = 0;
	*ret_answered = command_list_take(&e->answered);
}

void engine_aborted(struct engine *e, bool uncertain, struct command **ret_answered)
{
	e->garbage.count = 0;
	for (size_t i = 0; i < e->adopted.count; i++) {
		e->adopted.items[i]->adopted = uncertain;
		/* What has no room here is left for the sweep of the next start. */
		if (uncertain)
			(void)uuid_list_add(&e->garbage, &e->adopted.items[i]->blob);
	}
	e->adopted.count = 0;
	e->wiser = e->txn && (e->wiser || e->swept);
	e->txn = NULL;
	e->events.count = 0;
	/* Whatever was believed about what is due may be wrong: look again. */
	e->due_ms = 0;
	e->serve_all = true;
	e->gained = NULL;
	e->gained_limits = NULL;
	e->limits_again_ms = INT64_MAX;
	e->report = NULL;
	/* What the batch did of it is undone, and how far it was before is not known any more. */
	if (e->swept) {
		command_list_remove(&e->sweeps, e->swept);
		command_list_push(&e->answered, TAKE_PTR(e->swept));
	}
	*ret_answered = command_list_take(&e->answered);
	/* A cache that cannot be read again is empty, and the next batch fails on it instead of guessing. */
	e->stale = load_queues(e) < 0;
}

bool engine_goes_without(const struct engine *e)
{
	return e->wiser;
}

const struct job_event *engine_events(const struct engine *e, size_t *ret_count)
{
	*ret_count = e->events.count;
	return e->events.items;
}

const struct uuid *engine_garbage(const struct engine *e, size_t *ret_count)
{
	*ret_count = e->garbage.count;
	return e->garbage.items;
}

const struct engine_tally *engine_tally(const struct engine *e)
{
	return &e->tally;
}

int64_t engine_next_ms(const struct engine *e)
{
	int64_t next = parked_next_ms(e);

	if (e->sweeps.count > 0)
		return 0;
	if (next > e->limits_again_ms)
		next = e->limits_again_ms;
	return next < e->due_ms ? next : e->due_ms;
}

size_t engine_parked(const struct engine *e)
{
	return parked_count(e);
}

struct command *engine_stop(struct engine *e)
{
	struct command_list all;
	struct command *cmd;

	command_list_init(&all);
	while ((cmd = parked_take(e)))
		command_list_push(&all, cmd);
	while (e->sweeps.count > 0)
		command_list_push(&all, command_list_pop(&e->sweeps));
	return command_list_take(&all);
}
