/* Backups over a store that the engine made: a copy serves what the store serves, stands
 * under its name whole or not at all, and holds nothing of what was erased. */
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/broker_secret.h"
#include "server/upkeep/backup.h"
#include "server/upkeep/check.h"
#include "server/store/blob.h"
#include "server/store/layout.h"
#include "tests/harness/good_store.h"

static struct rig copy_rig; /* on a copy */

/* ---- making and looking at copies ---- */

static struct error_info why;
static struct backup_result result;

static int backup(const char *path)
{
	const struct backup_options options = { .store = good.rig.store, .blobs = good.rig.blobs, .path = path };

	memset(&why, 0, sizeof(why));
	return backup_run(&options, &result, &why);
}

static void expect_whole(const char *path)
{
	struct error_info info = { 0 };
	uint8_t secret[32];
	int64_t size;
	int fd;

	good_open_copy(&copy_rig, path);
	rig_check(&copy_rig);
	assert_int_equal(rig_job(&copy_rig, &good.ready)->state, JOB_READY);
	assert_int_equal(rig_job(&copy_rig, &good.running)->state, JOB_RUNNING);
	assert_int_equal(rig_job(&copy_rig, &good.succeeded)->artifacts_count, 2);
	assert_int_equal(blob_open(copy_rig.blobs, &good.blob, &fd, &size), 0);
	assert_int_equal(size, GOOD_VIDEO_BYTES);
	close(fd);
	assert_int_equal(broker_secret_load(copy_rig.store, secret, &info), 0);
	assert_memory_equal(secret, good.secret, sizeof(secret));
}

/* ---- backups ---- */

static void a_backup_serves_what_the_store_serves(void **state)
{
	struct msg_leased_job job;

	(void)state;
	assert_int_equal(backup(good_target()), 0);
	assert_int_equal(result.jobs, 3);
	assert_int_equal(result.artifacts, 2);
	assert_true(result.bytes > GOOD_VIDEO_BYTES);
	assert_int_equal(result.set_aside, 0);
	assert_int_equal(good_entries_of(good.dir.path), 1);
	expect_whole(good_target());
	assert_true(rig_lease(&copy_rig, "q", &job));
	assert_memory_equal(&job.id, &good.ready, sizeof(job.id));
	rig_complete(&copy_rig, &job.id, &job.lease, "done");
	assert_int_equal(copy_rig.code, 0);
	rig_close(&copy_rig);
	/* The original has gone its own way. */
	assert_int_equal(rig_job(&good.rig, &good.ready)->state, JOB_READY);
}

/* But for the wish to be counted anew, which the start of the copy has fulfilled. */
static void expect_same_queue(struct slice original, struct slice copy)
{
	struct queue_record a, b;

	assert_int_equal(record_read_queue(original, &a), 0);
	assert_int_equal(record_read_queue(copy, &b), 0);
	assert_true(slice_equal(a.name, b.name));
	assert_false(b.recount);
	assert_int_equal(a.put_total, b.put_total);
	assert_int_equal(a.bytes, b.bytes);
	assert_memory_equal(a.counts, b.counts, sizeof(a.counts));
	assert_memory_equal(a.ready, b.ready, sizeof(a.ready));
}

static void expect_same_table(struct store_txn *a, struct store_txn *b, enum store_table table)
{
	struct slice key[2], value[2];
	int64_t count[2];
	int rc[2];

	assert_int_equal(store_count(a, table, &count[0]), 0);
	assert_int_equal(store_count(b, table, &count[1]), 0);
	assert_int_equal(count[0], count[1]);
	rc[0] = store_seek(a, table, slice_of(NULL, 0), &key[0], &value[0]);
	rc[1] = store_seek(b, table, slice_of(NULL, 0), &key[1], &value[1]);
	while (rc[0] == 0 && rc[1] == 0) {
		assert_true(slice_equal(key[0], key[1]));
		if (table == TABLE_QUEUES)
			expect_same_queue(value[0], value[1]);
		else
			assert_true(slice_equal(value[0], value[1]));
		rc[0] = store_next(a, table, &key[0], &value[0]);
		rc[1] = store_next(b, table, &key[1], &value[1]);
	}
	assert_int_equal(rc[0], ERR_NOT_FOUND);
	assert_int_equal(rc[1], ERR_NOT_FOUND);
}

