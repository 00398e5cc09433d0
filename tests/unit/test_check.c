/* The checker names every kind of breach. A good store is made by the engine, found clean, damaged in one way through
 * the store's own functions, and the line that must come is expected; and raincheckd --check prints it and fails. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "proto/base/clean.h"
#include "server/engine/check.h"
#include "server/store/blob.h"
#include "server/store/keys.h"
#include "tests/harness/engine_rig.h"
#include "tests/harness/process.h"

/* The jobs of the good store; all in queue 0, "q". */
static struct {
	struct rig rig;
	struct uuid ready;     /* with an idempotency key and a deadline */
	struct uuid scheduled; /* for later */
	struct uuid running;   /* with a checkpoint */
	struct uuid succeeded; /* with an artifact "preview" in the map and one "result" in a file */
	struct uuid gone;      /* a tombstone */
	struct uuid blob;
	struct uuid unknown; /* of nothing */
} good;

static char said[16384];

static void report_cb(void *user, const char *line)
{
	size_t size = strlen(said);

	(void)user;
	snprintf(said + size, sizeof(said) - size, "%s\n", line);
}

static int64_t run_check(void)
{
	int64_t breaches = -1;

	said[0] = '\0';
	assert_int_equal(check_run(good.rig.store, good.rig.blobs, report_cb, NULL, &breaches), 0);
	return breaches;
}

/* ---- the good store ---- */

static struct uuid put(struct msg_job_put more)
{
	more.has_queue = more.has_payload = true;
	more.queue = slice_str("q");
	more.payload = slice_str("payload");
	return rig_put_params(&good.rig, &more);
}

static void make_gone(void)
{
	struct msg_leased_job job;

	good.gone = put((struct msg_job_put){ .has_result_ttl_ms = true, .result_ttl_ms = 1 });
	assert_true(rig_lease(&good.rig, "q", &job));
	rig_complete(&good.rig, &good.gone, &job.lease, NULL);
	rig_pass(&good.rig, 1);
	rig_pass(&good.rig, good.rig.settings.record_ttl_ms);
}

/* The result is larger than what the map takes, so it is a file. */
static void make_succeeded(void)
{
	struct complete_item item = { .has_result = true };
	struct command_complete params = { .items = &item, .count = 1 };
	struct blob_writer *w;
	struct msg_leased_job job;

	good.succeeded = put((struct msg_job_put){ .has_preview = true,
						   .preview = { .has_content_type = true,
								.content_type = slice_str("image/png"),
								.has_data = true,
								.data = slice_str("still") } });
	assert_true(rig_lease(&good.rig, "q", &job));
	memset(good.blob.bytes, 0xb1, sizeof(good.blob.bytes));
	assert_int_equal(blob_create(good.rig.blobs, &good.blob, &w), 0);
	assert_int_equal(blob_append(w, slice_str("video")), 0);
	assert_int_equal(blob_publish(w, item.result.sha256), 0);
	blob_close(w);
	item.id = good.succeeded;
	item.lease = job.lease;
	item.result.content_type = slice_str("video/mp4");
	item.result.size = 5;
	item.result.has_blob = true;
	item.result.blob = good.blob;
	rig_run(&good.rig, COMMAND_COMPLETE, &params);
	assert_int_equal(good.rig.code, 0);
}

static void make_running(void)
{
	struct msg_job_checkpoint checkpoint = { .has_id = true, .has_lease = true, .has_data = true };
	struct msg_leased_job job;

	checkpoint.id = good.running = put((struct msg_job_put){ .has_priority = false });
	assert_true(rig_lease(&good.rig, "q", &job));
	checkpoint.lease = job.lease;
	checkpoint.data = slice_str("provider-id");
	rig_run(&good.rig, COMMAND_CHECKPOINT, &checkpoint);
	assert_int_equal(good.rig.code, 0);
}

