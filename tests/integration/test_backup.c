/* Backup, restore, compaction and check as an operator does them, with the real programs: backups under load hold every
 * job that was acknowledged before and no half of a commit; a restored directory serves the old links; nothing that is
 * there is written over; what was erased is in no backup. BACKUPS=N: how many are made under load. */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/store/keys.h"
#include "server/store/records.h"
#include "server/store/store.h"
#include "tests/harness/stack.h"

#define PAIRS_MAX     100000
#define PREVIEW_BYTES 20000 /* above what stands in the map: a file */
#define ERASE_AFTER   5	    /* pairs */

static struct stack stack;
static struct raincheck *rc;

static int setup(void **state)
{
	(void)state;
	memset(&stack, 0, sizeof(stack));
	tempdir_make(&stack.dir);
	stack_start_broker(&stack);
	rc = stack_connect(&stack);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	raincheck_close(rc, NULL, NULL);
	stack_stop(&stack);
	return 0;
}

/* A name in the test's directory, good for the whole test. */
struct place {
	char path[256];
};

static struct place place(const char *name)
{
	struct place p;

	snprintf(p.path, sizeof(p.path), "%s/%s", stack.dir.path, name);
	return p;
}

static char said[65536];

/* Runs raincheckd to its end; its exit status, and what it said in said[]. */
static int run(const char *a, const char *b, const char *c, const char *d)
{
	char program[512];
	const char *const argv[] = { program, a, b, c, d, NULL };
	int status;

	snprintf(program, sizeof(program), "%s", process_program("raincheckd"));
	status = process_run(argv, said, sizeof(said));
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void expect_said(const char *words)
{
	if (!strstr(said, words))
		fail_msg("\"%s\" is not in: %s", words, said);
}

static void expect_clean(const char *directory)
{
	assert_int_equal(run("--check", "--data", directory, NULL), 0);
	expect_said(": 0 breaches\n");
}

static void back_up(const char *directory)
{
	struct raincheck_backup_result *result;

	if (raincheck_backup(rc, directory, &result) < 0)
		fail_msg("%s", raincheck_last_error(rc)->message);
	assert_string_equal(result->path, directory);
	assert_true(result->bytes > 0);
	raincheck_free(result);
}

/* ---- under load: pairs of jobs put in one commit each, and the first of each erased a while later ---- */

static struct {
	pthread_t thread;
	atomic_bool over;
	atomic_int acknowledged; /* pairs */
	atomic_int erasing;	 /* pairs whose first job's erasure was asked for */
	bool failed;
	char first[PAIRS_MAX][RAINCHECK_ID_SIZE];
} load;

static int put_pair(struct raincheck *own, int pair)
{
	static char preview[PREVIEW_BYTES];
	struct raincheck_put_many_result *result;
	struct raincheck_put puts[2];
	char payload[2][32];
	int code;

	memset(preview, 's', sizeof(preview));
	for (int i = 0; i < 2; i++) {
		snprintf(payload[i], sizeof(payload[i]), "%d %c", pair, "ab"[i]);
		puts[i] = (struct raincheck_put){ .queue = "load",
						  .payload = { payload[i], strlen(payload[i]) },
						  .preview = { "image/png", { preview, sizeof(preview) } } };
	}
	code = raincheck_put_many(own, puts, 2, &result);
	if (code < 0)
		return code;
	snprintf(load.first[pair], sizeof(load.first[pair]), "%s", result->jobs[0].id);
	raincheck_free(result);
	atomic_store(&load.acknowledged, pair + 1);
	return 0;
}

static int erase_first(struct raincheck *own, int pair)
{
	struct raincheck_change_result *result;
	int code;

	atomic_store(&load.erasing, pair + 1);
	code = raincheck_erase(own, load.first[pair], &result);
	if (code == 0)
		raincheck_free(result);
	return code;
}

static void *load_main(void *arg)
{
	struct raincheck *own = stack_connect(&stack);
	int code = 0;

	(void)arg;
	for (int pair = 0; code == 0 && pair < PAIRS_MAX && !atomic_load(&load.over); pair++) {
		code = put_pair(own, pair);
		if (code == 0 && pair >= ERASE_AFTER)
			code = erase_first(own, pair - ERASE_AFTER);
	}
	load.failed = code < 0;
	if (load.failed)
		print_error("load: %s\n", raincheck_last_error(own)->message);
	raincheck_close(own, NULL, NULL);
	return NULL;
}

static void wait_for_load(int more)
{
	int until = atomic_load(&load.acknowledged) + more;

	while (atomic_load(&load.acknowledged) < until && !load.failed)
		sched_yield();
}

/* Which of the pairs' jobs are in a copy. */
struct seen {
	bool first[PAIRS_MAX], second[PAIRS_MAX];
};

static void look_into(const char *directory, struct seen *seen)
{
	const struct store_options options = { .dir = directory, .max_bytes = 1LL << 34, .read_only = true };
	struct error_info info = { 0 };
	struct slice key, value;
	struct store_txn *t;
	struct store *s;
	int found;

	memset(seen, 0, sizeof(*seen));
	if (store_open(&options, &s, &info) < 0)
		fail_msg("%s", info.message);
	assert_int_equal(store_begin_read(s, &t), 0);
	for (found = store_seek(t, TABLE_INPUTS, slice_of(NULL, 0), &key, &value); found == 0;
	     found = store_next(t, TABLE_INPUTS, &key, &value)) {
		struct job_input input;
		char payload[32];
		char *kind;
		long pair;

		assert_int_equal(record_read_input(value, &input), 0);
		snprintf(payload, sizeof(payload), "%.*s", SLICE_FMT(input.payload));
		pair = strtol(payload, &kind, 10);
		assert_in_range(pair, 0, PAIRS_MAX - 1);
		(strcmp(kind, " a") == 0 ? seen->first : seen->second)[pair] = true;
	}
	store_abort(t);
	store_close(s);
}

/* before: pairs acknowledged before the backup was asked for; erasing: those whose erasure was asked for by its end. */
static void expect_consistent(const struct seen *seen, int before, int erasing)
{
	for (int pair = 0; pair < before; pair++)
		if (!seen->second[pair])
			fail_msg("pair %d was acknowledged and is not in the backup", pair);
	for (int pair = 0; pair < PAIRS_MAX; pair++) {
		if (seen->first[pair] && !seen->second[pair])
			fail_msg("of pair %d only the first job is in the backup", pair);
		if (seen->second[pair] && !seen->first[pair] && pair >= erasing)
			fail_msg("of pair %d only the second job is in the backup", pair);
	}
}

static void backups_under_load_are_whole(void **state)
{
	const char *count = getenv("BACKUPS");
	int backups = count ? atoi(count) : 5; /* NOLINT(cert-err34-c) */
	struct seen *seen = malloc(sizeof(*seen));

	(void)state;
	assert_non_null(seen);
	print_message("# %d backups (BACKUPS)\n", backups);
	assert_int_equal(pthread_create(&load.thread, NULL, load_main, NULL), 0);
	for (int i = 0; i < backups; i++) {
		struct place copy;
		char name[32];
		int before;

		snprintf(name, sizeof(name), "copy-%d", i);
		copy = place(name);
		wait_for_load(20);
		before = atomic_load(&load.acknowledged);
		back_up(copy.path);
		look_into(copy.path, seen);
		expect_consistent(seen, before, atomic_load(&load.erasing));
		expect_clean(copy.path);
	}
	atomic_store(&load.over, true);
	pthread_join(load.thread, NULL);
	assert_false(load.failed);
	free(seen);
}

static void a_check_under_load_finds_nothing(void **state)
{
	struct raincheck_check_result *result;

	(void)state;
	atomic_store(&load.over, false);
	atomic_store(&load.acknowledged, 0);
	assert_int_equal(pthread_create(&load.thread, NULL, load_main, NULL), 0);
	for (int i = 0; i < 5; i++) {
		wait_for_load(20);
		assert_int_equal(raincheck_check(rc, &result), 0);
		if (result->breach_count != 0)
			fail_msg("%s", result->lines[0]);
		assert_true(result->jobs > 0 && result->artifacts > 0);
		raincheck_free(result);
	}
	atomic_store(&load.over, true);
	pthread_join(load.thread, NULL);
	assert_false(load.failed);
}

/* ---- restore ---- */

/* Puts a job whose still is a file, and keeps its link. */
static void put_with_still(char link[512])
{
	static char preview[PREVIEW_BYTES];
	struct raincheck_put put = { .queue = "q",
				     .payload = { "payload", 7 },
				     .title = "For Ada",
				     .preview = { "image/png", { preview, sizeof(preview) } } };
	struct raincheck_put_result *result;

	if (raincheck_put(rc, &put, &result) < 0)
		fail_msg("%s", raincheck_last_error(rc)->message);
	snprintf(link, 512, "%s", result->link);
	raincheck_free(result);
}

static void expect_status(const char *link, long status)
{
	struct http_answer answer;

	http_request(NULL, link, NULL, &answer);
	assert_int_equal(answer.status, status);
	http_answer_done(&answer);
}

static void a_restored_directory_serves_the_links(void **state)
{
	struct place copy = place("copy"), data = place("data"), lost = place("lost");
	char link[512], later[512];

	(void)state;
	put_with_still(link);
	back_up(copy.path);
	put_with_still(later);
	process_stop(&stack.broker);
	assert_int_equal(rename(data.path, lost.path), 0);
	assert_int_equal(run("--restore", copy.path, "--data", data.path), 0);
	expect_said("1 jobs, 1 artifacts, 0 set aside\n");
	expect_said(": 0 breaches\n");
	expect_said(": restored: 1 jobs, 1 artifacts, ");
	expect_clean(data.path);
	stack_start_broker(&stack);
	expect_status(link, 200);
	/* It was put after the backup. */
	expect_status(later, 404);
	raincheck_close(rc, NULL, NULL);
	rc = stack_connect(&stack);
	put_with_still(later);
	expect_status(later, 200);
}

static void a_backup_can_be_served_itself(void **state)
{
	struct place copy = place("copy"), data = place("data"), lost = place("lost");
	char link[512];

	(void)state;
	put_with_still(link);
	back_up(copy.path);
	process_stop(&stack.broker);
	assert_int_equal(rename(data.path, lost.path), 0);
	assert_int_equal(rename(copy.path, data.path), 0);
	stack_start_broker(&stack);
	expect_status(link, 200);
}

static void nothing_is_written_over(void **state)
{
	struct place copy = place("copy"), data = place("data");
	struct raincheck_backup_result *result;
	char link[512];

	(void)state;
	put_with_still(link);
	back_up(copy.path);
	assert_int_equal(raincheck_backup(rc, copy.path, &result), RAINCHECK_ECONFLICT);
	assert_non_null(strstr(raincheck_last_error(rc)->message, "is there already, and not empty"));
	assert_int_equal(run("--restore", copy.path, "--data", data.path), 1);
	expect_said("another raincheckd uses it");
	process_stop(&stack.broker);
	assert_int_equal(run("--restore", copy.path, "--data", data.path), 1);
	expect_said("is there already, and not empty");
	stack_start_broker(&stack);
	expect_status(link, 200);
}

/* ---- what is not whole ---- */

static struct store *open_store(const char *directory)
{
	const struct store_options options = { .dir = directory, .max_bytes = 1LL << 34 };
	struct error_info info = { 0 };
	struct store *s;

	if (store_open(&options, &s, &info) < 0)
		fail_msg("%s", info.message);
	return s;
}

static void damage_queue(const char *directory)
{
	struct store *s = open_store(directory);
	struct key key = key_queue(0);
	struct slice value;
	struct store_txn *t;
	uint8_t bytes[4096];

	assert_int_equal(store_begin_write(s, &t), 0);
	assert_int_equal(store_get(t, TABLE_QUEUES, key_slice(&key), &value), 0);
	assert_in_range(value.size, 1, sizeof(bytes));
	memcpy(bytes, value.data, value.size);
	bytes[value.size / 2] ^= 1;
	assert_int_equal(store_put(t, TABLE_QUEUES, key_slice(&key), slice_of(bytes, value.size)), 0);
	assert_int_equal(store_commit(t), 0);
	store_close(s);
}

static void what_is_not_whole_is_not_restored(void **state)
{
	struct place copy = place("copy"), restored = place("restored");
	char link[512];

	(void)state;
	put_with_still(link);
	back_up(copy.path);
	damage_queue(copy.path);
	assert_int_equal(run("--restore", copy.path, "--data", restored.path), 1);
	expect_said("queue 0: its record is missing or damaged");
	expect_said("is not whole: nothing was restored");
	assert_int_equal(access(restored.path, F_OK), -1);
	assert_int_equal(run("--restore", place("nowhere").path, "--data", restored.path), 1);
	expect_said("nowhere/lock: No such file or directory");
}

static void in_blobs(const char *directory, const char *words)
{
	char command[512];

	snprintf(command, sizeof(command), "cd '%s/blobs' && %s", directory, words);
	assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c): the test's own words */
}

