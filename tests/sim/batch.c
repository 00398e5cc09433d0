/* A batch in the engine and in the model, side by side.
 *
 * Each command goes to the engine first; its callbacks keep the answer. Then the model says what it had to be, taking
 * from the answer what the engine may choose. Batches that come to nothing are applied in both all the same, and then
 * taken back in both: the engine by its transaction, the model by a copy.
 */
#include "tests/sim/batch.h"

#include <string.h>

#include "proto/base/clean.h"
#include "server/store/keys.h"
#include "server/store/records.h"
#include "tests/sim/compare.h"
#include "tests/sim/draw.h"
#include "tests/sim/sim.h"
#include "tests/sim/slot.h"
#include "tests/sim/tell.h"

struct batch {
	struct store_txn *txn;
	struct slot *slots[BATCH_MAX];
	size_t count;
	int rc; /* what the engine said */
};

static int64_t drawn_run_at(void *user, const struct uuid *id)
{
	struct batch *b = user;
	struct key key = key_job(id);
	struct slice bytes;
	struct job job;

	if (fault_free_get(b->txn, TABLE_JOBS, key_slice(&key), &bytes) < 0 || record_read_job(bytes, &job) < 0)
		return -1;
	return job.run_at_ms;
}

/* The engine's answer to a kept command, given in this step. */
static void compare_late(struct sim *s, struct asked *asked, const struct expectation *e)
{
	slot_compare(s, slot_of(asked), e);
	s->stats->answered_late++;
}

/* Replies are read before the model asks for them. */
static void decode_all(struct sim *s)
{
	for (size_t i = 0; i < SLOTS; i++)
		if (s->slots[i].in_use)
			slot_decode(s, &s->slots[i]);
}

/* What the engine says, held against what the store did: it may not fail by itself, nor go on after the store has
 * failed. */
static int settle(struct sim *s, const struct slot *slot, int rc)
{
	if (rc < 0 && !fault_struck())
		sim_fail(s, "the engine fails by itself: %s", error_text(rc));
	if (rc == 0 && fault_struck())
		sim_fail(s, "%s\nthe engine goes on though %s has failed", slot ? tell_command(slot) : "(no command)",
			 fault_where());
	return rc;
}

static void begin(struct sim *s, struct batch *b)
{
	struct expectation e;
	struct asked *asked;
	uint8_t random[32];

	draw_bytes(s, random, sizeof(random));
	b->rc = settle(s, NULL, engine_begin(s->engine, b->txn, s->now_ms, random));
	model_clock(s->model, s->now_ms);
	if (b->rc < 0)
		return;
	s->stats->floods += !model_time(s->model, drawn_run_at, b);
	decode_all(s);
	while ((asked = model_next_over(s->model, &e)))
		compare_late(s, asked, &e);
}

/* What the writer adds to a command. */
static void furnish(struct sim *s, struct command *cmd)
{
	uint8_t random[UUID_RANDOM_SIZE];

	draw_bytes(s, cmd->random, sizeof(cmd->random));
	if (cmd->kind != COMMAND_PUT)
		return;
	draw_bytes(s, random, sizeof(random));
	uuid_v7(&s->ids, s->now_ms, random, &cmd->first_id);
	for (size_t i = 1; i < ((const struct command_put *)cmd->params)->count; i++)
		uuid_next(&s->ids.last, &s->ids.last);
}

static bool ends_others(const struct slot *slot)
{
	return slot->cmd.kind == COMMAND_LEASE_CANCEL || slot->cmd.kind == COMMAND_FORGET;
}

/* What was kept for its session is answered. */
static void compare_ended(struct sim *s, const struct slot *slot)
{
	struct expectation e;
	struct asked *asked;

	decode_all(s);
	while ((asked = model_next_ended(s->model, &slot->asked, &e)))
		compare_late(s, asked, &e);
}

static void apply(struct sim *s, struct batch *b)
{
	struct slot *slot = slot_take(s);
	struct expectation e;
	bool parked = false;

	draw_command(s, slot);
	furnish(s, &slot->asked.cmd);
	slot_copy_params(slot);
	if (s->verbose)
		tell_asked(s, slot);
	b->rc = settle(s, slot, engine_apply(s->engine, &slot->cmd, &parked));
	if (!parked)
		b->slots[b->count++] = slot;
	slot->kept = parked;
	s->stats->commands++;
	if (b->rc < 0)
		return;
	slot_decode(s, slot);
	model_apply(s->model, &slot->asked, &e);
	if (parked != e.kept)
		sim_fail(s, "%s\nexpected to be %s", tell_command(slot), e.kept ? "kept" : "answered at once");
	slot_compare(s, slot, &e);
	if (ends_others(slot))
		compare_ended(s, slot);
}

