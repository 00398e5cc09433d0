/* Hooks: what APIs report, job.woken, and what becomes of them with the job. */
#include "tests/sim/model_priv.h"

#include <string.h>

#define REMEMBERED    16	/* of a job: the newest */
#define WAITING_BYTES (2 << 20) /* of a job: the newest */

static bool is_of(const struct model_hook *h, const struct uuid *job)
{
	return uuid_equal(&h->job, job);
}

static void remove_at(struct model *m, size_t i)
{
	memmove(&m->hooks[i], &m->hooks[i + 1], (m->hooks_count - i - 1) * sizeof(m->hooks[0]));
	m->hooks_count--;
}

size_t model_hooks(const struct model *m, const struct uuid *job, const struct model_hook **ret, size_t cap)
{
	size_t count = 0;

	for (size_t i = 0; i < m->hooks_count; i++)
		if (is_of(&m->hooks[i], job) && count < cap)
			ret[count++] = &m->hooks[i];
	return count;
}

int64_t model_hooks_waiting(const struct model *m, const struct uuid *job)
{
	int64_t count = 0;

	for (size_t i = 0; i < m->hooks_count; i++)
		count += is_of(&m->hooks[i], job) && m->hooks[i].waits;
	return count;
}

void model_hooks_taken(struct model *m, const struct uuid *job, int64_t up_to)
{
	for (size_t i = 0; i < m->hooks_count; i++)
		if (is_of(&m->hooks[i], job) && m->hooks[i].number <= up_to)
			m->hooks[i].waits = false;
}

void model_hooks_forget(struct model *m, const struct uuid *job)
{
	for (size_t i = m->hooks_count; i-- > 0;)
		if (is_of(&m->hooks[i], job))
			remove_at(m, i);
}

static void wake(struct model *m, const struct model_job *job)
{
	struct job_event *event = &m->events[m->events_count];

	model_event(m, job, false);
	event->from_holder = 0;
	event->wakes = job->holder;
	event->lease = job->lease;
}

void model_wake(struct model *m, const struct model_job *job)
{
	if (model_hooks_waiting(m, &job->id) > 0)
		wake(m, job);
}

static void make_room(struct model *m, const struct uuid *job, int64_t bytes)
{
	size_t first = m->hooks_count, remembered = 0;

	for (size_t i = m->hooks_count; i-- > 0;)
		if (is_of(&m->hooks[i], job)) {
			remembered++;
			first = i;
		}
	if (remembered == REMEMBERED)
		remove_at(m, first);
	for (size_t i = m->hooks_count; i-- > 0;) {
		struct model_hook *h = &m->hooks[i];

		if (!is_of(h, job) || !h->waits)
			continue;
		bytes += h->bytes;
		h->waits = bytes <= WAITING_BYTES;
	}
}

static bool came_before(const struct model *m, const struct command_hook *hook)
{
	for (size_t i = 0; i < m->hooks_count; i++)
		if (is_of(&m->hooks[i], &hook->id) &&
		    memcmp(m->hooks[i].digest, hook->digest, sizeof(hook->digest)) == 0)
			return true;
	return false;
}

static void take_in(struct model *m, struct model_job *job, const struct command_hook *hook)
{
	bool waits = !job_state_final(job->state) || job->state == JOB_DEAD;
	int64_t bytes = waits ? (int64_t)(hook->body.size + hook->content_type.size) : 0;
	struct model_hook *h;

	for (size_t i = 0; waits && i < hook->headers_count; i++)
		bytes += (int64_t)(hook->headers[i].key.size + hook->headers[i].value.size);
	make_room(m, &job->id, bytes);
	h = &m->hooks[m->hooks_count++];
	*h = (struct model_hook){
		.job = job->id,
		.number = ++job->hooks,
		.received_at_ms = m->now_ms,
		.attempt = hook->attempt,
		.content_type = hook->content_type,
		.body = hook->body,
		.bytes = bytes,
		.waits = waits,
	};
	memcpy(h->digest, hook->digest, sizeof(h->digest));
	job->last_hook_at_ms = m->now_ms;
}

/* Whoever reports is told the same whatever became of the job. */
void model_hook_command(struct model *m, const struct asked *asked, struct expectation *ret)
{
	static struct msg_empty nothing;
	const struct command_hook *hook = asked->cmd.params;
	struct model_job *job = model_find_job(m, &hook->id);

	model_answer(ret, &MSG_empty, &nothing);
	if (!job || job->gone || came_before(m, hook))
		return;
	take_in(m, job, hook);
	if (job->state == JOB_RUNNING)
		wake(m, job);
}