/* One lost file keeps nobody from a backup of all the rest, nor from getting it back. */
static void damage_of_one_job_is_told_and_the_rest_is_saved(void **state)
{
	struct place copy = place("copy"), restored = place("restored"), data = place("data");
	struct raincheck_backup_result *result;
	char link[512];

	(void)state;
	put_with_still(link);
	in_blobs(data.path, "cp -a . ../../saved && find . -type f -size +1k -exec truncate -s 1 {} +");
	put_with_still(link);
	assert_int_equal(raincheck_backup(rc, copy.path, &result), 0);
	assert_int_equal(result->damaged, 1);
	assert_int_equal(result->jobs, 2);
	raincheck_free(result);
	assert_int_equal(run("--restore", copy.path, "--data", restored.path), 0);
	expect_said(": its file has 1 bytes instead of 20000\n");
	expect_said(": restored: 2 jobs, 2 artifacts, ");
	expect_said(": 1 damaged part of jobs, before as after");
	in_blobs(data.path, "cp -a ../../saved/. .");
}

static void rows_of_no_job_are_dropped_by_compaction(void **state)
{
	struct place data = place("data"), copy = place("copy");
	struct uuid nobody = { { 0x55 } };
	struct key key = key_job(&nobody);
	struct store_txn *t;
	struct store *s;
	char link[512];

	(void)state;
	put_with_still(link);
	process_stop(&stack.broker);
	s = open_store(data.path);
	assert_int_equal(store_begin_write(s, &t), 0);
	assert_int_equal(store_put(t, TABLE_INPUTS, key_slice(&key), slice_str("Mark-Of-Nobody")), 0);
	assert_int_equal(store_commit(t), 0);
	store_close(s);
	assert_int_equal(run("--check", "--data", data.path, NULL), 1);
	assert_int_equal(run("--compact", "--data", data.path, NULL), 0);
	expect_said("inputs, job 55000000-0000-0000-0000-000000000000: there is no such job: dropped\n");
	expect_said(": mended: 0 rows out of order, 1 dropped, 0 put right, 0 jobs set aside\n");
	expect_clean(data.path);
	stack_start_broker(&stack);
	expect_status(link, 200);
	raincheck_close(rc, NULL, NULL);
	rc = stack_connect(&stack);
	back_up(copy.path);
}