/* The batch has failed already. Whoever is gone is forgotten all the same, as the writer does. */
static void give_up(struct sim *s, struct batch *b)
{
	struct slot *slot = slot_take(s);

	draw_command(s, slot);
	furnish(s, &slot->asked.cmd);
	slot_copy_params(slot);
	b->slots[b->count++] = slot;
	if (!ends_others(slot))
		return;
	engine_forget(s->engine, &slot->cmd);
	compare_ended(s, slot);
}

/* How the first change by filter went on, from what the engine wrote into it. */
static void sweep(struct sim *s)
{
	struct slot *slot = slot_of(s->model->sweeps[0].asked);
	const struct command_change *c = &slot->params.change;
	const struct msg_job_change_result *result =
		slot->reply.message == &MSG_job_change_result ? slot->reply.result : NULL;
	struct model_went went = { .answered = slot->reply.times > 0, .after = c->after };
	int64_t before = s->model->sweeps[0].count;
	struct expectation e;
	struct asked *asked;

	went.all = went.answered && !(result && result->has_cursor);
	if (!went.all && !c->has_after)
		sim_fail(s, "%s\ndid not go on", tell_command(slot));
	if (!went.all && s->model->sweeps[0].has_after && uuid_compare(&c->after, &s->model->sweeps[0].after) <= 0)
		sim_fail(s, "%s\ndid not go on, or went back", tell_command(slot));
	asked = model_sweep(s->model, &went, &e);
	if (asked)
		compare_late(s, asked, &e);
	/* A limit is reached before a cursor is given for it, and not passed by far; nor is a batch without end. */
	if (c->limit > 0 && (c->count > c->limit + 1000 || (went.answered && !went.all && c->count < c->limit)))
		sim_fail(s, "%s\ncounts %lld with a limit", tell_command(slot), (long long)c->count);
	if (c->count - before > 2000)
		sim_fail(s, "%s\nchanges %lld in one batch", tell_command(slot), (long long)(c->count - before));
	if (!asked)
		s->stats->broken_off++;
}

static void finish(struct sim *s, struct batch *b)
{
	struct expectation e;
	struct asked *asked;

	b->rc = settle(s, NULL, engine_finish(s->engine));
	if (b->rc < 0)
		return;
	decode_all(s);
	if (s->model->sweeps_count > 0)
		sweep(s);
	while ((asked = model_next_served(s->model, &e)))
		compare_late(s, asked, &e);
}

/* Every command was answered when the model said so, and no other. */
static void look_for_strays(struct sim *s)
{
	for (size_t i = 0; i < SLOTS; i++) {
		struct slot *slot = &s->slots[i];

		if (slot->in_use && slot->reply.times != slot->answered)
			sim_fail(s, "%s\nexpected: no answer\ngot: %s", tell_command(slot), tell_reply(&slot->reply));
	}
}

/* ---- after a batch ---- */

/* Of a batch that failed the change by filter that it went on with comes back unanswered; of one that broke in the
 * middle a lease may, too. Neither is kept any more. */
static bool may_come_unanswered(struct sim *s, const struct slot *slot, bool failed, bool broke)
{
	return failed && (broke || slot->cmd.kind == COMMAND_CHANGE) && model_unkeep(s->model, &slot->asked);
}

static void release_kept(struct sim *s, const struct batch *b, struct command *answered, int rc)
{
	while (answered) {
		struct slot *slot = CONTAINER_OF(answered, struct slot, cmd);

		answered = answered->next;
		if (!slot->in_use || !slot->kept)
			sim_fail(s, "the engine gives a command back that it did not keep");
		if (!slot->answered && !may_come_unanswered(s, slot, rc < 0, b->rc < 0))
			sim_fail(s, "%s\nis given back unanswered", tell_command(slot));
		slot_release(s, slot, rc);
	}
}

static void release_batch(struct sim *s, const struct batch *b, int rc)
{
	for (size_t i = 0; i < b->count; i++)
		slot_release(s, b->slots[i], rc);
}

/* What is left must be what the model says is kept. */
static void look_at_kept(struct sim *s)
{
	size_t left = 0;

	for (size_t i = 0; i < SLOTS; i++)
		left += s->slots[i].in_use;
	if (left != s->model->parked_count + s->model->sweeps_count)
		sim_fail(s, "%zu commands are kept or forgotten, expected %zu and %zu", left, s->model->parked_count,
			 s->model->sweeps_count);
	if (engine_parked(s->engine) != s->model->parked_count)
		sim_fail(s, "%zu leases are parked, expected %zu", engine_parked(s->engine), s->model->parked_count);
}

static void remove_garbage(struct sim *s)
{
	size_t count;
	const struct uuid *garbage = engine_garbage(s->engine, &count);

	compare_garbage(s, garbage, count);
	for (size_t i = 0; i < count; i++)
		if (blob_remove(s->blobs, &garbage[i]) < 0)
			sim_fail(s, "a blob cannot be removed");
}

/* It may want to be woken too early once, for a lease that has been granted since; never too late, never for nothing
 * again and again. */
