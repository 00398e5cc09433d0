/* A data directory of format 1 (tests/unit/data/README.md) opens: every job, artifact, key and tombstone comes over and
 * lives on under the new engine; damage costs what is damaged alone; a migration that is cut off leaves the old format
 * whole; a newer format is refused and left as it is. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/upkeep/check.h"
#include "server/store/keys.h"
#include "server/store/layout.h"
#include "server/store/migrate.h"
#include "tests/harness/old_store.h"
#include "tests/harness/process.h"

#define FIXTURE "tests/unit/data/format1.tar.gz"
#define DAY_MS	INT64_C(86400000)

static int setup(void **state)
{
	(void)state;
	old_setup(FIXTURE);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	old_teardown();
	return 0;
}

static uint32_t file_checksum(void)
{
	uint32_t sum = 2166136261u;
	size_t size;
	uint8_t *bytes = old_read_file(&size);

	for (size_t i = 0; i < size; i++)
		sum = (sum ^ bytes[i]) * 16777619u;
	free(bytes);
	return sum;
}

static const struct job_view *view(const char *payload)
{
	struct uuid id = old_find(payload);

	rig_job(&old.rig, &id);
	assert_int_equal(old.rig.code, 0);
	return &old.rig.view;
}

/* ---- all comes over ---- */

static void every_job_comes_over(void **state)
{
	static const struct {
		const char *payload, *queue;
		enum job_state state;
		int64_t priority, attempt, max_attempts, bytes;
	} rows[] = {
		{ "artifacts gone", "greetings", JOB_SUCCEEDED, 5, 1, 5, 14 },
		{ "succeeded", "greetings", JOB_SUCCEEDED, 5, 1, 3, 9 },
		{ "dead", "greetings", JOB_DEAD, 5, 1, 1, 4 },
		{ "expired", "greetings", JOB_EXPIRED, 5, 0, 5, 7 },
		{ "failed once", "greetings", JOB_SCHEDULED, 5, 1, 5, 11 },
		{ "running", "films", JOB_RUNNING, 5, 1, 5, 7 },
		{ "marked", "films", JOB_READY, 0, 0, 5, 6 },
		{ "scheduled", "films", JOB_SCHEDULED, 5, 0, 5, 9 },
		{ "ready last", "films", JOB_READY, 9, 0, 5, 10 },
		{ "ready first", "films", JOB_READY, 0, 0, 7, 11 },
		{ "in the marked queue", "mark-of-a-queue", JOB_READY, 5, 0, 5, 19 },
	};

	(void)state;
	old_migrate();
	assert_non_null(strstr(old.said, "from format 1 to format 4: 12 jobs\n"));
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct job_view *v = view(rows[i].payload);

		assert_true(slice_is(v->job.queue, rows[i].queue));
		assert_int_equal(v->job.state, rows[i].state);
		assert_int_equal(v->job.priority, rows[i].priority);
		assert_int_equal(v->job.attempt, rows[i].attempt);
		assert_int_equal(v->job.max_attempts, rows[i].max_attempts);
		assert_int_equal(v->record.bytes, rows[i].bytes);
		assert_int_equal(v->record.result_ttl_ms, strcmp(rows[i].payload, "succeeded") == 0	   ? 30 * DAY_MS
							  : strcmp(rows[i].payload, "artifacts gone") == 0 ? 1
													   : -1);
	}
	assert_int_equal(old_check().jobs, 12);
	assert_int_equal(old_check().artifacts, 3);
	assert_int_equal(old_check().breaches, 0);
}

static void what_a_put_said_is_kept(void **state)
{
	const struct job_view *v;

	(void)state;
	old_migrate();
	v = view("succeeded");
	assert_true(slice_is(v->input.idempotency_key, "key-succeeded"));
	assert_true(slice_is(v->input.callback_url, "http://example.test/done"));
	assert_true(slice_is(v->job.content_type, "application/json"));
	assert_true(slice_is(v->job.group, "ada"));
	assert_true(slice_is(v->job.title, "For Ada"));
	assert_int_equal(v->job.metadata_count, 2);
	assert_true(slice_is(v->job.metadata[1].key, "locale"));
	assert_true(slice_is(v->job.metadata[1].value, "de"));
	assert_int_equal(v->job.artifacts_count, 2);
	assert_true(slice_is(v->job.artifacts[1].name, "result"));
	assert_int_equal(v->job.artifacts[1].size, 40000);
	assert_int_equal(v->record.call_ms, 1234);
	/* What was the server's default is nobody's own wish; what was another is. */
	assert_true(v->input.backoff.base_ms == -1 && v->input.backoff.max_ms == -1 && v->input.backoff.factor < 0 &&
		    v->input.backoff.jitter < 0);
	v = view("failed once");
	assert_int_equal(v->input.backoff.base_ms, 60000);
	assert_true(v->input.backoff.jitter >= 0 && v->input.backoff.jitter < 0.001);
	assert_int_equal(v->record.run_at_ms, OLD_NOW_MS + 60000);
	assert_int_equal(v->job.error.kind, FAIL_UNAVAILABLE);
	v = view("running");
	assert_int_equal(v->input.attempt_timeout_ms, 3600000);
	assert_true(slice_is(v->job.note, "half way"));
}

