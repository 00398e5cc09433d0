/* What the engine leaves for after the commit, and what answer_finish() makes of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "proto/base/clean.h"
#include "server/engine/answer.h"
#include "server/engine/link.h"
#include "tests/harness/engine_rig.h"

static struct rig rig;
static int heard; /* answers */

/* Within the transaction: what takes long is not there yet. */
static void told_cb(struct command *cmd, const void *result)
{
	const struct command_put *put = cmd->params;
	const struct msg_job_put_result *puts = result;
	const struct msg_job_lease_result *lease = result;

	heard++;
	if (cmd->kind == COMMAND_PUT && put->many)
		puts = ((const struct msg_job_put_many_result *)result)->jobs;
	for (size_t i = 0; cmd->kind == COMMAND_PUT && i < put->count; i++)
		assert_false(puts[i].has_link || puts[i].has_eta_ms);
	for (size_t i = 0; cmd->kind == COMMAND_LEASE && i < lease->jobs_count; i++)
		assert_false(lease->jobs[i].has_hook_url);
}

static int setup(void **state)
{
	(void)state;
	rig_open(&rig);
	rig.told = told_cb;
	heard = 0;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	rig_close(&rig);
	return 0;
}

static bool is_link_of(struct slice link, const struct uuid *id, uint16_t generation)
{
	static const char base[] = "http://example.test/r/";
	size_t size = strlen(base);

	return link.size == size + LINK_TOKEN_SIZE && memcmp(link.data, base, size) == 0 &&
	       link_matches(rig.settings.link_secret, slice_of((const char *)link.data + size, LINK_TOKEN_SIZE), id,
			    generation);
}

static void the_writers_thread_signs_and_estimates_nothing(void **state)
{
	struct msg_leased_job job;
	struct uuid id = rig_put(&rig, "q", "x");

	(void)state;
	assert_true(is_link_of(rig.answer.put.link, &id, 0));
	assert_true(rig_lease(&rig, "q", &job));
	assert_true(job.has_hook_url);
	assert_int_equal(heard, 2);
}

/* Each of many its own; one that is refused has none. */
static void of_many_each_has_its_own(void **state)
{
	struct put_item items[3] = { { .put = rig_put_of("q", "one") },
				     { .put = rig_put_of("q", "two") },
				     { .put = rig_put_of("q", "three") } };
	struct command_put put = { .items = items, .count = 3, .many = true };
	const struct msg_job_put_result *jobs;

	(void)state;
	error_set(&items[1].error, ERR_BAD_REQUEST, "payload", "no");
	/* As of a batch that was taken back. */
	items[1].rest.has_link = true;
	rig_run(&rig, COMMAND_PUT, &put);
	jobs = rig.answer.put_many.jobs;
	assert_int_equal(rig.answer.put_many.jobs_count, 3);
	assert_true(is_link_of(jobs[0].link, &jobs[0].id, 0));
	assert_true(is_link_of(jobs[2].link, &jobs[2].id, 0));
	assert_true(jobs[1].has_error && !jobs[1].has_link && !jobs[1].has_id);
}

static void put_again(struct msg_job_put *put, const struct uuid *id)
{
	struct uuid again = rig_put_params(&rig, put);

	assert_int_equal(rig.code, 0);
	assert_false(rig.answer.put.created);
	assert_true(uuid_equal(&again, id));
}

/* A put that finds its job tells of the present link, or of none. */
static void a_link_is_of_its_generation(void **state)
{
	struct msg_job_put put = rig_put_of("q", "x");
	struct command_link link = { .revoke = false };
	struct uuid id;

	(void)state;
	put.has_idempotency_key = true;
	put.idempotency_key = slice_str("once");
	id = rig_put_params(&rig, &put);
	link.id = id;
	rig_run(&rig, COMMAND_LINK, &link);
	put_again(&put, &id);
	assert_true(is_link_of(rig.answer.put.link, &id, 1));
	link.revoke = true;
	rig_run(&rig, COMMAND_LINK, &link);
	put_again(&put, &id);
	assert_false(rig.answer.put.has_link);
}

/* Ten calls of a second each, one after the other. */
static void work(void)
{
	struct msg_leased_job job;

	for (int i = 0; i < 10; i++) {
		rig_put(&rig, "q", "x");
		assert_true(rig_lease(&rig, "q", &job));
		rig_pass(&rig, 1000);
		rig_complete(&rig, &job.id, &job.lease, NULL);
	}
}

/* The range is of the moment of the commit, and the same that a look at the job then tells. */
static void the_range_of_time_is_the_one_of_the_commit(void **state)
{
	struct put_item later = { .put = rig_put_of("q", "x") };
	struct command_put put_later = { .items = &later, .count = 1 };
	const struct msg_job *seen;
	struct msg_eta eta;
	struct uuid id;

	(void)state;
	id = rig_put(&rig, "q", "x");
	assert_true(!rig.answer.put.has_eta_ms && rig.answer.put.has_position);
	rig_cancel(&rig, &id);
	work();
	rig_put(&rig, "q", "x");
	id = rig_put(&rig, "q", "x");
	assert_true(rig.answer.put.has_eta_ms);
	eta = rig.answer.put.eta_ms;
	seen = rig_job(&rig, &id);
	assert_true(seen->has_eta_ms);
	assert_int_equal(eta.low, seen->eta_ms.low);
	assert_int_equal(eta.high, seen->eta_ms.high);
	assert_in_range(eta.low, 1, eta.high);
	/* It has no place in line, whatever a batch that was taken back made of it. */
	later.put.has_delay_ms = true;
	later.put.delay_ms = 1000;
	later.rest = (struct put_rest){
		.has_outlook = true,
		.outlook = { .pace = { .run_ms = 1000 }, .now_ms = rig.now_ms, .running = 9, .line = { 1, 1, 0 } },
	};
	rig_run(&rig, COMMAND_PUT, &put_later);
	assert_true(!rig.answer.put.has_eta_ms && !rig.answer.put.has_position);
}

/* While a queue is paused, or its limit held, the range says so too. */
static void the_range_knows_what_keeps_the_queue(void **state)
{
	struct command_queue pause = { .action = QUEUE_PAUSE, .set = { .has_queue = true, .queue = slice_str("q") } };
	struct msg_leased_job job;

	(void)state;
	rig_limit_set(&rig, "api", (struct msg_limit_set){ .has_concurrency = true, .concurrency = 10 });
	rig_put(&rig, "q", "x");
	rig_queue_limit(&rig, "q", "api");
	assert_true(rig_lease(&rig, "q", &job));
	rig_complete(&rig, &job.id, &job.lease, NULL);
	work();
	rig_put(&rig, "q", "x");
	assert_true(rig_lease(&rig, "q", &job));
	rig_fail(&rig, &job.id, &job.lease, FAIL_THROTTLED, 50000);
	rig_put(&rig, "q", "x");
	assert_true(rig.answer.put.has_eta_ms);
	assert_true(rig.answer.put.eta_ms.low >= 50000);
	rig_run(&rig, COMMAND_QUEUE, &pause);
	rig_put(&rig, "q", "x");
	assert_false(rig.answer.put.has_eta_ms);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_writers_thread_signs_and_estimates_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(of_many_each_has_its_own, setup, teardown),
		cmocka_unit_test_setup_teardown(a_link_is_of_its_generation, setup, teardown),
		cmocka_unit_test_setup_teardown(the_range_of_time_is_the_one_of_the_commit, setup, teardown),
		cmocka_unit_test_setup_teardown(the_range_knows_what_keeps_the_queue, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