/* Limits, weights and the places of groups are no jobs'. */
static void put_flow(void)
{
	struct group_weight weights[] = { { slice_str("visitors"), 3 } };
	struct msg_job_put put = { .has_group = true, .group = slice_str("visitors") };

	rig_limit_set(&good.rig, "api", (struct msg_limit_set){ .has_concurrency = true, .concurrency = 50 });
	rig_queue_limit(&good.rig, "q", "api");
	rig_queue_set(&good.rig, "q",
		      (struct msg_queue_set){ .has_weights = true, .weights = weights, .weights_count = 1 });
	for (int i = 0; i < 3; i++)
		good_put(put);
}

/* 36 MB, so that the copy takes more than one transaction, and something in every table. */
static void every_entry_is_in_the_copy(void **state)
{
	static char payload[12000];
	struct store_txn *original, *copy;
	struct msg_leased_job job;
	struct uuid id;

	(void)state;
	good.rig.unchecked = true;
	id = good_put_marked();
	for (int i = 0; i < 3000; i++)
		good_put((struct msg_job_put){
			.payload = slice_of(payload, sizeof(payload)), .has_priority = true, .priority = 1 + i % 9 });
	id = good_put((struct msg_job_put){ .has_priority = true, .priority = 0 });
	rig_erase(&good.rig, &id);
	id = good_put((struct msg_job_put){ .has_priority = true, .priority = 0 });
	good_flip(TABLE_JOBS, key_job(&id));
	assert_true(rig_lease(&good.rig, "q", &job));
	put_flow();
	good_hook(&good.running, "a hook");
	assert_int_equal(backup(good_target()), 0);
	assert_int_equal(result.set_aside, 1);
	good_open_copy(&copy_rig, good_target());
	assert_int_equal(store_begin_read(good.rig.store, &original), 0);
	assert_int_equal(store_begin_read(copy_rig.store, &copy), 0);
	for (int table = 0; table < STORE_TABLES; table++) {
		int64_t count;

		assert_int_equal(store_count(original, (enum store_table)table, &count), 0);
		assert_true(count > 0);
		expect_same_table(original, copy, (enum store_table)table);
	}
	store_abort(original);
	store_abort(copy);
	rig_close(&copy_rig);
}