static void look_at_next(struct sim *s)
{
	int64_t next = engine_next_ms(s->engine), expected = model_next_ms(s->model);

	if (next != expected && (next > expected || next <= s->now_ms))
		sim_fail(s, "the engine wants to be woken at %lld, expected %lld, it is %lld", (long long)next,
			 (long long)expected, (long long)s->now_ms);
}

static void commit(struct sim *s, struct batch *b)
{
	if (store_commit(b->txn) < 0)
		sim_fail(s, "the store cannot commit: %s", store_error_detail());
}

static void committed(struct sim *s, struct batch *b)
{
	struct command *answered;
	const struct job_event *events;
	size_t count;

	commit(s, b);
	engine_committed(s->engine, &answered);
	events = engine_events(s->engine, &count);
	compare_events(s, events, count);
	remove_garbage(s);
	release_batch(s, b, 0);
	release_kept(s, b, answered, 0);
	look_at_kept(s);
	look_at_next(s);
}

/* Files that nobody was told about any more, as the broker removes them when it starts: those that no record names
 * after the batch, or that none names since it did not happen. */
static void sweep_files(struct sim *s, struct batch *b, bool happened)
{
	for (size_t i = 0; happened && i < s->model->garbage_count; i++)
		(void)blob_remove(s->blobs, &s->model->garbage[i]);
	for (size_t i = 0; !happened && i < b->count; i++) {
		const struct staged *staged;

		for (size_t n = 0; (staged = slot_staged(b->slots[i], n)); n++)
			if (staged->has_blob && staged->adopted)
				(void)blob_remove(s->blobs, &staged->blob);
	}
}

static void look_at_adopted(struct sim *s, struct batch *b)
{
	for (size_t i = 0; i < b->count; i++) {
		const struct staged *staged;

		for (size_t n = 0; (staged = slot_staged(b->slots[i], n)); n++)
			if (staged->adopted)
				sim_fail(s, "a file is adopted by a batch that was taken back");
	}
}

/* The engine is told that the batch has failed, which may be true; unsure: the store cannot tell. */
static void failed(struct sim *s, struct batch *b, bool happened, bool unsure)
{
	struct command *answered;

	if (happened)
		commit(s, b);
	else
		store_abort(b->txn);
	engine_aborted(s->engine, unsure, &answered);
	if (!happened)
		model_copy_store(s->model, s->saved);
	if (!unsure)
		look_at_adopted(s, b);
	sweep_files(s, b, happened);
	release_batch(s, b, ERR_STORE_ERROR);
	release_kept(s, b, answered, ERR_STORE_ERROR);
	look_at_kept(s);
}

static void crashed(struct sim *s, struct batch *b, bool before)
{
	if (before)
		store_abort(b->txn);
	else
		commit(s, b);
	if (before)
		model_copy_store(s->model, s->saved);
	sweep_files(s, b, !before);
	sim_restart(s);
}

static void end_batch(struct sim *s, struct batch *b, enum fate fate)
{
	switch (fate) {
	case FATE_COMMIT:
		committed(s, b);
		break;
	case FATE_RESTART:
		committed(s, b);
		sim_restart(s);
		break;
	case FATE_CRASH:
	case FATE_CRASH_AFTER:
		crashed(s, b, fate == FATE_CRASH);
		break;
	case FATE_LOST:
		failed(s, b, false, draw_one_in(s, 2));
		break;
	case FATE_UNSURE:
		failed(s, b, true, true);
		break;
	default:
		failed(s, b, false, false);
		break;
	}
}

static bool omits(const struct sim *s, int index)
{
	return s->omitted && (s->omitted[s->batch] >> index & 1) != 0;
}

void batch_run(struct sim *s)
{
	struct batch b = { .rc = 0 };
	enum fate fate;
	int size;

	draw_begin(s, -1);
	s->now_ms += draw_time(s);
	fate = draw_fate(s);
	size = draw_batch_size(s);
	if (s->verbose)
		tell_batch(s, fate);
	s->stats->run = s->seed;
	s->stats->batch = s->batch;
	s->stats->batches++;
	s->stats->fates[fate]++;
	msgpack_zone_clear(&s->zone);
	if (fate != FATE_COMMIT)
		model_copy_store(s->saved, s->model);
	if (store_begin_write(s->store, &b.txn) < 0)
		sim_fail(s, "the store cannot begin");
	s->txn = b.txn;
	if (fate == FATE_BREAKS)
		fault_at((int)draw_below(s, draw_one_in(s, 2) ? 20 : 200), draw_one_in(s, 2));
	begin(s, &b);
	for (int i = 0; i < size; i++) {
		draw_begin(s, i);
		if (!omits(s, i) && b.rc == 0)
			apply(s, &b);
		else if (!omits(s, i))
			give_up(s, &b);
	}
	draw_begin(s, -1);
	if (b.rc == 0)
		finish(s, &b);
	fault_off();
	if (b.rc == 0)
		look_for_strays(s);
	end_batch(s, &b, fate);
}