static void the_running_job_is_finished_by_its_holder(void **state)
{
	struct token lease;
	struct uuid id;

	(void)state;
	old_migrate();
	lease = view("running")->record.lease;
	id = old_find("running");
	rig_complete(&old.rig, &id, &lease, "done");
	assert_int_equal(old.rig.code, 0);
	assert_int_equal(rig_job(&old.rig, &id)->state, JOB_SUCCEEDED);
}

static void the_line_goes_on_in_its_order(void **state)
{
	static const char *const order[] = { "marked", "ready first", "ready last" };
	struct msg_leased_job job;

	(void)state;
	old_migrate();
	for (size_t i = 0; i < 3; i++) {
		assert_true(rig_lease(&old.rig, "films", &job));
		assert_true(slice_is(job.payload, order[i]));
	}
	assert_false(rig_lease(&old.rig, "films", &job));
	rig_pass(&old.rig, DAY_MS);
	assert_true(rig_lease(&old.rig, "films", &job));
}

static void a_checkpoint_is_handed_on(void **state)
{
	struct msg_leased_job job;

	(void)state;
	old_migrate();
	rig_pass(&old.rig, 600000); /* the lease is over */
	while (rig_lease(&old.rig, "films", &job))
		if (slice_is(job.payload, "running"))
			break;
	assert_true(slice_is(job.payload, "running"));
	assert_true(slice_is(job.checkpoint, "provider-id-7"));
	assert_int_equal(job.attempt, 2);
}

static void known_keys_are_known(void **state)
{
	struct msg_job_put put = {
		.has_queue = true,
		.queue = slice_str("films"),
		.has_payload = true,
		.payload = slice_str("scheduled"),
		.has_idempotency_key = true,
		.idempotency_key = slice_str("key-scheduled"),
	};
	struct uuid id, again;

	(void)state;
	old_migrate();
	id = old_find("scheduled");
	again = rig_put_params(&old.rig, &put);
	assert_int_equal(old.rig.code, 0);
	assert_false(old.rig.answer.put.created);
	assert_true(uuid_equal(&id, &again));
}

/* The tombstone, jobs whose time is over, and what they leave. */
static void time_goes_on(void **state)
{
	struct slice key, value;
	struct store_txn *t;
	struct uuid gone;

	(void)state;
	old_migrate();
	assert_int_equal(store_begin_read(old.rig.store, &t), 0);
	assert_int_equal(store_seek(t, TABLE_TOMBSTONES, slice_of(NULL, 0), &key, &value), 0);
	assert_int_equal(key_read_job(key, &gone), 0);
	store_abort(t);
	rig_job(&old.rig, &gone);
	assert_int_equal(old.rig.code, ERR_GONE);
	for (int i = 0; i < 150; i++)
		rig_pass(&old.rig, DAY_MS);
	rig_job(&old.rig, &gone);
	assert_int_equal(old.rig.code, ERR_NOT_FOUND);
	/* Those that wait have no deadline. */
	assert_int_equal(old_check().breaches, 0);
	assert_int_equal(old_check().artifacts, 1);
}

static void a_queues_setting_reaches_old_jobs(void **state)
{
	struct uuid id;

	(void)state;
	old_migrate();
	rig_queue_set(&old.rig, "films", (struct msg_queue_set){ .has_max_attempts = true, .max_attempts = 2 });
	assert_int_equal(old.rig.code, 0);
	id = old_find("ready last");
	assert_int_equal(rig_job(&old.rig, &id)->max_attempts, 2);
	id = old_find("ready first");
	assert_int_equal(rig_job(&old.rig, &id)->max_attempts, 7);
}

/* ---- damage ---- */

static int64_t entries_of(enum store_table table)
{
	struct store_txn *t;
	int64_t count;

	assert_int_equal(store_begin_read(old.rig.store, &t), 0);
	assert_int_equal(store_count(t, table, &count), 0);
	store_abort(t);
	return count;
}

