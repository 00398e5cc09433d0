/* The way of a command: answered at once, or kept by the engine, as leases that wait and changes by filter are. */
#include "tests/sim/model_priv.h"

#include <stdlib.h>
#include <string.h>

static struct model_kept *keep(struct model_kept *list, size_t *count, struct asked *asked)
{
	struct model_kept *k = &list[*count];

	if (*count == MODEL_KEPT)
		abort(); /* the driver has fewer */
	*k = (struct model_kept){ .asked = asked };
	(*count)++;
	return k;
}

static void remove_at(struct model_kept *list, size_t *count, size_t at)
{
	(*count)--;
	memmove(&list[at], &list[at + 1], (*count - at) * sizeof(*list));
}

static void answer_no_jobs(struct expectation *ret)
{
	static struct msg_job_lease_result nothing = { .has_jobs = true };

	model_answer(ret, &MSG_job_lease_result, &nothing);
}

/* ---- leases ---- */

static void apply_lease(struct model *m, struct asked *asked, struct expectation *ret)
{
	const struct msg_job_lease *lease = asked->cmd.params;

	if (model_lease(m, asked, ret))
		return;
	if (!lease->has_wait_ms || lease->wait_ms == 0) {
		answer_no_jobs(ret);
		return;
	}
	keep(m->parked, &m->parked_count, asked)->wait_until_ms = m->now_ms + lease->wait_ms;
	ret->kept = true;
}

struct asked *model_next_over(struct model *m, struct expectation *ret)
{
	for (size_t i = 0; i < m->parked_count; i++) {
		struct asked *asked = m->parked[i].asked;

		if (m->parked[i].wait_until_ms > m->now_ms)
			continue;
		remove_at(m->parked, &m->parked_count, i);
		*ret = (struct expectation){ 0 };
		answer_no_jobs(ret);
		return asked;
	}
	return NULL;
}

static bool names_queue(const struct msg_job_lease *lease, struct slice queue)
{
	for (size_t i = 0; i < lease->queues_count; i++)
		if (slice_equal(lease->queues[i], queue))
			return true;
	return false;
}

bool model_is_awaited(const struct model *m, struct slice queue)
{
	for (size_t i = 0; i < m->parked_count; i++)
		if (names_queue(m->parked[i].asked->cmd.params, queue))
			return true;
	return false;
}

/* Whether the lease is the first of those that wait for some queue that has something to give. */
static bool is_served(struct model *m, size_t at)
{
	const struct msg_job_lease *lease = m->parked[at].asked->cmd.params;

	for (size_t i = 0; i < lease->queues_count; i++) {
		bool first = true;

		for (size_t before = 0; before < at && first; before++)
			first = !names_queue(m->parked[before].asked->cmd.params, lease->queues[i]);
		if (first && model_can_give(m, lease->queues[i]))
			return true;
	}
	return false;
}

/* Of several that may be served next, the one whom the engine served first: it chooses among the queues. */
struct asked *model_next_served(struct model *m, struct expectation *ret)
{
	size_t next = m->parked_count;
	struct asked *asked;

	for (size_t i = 0; i < m->parked_count; i++) {
		uint64_t turn = m->parked[i].asked->got->turn;

		if (!is_served(m, i))
			continue;
		if (next == m->parked_count || (turn > 0 && turn < m->parked[next].asked->got->turn) ||
		    m->parked[next].asked->got->turn == 0)
			next = i;
	}
	*ret = (struct expectation){ 0 };
	if (next == m->parked_count)
		return NULL;
	asked = m->parked[next].asked;
	if (!model_lease(m, asked, ret))
		abort(); /* something can be given */
	remove_at(m->parked, &m->parked_count, next);
	return asked;
}

/* ---- changes by filter ---- */

static void apply_change(struct model *m, struct asked *asked, struct expectation *ret)
{
	const struct command_change *c = asked->cmd.params;
	struct model_kept *k;

	if (c->has_id) {
		model_change_named(m, asked, ret);
		return;
	}
	if (c->action == CHANGE_PURGE && model_find_queue(m, c->filter.queue) < 0) {
		model_refuse(ret, ERR_NOT_FOUND, NULL);
		return;
	}
	k = keep(m->sweeps, &m->sweeps_count, asked);
	k->has_after = c->has_after;
	k->after = c->after;
	ret->kept = true;
}

static void answer_purge(struct model *m, const struct model_kept *k, struct expectation *ret)
{
	static struct msg_queue_purge_result result;
	const struct command_change *c = k->asked->cmd.params;
	int number = model_find_queue(m, c->filter.queue);
	struct msg_queue queue;

	/* It came to be in the batch that the purge came with, and that was taken back. */
	if (number < 0) {
		model_refuse(ret, ERR_NOT_FOUND, "queue");
		return;
	}
	model_describe_queue(m, number, &queue);
	result = (struct msg_queue_purge_result){ .has_count = true, .count = k->count };
#define COPY(type, name, ...)                 \
	result.has_##name = queue.has_##name; \
	result.name = queue.name;
#define COPY_MESSAGE(name, ...) COPY(, name)
#define COPY_COUNTED(name, ...)                   \
	result.name##_count = queue.name##_count; \
	COPY(, name)
	FIELDS_queue(COPY, COPY_MESSAGE, COPY_MESSAGE, , , , COPY_COUNTED);
#undef COPY_COUNTED
#undef COPY_MESSAGE
#undef COPY
	model_answer(ret, &MSG_queue_purge_result, &result);
}

