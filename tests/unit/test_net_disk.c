/* What a peer sees of a store that is full, fails or is damaged, and what becomes of the files of artifacts then. */
#include <sys/resource.h>

#include "server/store/keys.h"
#include "tests/unit/test_net_rig.h"

static struct net_rig rig;
static struct peer p;
static char still[5000]; /* more than lives in the map */

static int setup(void **state)
{
	(void)state;
	rig_open(&rig);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	peer_close(&p);
	rig_stop(&rig);
	return 0;
}

static void serve(void)
{
	rig_serve(&rig, NULL);
	peer_open(&p, &rig);
}

static struct msg_job_put put_with_still(const void *payload, size_t size)
{
	struct msg_job_put put = put_of("q", payload, size);

	put.has_preview = true;
	put.preview = (struct msg_media){ .has_content_type = true,
					  .content_type = slice_str("image/png"),
					  .has_data = true,
					  .data = slice_of(still, sizeof(still)) };
	return put;
}

/* ---- full ---- */

/* What a batch takes back was answered already, but not shown: the peer is told the error instead. */
static void a_full_store_is_told_and_leaves_no_blobs(void **state)
{
	static char large[50000];
	struct msg_job_put put = put_with_still(large, sizeof(large));
	size_t stored = 0;
	int rc;

	(void)state;
	rig_close(&rig);
	rig_open_sized(&rig, 2 << 20);
	serve();
	while ((rc = peer_call(&p, METHOD_job_put, &put, NULL)) == 0)
		stored++;
	assert_int_equal(rc, ERR_STORE_FULL);
	assert_true(stored > 0);
	rig_await_blobs(&rig, stored);
	assert_int_equal(peer_stats(&p).put_total, stored);
}

/* The same beside a reserve: then puts are refused, and what is there already goes on. */
static void stats_say_when_puts_are_refused(void **state)
{
	static char large[50000];
	struct msg_job_put put = put_of("q", large, sizeof(large));
	struct msg_server_stats_result stats;
	struct uuid id;

	(void)state;
	rig_close(&rig);
	rig_open_sized(&rig, 4 << 20);
	rig.settings.reserve_bytes = 2 << 20;
	serve();
	stats = peer_stats(&p);
	assert_false(stats.store.full);
	assert_int_equal(stats.store.reserve_bytes, 2 << 20);
	assert_int_equal(stats.store.max_bytes, 4 << 20);
	peer_take(&p, "taken", &id);
	for (size_t size = sizeof(large); size > 0; size /= 10) {
		put.payload.size = size;
		while (peer_call(&p, METHOD_job_put, &put, NULL) == 0)
			;
		assert_int_equal(p.info.code, ERR_STORE_FULL);
	}
	assert_true(peer_stats(&p).store.full);
}

/* ---- failing ---- */

/* From now on no page of the store's file can be written but its first two, which say what the file holds: so every
 * commit fails. Small files are written as before. */
static void break_commits(struct rlimit *before)
{
	struct rlimit limit;

	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, before), 0);
	limit = *before;
	limit.rlim_cur = 8192;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void mend_commits(const struct rlimit *before)
{
	assert_int_equal(setrlimit(RLIMIT_FSIZE, before), 0);
}

/* A put that is refused leaves no file; by the time that is seen, files of puts before it would be gone as well. */
static void await_removals(size_t blobs)
{
	struct msg_job_put put = put_with_still("x", 1);

	put.queue = slice_str("_own");
	assert_int_equal(peer_call(&p, METHOD_job_put, &put, NULL), ERR_BAD_REQUEST);
	rig_await_blobs(&rig, blobs);
}

/* The page that names the commit was not even tried: no record can ever name its files. */
static void a_commit_that_failed_takes_its_files_along(void **state)
{
	struct msg_job_put put = put_with_still("x", 1);
	struct rlimit before;
	int rc;

	(void)state;
	serve();
	peer_put(&p, "q");
	break_commits(&before);
	rc = peer_call(&p, METHOD_job_put, &put, NULL);
	mend_commits(&before);
	assert_true(rc < 0);
	await_removals(0);
	assert_int_equal(peer_call(&p, METHOD_job_put, &put, NULL), 0);
	assert_int_equal(rig_blobs(&rig), 1);
	assert_int_equal(peer_stats(&p).put_total, 2);
}

/* The same of one that came in pieces. */
static void a_commit_that_failed_takes_an_uploads_file_along(void **state)
{
	struct msg_artifact_begin begin = { .has_id = true,
					    .has_lease = true,
					    .has_name = true,
					    .name = slice_str("video"),
					    .has_content_type = true,
					    .content_type = slice_str("video/mp4") };
	struct msg_artifact_begin_result begun;
	struct msg_artifact_commit commit = { .has_upload = true };
	struct rlimit before;
	int rc;

	(void)state;
	serve();
	begin.lease = peer_take(&p, "q", &begin.id);
	assert_int_equal(peer_call(&p, METHOD_artifact_begin, &begin, &begun), 0);
	commit.upload = begun.upload;
	break_commits(&before);
	rc = peer_call(&p, METHOD_artifact_commit, &commit, NULL);
	mend_commits(&before);
	assert_true(rc < 0);
	await_removals(0);
	/* It is over all the same: the worker begins another. */
	assert_int_equal(peer_call(&p, METHOD_artifact_commit, &commit, NULL), ERR_NOT_FOUND);
	assert_int_equal(peer_call(&p, METHOD_artifact_begin, &begin, &begun), 0);
	commit.upload = begun.upload;
	assert_int_equal(peer_call(&p, METHOD_artifact_commit, &commit, NULL), 0);
	assert_int_equal(rig_blobs(&rig), 1);
}

