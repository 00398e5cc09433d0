/* The checker names every kind of breach in jobs, queues and indexes, tells what is no breach apart, and changes
 * nothing; and raincheckd --check prints what it finds and fails. */
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "proto/base/clean.h"
#include "server/store/layout.h"
#include "tests/harness/check_rig.h"
#include "tests/harness/process.h"

/* ---- one breach each: damage, and what must be said ---- */

static void not_in_line(void)
{
	struct job job = checked_load(&checked.ready);

	checked_drop(TABLE_READY, key_ready(job.queue, job.priority, job.tag, &checked.ready));
}

static void in_line_too_often(void)
{
	checked_set(TABLE_READY, key_ready(0, 0, 1, &checked.ready), slice_of(NULL, 0));
}

static void due_entry_missing(void)
{
	checked_drop(TABLE_DUE, key_due(checked_load(&checked.running).due_at_ms, &checked.running));
}

static void due_entry_too_many(void)
{
	checked_set(TABLE_DUE, key_due(1, &checked.running), slice_of(NULL, 0));
}

static void due_entry_of_another_state(void)
{
	struct job job = checked_load(&checked.running);
	struct due_value value;

	job.state = JOB_SCHEDULED;
	value = due_value_make(&job);
	checked_set(TABLE_DUE, key_due(job.due_at_ms, &checked.running), slice_of(value.bytes, sizeof(value.bytes)));
}

static void due_key_malformed(void)
{
	checked_set(TABLE_DUE, key_word("short"), slice_of(NULL, 0));
}

static void due_value_malformed(void)
{
	checked_set(TABLE_DUE, key_due(checked_load(&checked.running).due_at_ms, &checked.running), slice_str("xxx"));
}

static void ready_value_malformed(void)
{
	struct job job = checked_load(&checked.ready);

	checked_set(TABLE_READY, key_ready(job.queue, job.priority, job.tag, &checked.ready), slice_str("x"));
}

static void word_malformed(void)
{
	checked_set(TABLE_META, key_word("link_secret"), slice_str("x"));
}

static void write_secret(size_t size)
{
	static const uint8_t secret[LINK_SECRET_BYTES] = { 1 };
	FILE *file = fopen(tempdir_file(&checked.rig.dir, LAYOUT_LINK_KEY), "w");

	assert_non_null(file);
	assert_int_equal(fwrite(secret, 1, size, file), size);
	assert_int_equal(fclose(file), 0);
	checked_set(TABLE_META, key_word(META_LINK_SECRET), slice_str("0123456789abcdef"));
}

static void secret_of_others(void)
{
	write_secret(LINK_SECRET_BYTES);
}

static void secret_cut_short(void)
{
	write_secret(LINK_SECRET_BYTES - 1);
}

static void word_unknown(void)
{
	checked_set(TABLE_META, key_word("nothing"), slice_str("x"));
}

static void ready_key_malformed(void)
{
	checked_set(TABLE_READY, key_word("short"), slice_of(NULL, 0));
}

static void never_due(struct job *job)
{
	job->due_at_ms = 0;
}

static void running_never_due(void)
{
	checked_drop(TABLE_DUE, key_due(checked_load(&checked.running).due_at_ms, &checked.running));
	checked_change_job(&checked.running, never_due);
}

static void deadline_never_due(void)
{
	checked_drop(TABLE_DUE, key_due(checked_load(&checked.ready).due_at_ms, &checked.ready));
	checked_change_job(&checked.ready, never_due);
}

static void one_attempt_too_many(struct job *job)
{
	job->max_attempts = 5;
	job->attempt = 6;
}

static void too_many_attempts(void)
{
	checked_change_job(&checked.running, one_attempt_too_many);
}

static void into_no_queue(struct job *job)
{
	job->queue = 77;
}

static void queue_unknown(void)
{
	checked_change_job(&checked.scheduled, into_no_queue);
}

static void job_flipped(void)
{
	checked_flip(TABLE_JOBS, key_job(&checked.ready));
}

static void job_key_malformed(void)
{
	checked_set(TABLE_JOBS, key_word("short"), slice_str("x"));
}

static void input_missing(void)
{
	checked_drop(TABLE_INPUTS, key_job(&checked.ready));
}

static void input_flipped(void)
{
	checked_flip(TABLE_INPUTS, key_job(&checked.ready));
}

static void input_orphaned(void)
{
	checked_set(TABLE_INPUTS, key_job(&checked.unknown), slice_str("x"));
}

