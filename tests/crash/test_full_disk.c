/* A disk that is full for a while.
 *
 * While what is left of it is no more than the reserve, puts are refused with store_full and when to come back; jobs
 * that are there are leased, noted, completed and read as before. When there is room again the same process takes puts
 * again. Where somebody else takes all of the disk at once, reserve and all, whatever is refused is as if it had never
 * been asked, and nothing that was acknowledged is lost.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/base/clean.h"
#include "tests/harness/fault_life.h"

#define DISK_BYTES    (8 << 20)
#define PAYLOAD_BYTES 30000
#define STILL_BYTES   20000 /* a file of its own */
#define JOBS_MAX      1000
#define OUTPUT_BYTES  2000
#define PLENTY_BYTES  (1LL << 30) /* more than any reserve */

static struct fault fault;

struct job {
	char id[RAINCHECK_ID_SIZE];
	char lease[RAINCHECK_TOKEN_SIZE];
	char payload[32]; /* its beginning; the rest is zeros */
};

static struct job jobs[JOBS_MAX];
static size_t job_count;

static void check_data(void)
{
	char output[OUTPUT_BYTES];
	int status = fault_check(&fault, fault.data, output, sizeof(output));

	if (status != 0)
		fail_msg("check: %s\n%s", fault_status_text(status), output);
}

/* The disk has this many bytes besides what is used: 0 for none. */
static void leave_room(int64_t bytes)
{
	atomic_store(&fault.control->disk_bytes, atomic_load(&fault.control->used_bytes) + bytes);
}

static int put(struct raincheck *rc, struct job *j, bool with_still)
{
	char payload[PAYLOAD_BYTES] = "", still[STILL_BYTES] = "still";
	struct raincheck_put params = { .queue = "full", .payload = { payload, sizeof(payload) } };
	struct raincheck_put_result *result;
	int code;

	snprintf(j->payload, sizeof(j->payload), "job %zu", job_count);
	memcpy(payload, j->payload, sizeof(j->payload));
	if (with_still)
		params.preview = (struct raincheck_media){ "image/png", { still, sizeof(still) } };
	code = raincheck_put(rc, &params, &result);
	if (code < 0)
		return code;
	memcpy(j->id, result->id, sizeof(j->id));
	raincheck_free(result);
	return 0;
}

/* Puts until that is refused as it should be; every second one with a still. */
static void put_until_full(struct raincheck *rc)
{
	int code = 0;

	while (job_count < JOBS_MAX) {
		code = put(rc, &jobs[job_count], job_count % 2);
		if (code < 0)
			break;
		job_count++;
	}
	if (code != RAINCHECK_ESTORE_FULL)
		fail_msg("after %zu puts: %s: %s", job_count, raincheck_error_name(code),
			 raincheck_last_error(rc)->message);
	assert_true(raincheck_last_error(rc)->retry_after_ms > 0);
	assert_true(job_count > 10);
}

static struct job *job_of(const char *id)
{
	for (size_t i = 0; i < job_count; i++)
		if (strcmp(jobs[i].id, id) == 0)
			return &jobs[i];
	fail_msg("job %s was never put", id);
	abort();
}

static void lease_all(struct raincheck *rc)
{
	const char *queue = "full";
	struct raincheck_lease params = { .queues = &queue, .queue_count = 1, .max = 20, .lease_ms = 3600000 };

	for (size_t leased = 0; leased < job_count;) {
		struct raincheck_lease_result *result;

		assert_int_equal(raincheck_lease(rc, &params, &result), 0);
		assert_true(result->job_count > 0);
		for (size_t i = 0; i < result->job_count; i++) {
			struct job *j = job_of(result->jobs[i].id);

			assert_memory_equal(result->jobs[i].payload.data, j->payload, sizeof(j->payload));
			memcpy(j->lease, result->jobs[i].lease, sizeof(j->lease));
		}
		leased += result->job_count;
		raincheck_free(result);
	}
}

static void work_on_all(struct raincheck *rc)
{
	for (size_t i = 0; i < job_count; i++) {
		struct raincheck_checkpoint note = { .id = jobs[i].id,
						     .lease = jobs[i].lease,
						     .data = { "call 7", 6 } };
		struct raincheck_complete done = { .id = jobs[i].id,
						   .lease = jobs[i].lease,
						   .result = { "text/plain", { "ok", 2 } } };
		struct raincheck_complete_result *result;

		assert_int_equal(raincheck_checkpoint(rc, &note), 0);
		assert_int_equal(raincheck_complete(rc, &done, &result), 0);
		raincheck_free(result);
	}
}