static void only_its_owner_can_read_it(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(backup(good_target()), 0);
	assert_int_equal(stat(good_target(), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	assert_int_equal(stat(tempdir_file(&good.dir, "copy/" LAYOUT_LINK_KEY), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(stat(tempdir_file(&good.dir, "copy/" LAYOUT_RECORDS), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

static void an_empty_directory_takes_it(void **state)
{
	(void)state;
	assert_int_equal(mkdir(good_target(), 0700), 0);
	assert_int_equal(backup(good_target()), 0);
	assert_int_equal(good_entries_of(good.dir.path), 1);
	expect_whole(good_target());
	rig_close(&copy_rig);
}

/* Which cannot be replaced: so it is filled from within. */
static void a_link_to_an_empty_directory_takes_it(void **state)
{
	char place[256];

	(void)state;
	snprintf(place, sizeof(place), "%s", tempdir_file(&good.dir, "place"));
	assert_int_equal(mkdir(place, 0700), 0);
	assert_int_equal(symlink(place, good_target()), 0);
	assert_int_equal(backup(good_target()), 0);
	assert_int_equal(good_entries_of(good.dir.path), 2);
	expect_whole(place);
	rig_close(&copy_rig);
}

static void what_is_there_is_left_alone(void **state)
{
	int fd;

	(void)state;
	assert_int_equal(mkdir(good_target(), 0700), 0);
	fd = open(tempdir_file(&good.dir, "copy/other"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(backup(good_target()), ERR_CONFLICT);
	assert_non_null(strstr(why.message, "is there already, and not empty"));
	assert_int_equal(good_entries_of(good.dir.path), 1);
	assert_int_equal(good_entries_of(good_target()), 1);
	assert_int_equal(backup(tempdir_file(&good.dir, "copy/other")), ERR_CONFLICT);
	assert_non_null(strstr(why.message, "is there already, and no directory"));
}

static void come_between_cb(void *user, const char *what, int64_t done, int64_t total)
{
	(void)user;
	(void)what;
	(void)done;
	(void)total;
	mkdir(good_target(), 0700);
	mkdir(tempdir_file(&good.dir, "copy/other"), 0700);
}

static void what_comes_between_is_left_alone(void **state)
{
	const struct backup_options options = {
		.store = good.rig.store, .blobs = good.rig.blobs, .path = good_target(), .progress = come_between_cb
	};

	(void)state;
	assert_int_equal(backup_run(&options, &result, &why), ERR_CONFLICT);
	assert_non_null(strstr(why.message, "has come to be there meanwhile"));
	assert_int_equal(good_entries_of(good.dir.path), 1);
	assert_int_equal(good_entries_of(good_target()), 1);
}

/* Where the kernel may not copy from file to file by itself. */
static void another_file_system_takes_it(void **state)
{
	char place[] = "/tmp/raincheck-test-XXXXXX", path[64];
	struct stat here, there;
	char command[256];

	(void)state;
	assert_non_null(mkdtemp(place));
	snprintf(path, sizeof(path), "%s/copy/", place);
	assert_int_equal(stat(good.dir.path, &here), 0);
	assert_int_equal(stat(place, &there), 0);
	assert_int_equal(backup(path), 0);
	snprintf(command, sizeof(command), "cp -a %s/copy %s && rm -r %s", place, good.dir.path, place);
	assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c): the test's own words */
	expect_whole(good_target());
	rig_close(&copy_rig);
	if (here.st_dev == there.st_dev) {
		print_message("# /tmp is no other file system: skipped\n");
		skip();
	}
}

static void a_place_that_is_not_there_is_named(void **state)
{
	(void)state;
	assert_int_equal(backup(tempdir_file(&good.dir, "nowhere/copy")), ERR_IO);
	assert_non_null(strstr(why.message, "nowhere/copy: No such file or directory"));
	assert_int_equal(backup(""), ERR_CONFLICT);
}

static bool canceled_cb(void *user)
{
	return --*(int *)user < 0;
}

/* At every moment at which it asks. */
struct way {
	bool is_read, always;
};

static void way_progress_cb(void *user, const char *what, int64_t done, int64_t total)
{
	struct way *way = user;

	(void)done;
	(void)total;
	way->is_read |= strcmp(what, "files copied") == 0;
}

static bool in_the_way_cb(void *user)
{
	const struct way *way = user;

	return way->always || way->is_read;
}

/* Who must have the store to itself waits for those who read it, and for nothing else that a backup does. */
static void it_gives_way_while_it_reads(void **state)
{
	struct way way = { .always = true };
	const struct backup_options options = { .store = good.rig.store,
						.blobs = good.rig.blobs,
						.path = good_target(),
						.in_the_way = in_the_way_cb,
						.progress = way_progress_cb,
						.user = &way };

	(void)state;
	assert_int_equal(backup_run(&options, &result, &why), ERR_CANCELED);
	assert_int_equal(good_entries_of(good.dir.path), 0);
	way.always = false;
	assert_int_equal(backup_run(&options, &result, &why), 0);
	assert_true(way.is_read);
}

static void a_canceled_one_leaves_nothing(void **state)
{
	int left, asked = 0, rc;
	const struct backup_options options = {
		.store = good.rig.store,
		.blobs = good.rig.blobs,
		.path = good_target(),
		.canceled = canceled_cb,
		.user = &left,
	};

	(void)state;
	do {
		left = asked++;
		rc = backup_run(&options, &result, &why);
		if (rc == 0)
			break;
		assert_int_equal(rc, ERR_CANCELED);
		assert_int_equal(good_entries_of(good.dir.path), 0);
	} while (asked < 1000);
	assert_true(asked > 4);
	expect_whole(good_target());
	rig_close(&copy_rig);
}

/* On a store that is opened in the child: LMDB's may not be taken through a fork. */
static int backup_in_child(void)
{
	const struct store_options look = { .dir = good.rig.dir.path, .max_bytes = 1 << 28, .read_only = true };
	struct backup_options options = { .path = good_target(), .progress = good_step_cb };
	struct error_info info;
	int rc;

	if (store_open(&look, &options.store, &info) < 0 ||
	    blob_store_look(good.rig.dir.path, &options.blobs, &info) < 0)
		return -1;
	rc = backup_run(&options, &result, &info);
	blob_store_close(options.blobs);
	store_close(options.store);
	return rc;
}

static void a_killed_one_stands_under_another_name(void **state)
{
	int killed = 0;

	(void)state;
	rig_pause(&good.rig);
	while (!good_survives(killed, backup_in_child)) {
		killed++;
		assert_int_equal(access(good_target(), F_OK), -1);
		assert_int_equal(good_entries_of(good.dir.path), killed);
	}
	assert_true(killed > 3);
	rig_resume(&good.rig);
	expect_whole(good_target());
	rig_close(&copy_rig);
}

/* It has been found and told; the backup is as good as the store. */
static void a_job_set_aside_goes_along(void **state)
{
	struct msg_leased_job job;

	(void)state;
	good_flip(TABLE_JOBS, key_job(&good.ready));
	good.rig.unchecked = true;
	assert_false(rig_lease(&good.rig, "q", &job));
	assert_int_equal(backup(good_target()), 0);
	assert_int_equal(result.set_aside, 1);
	good_open_copy(&copy_rig, good_target());
	rig_job(&copy_rig, &good.ready);
	assert_int_equal(copy_rig.code, ERR_CORRUPT);
	rig_erase(&copy_rig, &good.ready);
	assert_int_equal(copy_rig.code, 0);
	rig_check(&copy_rig);
	rig_close(&copy_rig);
}

static void the_secret_must_be_that_of_the_links(void **state)
{
	char key[256];
	uint8_t first;
	int fd;

	(void)state;
	snprintf(key, sizeof(key), "%s", tempdir_file(&good.rig.dir, LAYOUT_LINK_KEY));
	fd = open(key, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &first, 1, 0), 1);
	first ^= 1;
	assert_int_equal(pwrite(fd, &first, 1, 0), 1);
	close(fd);
	assert_int_equal(backup(good_target()), ERR_CORRUPT);
	assert_non_null(strstr(why.message, "is not the secret of these links"));
	assert_int_equal(unlink(key), 0);
	assert_int_equal(backup(good_target()), ERR_IO);
	assert_non_null(strstr(why.message, "cannot read the links' secret"));
	assert_int_equal(good_entries_of(good.dir.path), 0);
}

/* ---- no room: a file system of one MiB, where the system lets us mount one ---- */

static int fill_small_disk(void)
{
	static char payload[100000];
	int rc;

	if (unshare(CLONE_NEWNS | (geteuid() == 0 ? 0 : CLONE_NEWUSER)) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("none", good.dir.path, "tmpfs", 0, "size=1m") < 0)
		return 77;
	rig_resume(&good.rig);
	good.rig.unchecked = true;
	memset(payload, 'p', sizeof(payload));
	/* First the artifact has no room, then the records have none. */
	rc = backup(good_target());
	if (rc != ERR_STORE_FULL || !strstr(why.message, "more are needed for the artifacts"))
		return 1;
	for (int i = 0; i < 20; i++)
		good_put((struct msg_job_put){ .payload = slice_of(payload, sizeof(payload)) });
	rc = backup(good_target());
	if (rc != ERR_STORE_FULL || !strstr(why.message, "more are needed for the records"))
		return 2;
	return good_entries_of(good.dir.path) == 0 ? 0 : 3;
}

static void a_full_disk_says_how_much_is_missing(void **state)
{
	static char video[1 << 20];
	struct staged staged = { .size = 0 };
	struct command_attach attach;
	struct uuid blob = { { 0xb2 } };
	struct msg_leased_job job;
	int status;
	pid_t pid;

	(void)state;
	assert_true(rig_lease(&good.rig, "q", &job));
	good_stage(&blob, video, sizeof(video), &staged);
	attach = (struct command_attach){ .id = job.id, .lease = job.lease, .has_lease = true, .staged = staged };
	attach.name = slice_str("video");
	rig_run(&good.rig, COMMAND_ATTACH, &attach);
	assert_int_equal(good.rig.code, 0);
	rig_pause(&good.rig);
	pid = fork();
	if (pid == 0)
		_exit(fill_small_disk());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	rig_resume(&good.rig);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77) {
		print_message("# not allowed to mount a small file system: skipped\n");
		skip();
	}
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- files that go meanwhile ---- */

static bool is_there(const struct uuid *blob)
{
	int64_t size;
	int fd, rc = blob_open(good.rig.blobs, blob, &fd, &size);

	if (rc == 0)
		close(fd);
	return rc == 0;
}

/* The job is erased, and its file removed, once this is told for the first time. */
static const char *moment;

static void erase_cb(void *user, const char *what, int64_t done, int64_t total)
{
	const struct uuid *garbage;
	size_t count;

	(void)user;
	if (!moment || strcmp(what, moment) != 0 || (done != total && strcmp(what, "records copied") == 0))
		return;
	moment = NULL;
	rig_erase(&good.rig, &good.succeeded);
	garbage = engine_garbage(good.rig.engine, &count);
	for (size_t i = 0; i < count; i++)
		blob_remove(good.rig.blobs, &garbage[i]);
}

/* Its record has been read, its file has not. */
static void a_file_that_goes_meanwhile_is_checked(void **state)
{
	const struct check_options options = { .store = good.rig.store, .blobs = good.rig.blobs, .progress = erase_cb };
	struct check_result found;

	(void)state;
	good.rig.unchecked = true;
	moment = "artifacts checked";
	assert_int_equal(check_store(&options, &found), 0);
	assert_null(moment);
	assert_int_equal(found.breaches, 0);
	assert_false(is_there(&good.blob));
}

/* The records are copied: so the backup is of before. */
static void a_file_that_goes_meanwhile_is_in_the_backup(void **state)
{
	const struct backup_options options = {
		.store = good.rig.store, .blobs = good.rig.blobs, .path = good_target(), .progress = erase_cb
	};

	(void)state;
	good.rig.unchecked = true;
	moment = "records copied";
	assert_int_equal(backup_run(&options, &result, &why), 0);
	assert_null(moment);
	expect_whole(good_target());
	rig_close(&copy_rig);
	assert_false(is_there(&good.blob));
	rig_job(&good.rig, &good.succeeded);
	assert_int_equal(good.rig.code, ERR_GONE);
}

/* ---- erasing ---- */

/* It would be swept with the files that no record names, or be gone with the next compaction. */
static void a_copy_inside_of_the_data_is_refused(void **state)
{
	char path[300];

	(void)state;
	snprintf(path, sizeof(path), "%s/backup", store_dir(good.rig.store));
	assert_int_equal(backup(path), ERR_CONFLICT);
	assert_non_null(strstr(why.message, "inside of the data directory"));
	snprintf(path, sizeof(path), "%s/blobs/backup", store_dir(good.rig.store));
	assert_int_equal(backup(path), ERR_CONFLICT);
}

static void what_was_erased_is_in_no_backup(void **state)
{
	struct uuid id = good_put_marked();

	(void)state;
	assert_int_equal(backup(good_target()), 0);
	/* Or the test could not fail. */
	assert_int_equal(good_marks_in(good_target()), GOOD_MARKS);
	good_erase_marked(&id);
	assert_int_equal(backup(tempdir_file(&good.dir, "after")), 0);
	assert_int_equal(good_marks_in(tempdir_file(&good.dir, "after")), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, good_setup, good_teardown)
	const struct CMUnitTest tests[] = {
		T(a_backup_serves_what_the_store_serves),
		T(every_entry_is_in_the_copy),
		T(only_its_owner_can_read_it),
		T(an_empty_directory_takes_it),
		T(a_link_to_an_empty_directory_takes_it),
		T(what_is_there_is_left_alone),
		T(what_comes_between_is_left_alone),
		T(another_file_system_takes_it),
		T(a_place_that_is_not_there_is_named),
		T(it_gives_way_while_it_reads),
		T(a_canceled_one_leaves_nothing),
		T(a_killed_one_stands_under_another_name),
		T(a_job_set_aside_goes_along),
		T(the_secret_must_be_that_of_the_links),
		T(a_full_disk_says_how_much_is_missing),
		T(a_file_that_goes_meanwhile_is_checked),
		T(a_file_that_goes_meanwhile_is_in_the_backup),
		T(a_copy_inside_of_the_data_is_refused),
		T(what_was_erased_is_in_no_backup),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