static void a_damaged_job_is_set_aside(void **state)
{
	struct msg_leased_job job;
	struct uuid id;

	(void)state;
	old_flip("mark-of-a-job-record", 3);
	old_migrate();
	id = old_find("marked");
	assert_non_null(strstr(old.said, uuid_format(&id).text));
	assert_non_null(strstr(old.said, "1 jobs with damaged records are set aside\n"));
	assert_int_equal(old_check().breaches, 0);
	assert_int_equal(old_check().set_aside, 1);
	/* No index leads to it any more: four are ready beside it, and it had a deadline. */
	assert_int_equal(entries_of(TABLE_READY), 4);
	assert_int_equal(entries_of(TABLE_DUE), 9);
	rig_job(&old.rig, &id);
	assert_int_equal(old.rig.code, ERR_CORRUPT);
	assert_true(rig_lease(&old.rig, "films", &job));
	assert_true(slice_is(job.payload, "ready first"));
	rig_erase(&old.rig, &id);
	assert_int_equal(old.rig.code, 0);
	assert_int_equal(old_check().set_aside, 0);
}

static void a_damaged_queue_keeps_its_jobs_and_is_paused(void **state)
{
	struct msg_leased_job job;
	struct uuid id;

	(void)state;
	/* Behind the name, so that it can still be read; the title's length comes next. */
	old_flip("mark-of-a-queue", 30);
	old_migrate();
	assert_non_null(
		strstr(old.said, "queue 3 is damaged: its jobs are kept in queue mark-of-a-queue, which is paused"));
	id = old_find("in the marked queue");
	assert_int_equal(rig_job(&old.rig, &id)->state, JOB_READY);
	assert_int_equal(old_check().breaches, 0);
	assert_false(rig_lease(&old.rig, "mark-of-a-queue", &job));
	rig_queue_set(&old.rig, "mark-of-a-queue", (struct msg_queue_set){ .has_paused = true, .paused = false });
	assert_true(rig_lease(&old.rig, "mark-of-a-queue", &job));
	rig_put(&old.rig, "mark-of-a-queue", "next");
	assert_true(rig_lease(&old.rig, "mark-of-a-queue", &job));
}

/* Its name cannot be read any more, so it gets one that says what happened. */
static void a_queue_whose_name_is_damaged_gets_another(void **state)
{
	struct uuid id;

	(void)state;
	old_flip("mark-of-a-queue", (size_t)-1); /* the highest byte of the name's length */
	old_migrate();
	assert_non_null(strstr(old.said, "kept in queue recovered-3, which is paused"));
	id = old_find("in the marked queue");
	assert_true(slice_is(rig_job(&old.rig, &id)->queue, "recovered-3"));
	assert_int_equal(old_check().breaches, 0);
}

/* ---- all or nothing ---- */

static void a_reader_says_what_it_is_and_changes_nothing(void **state)
{
	uint32_t before = file_checksum();
	const char *program = process_program("raincheckd");
	const char *const argv[] = { program, "--data", old.rig.dir.path, "--check", NULL };
	struct error_info info = { 0 };
	struct store *s;
	int status;

	(void)state;
	assert_int_equal(old_open(true, OLD_MAP_BYTES, &s, &info), ERR_UNSUPPORTED_VERSION);
	assert_non_null(strstr(info.message, "format 1"));
	status = process_run(argv, old.said, sizeof(old.said));
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
	assert_non_null(strstr(old.said, "has format 1: a start of raincheckd migrates it to format 4"));
	assert_int_equal(file_checksum(), before);
}

static int lines_until_kill;

static void kill_cb(void *user, const char *line)
{
	(void)user;
	(void)line;
	if (--lines_until_kill == 0)
		kill(getpid(), SIGKILL);
}

