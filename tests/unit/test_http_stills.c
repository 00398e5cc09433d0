/* Stills of puts over HTTP, on their way into a file and out of it: on which thread, and what becomes of them when that
 * is the end of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "proto/base/clean.h"
#include "server/engine/settings.h"
#include "server/http/stills.h"
#include "server/store/blob.h"
#include "tests/harness/tempdir.h"

#define MANY   32
#define INLINE 16

struct told {
	struct still still;
	int rc;
	pthread_t by;
	atomic_int times;
};

static struct rig {
	struct tempdir dir;
	struct settings settings;
	struct blob_store *blobs;
	struct stills *stills;
	sem_t told;
	struct told all[MANY];
} rig;

static const char large[] = "more bytes than are kept in the map";

static int setup(void **state)
{
	struct error_info info;

	(void)state;
	memset(&rig, 0, sizeof(rig));
	tempdir_make(&rig.dir);
	rig.settings.inline_bytes = INLINE;
	sem_init(&rig.told, 0, 0);
	assert_int_equal(blob_store_open(rig.dir.path, &rig.blobs, &info), 0);
	return stills_new(&rig.settings, rig.blobs, &rig.stills);
}

static int teardown(void **state)
{
	(void)state;
	stills_free(rig.stills);
	blob_store_close(rig.blobs);
	tempdir_remove(&rig.dir);
	sem_destroy(&rig.told);
	return 0;
}

static void told_cb(struct still *still, int rc)
{
	struct told *t = CONTAINER_OF(still, struct told, still);

	t->rc = rc;
	t->by = pthread_self();
	atomic_fetch_add(&t->times, 1);
	sem_post(&rig.told);
}

static void wait_for(int count)
{
	for (int i = 0; i < count; i++)
		while (sem_wait(&rig.told) < 0)
			assert_int_equal(errno, EINTR);
}

static void prepare(struct told *t)
{
	stills_prepare(rig.stills, &t->still, slice_str("image/png"), slice_of(large, sizeof(large)), told_cb);
}

static bool is_there(const struct told *t)
{
	int64_t size;
	int fd;

	if (blob_open(rig.blobs, &t->still.staged.blob, &fd, &size) < 0)
		return false;
	close(fd);
	assert_int_equal(size, sizeof(large));
	return true;
}

static void a_small_one_is_ready_at_once(void **state)
{
	struct told *t = &rig.all[0];

	(void)state;
	stills_prepare(rig.stills, &t->still, slice_str("image/png"), slice_of(large, INLINE), told_cb);
	assert_int_equal(atomic_load(&t->times), 1);
	assert_int_equal(t->rc, 0);
	assert_false(t->still.staged.has_blob);
	stills_settle(rig.stills, &t->still, told_cb);
	assert_int_equal(atomic_load(&t->times), 2);
}

/* Neither who brings it nor who takes it back waits for the disk. */
static void a_large_one_is_written_and_removed_on_other_threads(void **state)
{
	struct told *t = &rig.all[0];

	(void)state;
	prepare(t);
	wait_for(1);
	assert_int_equal(t->rc, 0);
	assert_false(pthread_equal(t->by, pthread_self()));
	assert_true(t->still.staged.has_blob && is_there(t));
	stills_settle(rig.stills, &t->still, told_cb);
	wait_for(1);
	assert_int_equal(t->rc, 0);
	assert_false(pthread_equal(t->by, pthread_self()));
	assert_false(is_there(t));
	/* Once more does nothing. */
	stills_settle(rig.stills, &t->still, told_cb);
	assert_int_equal(atomic_load(&t->times), 3);
}

static void what_a_record_names_stays(void **state)
{
	struct told *t = &rig.all[0];

	(void)state;
	prepare(t);
	wait_for(1);
	t->still.staged.adopted = true;
	stills_settle(rig.stills, &t->still, told_cb);
	assert_int_equal(atomic_load(&t->times), 2);
	assert_true(is_there(t));
}

static void the_end_comes_after_all_that_there_is(void **state)
{
	(void)state;
	for (size_t i = 0; i < MANY; i++)
		prepare(&rig.all[i]);
	stills_stop(rig.stills);
	for (size_t i = 0; i < MANY; i++) {
		assert_int_equal(atomic_load(&rig.all[i].times), 1);
		assert_int_equal(rig.all[i].rc, 0);
		assert_true(is_there(&rig.all[i]));
	}
}

static void after_the_end_nothing_is_written_and_files_are_still_removed(void **state)
{
	struct told *before = &rig.all[0], *after = &rig.all[1];

	(void)state;
	prepare(before);
	stills_stop(rig.stills);
	prepare(after);
	assert_int_equal(atomic_load(&after->times), 1);
	assert_int_equal(after->rc, ERR_SHUTTING_DOWN);
	assert_false(is_there(after));
	assert_true(is_there(before));
	stills_settle(rig.stills, &before->still, told_cb);
	assert_int_equal(atomic_load(&before->times), 2);
	assert_false(is_there(before));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_small_one_is_ready_at_once),
		TEST(a_large_one_is_written_and_removed_on_other_threads),
		TEST(what_a_record_names_stays),
		TEST(the_end_comes_after_all_that_there_is),
		TEST(after_the_end_nothing_is_written_and_files_are_still_removed),
	};

	return cmocka_run_group_tests_name("http/stills", tests, NULL, NULL);
}