/* more: it says where to go on; the cursor's text is for the driver to look at. */
static void answer_change(const struct model_kept *k, bool more, struct expectation *ret)
{
	static struct msg_job_change_result result;
	const struct reply *got = k->asked->got;
	const struct msg_job_change_result *told = got->message == &MSG_job_change_result ? got->result : NULL;

	result = (struct msg_job_change_result){ .has_count = true, .count = k->count, .has_cursor = more };
	result.cursor = told ? told->cursor : slice_of(NULL, 0);
	model_answer(ret, &MSG_job_change_result, &result);
}

/* The youngest job that has a record. */
static bool youngest(const struct model *m, struct uuid *ret)
{
	for (size_t i = m->jobs_count; i > 0; i--) {
		if (m->jobs[i - 1].gone)
			continue;
		*ret = m->jobs[i - 1].id;
		return true;
	}
	return false;
}

struct asked *model_sweep(struct model *m, const struct model_went *went, struct expectation *ret)
{
	struct model_kept *k = &m->sweeps[0];
	struct asked *asked = k->asked;
	const struct command_change *c = asked->cmd.params;

	*ret = (struct expectation){ 0 };
	if (!k->begun)
		k->begun = youngest(m, &k->until);
	if (k->begun)
		k->count +=
			model_change_many(m, c, k->has_after ? &k->after : NULL, went->all ? &k->until : &went->after);
	model_outbox_flush(m);
	k->has_after = k->has_after || !went->all;
	k->after = went->after;
	if (!went->answered) {
		/* The next has its turn. */
		k = keep(m->sweeps, &m->sweeps_count, asked);
		*k = m->sweeps[0];
		remove_at(m->sweeps, &m->sweeps_count, 0);
		return NULL;
	}
	if (c->action == CHANGE_PURGE)
		answer_purge(m, k, ret);
	else
		answer_change(k, !went->all, ret);
	remove_at(m->sweeps, &m->sweeps_count, 0);
	return asked;
}

/* ---- both ---- */

struct asked *model_next_ended(struct model *m, const struct asked *by, struct expectation *ret)
{
	uint64_t session = by->cmd.session;

	*ret = (struct expectation){ 0 };
	for (size_t i = 0; i < m->parked_count; i++) {
		struct asked *asked = m->parked[i].asked;

		if (asked->cmd.session != session)
			continue;
		remove_at(m->parked, &m->parked_count, i);
		answer_no_jobs(ret);
		return asked;
	}
	for (size_t i = 0; by->cmd.kind == COMMAND_FORGET && i < m->sweeps_count; i++) {
		struct asked *asked = m->sweeps[i].asked;

		if (asked->cmd.session != session)
			continue;
		/* A purge has no cursor to be gone on with. */
		if (((const struct command_change *)asked->cmd.params)->action == CHANGE_PURGE)
			model_refuse(ret, ERR_SHUTTING_DOWN, NULL);
		else
			answer_change(&m->sweeps[i], true, ret);
		remove_at(m->sweeps, &m->sweeps_count, i);
		return asked;
	}
	return NULL;
}

bool model_unkeep(struct model *m, const struct asked *asked)
{
	for (size_t i = 0; i < m->parked_count; i++) {
		if (m->parked[i].asked != asked)
			continue;
		remove_at(m->parked, &m->parked_count, i);
		return true;
	}
	for (size_t i = 0; i < m->sweeps_count; i++) {
		if (m->sweeps[i].asked != asked)
			continue;
		remove_at(m->sweeps, &m->sweeps_count, i);
		return true;
	}
	return false;
}

static void apply(struct model *m, struct asked *asked, struct expectation *ret)
{
	static struct msg_empty nothing;

	switch (asked->cmd.kind) {
	case COMMAND_PUT:
		model_put(m, asked, ret);
		return;
	case COMMAND_LEASE:
		apply_lease(m, asked, ret);
		return;
	case COMMAND_EXTEND:
		model_extend(m, asked, ret);
		return;
	case COMMAND_CHECKPOINT:
		model_checkpoint(m, asked, ret);
		return;
	case COMMAND_COMPLETE:
		model_complete(m, asked, ret);
		return;
	case COMMAND_FAIL:
		model_fail(m, asked, ret);
		return;
	case COMMAND_RELEASE:
		model_release(m, asked, ret);
		return;
	case COMMAND_ATTACH:
		model_attach_command(m, asked, ret);
		return;
	case COMMAND_CHANGE:
		apply_change(m, asked, ret);
		return;
	case COMMAND_QUEUE:
		model_queue_command(m, asked, ret);
		return;
	case COMMAND_LIMIT:
		model_limit_command(m, asked, ret);
		return;
	case COMMAND_LINK:
		model_link(m, asked, ret);
		return;
	case COMMAND_LEASE_CANCEL:
	case COMMAND_FORGET:
		model_answer(ret, &MSG_empty, &nothing);
		return;
	case COMMAND_KINDS:
		break;
	}
	abort();
}

void model_apply(struct model *m, struct asked *asked, struct expectation *ret)
{
	*ret = (struct expectation){ 0 };
	apply(m, asked, ret);
	model_outbox_flush(m);
}