/* What a compaction that was killed has left is nobody's, and takes room. */
static void a_start_removes_what_a_killed_compaction_left(void **state)
{
	struct place left = place("data/compact.partial"), file = place("data/compact.partial/raincheck.mdb");
	FILE *f;

	(void)state;
	process_stop(&stack.broker);
	assert_int_equal(mkdir(left.path, 0700), 0);
	f = fopen(file.path, "w");
	assert_non_null(f);
	assert_int_equal(fclose(f), 0);
	stack_start_broker(&stack);
	assert_int_equal(access(left.path, F_OK), -1);
}

/* ---- compaction and erasure, over the wire ---- */

static bool holds(const char *directory, const char *mark)
{
	char command[512];

	snprintf(command, sizeof(command), "grep -rqaF '%s' '%s'", mark, directory);
	return system(command) == 0; /* NOLINT(cert-env33-c): the test's own words */
}

static void what_is_erased_is_gone(void **state)
{
	static char preview[PREVIEW_BYTES] = "Mark-Of-A-Still";
	struct raincheck_put put = { .queue = "q",
				     .payload = { "Mark-Of-A-Payload", 17 },
				     .idempotency_key = "Mark-Of-A-Key",
				     .preview = { "image/png", { preview, sizeof(preview) } } };
	struct place before = place("before"), after = place("after"), data = place("data");
	struct raincheck_change_result *changed;
	struct raincheck_put_result *result;

	(void)state;
	assert_int_equal(raincheck_put(rc, &put, &result), 0);
	back_up(before.path);
	assert_true(holds(before.path, "Mark-Of-A-Still") && holds(before.path, "Mark-Of-A-Payload") &&
		    holds(before.path, "Mark-Of-A-Key"));
	assert_int_equal(raincheck_erase(rc, result->id, &changed), 0);
	back_up(after.path);
	assert_false(holds(after.path, "Mark-Of-A"));
	process_stop(&stack.broker);
	assert_int_equal(run("--compact", "--data", data.path, NULL), 0);
	expect_said(": compacted: ");
	assert_false(holds(data.path, "Mark-Of-A"));
	stack_start_broker(&stack);
	expect_status(result->link, 410);
	raincheck_free(changed);
	raincheck_free(result);
}