static int setup(void **state)
{
	(void)state;
	rig_open(&good.rig);
	make_gone();
	make_succeeded();
	make_running();
	good.ready = put((struct msg_job_put){ .has_idempotency_key = true,
					       .idempotency_key = slice_str("key"),
					       .has_deadline_ms = true,
					       .deadline_ms = 100000 });
	good.scheduled = put((struct msg_job_put){ .has_delay_ms = true, .delay_ms = 50000 });
	memset(good.unknown.bytes, 0x55, sizeof(good.unknown.bytes));
	assert_int_equal(run_check(), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	rig_close(&good.rig);
	return 0;
}

/* ---- damaging it ---- */

static struct store_txn *begin(void)
{
	struct store_txn *t;

	assert_int_equal(store_begin_write(good.rig.store, &t), 0);
	return t;
}

static void set(enum store_table table, struct key key, struct slice value)
{
	struct store_txn *t = begin();

	assert_int_equal(store_put(t, table, key_slice(&key), value), 0);
	assert_int_equal(store_commit(t), 0);
}

static void drop(enum store_table table, struct key key)
{
	struct store_txn *t = begin();

	assert_int_equal(store_delete(t, table, key_slice(&key)), 0);
	assert_int_equal(store_commit(t), 0);
}

static size_t copy_value(enum store_table table, struct key key, uint8_t *ret, size_t cap)
{
	struct store_txn *t = begin();
	struct slice value;

	assert_int_equal(store_get(t, table, key_slice(&key), &value), 0);
	assert_in_range(value.size, 1, cap);
	memcpy(ret, value.data, value.size);
	store_abort(t);
	return value.size;
}

/* Each bit in turn is flipped by test_store.c; here it matters what is said. */
static void flip(enum store_table table, struct key key)
{
	uint8_t bytes[4096];
	size_t size = copy_value(table, key, bytes, sizeof(bytes));

	bytes[size / 2] ^= 0x10;
	set(table, key, slice_of(bytes, size));
}

/* Writes a job's record anew, sound, but saying something else. */
static void change_job(const struct uuid *id, void (*change)(struct job *job))
{
	uint8_t bytes[4096];
	size_t size = copy_value(TABLE_JOBS, key_job(id), bytes, sizeof(bytes));
	struct buf record;
	struct job job;

	assert_int_equal(record_read_job(slice_of(bytes, size), &job), 0);
	change(&job);
	buf_init(&record, 65536);
	assert_int_equal(record_write_job(&record, &job), 0);
	set(TABLE_JOBS, key_job(id), buf_slice(&record));
	buf_done(&record);
}

static void change_queue(void (*change)(struct queue_record *q))
{
	uint8_t bytes[4096];
	size_t size = copy_value(TABLE_QUEUES, key_queue(0), bytes, sizeof(bytes));
	struct queue_record q;
	struct buf record;

	assert_int_equal(record_read_queue(slice_of(bytes, size), &q), 0);
	change(&q);
	buf_init(&record, 65536);
	assert_int_equal(record_write_queue(&record, &q), 0);
	set(TABLE_QUEUES, key_queue(0), buf_slice(&record));
	buf_done(&record);
}

/* The file of the blob, to be damaged by hand. */
static const char *blob_file(void)
{
	return tempdir_file(&good.rig.dir, "blobs/b1/b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1");
}

static struct job load(const struct uuid *id)
{
	static uint8_t bytes[4096];
	size_t size = copy_value(TABLE_JOBS, key_job(id), bytes, sizeof(bytes));
	struct job job;

	assert_int_equal(record_read_job(slice_of(bytes, size), &job), 0);
	return job;
}

/* ---- one breach each: damage, and what must be said; %s is the job's id ---- */

static void not_in_line(void)
{
	struct job job = load(&good.ready);

	drop(TABLE_READY, key_ready(job.queue, job.priority, job.tag, &good.ready));
}

static void in_line_too_often(void)
{
	set(TABLE_READY, key_ready(0, 0, 1, &good.ready), slice_of(NULL, 0));
}

static void due_entry_missing(void)
{
	drop(TABLE_DUE, key_due(load(&good.running).due_at_ms, &good.running));
}

static void due_entry_too_many(void)
{
	set(TABLE_DUE, key_due(1, &good.running), slice_of(NULL, 0));
}

static void never_due(struct job *job)
{
	job->due_at_ms = 0;
}

static void running_never_due(void)
{
	drop(TABLE_DUE, key_due(load(&good.running).due_at_ms, &good.running));
	change_job(&good.running, never_due);
}

static void deadline_never_due(void)
{
	drop(TABLE_DUE, key_due(load(&good.ready).due_at_ms, &good.ready));
	change_job(&good.ready, never_due);
}

static void one_attempt_too_many(struct job *job)
{
	job->attempt = job->max_attempts + 1;
}

static void too_many_attempts(void)
{
	change_job(&good.running, one_attempt_too_many);
}

static void into_no_queue(struct job *job)
{
	job->queue = 77;
}

static void queue_unknown(void)
{
	change_job(&good.scheduled, into_no_queue);
}

static void job_flipped(void)
{
	flip(TABLE_JOBS, key_job(&good.ready));
}

static void job_key_malformed(void)
{
	set(TABLE_JOBS, key_word("short"), slice_str("x"));
}

static void input_missing(void)
{
	drop(TABLE_INPUTS, key_job(&good.ready));
}

static void input_flipped(void)
{
	flip(TABLE_INPUTS, key_job(&good.ready));
}

static void input_orphaned(void)
{
	set(TABLE_INPUTS, key_job(&good.unknown), slice_str("x"));
}

static void input_key_malformed(void)
{
	set(TABLE_INPUTS, key_word("short"), slice_str("x"));
}

static void idempotency_missing(void)
{
	drop(TABLE_IDEMPOTENCY, key_idempotency(0, slice_str("key")));
}

static void idempotency_elsewhere(void)
{
	set(TABLE_IDEMPOTENCY, key_idempotency(0, slice_str("key")),
	    slice_of(good.running.bytes, sizeof(good.running.bytes)));
}

static void idempotency_too_many(void)
{
	set(TABLE_IDEMPOTENCY, key_idempotency(0, slice_str("other")),
	    slice_of(good.running.bytes, sizeof(good.running.bytes)));
}

static void one_ready_more(struct queue_record *q)
{
	q->counts[JOB_READY]++;
}

static void counts_wrong(void)
{
	change_queue(one_ready_more);
}

static void one_urgent_more(struct queue_record *q)
{
	q->ready[0]++;
}

static void priority_counts_wrong(void)
{
	change_queue(one_urgent_more);
}

static void queue_flipped(void)
{
	flip(TABLE_QUEUES, key_queue(0));
}

static void queue_gap(void)
{
	set(TABLE_QUEUES, key_queue(2), slice_str("x"));
}

static void checkpoint_flipped(void)
{
	flip(TABLE_CHECKPOINTS, key_job(&good.running));
}

static void checkpoint_orphaned(void)
{
	set(TABLE_CHECKPOINTS, key_job(&good.unknown), slice_str("x"));
}

static void tombstone_malformed(void)
{
	set(TABLE_TOMBSTONES, key_job(&good.unknown), slice_str("x"));
}

static void tombstone_of_a_living_job(void)
{
	set(TABLE_TOMBSTONES, key_job(&good.ready), slice_str("12345678"));
}

static void tombstone_for_ever(void)
{
	set(TABLE_TOMBSTONES, key_job(&good.unknown), slice_str("12345678"));
}

static void artifact_flipped(void)
{
	flip(TABLE_ARTIFACTS, key_artifact(&good.succeeded, slice_str("preview")));
}

static void artifact_missing(void)
{
	drop(TABLE_ARTIFACTS, key_artifact(&good.succeeded, slice_str("preview")));
}

static void artifact_key_malformed(void)
{
	set(TABLE_ARTIFACTS, key_job(&good.succeeded), slice_str("x"));
}

static void artifact_orphaned(void)
{
	set(TABLE_ARTIFACTS, key_artifact(&good.unknown, slice_str("result")), slice_str("x"));
}

/* A sound record whose bytes are other ones than were hashed. */
static void artifact_of_other_bytes(void)
{
	struct artifact a = { .content_type = slice_str("image/png"), .size = 5, .data = slice_str("other") };
	struct buf record;

	buf_init(&record, 65536);
	assert_int_equal(record_write_artifact(&record, &a), 0);
	set(TABLE_ARTIFACTS, key_artifact(&good.succeeded, slice_str("preview")), buf_slice(&record));
	buf_done(&record);
}

static void blob_unlisted(void)
{
	drop(TABLE_BLOBS, key_job(&good.blob));
}

static void blob_listed_for_another(void)
{
	set(TABLE_BLOBS, key_job(&good.blob), slice_of(good.ready.bytes, sizeof(good.ready.bytes)));
}

static void blob_too_many(void)
{
	set(TABLE_BLOBS, key_job(&good.unknown), slice_of(good.ready.bytes, sizeof(good.ready.bytes)));
}

static void blob_file_missing(void)
{
	assert_int_equal(unlink(blob_file()), 0);
}

static void blob_file_cut(void)
{
	assert_int_equal(truncate(blob_file(), 4), 0);
}

static void blob_file_changed(void)
{
	int fd = open(blob_file(), O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, "V", 1, 0), 1);
	close(fd);
}