static void input_key_malformed(void)
{
	checked_set(TABLE_INPUTS, key_word("short"), slice_str("x"));
}

static void idempotency_missing(void)
{
	checked_drop(TABLE_IDEMPOTENCY, key_idempotency(0, slice_str("key")));
}

static void idempotency_elsewhere(void)
{
	checked_set(TABLE_IDEMPOTENCY, key_idempotency(0, slice_str("key")),
		    slice_of(checked.running.bytes, sizeof(checked.running.bytes)));
}

static void idempotency_too_many(void)
{
	checked_set(TABLE_IDEMPOTENCY, key_idempotency(0, slice_str("other")),
		    slice_of(checked.running.bytes, sizeof(checked.running.bytes)));
}

static void idempotency_of_nobody(void)
{
	checked_set(TABLE_IDEMPOTENCY, key_idempotency(0, slice_str("other")),
		    slice_of(checked.unknown.bytes, sizeof(checked.unknown.bytes)));
}

static void idempotency_of_another_queue(void)
{
	checked_set(TABLE_IDEMPOTENCY, key_idempotency(7, slice_str("key")),
		    slice_of(checked.ready.bytes, sizeof(checked.ready.bytes)));
}

static void idempotency_malformed(void)
{
	checked_set(TABLE_IDEMPOTENCY, key_queue(0), slice_str("x"));
}

static void one_byte_less(struct job *job)
{
	job->bytes = 6;
}

static void bytes_wrong(void)
{
	checked_change_job(&checked.ready, one_byte_less);
}

static void one_byte_more(struct queue_record *q)
{
	q->bytes++;
}

static void queue_bytes_wrong(void)
{
	checked_change_queue(one_byte_more);
}

static void name_unlisted(void)
{
	checked_drop(TABLE_NAMES, key_name(slice_str("q")));
}

static void name_listed_for_another(void)
{
	struct key other = key_queue(7);

	checked_set(TABLE_NAMES, key_name(slice_str("q")), key_slice(&other));
}

static void name_of_no_queue(void)
{
	struct key other = key_queue(7);

	checked_set(TABLE_NAMES, key_name(slice_str("nobody")), key_slice(&other));
}

static void name_twice(void)
{
	struct key first = key_queue(0);

	checked_set(TABLE_NAMES, key_name(slice_str("nobody")), key_slice(&first));
}

static void name_malformed(void)
{
	checked_set(TABLE_NAMES, key_name(slice_str("nobody")), slice_str("x"));
}

static void one_ready_more(struct queue_record *q)
{
	q->counts[JOB_READY]++;
}

static void counts_wrong(void)
{
	checked_change_queue(one_ready_more);
}

static void one_urgent_more(struct queue_record *q)
{
	q->ready[0]++;
}

static void priority_counts_wrong(void)
{
	checked_change_queue(one_urgent_more);
}

static void queue_flipped(void)
{
	checked_flip(TABLE_QUEUES, key_queue(0));
}

static void queue_gap(void)
{
	checked_set(TABLE_QUEUES, key_queue(2), slice_str("x"));
}

