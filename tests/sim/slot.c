/* Commands under way: their parameters for both sides, their answers, and what the two sides make of them. */
#include "tests/sim/slot.h"

#include <stdlib.h>
#include <string.h>

#include "proto/base/clean.h"
#include "server/engine/answer.h"
#include "server/engine/cursor.h"
#include "tests/sim/tell.h"

/* ---- callbacks ---- */

static uint64_t turns;

static void answer_cb(struct command *cmd, const struct message *m, const void *result)
{
	struct slot *slot = CONTAINER_OF(cmd, struct slot, cmd);
	struct sim *s = slot->sim;
	void *kept;

	slot->reply.times++;
	slot->reply.turn = ++turns;
	slot->reply.message = m;
	buf_reset(&slot->reply.bytes);
	if (message_copy(m, result, &s->zone, &kept) < 0 ||
	    answer_finish(cmd, kept, &s->settings, s->links, &s->zone) < 0 ||
	    message_encode(m, kept, &slot->reply.bytes) < 0)
		sim_fail(slot->sim, "an answer cannot be encoded");
}

static void refuse_cb(struct command *cmd, const struct error_info *info)
{
	struct slot *slot = CONTAINER_OF(cmd, struct slot, cmd);

	slot->reply.times++;
	slot->reply.info = *info;
}

static void release_cb(struct command *cmd, int rc)
{
	struct slot *slot = CONTAINER_OF(cmd, struct slot, cmd);

	(void)rc;
	slot->released++;
}

/* ---- slots ---- */

struct slot *slot_take(struct sim *s)
{
	struct slot *slot = s->slots;

	while (slot->in_use)
		slot++;
	slot->sim = s;
	slot->in_use = true;
	slot->kept = slot->answered = false;
	slot->released = 0;
	slot->reply.times = 0;
	slot->reply.turn = 0;
	slot->reply.message = NULL;
	slot->reply.result = NULL;
	slot->reply.info.code = 0;
	slot->asked.got = &slot->reply;
	return slot;
}

/* Lists of the engine's copy lead into the engine's copy. */
void slot_copy_params(struct slot *slot)
{
	struct params *p = &slot->params;

	*p = slot->asked_params;
	switch (slot->asked.cmd.kind) {
	case COMMAND_PUT:
		p->put.items = p->puts;
		break;
	case COMMAND_LEASE:
		p->lease.queues = p->names;
		break;
	case COMMAND_EXTEND:
		p->extend.leases = p->extends;
		break;
	case COMMAND_COMPLETE:
		p->complete.items = p->completes;
		break;
	case COMMAND_QUEUE:
		p->queue.set.weights = p->weights;
		break;
	case COMMAND_LIMIT:
		p->limit.set.schedule = p->spells;
		break;
	default:
		break;
	}
	slot->cmd = slot->asked.cmd;
	slot->cmd.params = p;
	slot->cmd.answer = answer_cb;
	slot->cmd.refuse = refuse_cb;
	slot->cmd.release = release_cb;
}

struct staged *slot_staged(struct slot *slot, size_t n)
{
	struct params *p = &slot->params;

	switch (slot->cmd.kind) {
	case COMMAND_PUT:
		return n < p->put.count ? &p->puts[n].preview : NULL;
	case COMMAND_COMPLETE:
		return n < p->complete.count ? &p->completes[n].result : NULL;
	case COMMAND_ATTACH:
		return n == 0 ? &p->attach.staged : NULL;
	default:
		return NULL;
	}
}

void slot_done(struct sim *s, struct slot *slot)
{
	const struct staged *staged;

	for (size_t i = 0; (staged = slot_staged(slot, i)); i++)
		if (staged->has_blob && !staged->adopted && blob_remove(s->blobs, &staged->blob) < 0)
			sim_fail(s, "a blob cannot be removed");
	slot->in_use = false;
}

void slot_release(struct sim *s, struct slot *slot, int rc)
{
	slot->cmd.release(&slot->cmd, rc);
	if (slot->released != 1)
		sim_fail(s, "a command is released %d times", slot->released);
	slot_done(s, slot);
}

struct slot *slot_of(struct asked *asked)
{
	return CONTAINER_OF(asked, struct slot, asked);
}

/* ---- answers ---- */

