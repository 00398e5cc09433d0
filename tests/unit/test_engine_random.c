/* The engine against a model of it: random commands, jumps of time both ways, restarts and batches that the disk takes
 * back; the model says what each must answer and how every job stands. SEED=… STEPS=… plays a run again.
 *
 * The model knows a job's states and moments and the order of the line; it has no indexes, counts or records, so it
 * shares none of the engine's mistakes about them: those are the checker's, every CHECK_STEPS steps.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "server/store/blob.h"
#include "tests/harness/engine_rig.h"

#define QUEUES	    2
#define KEYS	    12
#define MODELS	    20000 /* jobs of one run, at most */
#define LIVE	    100	  /* at once; the engine does 1000 due entries a batch, and the model all of them */
#define CHECK_STEPS 50

enum fate { KNOWN, FORGOTTEN, UNKNOWN };

struct model {
	struct uuid id;
	enum fate fate;
	int state;
	int queue, priority, key; /* key: -1 for none */
	uint64_t tag;
	int64_t attempt, max_attempts;
	int64_t base_ms, attempt_timeout_ms, result_ttl_ms;
	int64_t run_at, start_by, deadline, started_at, finished_at;
	int64_t lease_expires, attempt_deadline, expires, forgotten_until;
	bool artifacts_gone;
	bool other; /* its payload is the other one */
	struct token lease;
};

static struct rig rig;
static struct model *models;
static size_t models_count, first_live;
static uint64_t tags[QUEUES];
static uint64_t seed, drawn;
static int step_number;

static const char *const queue_names[QUEUES] = { "a", "b" };

/* ---- chance: splitmix64 ---- */