static const struct breach_row {
	const char *name;
	void (*damage)(void);
	const struct uuid *job; /* whose id the line names; NULL: none */
	const char *before;	/* of the line, up to the id */
	const char *after;	/* what follows it */
} rows[] = {
	{ "not_in_line", not_in_line, &good.ready, "job ", ": is ready but not in the line of its queue" },
	{ "in_line_too_often", in_line_too_often, NULL, "the ready index: has 2 entries, jobs account for 1", "" },
	{ "due_entry_missing", due_entry_missing, &good.running, "job ", ": its due entry is missing" },
	{ "due_entry_too_many", due_entry_too_many, NULL, "the due index: has 6 entries, jobs account for 5", "" },
	{ "running_never_due", running_never_due, &good.running, "job ",
	  ": is running and nothing will ever look at it again" },
	{ "deadline_never_due", deadline_never_due, &good.ready, "job ", ": must be looked at by " },
	{ "too_many_attempts", too_many_attempts, &good.running, "job ", ": attempt 6 of 5" },
	{ "queue_unknown", queue_unknown, &good.scheduled, "job ", ": its queue 77 does not exist" },
	{ "job_flipped", job_flipped, &good.ready, "job ", ": its record is damaged" },
	{ "job_key_malformed", job_key_malformed, NULL, "jobs: a key is malformed", "" },
	{ "input_missing", input_missing, &good.ready, "job ", ": its input is missing" },
	{ "input_flipped", input_flipped, &good.ready, "job ", ": its input is damaged" },
	{ "input_orphaned", input_orphaned, &good.unknown, "input of job ", ": the job is missing" },
	{ "input_key_malformed", input_key_malformed, NULL, "input: a key is malformed", "" },
	{ "idempotency_missing", idempotency_missing, &good.ready, "job ",
	  ": its idempotency key does not lead to it" },
	{ "idempotency_elsewhere", idempotency_elsewhere, &good.ready, "job ",
	  ": its idempotency key does not lead to it" },
	{ "idempotency_too_many", idempotency_too_many, NULL, "the idempotency keys: has 2 entries, jobs account for 1",
	  "" },
	{ "counts_wrong", counts_wrong, NULL, "queue q: counts 2 ready jobs, has 1", "" },
	{ "priority_counts_wrong", priority_counts_wrong, NULL, "queue q: counts 1 ready jobs of priority 0, has 0",
	  "" },
	{ "queue_flipped", queue_flipped, NULL, "queue 0: its record is missing or damaged", "" },
	{ "queue_gap", queue_gap, NULL, "queue 1: its record is missing or damaged", "" },
	{ "checkpoint_flipped", checkpoint_flipped, &good.running, "checkpoint of job ", ": is damaged" },
	{ "checkpoint_orphaned", checkpoint_orphaned, &good.unknown, "checkpoint of job ", ": the job is missing" },
	{ "tombstone_malformed", tombstone_malformed, NULL, "tombstones: an entry is malformed", "" },
	{ "tombstone_of_a_living_job", tombstone_of_a_living_job, &good.ready, "tombstone of job ",
	  ": the job is there" },
	{ "tombstone_for_ever", tombstone_for_ever, &good.unknown, "tombstone of job ", ": will never go" },
	{ "artifact_flipped", artifact_flipped, &good.succeeded, "artifact preview of job ", ": is damaged" },
	{ "artifact_missing", artifact_missing, NULL, "the artifacts: has 1 entries, jobs account for 2", "" },
	{ "artifact_key_malformed", artifact_key_malformed, NULL, "artifacts: a key is malformed", "" },
	{ "artifact_orphaned", artifact_orphaned, &good.unknown, "artifact of job ", ": the job is missing" },
	{ "artifact_of_other_bytes", artifact_of_other_bytes, &good.succeeded, "artifact preview of job ",
	  ": its hash is wrong" },
	{ "blob_unlisted", blob_unlisted, &good.succeeded, "artifact result of job ", ": its blob is not listed" },
	{ "blob_listed_for_another", blob_listed_for_another, &good.succeeded, "artifact result of job ",
	  ": its blob is listed for another" },
	{ "blob_too_many", blob_too_many, NULL, "the blob list: has 2 entries, jobs account for 1", "" },
	{ "blob_file_missing", blob_file_missing, &good.succeeded, "artifact result of job ", ": its file is missing" },
	{ "blob_file_cut", blob_file_cut, &good.succeeded, "artifact result of job ",
	  ": its file has 4 bytes instead of 5" },
	{ "blob_file_changed", blob_file_changed, &good.succeeded, "artifact result of job ", ": its file is damaged" },
};