void slot_decode(struct sim *s, struct slot *slot)
{
	struct reply *r = &slot->reply;
	msgpack_object object;
	size_t at = 0;
	void *result;

	if (!r->message || r->result)
		return;
	result = msgpack_zone_malloc(&s->zone, message_size(r->message));
	if (!result || msgpack_unpack((const char *)r->bytes.data, r->bytes.size, &at, &s->zone, &object) < 0 ||
	    message_decode(r->message, &object, &s->zone, result, NULL) < 0)
		sim_fail(s, "an answer cannot be decoded");
	r->result = result;
}

/* No lease is given twice, and an answer with more than one is not too large for its peer. */
static void look_at_leases(struct sim *s, const struct reply *r)
{
	const struct msg_job_lease_result *result = r->result;

	if (s->settings.answer_bytes > 0 && result->jobs_count > 1 && r->bytes.size > (size_t)s->settings.answer_bytes)
		sim_fail(s, "%zu leases are %zu bytes", result->jobs_count, r->bytes.size);
	for (size_t i = 0; i < result->jobs_count; i++) {
		const struct token *token = &result->jobs[i].lease;
		uint32_t at;

		memcpy(&at, token->bytes, sizeof(at));
		at %= TOKENS;
		if (memcmp(&s->seen[at], token, sizeof(*token)) == 0)
			sim_fail(s, "a lease is given a second time");
		s->seen[at] = *token;
	}
}

/* A cursor leads to where the engine stopped, and only from the same request. */
static void look_at_cursor(struct sim *s, const struct slot *slot, struct slice text)
{
	static const char *const methods[] = { "job.cancel", "job.retry", "job.erase", "job.redeliver" };
	const struct command_change *c = &slot->params.change;
	struct msg_job_filter other = c->filter;
	struct error_info info;
	struct uuid id;

	if (cursor_read(s->settings.link_secret, methods[c->action], &c->filter, text, &id, &info) < 0)
		sim_fail(s, "a cursor does not fit its request: %s", info.message);
	if (!uuid_equal(&id, &c->after))
		sim_fail(s, "a cursor leads elsewhere");
	other.has_before_at_ms = !other.has_before_at_ms;
	if (cursor_read(s->settings.link_secret, methods[c->action], &other, text, &id, &info) == 0)
		sim_fail(s, "a cursor fits another request");
	s->cursors[s->batch % CURSORS] =
		(struct cursor){ .action = c->action, .filter = slot->asked_params.change.filter, .id = c->after };
	if (s->cursors_count < CURSORS && s->cursors_count < s->batch % CURSORS + 1)
		s->cursors_count = s->batch % CURSORS + 1;
}

static bool refused_as(const struct reply *r, const struct expectation *e)
{
	if (r->message || r->info.code != e->code || (e->field && strcmp(r->info.field, e->field) != 0))
		return false;
	if (e->retry_after)
		return r->info.retry_after_ms >= 1000 && r->info.retry_after_ms <= 60000;
	return r->info.retry_after_ms == 0;
}

static bool answered_as(struct sim *s, const struct reply *r, const struct expectation *e)
{
	if (r->message != e->message)
		return false;
	buf_reset(&s->expected);
	if (message_encode(e->message, e->result, &s->expected) < 0)
		sim_fail(s, "the model's answer cannot be encoded");
	return slice_equal(buf_slice(&s->expected), buf_slice(&r->bytes));
}

void slot_compare(struct sim *s, struct slot *slot, const struct expectation *e)
{
	struct reply *r = &slot->reply;
	bool right;

	if (e->kept)
		right = r->times == 0;
	else if (e->code < 0)
		right = r->times == 1 && refused_as(r, e);
	else
		right = r->times == 1 && answered_as(s, r, e);
	if (!right)
		sim_fail(s, "%s\n%s", tell_command(slot), tell_difference(tell_expected(e), tell_reply(r)));
	slot->answered = !e->kept;
	s->stats->answered[slot->cmd.kind] += !e->kept && e->code == 0;
	s->stats->refused[slot->cmd.kind] += e->code < 0;
	s->stats->kept[slot->cmd.kind] += e->kept;
	if (r->message == &MSG_job_put_result)
		s->former[s->former_count++ % FORMER] = ((const struct msg_job_put_result *)r->result)->id;
	if (r->message == &MSG_job_lease_result)
		look_at_leases(s, r);
	if (r->message == &MSG_job_change_result) {
		const struct msg_job_change_result *result = r->result;

		if (result->has_cursor)
			look_at_cursor(s, slot, result->cursor);
	}
	if (s->verbose)
		tell_answered(slot);
}