/* ---- the log ---- */

static int stderr_kept;

static void redirect_stderr(const char *path)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fflush(stderr);
	stderr_kept = dup(2);
	assert_true(stderr_kept >= 0);
	assert_int_equal(dup2(fileno(f), 2), 2);
	fclose(f);
}

static void restore_stderr(void)
{
	dup2(stderr_kept, 2);
	close(stderr_kept);
}

static int count_in_file(const char *path, const char *words)
{
	FILE *f = fopen(path, "r");
	char line[4096];
	int count = 0;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		count += strstr(line, words) != NULL;
	fclose(f);
	return count;
}

/* A disk that is gone fails every batch, thousands of them in a second. */
static void failed_batches_do_not_fill_the_log(void **state)
{
	struct msg_job_put put = put_of("q", "x", 1);
	struct rlimit before;
	char path[320];

	(void)state;
	serve();
	peer_put(&p, "q");
	snprintf(path, sizeof(path), "%s", tempdir_file(&rig.dir, "log"));
	redirect_stderr(path);
	break_commits(&before);
	for (int i = 0; i < 20; i++)
		(void)peer_call(&p, METHOD_job_put, &put, NULL);
	mend_commits(&before);
	restore_stderr();
	assert_true(peer_stats(&p).store.failed_commits >= 20);
	assert_int_equal(count_in_file(path, "was taken back"), 1);
}

/* ---- damaged ---- */

/* Turns one bit of the record, as a bad disk does. */
static void damage(enum store_table table, struct key key)
{
	uint8_t copy[4096];
	struct store_txn *t;
	struct slice record;

	assert_int_equal(store_begin_write(rig.store, &t), 0);
	assert_int_equal(store_get(t, table, key_slice(&key), &record), 0);
	assert_true(record.size <= sizeof(copy));
	memcpy(copy, record.data, record.size);
	copy[record.size / 2] ^= 1;
	assert_int_equal(store_put(t, table, key_slice(&key), slice_of(copy, record.size)), 0);
	assert_int_equal(store_commit(t), 0);
}

/* A batch that is taken back makes the engine read the queues again; a record that was damaged meanwhile is told once,
 * however many batches fail until it is written whole. */
static void a_queue_found_damaged_meanwhile_is_told_once(void **state)
{
	struct msg_job_put put = put_of("q", "x", 1);
	struct rlimit before;
	char path[320];

	(void)state;
	serve();
	peer_put(&p, "q");
	damage(TABLE_QUEUES, key_queue(0));
	snprintf(path, sizeof(path), "%s", tempdir_file(&rig.dir, "log"));
	redirect_stderr(path);
	break_commits(&before);
	for (int i = 0; i < 3; i++)
		assert_true(peer_call(&p, METHOD_job_put, &put, NULL) < 0);
	mend_commits(&before);
	assert_int_equal(peer_call(&p, METHOD_job_put, &put, NULL), 0);
	restore_stderr();
	assert_int_equal(count_in_file(path, "queue q: its record is damaged in the store"), 1);
}

static void a_damaged_job_is_named_counted_and_can_be_erased(void **state)
{
	struct msg_job_id id = { .has_id = true };
	struct slice queue = slice_str("q");
	struct msg_job_lease lease = lease_of(&queue, 0);
	struct msg_job_lease_result leased;
	struct msg_job_change erase = { .has_id = true };
	struct uuid whole;

	(void)state;
	serve();
	erase.id = id.id = peer_put(&p, "q");
	whole = peer_put(&p, "q");
	damage(TABLE_JOBS, key_job(&id.id));
	assert_int_equal(peer_call(&p, METHOD_job_get, &id, NULL), ERR_STORE_ERROR);
	assert_string_equal(p.info.message, "what is stored of the job is damaged");
	assert_int_equal(peer_call(&p, METHOD_job_lease, &lease, &leased), 0);
	assert_int_equal(leased.jobs_count, 1);
	assert_true(uuid_equal(&leased.jobs[0].id, &whole));
	assert_int_equal(peer_stats(&p).store.set_aside, 1);
	assert_int_equal(peer_call(&p, METHOD_job_get, &id, NULL), ERR_STORE_ERROR);
	assert_int_equal(peer_call(&p, METHOD_job_erase, &erase, NULL), 0);
	assert_int_equal(peer_stats(&p).store.set_aside, 0);
	assert_int_equal(peer_call(&p, METHOD_job_get, &id, NULL), ERR_GONE);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_full_store_is_told_and_leaves_no_blobs),
		TEST(stats_say_when_puts_are_refused),
		TEST(a_commit_that_failed_takes_its_files_along),
		TEST(a_commit_that_failed_takes_an_uploads_file_along),
		TEST(failed_batches_do_not_fill_the_log),
		TEST(a_queue_found_damaged_meanwhile_is_told_once),
		TEST(a_damaged_job_is_named_counted_and_can_be_erased),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