/* The lines come at the beginning, with each thing that is damaged, and right before the end. */
static void a_killed_migration_leaves_the_old_format(void **state)
{
	const struct store_options options = { .dir = old.rig.dir.path, .max_bytes = OLD_MAP_BYTES, .notice = kill_cb };

	(void)state;
	old_flip("mark-of-a-job-record", 3);
	old_flip("mark-of-a-queue", 30);
	for (int n = 1; n <= 4; n++) {
		struct error_info info = { 0 };
		struct store *s;
		int status;
		pid_t pid = fork();

		if (pid == 0) {
			lines_until_kill = n;
			_exit(store_open(&options, &s, &info) < 0);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		assert_int_equal(old_open(true, OLD_MAP_BYTES, &s, &info), ERR_UNSUPPORTED_VERSION);
	}
	old_migrate();
	assert_int_equal(old_check().breaches, 0);
	assert_int_equal(old_check().jobs, 12);
}

/* With a map that grows until all fits: refused as long as it does not, and the old format is whole. */
static void a_full_map_leaves_the_old_format(void **state)
{
	struct error_info info = { 0 };
	int refused = 0;
	struct store *s;
	int rc = -1;

	(void)state;
	for (int64_t max_bytes = 4096; rc < 0; max_bytes += 16384) {
		rc = old_open(false, max_bytes, &s, &info);
		if (rc == 0)
			break;
		refused++;
		assert_int_equal(rc, ERR_STORE_FULL);
		assert_int_equal(old_open(true, OLD_MAP_BYTES, &s, &info), ERR_UNSUPPORTED_VERSION);
	}
	store_close(s);
	assert_true(refused > 1);
	old_migrate();
	assert_int_equal(old_check().breaches, 0);
	assert_int_equal(old_check().jobs, 12);
}

static void set_format(uint32_t format)
{
	struct key key = key_word(META_FORMAT);
	struct store_txn *t;

	assert_int_equal(store_begin_write(old.rig.store, &t), 0);
	assert_int_equal(store_put(t, TABLE_META, key_slice(&key), slice_of(&format, sizeof(format))), 0);
	assert_int_equal(store_commit(t), 0);
}

static void a_newer_format_is_refused_and_left_as_it_is(void **state)
{
	struct error_info info = { 0 };
	struct store *s;
	uint8_t *present;
	uint32_t before;
	size_t size;

	(void)state;
	old_migrate();
	present = old_read_file(&size);
	set_format(STORE_FORMAT + 1);
	old_leave();
	before = file_checksum();
	assert_int_equal(old_open(false, OLD_MAP_BYTES, &s, &info), ERR_UNSUPPORTED_VERSION);
	assert_non_null(strstr(info.message, "has format 5, this program knows formats up to 4"));
	assert_int_equal(old_open(true, OLD_MAP_BYTES, &s, &info), ERR_UNSUPPORTED_VERSION);
	assert_int_equal(file_checksum(), before);
	old_write_file(present, size);
	free(present);
}

static void take_format(void)
{
	struct key key = key_word(META_FORMAT);
	struct store_txn *t;

	assert_int_equal(store_begin_write(old.rig.store, &t), 0);
	assert_int_equal(store_delete(t, TABLE_META, key_slice(&key)), 0);
	assert_int_equal(store_commit(t), 0);
}

static void expect_damaged(void)
{
	uint32_t before = file_checksum();
	struct error_info info;
	struct store *s;

	for (int read_only = 0; read_only < 2; read_only++) {
		memset(&info, 0, sizeof(info));
		assert_int_equal(old_open(read_only, OLD_MAP_BYTES, &s, &info), ERR_CORRUPT);
		assert_non_null(strstr(info.message, "the format version is missing"));
	}
	assert_int_equal(file_checksum(), before);
}

/* Else its records would be taken for what this version writes. */
static void a_store_that_lost_its_format_is_not_new(void **state)
{
	struct error_info info = { 0 };
	uint8_t *present;
	struct store *s;
	size_t size;

	(void)state;
	old_migrate();
	present = old_read_file(&size);
	take_format();
	old_leave();
	expect_damaged();
	old_write_file(present, size);
	free(present);
	/* Nor is one that has the word under another name. */
	present = old_read_file(&size);
	old_flip("format", 0);
	expect_damaged();
	old_write_file(present, size);
	/* Nor one whose words stand in a table of another name, which a reader misses. */
	old_flip("meta", 0);
	assert_int_equal(old_open(false, OLD_MAP_BYTES, &s, &info), ERR_CORRUPT);
	assert_non_null(strstr(info.message, "the list of tables, page "));
	memset(&info, 0, sizeof(info));
	assert_int_equal(old_open(true, OLD_MAP_BYTES, &s, &info), ERR_NOT_FOUND);
	assert_non_null(strstr(info.message, error_text(ERR_NOT_FOUND)));
	old_write_file(present, size);
	free(present);
	assert_int_equal(old_open(false, OLD_MAP_BYTES, &s, &info), 0);
	store_close(s);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(every_job_comes_over),
		T(what_a_put_said_is_kept),
		T(the_running_job_is_finished_by_its_holder),
		T(the_line_goes_on_in_its_order),
		T(a_checkpoint_is_handed_on),
		T(known_keys_are_known),
		T(time_goes_on),
		T(a_queues_setting_reaches_old_jobs),
		T(a_damaged_job_is_set_aside),
		T(a_damaged_queue_keeps_its_jobs_and_is_paused),
		T(a_queue_whose_name_is_damaged_gets_another),
		T(a_reader_says_what_it_is_and_changes_nothing),
		T(a_killed_migration_leaves_the_old_format),
		T(a_full_map_leaves_the_old_format),
		T(a_newer_format_is_refused_and_left_as_it_is),
		T(a_store_that_lost_its_format_is_not_new),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