static const struct breach_row rows[] = {
	{ "not_in_line", not_in_line, &checked.ready, "job ", ": is ready but not in the line of its queue" },
	{ "in_line_too_often", in_line_too_often, &checked.ready, "the ready index: an entry of job ",
	  ", queue 0, priority 0, stands for nothing" },
	{ "ready_key_malformed", ready_key_malformed, NULL, "the ready index: a key is malformed", "" },
	{ "due_entry_missing", due_entry_missing, &checked.running, "job ", ": its due entry is missing" },
	{ "due_entry_too_many", due_entry_too_many, &checked.running, "the due index: an entry of job ",
	  " at 1 stands for nothing" },
	{ "due_entry_of_another_state", due_entry_of_another_state, &checked.running, "job ",
	  ": its due entry says something else of it" },
	{ "due_key_malformed", due_key_malformed, NULL, "the due index: a key is malformed", "" },
	{ "due_value_malformed", due_value_malformed, &checked.running, "the due index: the entry of job ",
	  " is malformed" },
	{ "ready_value_malformed", ready_value_malformed, &checked.ready, "the ready index: the entry of job ",
	  " says something" },
	{ "secret_of_others", secret_of_others, NULL,
	  "meta: link.key is not the secret of these links, as far as the records know it", "" },
	{ "secret_cut_short", secret_cut_short, NULL, "/link.key is no secret of 32 bytes", "" },
	{ "word_malformed", word_malformed, NULL, "meta: the entry link_secret is malformed", "" },
	{ "word_unknown", word_unknown, NULL, "meta: an entry of no known name", "" },
	{ "running_never_due", running_never_due, &checked.running, "job ",
	  ": is running and nothing will ever look at it again" },
	{ "deadline_never_due", deadline_never_due, &checked.ready, "job ", ": must be looked at by " },
	{ "too_many_attempts", too_many_attempts, &checked.running, "job ", ": attempt 6 of 5" },
	{ "queue_unknown", queue_unknown, &checked.scheduled, "job ", ": its queue 77 does not exist" },
	{ "job_flipped", job_flipped, &checked.ready, "job ", ": its record is damaged" },
	{ "job_key_malformed", job_key_malformed, NULL, "jobs: a key is malformed", "" },
	{ "input_missing", input_missing, &checked.ready, "job ", ": its input is missing" },
	{ "input_flipped", input_flipped, &checked.ready, "job ", ": its input is damaged" },
	{ "input_orphaned", input_orphaned, &checked.unknown, "input of job ", ": the job is missing" },
	{ "input_key_malformed", input_key_malformed, NULL, "input: a key is malformed", "" },
	{ "idempotency_missing", idempotency_missing, &checked.ready, "job ",
	  ": its idempotency key does not lead to it" },
	{ "idempotency_elsewhere", idempotency_elsewhere, &checked.ready, "job ",
	  ": its idempotency key does not lead to it" },
	{ "idempotency_too_many", idempotency_too_many, &checked.running, "an idempotency key of queue 0 leads to job ",
	  ", which was put with another" },
	{ "idempotency_of_nobody", idempotency_of_nobody, &checked.unknown,
	  "an idempotency key of queue 0 leads to job ", ", which is not there" },
	{ "idempotency_of_another_queue", idempotency_of_another_queue, &checked.ready,
	  "an idempotency key of queue 7 leads to job ", ", which was put with another" },
	{ "idempotency_malformed", idempotency_malformed, NULL, "idempotency keys: an entry is malformed", "" },
	{ "bytes_wrong", bytes_wrong, &checked.ready, "job ", ": counts for 6 bytes, its payload has 7" },
	{ "queue_bytes_wrong", queue_bytes_wrong, NULL, "queue q: counts 22 bytes of unfinished jobs, has 21", "" },
	{ "name_unlisted", name_unlisted, NULL, "queue q: its name is not listed", "" },
	{ "name_listed_for_another", name_listed_for_another, NULL, "queue q: its name is listed for another", "" },
	{ "name_of_no_queue", name_of_no_queue, NULL, "names: nobody is listed for queue 7, which is not there", "" },
	{ "name_twice", name_twice, NULL, "names: nobody is listed for queue 0, which has another name", "" },
	{ "name_malformed", name_malformed, NULL, "names: the entry of nobody is malformed", "" },
	{ "counts_wrong", counts_wrong, NULL, "queue q: counts 2 ready jobs, has 1", "" },
	{ "priority_counts_wrong", priority_counts_wrong, NULL, "queue q: counts 1 ready jobs of priority 0, has 0",
	  "" },
	{ "queue_flipped", queue_flipped, NULL, "queue 0: its record is missing or damaged", "" },
	{ "queue_gap", queue_gap, NULL, "queue 1: its record is missing or damaged", "" },
};

/* ---- what is no breach ---- */

/* The engine finds the damage and sets the job aside; its due entry, which still leads to it, is no breach. */
static void what_is_set_aside_is_told_apart(void **state)
{
	struct uuid_text id = uuid_format(&checked.ready);
	struct msg_leased_job job;
	char line[128];

	(void)state;
	job_flipped();
	assert_true(checked_run() > 0);
	assert_int_equal(checked_found.set_aside, 0);
	checked.rig.unchecked = true;
	assert_false(rig_lease(&checked.rig, "q", &job));
	assert_int_equal(checked_run(), 0);
	assert_int_equal(checked_found.set_aside, 1);
	snprintf(line, sizeof(line), "job %s: its record is damaged; set aside since 20", id.text);
	assert_non_null(strstr(checked_said, line));
}

static void make_file(const char *name)
{
	struct timespec old[2] = { { .tv_sec = 1 }, { .tv_sec = 1 } };
	int fd = open(tempdir_file(&checked.rig.dir, name), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, "123", 3), 3);
	assert_int_equal(futimens(fd, old), 0);
	close(fd);
}