static void expect_said(const struct breach_row *row)
{
	struct uuid_text id = { .text = "" };
	char line[512];

	if (row->job)
		id = uuid_format(row->job);
	snprintf(line, sizeof(line), "%s%s%s", row->before, id.text, row->after);
	if (!strstr(said, line))
		fail_msg("\"%s\" was not said, but:\n%s", line, said);
}

static void the_breach_is_named(void **state)
{
	const struct breach_row *row = *state;

	row->damage();
	assert_true(run_check() > 0);
	expect_said(row);
}

/* cmocka has one state pointer for the row and the fixture: the fixture is static. */
static int setup_row(void **state)
{
	void *row = *state;
	int rc = setup(state);

	*state = row;
	return rc;
}

/* ---- the program ---- */

static int run_program(void)
{
	const char *program = process_program("raincheckd");
	const char *const argv[] = { program, "--data", good.rig.dir.path, "--check", NULL };
	int status;

	rig_pause(&good.rig);
	status = process_run(argv, said, sizeof(said));
	rig_resume(&good.rig);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void the_program_says_so_and_fails(void **state)
{
	(void)state;
	assert_int_equal(run_program(), 0);
	assert_non_null(strstr(said, ": 0 breaches\n"));
	blob_file_missing();
	assert_int_equal(run_program(), 1);
	assert_non_null(strstr(said, ": its file is missing\n"));
	assert_non_null(strstr(said, ": 1 breaches\n"));
}

int main(void)
{
	struct CMUnitTest tests[ARRAY_SIZE(rows) + 1];

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		tests[i] = (struct CMUnitTest){ rows[i].name, the_breach_is_named, setup_row, teardown,
						(void *)(uintptr_t)&rows[i] };
	tests[ARRAY_SIZE(rows)] =
		(struct CMUnitTest)cmocka_unit_test_setup_teardown(the_program_says_so_and_fails, setup, teardown);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