static void a_directory_in_use_is_not_compacted(void **state)
{
	struct place data = place("data"), nowhere = place("nowhere");

	(void)state;
	assert_int_equal(run("--compact", "--data", data.path, NULL), 1);
	expect_said("another raincheckd uses the data directory");
	assert_int_equal(run("--compact", "--data", nowhere.path, NULL), 1);
	assert_int_equal(access(nowhere.path, F_OK), -1);
}

/* ---- a flipped bit in a queue's record ---- */

/* It is named in the log, and paused; everything else goes on. */
static void the_broker_starts_with_a_damaged_queue(void **state)
{
	struct place data = place("data");
	struct raincheck_queue *queue;
	struct process heard = { 0 };
	char program[512], link[512];
	const char *const argv[] = {
		program, "--data", data.path, "--listen", stack.server, "--http", stack.http + strlen("http://"), NULL
	};

	(void)state;
	put_with_still(link);
	process_stop(&stack.broker);
	damage_queue(data.path);
	snprintf(program, sizeof(program), "%s", process_program("raincheckd"));
	process_start_heard(&heard, argv);
	assert_true(process_wait_words(&heard, "queue q: its record is damaged in the store; its jobs are kept"));
	assert_true(process_wait_line(&heard, "ready "));
	expect_status(link, 200);
	raincheck_close(rc, NULL, NULL);
	rc = stack_connect(&stack);
	assert_int_equal(raincheck_queue_get(rc, "q", &queue), 0);
	assert_true(queue->paused);
	assert_int_equal(queue->counts.ready, 1);
	raincheck_free(queue);
	process_stop(&heard);
	expect_clean(data.path);
}

static void one_thing_at_a_time(void **state)
{
	(void)state;
	assert_int_equal(run("--compact", "--check", NULL, NULL), 2);
	expect_said("one at a time: --check, --compact, --restore");
	assert_int_equal(run("--restore", "x", "--check", NULL), 2);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(backups_under_load_are_whole),
		T(a_check_under_load_finds_nothing),
		T(a_restored_directory_serves_the_links),
		T(a_backup_can_be_served_itself),
		T(nothing_is_written_over),
		T(what_is_not_whole_is_not_restored),
		T(damage_of_one_job_is_told_and_the_rest_is_saved),
		T(rows_of_no_job_are_dropped_by_compaction),
		T(a_start_removes_what_a_killed_compaction_left),
		T(what_is_erased_is_gone),
		T(a_directory_in_use_is_not_compacted),
		T(the_broker_starts_with_a_damaged_queue),
		T(one_thing_at_a_time),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