static void a_file_that_no_record_names_is_a_notice(void **state)
{
	(void)state;
	make_file("blobs/55/55555555555555555555555555555555");
	make_file("blobs/tmp/55555555555555555555555555555556");
	assert_int_equal(checked_run(), 0);
	assert_int_equal(checked_found.notices, 2);
	assert_non_null(
		strstr(checked_said, "blobs/55/55555555555555555555555555555555: no record names it (3 bytes)"));
	assert_non_null(strstr(checked_said, "blobs/tmp/55555555555555555555555555555556: no record names it"));
}

static void it_counts_what_it_looks_at(void **state)
{
	(void)state;
	assert_int_equal(checked_run(), 0);
	assert_int_equal(checked_found.jobs, 4);
	assert_int_equal(checked_found.artifacts, 2);
	assert_int_equal(checked_found.notices, 0);
}

static bool canceled_cb(void *user)
{
	return --*(int *)user < 0;
}

static void it_gives_up_when_told_to(void **state)
{
	int left = 0;
	const struct check_options options = {
		.store = checked.rig.store,
		.blobs = checked.rig.blobs,
		.canceled = canceled_cb,
		.user = &left,
	};

	(void)state;
	for (int asked = 0; asked < 3; asked++) {
		left = asked;
		assert_int_equal(check_store(&options, &checked_found), ERR_CANCELED);
	}
	left = 1000000;
	assert_int_equal(check_store(&options, &checked_found), 0);
}

/* ---- the program ---- */

static int run_program(void)
{
	const char *program = process_program("raincheckd");
	const char *const argv[] = { program, "--data", checked.rig.dir.path, "--check", NULL };
	int status;

	rig_pause(&checked.rig);
	status = process_run(argv, checked_said, sizeof(checked_said));
	rig_resume(&checked.rig);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void the_program_says_so_and_fails(void **state)
{
	(void)state;
	assert_int_equal(run_program(), 0);
	assert_non_null(strstr(checked_said, ": 0 breaches\n"));
	assert_int_equal(unlink(checked_blob_file()), 0);
	assert_int_equal(run_program(), 1);
	assert_non_null(strstr(checked_said, ": its file is missing\n"));
	assert_non_null(strstr(checked_said, ": 1 breaches\n"));
}

static uint32_t listing; /* of names, kinds, sizes and times of what is in the directory */

static int add_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	char words[512];
	int n = snprintf(words, sizeof(words), "%s %d %lld %lld.%ld", path, type, (long long)st->st_size,
			 (long long)st->st_mtim.tv_sec, st->st_mtim.tv_nsec);

	(void)ftw;
	for (int i = 0; i < n; i++)
		listing = (listing ^ (uint8_t)words[i]) * 16777619u;
	return 0;
}

static uint32_t list_directory(void)
{
	listing = 2166136261u;
	assert_int_equal(nftw(checked.rig.dir.path, add_entry, 16, FTW_PHYS), 0);
	return listing;
}

/* Not even the folders of artifacts where they are missing. */
static void the_program_makes_and_changes_nothing(void **state)
{
	const char *program = process_program("raincheckd");
	const char *const argv[] = { program, "--data", checked.rig.dir.path, "--check", NULL };
	char command[256];
	uint32_t before;

	(void)state;
	rig_pause(&checked.rig);
	snprintf(command, sizeof(command), "rm -r '%s/blobs'", checked.rig.dir.path);
	assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c): the test's own words */
	before = list_directory();
	process_run(argv, checked_said, sizeof(checked_said));
	assert_non_null(strstr(checked_said, ": its file is missing\n"));
	assert_int_equal(list_directory(), before);
	rig_resume(&checked.rig);
}

#define T(name) cmocka_unit_test_setup_teardown(name, checked_setup, checked_teardown)
static const struct CMUnitTest others[] = {
	T(what_is_set_aside_is_told_apart), T(a_file_that_no_record_names_is_a_notice),
	T(it_counts_what_it_looks_at),	    T(it_gives_up_when_told_to),
	T(the_program_says_so_and_fails),   T(the_program_makes_and_changes_nothing),
};

int main(void)
{
	struct CMUnitTest tests[ARRAY_SIZE(rows) + ARRAY_SIZE(others)];

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		tests[i] = (struct CMUnitTest){ rows[i].name, checked_breach_is_named, checked_setup_row,
						checked_teardown, (void *)(uintptr_t)&rows[i] };
	memcpy(tests + ARRAY_SIZE(rows), others, sizeof(others));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