static void read_all(struct raincheck *rc)
{
	for (size_t i = 0; i < job_count; i++) {
		struct raincheck_artifact_read read = { .id = jobs[i].id, .name = "result" };
		struct raincheck_artifact_data *data;
		struct raincheck_payload *payload;
		struct raincheck_job *job;

		assert_int_equal(raincheck_get(rc, jobs[i].id, &job), 0);
		assert_int_equal(job->state, RAINCHECK_JOB_SUCCEEDED);
		assert_int_equal(job->artifact_count, 1 + i % 2);
		raincheck_free(job);
		assert_int_equal(raincheck_payload(rc, jobs[i].id, &payload), 0);
		assert_memory_equal(payload->data.data, jobs[i].payload, sizeof(jobs[i].payload));
		raincheck_free(payload);
		assert_int_equal(raincheck_artifact_read(rc, &read, &data), 0);
		assert_memory_equal(data->data.data, "ok", 2);
		raincheck_free(data);
	}
}

static void the_backlog_drains_on_the_reserve(void **state)
{
	struct raincheck *rc;

	(void)state;
	atomic_store(&fault.control->disk_bytes, DISK_BYTES);
	assert_true(fault_start(&fault, NULL, false));
	rc = fault_connect(&fault);
	put_until_full(rc);
	lease_all(rc);
	/* It has not become better. */
	assert_int_equal(put(rc, &jobs[job_count], false), RAINCHECK_ESTORE_FULL);
	work_on_all(rc);
	read_all(rc);
	print_message("# %zu jobs on %d bytes, %lld left\n", job_count, DISK_BYTES,
		      (long long)(DISK_BYTES - atomic_load(&fault.control->used_bytes)));
	leave_room(PLENTY_BYTES);
	assert_int_equal(put(rc, &jobs[job_count], true), 0);
	raincheck_close(rc, NULL, NULL);
	process_stop(&fault.broker);
	check_data();
}

static void expect(const struct life *l, const char *when)
{
	if (l->wrong[0])
		fail_msg("%s: %s\n%s", when, l->wrong, fault_words(&fault));
	assert_false(l->lost);
}

static void nothing_is_lost_where_not_a_byte_is_left(void **state)
{
	struct life before, meanwhile;

	(void)state;
	life_init(&before, &fault, 0);
	life_init(&meanwhile, &fault, 1);
	assert_true(fault_start(&fault, NULL, false));
	life_run(&before);
	expect(&before, "before");
	leave_room(0);
	life_run(&meanwhile);
	expect(&meanwhile, "meanwhile");
	assert_true(meanwhile.refused > 0);
	assert_int_equal(meanwhile.unexplained, 0);
	leave_room(PLENTY_BYTES);
	assert_true(life_try(&fault, 2));
	life_verify(&before, LIFE_NOW);
	expect(&before, "of before");
	life_verify(&meanwhile, LIFE_NOW);
	expect(&meanwhile, "of meanwhile");
	process_stop(&fault.broker);
	check_data();
}

/* A broker that keeps nothing in reserve. */
static void start_without_reserve(void)
{
	char path[160];
	const char *extra[] = { "--config", path, NULL };
	FILE *f;

	snprintf(path, sizeof(path), "%s", tempdir_file(&fault.dir, "broker.yaml"));
	f = fopen(path, "we");
	assert_non_null(f);
	fprintf(f, "store: { reserve: 0 }\n");
	fclose(f);
	if (!fault_start(&fault, extra, false))
		fail_msg("%s", fault_words(&fault));
}

/* The disk runs full at any moment of a life: room for so many bytes, then none. */
static void a_life_may_run_out_of_disk_at_any_moment(void **state)
{
	unsigned tries = (unsigned)fault_setting("FULL", 20), refused = 0, unexplained = 0;

	(void)state;
	for (unsigned i = 0; i < tries; i++) {
		struct life life;

		fault_new_disk(&fault);
		life_init(&life, &fault, i);
		start_without_reserve();
		leave_room((int64_t)i * 1000000 / tries);
		life_run(&life);
		expect(&life, "while it runs out");
		refused += life.refused;
		unexplained += life.unexplained;
		leave_room(PLENTY_BYTES);
		if (!life_try(&fault, tries))
			fail_msg("it does not recover\n%s", fault_words(&fault));
		life_verify(&life, LIFE_NOW);
		expect(&life, "when there is room again");
		process_stop(&fault.broker);
		check_data();
	}
	print_message("# FULL=%u: %u refusals, %u of them without saying when to come back\n", tries, refused,
		      unexplained);
	assert_int_equal(unexplained, 0);
	assert_true(refused > 0);
}

static int setup(void **state)
{
	(void)state;
	fault_open(&fault);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fault_close(&fault);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_backlog_drains_on_the_reserve, setup, teardown),
		cmocka_unit_test_setup_teardown(nothing_is_lost_where_not_a_byte_is_left, setup, teardown),
		cmocka_unit_test_setup_teardown(a_life_may_run_out_of_disk_at_any_moment, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