static uint64_t draw(void)
{
	uint64_t z = (drawn += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static int64_t below(int64_t n)
{
	return (int64_t)(draw() % (uint64_t)n);
}

static bool one_in(int64_t n)
{
	return below(n) == 0;
}

static void expect(bool right, const char *what)
{
	if (!right)
		fail_msg("SEED=%llu: step %d: %s", (unsigned long long)seed, step_number, what);
}

/* ---- what the model does by itself ---- */

static void enter(struct model *m, int state)
{
	m->state = state;
	if (state == JOB_READY && m->tag == 0)
		m->tag = ++tags[m->queue];
	if (state >= JOB_SUCCEEDED) {
		m->finished_at = rig.now_ms;
		m->expires = rig.now_ms + (m->result_ttl_ms >= 0 ? m->result_ttl_ms : rig.settings.result_ttl_ms);
	}
}

static void model_failed(struct model *m, int kind, int64_t retry_ms)
{
	bool throttled = kind == FAIL_THROTTLED && retry_ms > 0;
	int64_t delay = m->base_ms;

	if (throttled)
		m->attempt--;
	if (kind == FAIL_REJECTED || (!throttled && m->attempt >= m->max_attempts)) {
		enter(m, JOB_DEAD);
		return;
	}
	for (int64_t i = 1; i < m->attempt; i++)
		delay *= 2;
	if (throttled || delay < retry_ms)
		delay = retry_ms;
	m->run_at = rig.now_ms + delay;
	enter(m, delay > 0 ? JOB_SCHEDULED : JOB_READY);
}

static int64_t sooner(int64_t a, int64_t b)
{
	if (a == 0 || b == 0)
		return a ? a : b;
	return a < b ? a : b;
}

/* When something happens to it by itself; 0 for never. */
static int64_t model_due(const struct model *m)
{
	int64_t start_by = m->started_at == 0 ? m->start_by : 0;

	if (m->fate == FORGOTTEN)
		return m->forgotten_until;
	if (m->fate == UNKNOWN)
		return 0;
	switch (m->state) {
	case JOB_SCHEDULED:
		return sooner(m->run_at, sooner(start_by, m->deadline));
	case JOB_READY:
		return sooner(start_by, m->deadline);
	case JOB_RUNNING:
		return sooner(m->lease_expires, sooner(m->attempt_deadline, m->deadline));
	default:
		return m->expires;
	}
}

static bool passed(int64_t at)
{
	return at != 0 && at <= rig.now_ms;
}

static void model_finished(struct model *m)
{
	int64_t forget_at = m->finished_at + rig.settings.record_ttl_ms;

	if (!m->artifacts_gone) {
		m->artifacts_gone = true;
		m->expires = forget_at > rig.now_ms ? forget_at : rig.now_ms;
		return;
	}
	m->fate = FORGOTTEN;
	m->forgotten_until = rig.now_ms + rig.settings.tombstone_ttl_ms;
}

static void model_happens(struct model *m)
{
	if (m->fate == FORGOTTEN) {
		m->fate = UNKNOWN;
	} else if (m->state >= JOB_SUCCEEDED) {
		model_finished(m);
	} else if (passed(m->deadline)) {
		enter(m, JOB_EXPIRED);
	} else if (m->state != JOB_RUNNING) {
		enter(m, m->started_at == 0 && passed(m->start_by) ? JOB_EXPIRED : JOB_READY);
	} else if (passed(m->attempt_deadline)) {
		model_failed(m, FAIL_TIMEOUT, 0);
	} else if (m->attempt >= m->max_attempts) {
		enter(m, JOB_DEAD);
	} else {
		m->run_at = rig.now_ms;
		enter(m, JOB_READY);
	}
}

/* All that is due, the earliest first and of one moment the oldest, as the places in line follow from it. */
static void model_time(void)
{
	for (;;) {
		struct model *next = NULL;

		for (size_t i = first_live; i < models_count; i++) {
			struct model *m = &models[i];

			if (passed(model_due(m)) && (!next || model_due(m) < model_due(next)))
				next = m;
		}
		if (!next)
			break;
		model_happens(next);
	}
	while (first_live < models_count && models[first_live].fate == UNKNOWN)
		first_live++;
}

static struct model *model_first_ready(int queue)
{
	struct model *first = NULL;

	for (size_t i = first_live; i < models_count; i++) {
		struct model *m = &models[i];

		if (m->fate != KNOWN || m->state != JOB_READY || m->queue != queue)
			continue;
		if (!first || m->priority < first->priority || (m->priority == first->priority && m->tag < first->tag))
			first = m;
	}
	return first;
}

static struct model *model_of_key(int queue, int key)
{
	for (size_t i = first_live; key >= 0 && i < models_count; i++)
		if (models[i].fate == KNOWN && models[i].queue == queue && models[i].key == key)
			return &models[i];
	return NULL;
}

/* ---- the commands ---- */

/* Now and then the disk fails, and nothing of the batch ever was. True when it will. */
static bool maybe_take_back(void)
{
	rig.take_back = one_in(25);
	if (!rig.take_back)
		model_time();
	return rig.take_back;
}

static struct msg_job_put draw_put(struct model *m, char key[8])
{
	static const int64_t delays[] = { 0, 1, 500, 20000 }, bases[] = { 0, 1, 1000 };
	struct msg_job_put put = { .has_queue = true, .has_payload = true, .payload = slice_str("payload") };

	*m = (struct model){ .queue = (int)below(QUEUES), .priority = (int)below(10), .key = -1, .result_ttl_ms = -1 };
	put.queue = slice_str(queue_names[m->queue]);
	put.has_priority = put.has_max_attempts = put.has_backoff = true;
	put.priority = m->priority;
	put.max_attempts = m->max_attempts = 1 + below(4);
	put.backoff.has_base_ms = put.backoff.has_jitter = true;
	put.backoff.base_ms = m->base_ms = bases[below(3)];
	put.has_delay_ms = true;
	put.delay_ms = delays[below(4)];
	m->run_at = rig.now_ms + put.delay_ms;
	put.has_start_deadline_ms = one_in(4);
	put.start_deadline_ms = 1 + below(30000);
	m->start_by = put.has_start_deadline_ms ? rig.now_ms + put.start_deadline_ms : 0;
	put.has_deadline_ms = one_in(4);
	put.deadline_ms = 1 + below(90000);
	m->deadline = put.has_deadline_ms ? rig.now_ms + put.deadline_ms : 0;
	put.has_attempt_timeout_ms = one_in(4);
	put.attempt_timeout_ms = 1 + below(20000);
	m->attempt_timeout_ms = put.has_attempt_timeout_ms ? put.attempt_timeout_ms : 0;
	put.has_result_ttl_ms = one_in(4);
	put.result_ttl_ms = below(3) * 40000;
	if (put.has_result_ttl_ms)
		m->result_ttl_ms = put.result_ttl_ms;
	put.has_preview = one_in(3);
	put.preview = (struct msg_media){ .content_type = slice_str("image/png"), .data = slice_str("still") };
	put.has_idempotency_key = one_in(3);
	if (put.has_idempotency_key) {
		m->key = (int)below(KEYS);
		snprintf(key, 8, "key%d", m->key);
		put.idempotency_key = slice_str(key);
	}
	return put;
}

static int64_t model_position(const struct model *m)
{
	int64_t ahead = 0;

	for (size_t i = first_live; i < models_count; i++)
		ahead += models[i].fate == KNOWN && models[i].state == JOB_READY && models[i].queue == m->queue &&
			 models[i].priority <= m->priority;
	return ahead;
}

static void do_put(void)
{
	struct model m, *known;
	char key[8];
	struct msg_job_put put = draw_put(&m, key);
	bool lost = maybe_take_back();

	m.other = one_in(8);
	if (m.other)
		put.payload = slice_str("other");
	m.id = rig_put_params(&rig, &put);
	if (lost) {
		expect(rig.code == ERR_STORE_ERROR, "a put was not taken back");
		return;
	}
	known = model_of_key(m.queue, m.key);
	if (known && known->other != m.other) {
		expect(rig.code == ERR_CONFLICT, "a put with another payload was taken");
		return;
	}
	if (known) {
		expect(rig.code == 0 && !rig.answer.put.created && uuid_equal(&m.id, &known->id) &&
			       rig.answer.put.state == known->state,
		       "a put's key leads elsewhere");
		return;
	}
	expect(rig.code == 0 && rig.answer.put.created, "a put was refused");
	enter(&m, put.delay_ms > 0 ? JOB_SCHEDULED : JOB_READY);
	expect(rig.answer.put.state == m.state, "a put's state");
	models[models_count++] = m;
	if (m.state == JOB_READY)
		expect(rig.answer.put.position == model_position(&m), "a put's place");
}

static void expect_granted(const struct msg_leased_job *job, int queue, int64_t lease_ms)
{
	struct model *m = model_first_ready(queue);

	expect(m && uuid_equal(&m->id, &job->id), "another job was leased");
	if (!m)
		return;
	m->lease = job->lease;
	m->attempt++;
	m->started_at = rig.now_ms;
	m->lease_expires = rig.now_ms + lease_ms;
	m->attempt_deadline = m->attempt_timeout_ms ? rig.now_ms + m->attempt_timeout_ms : 0;
	enter(m, JOB_RUNNING);
	expect(job->attempt == m->attempt && job->lease_expires_at_ms == m->lease_expires &&
		       job->attempt_deadline_at_ms == m->attempt_deadline && job->deadline_at_ms == m->deadline,
	       "a leased job's moments");
}

static void do_lease(void)
{
	int queue = (int)below(QUEUES);
	struct slice name = slice_str(queue_names[queue]);
	struct msg_job_lease lease = {
		.has_queues = true, .queues_count = 1, .queues = &name, .has_max = true, .has_lease_ms = true
	};
	bool lost = maybe_take_back();

	lease.max = 1 + below(3);
	lease.lease_ms = 1 + below(60000);
	rig_run(&rig, COMMAND_LEASE, &lease);
	if (lost)
		return;
	for (size_t i = 0; i < rig.answer.lease.jobs_count; i++)
		expect_granted(&rig.answer.lease.jobs[i], queue, lease.lease_ms);
	if ((int64_t)rig.answer.lease.jobs_count < lease.max)
		expect(!model_first_ready(queue), "a ready job was not leased");
}

/* Any job, preferably one that runs, and a lease that is mostly right. */
static struct model *draw_job(struct token *ret_lease)
{
	struct model *m = NULL;

	for (int i = 0; i < 8 && first_live < models_count; i++) {
		m = &models[first_live + (size_t)below((int64_t)(models_count - first_live))];
		if (m->fate == KNOWN && m->state == JOB_RUNNING)
			break;
	}
	if (m)
		*ret_lease = m->lease;
	if (m && one_in(6))
		ret_lease->bytes[below(16)] ^= 1;
	return m;
}

/* What a write with this lease must be answered. */
static int right_code(const struct model *m, const struct token *lease)
{
	if (m->fate != KNOWN)
		return ERR_NOT_FOUND;
	if (m->state != JOB_RUNNING || memcmp(lease, &m->lease, sizeof(*lease)) != 0)
		return ERR_LEASE_LOST;
	return 0;
}

static void do_complete(struct model *m, const struct token *lease)
{
	bool lost = maybe_take_back();

	rig_complete(&rig, &m->id, lease, one_in(2) ? "done" : NULL);
	if (lost)
		return;
	expect(rig.code == right_code(m, lease), "a completion's answer");
	if (rig.code == 0)
		enter(m, JOB_SUCCEEDED);
}

static void do_fail(struct model *m, const struct token *lease)
{
	int kind = (int)below(FAIL_KINDS);
	int64_t retry_ms = one_in(2) ? below(5000) : 0;
	bool lost = maybe_take_back();

	rig_fail(&rig, &m->id, lease, kind, retry_ms);
	if (lost)
		return;
	expect(rig.code == right_code(m, lease), "a failure's answer");
	if (rig.code < 0)
		return;
	model_failed(m, kind, retry_ms);
	expect(rig.answer.fail.state == m->state, "a failed job's state");
	if (m->state != JOB_DEAD)
		expect(rig.answer.fail.next_attempt_at_ms == m->run_at, "a failed job's next attempt");
}

static void do_release(struct model *m, const struct token *lease)
{
	struct msg_job_release release = { .has_id = true, .id = m->id, .has_lease = true, .lease = *lease };
	bool lost = maybe_take_back();

	release.has_delay_ms = one_in(2);
	release.delay_ms = below(3) * 1000;
	rig_run(&rig, COMMAND_RELEASE, &release);
	if (lost)
		return;
	expect(rig.code == right_code(m, lease), "a release's answer");
	if (rig.code < 0)
		return;
	m->attempt--;
	m->run_at = rig.now_ms + (release.has_delay_ms ? release.delay_ms : 0);
	enter(m, m->run_at > rig.now_ms ? JOB_SCHEDULED : JOB_READY);
	expect(rig.answer.release.state == m->state, "a released job's state");
}

static void do_extend(struct model *m, const struct token *lease)
{
	struct msg_extend_item item = { .has_id = true, .id = m->id, .has_lease = true, .lease = *lease };
	struct msg_job_extend extend = { .has_leases = true, .leases = &item, .leases_count = 1, .has_lease_ms = true };
	bool lost = maybe_take_back();

	extend.lease_ms = 1 + below(60000);
	item.has_note = one_in(2);
	item.note = slice_str("half way");
	rig_run(&rig, COMMAND_EXTEND, &extend);
	if (lost)
		return;
	expect(rig.answer.extend.leases[0].status == (right_code(m, lease) == 0 ? EXTEND_OK : EXTEND_LOST),
	       "an extension's answer");
	if (right_code(m, lease) == 0)
		m->lease_expires = rig.now_ms + extend.lease_ms;
}

static void do_write(struct model *m, const struct token *lease)
{
	struct msg_job_checkpoint checkpoint = { .has_id = true,
						 .id = m->id,
						 .has_lease = true,
						 .lease = *lease,
						 .has_data = true,
						 .data = slice_str("provider-id") };
	struct command_attach attach = { .id = m->id, .lease = *lease, .has_lease = true, .name = slice_str("other") };
	bool lost = maybe_take_back();

	attach.staged.content_type = slice_str("text/plain");
	attach.staged.data = slice_str("bytes");
	attach.staged.size = 5;
	blob_sha256(attach.staged.data, attach.staged.sha256);
	if (one_in(2))
		rig_run(&rig, COMMAND_CHECKPOINT, &checkpoint);
	else
		rig_run(&rig, COMMAND_ATTACH, &attach);
	if (!lost)
		expect(rig.code == right_code(m, lease), "a write's answer");
}

static void do_worker(void)
{
	static void (*const commands[])(struct model * m, const struct token *lease) = { do_complete, do_fail,
											 do_fail,     do_release,
											 do_extend,   do_write };
	struct token lease;
	struct model *m = draw_job(&lease);

	if (m)
		commands[below(6)](m, &lease);
}

/* Time mostly creeps, sometimes leaps, and is sometimes set back. */
static void do_time(void)
{
	static const int64_t leaps[] = { 10, 1000, 1000, 5000, 30000, 200000 };
	int64_t ms = below(leaps[below(6)]) + 1;

	if (one_in(10))
		ms = -ms;
	rig.now_ms += ms;
	(void)maybe_take_back();
	rig_pass(&rig, 0);
}

/* ---- the run ---- */

static void compare_all(void)
{
	/* So that the engine has done what is due now, as the model has. */
	rig_pass(&rig, 0);
	model_time();
	for (size_t i = first_live; i < models_count; i++) {
		const struct model *m = &models[i];
		const struct msg_job *job = rig_job(&rig, &m->id);

		expect(rig.code == (m->fate == KNOWN	   ? 0
				    : m->fate == FORGOTTEN ? ERR_GONE
							   : ERR_NOT_FOUND),
		       "a job is there that is gone, or gone that is there");
		if (m->fate != KNOWN)
			continue;
		expect(job->state == m->state, "a job's state");
		expect(job->attempt == m->attempt, "a job's attempts");
		expect(job->run_at_ms == m->run_at, "when a job may run");
		expect(m->state < JOB_SUCCEEDED || job->finished_at_ms == m->finished_at, "when a job ended");
		expect(!m->artifacts_gone || job->artifacts_count == 0, "a job's artifacts stay");
	}
	rig_check(&rig);
}

static void take_step(void)
{
	int64_t choice = below(100);

	if (choice < 25 && models_count - first_live < LIVE)
		do_put();
	else if (choice < 50)
		do_lease();
	else if (choice < 85)
		do_worker();
	else if (choice < 99)
		do_time();
	else
		rig_restart(&rig);
}

static uint64_t number_from(const char *name, uint64_t fallback)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 10) : fallback;
}

static void the_engine_does_as_its_model(void **state)
{
	struct timespec now;
	int steps = (int)number_from("STEPS", 8000);

	(void)state;
	clock_gettime(CLOCK_REALTIME, &now);
	seed = drawn = number_from("SEED", (uint64_t)now.tv_nsec);
	print_message("# SEED=%llu STEPS=%d\n", (unsigned long long)seed, steps);
	for (step_number = 1; step_number <= steps && models_count < MODELS; step_number++) {
		take_step();
		if (step_number % CHECK_STEPS == 0)
			compare_all();
	}
	compare_all();
}

static int setup(void **state)
{
	(void)state;
	models = calloc(MODELS, sizeof(*models));
	if (!models)
		return -1;
	rig_open(&rig);
	rig.unchecked = true;
	rig.settings.result_ttl_ms = 60000;
	rig.settings.record_ttl_ms = 120000;
	rig.settings.tombstone_ttl_ms = 60000;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	rig_close(&rig);
	free(models);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_engine_does_as_its_model, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
