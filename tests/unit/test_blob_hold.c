/* Files that somebody holds, over a store that the engine made: none goes before the last lets go; and their copying,
 * which can be given up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/store/blob.h"
#include "tests/harness/good_store.h"

static bool is_there(const struct uuid *blob)
{
	int64_t size;
	int fd, rc = blob_open(good.rig.blobs, blob, &fd, &size);

	if (rc == 0)
		close(fd);
	return rc == 0;
}

static void a_held_file_goes_when_the_last_lets_go(void **state)
{
	(void)state;
	blob_hold(good.rig.blobs);
	blob_hold(good.rig.blobs);
	assert_int_equal(blob_remove(good.rig.blobs, &good.blob), 0);
	assert_true(is_there(&good.blob));
	blob_unhold(good.rig.blobs);
	assert_true(is_there(&good.blob));
	blob_unhold(good.rig.blobs);
	assert_false(is_there(&good.blob));
}

static void many_held_files_go_too(void **state)
{
	struct staged staged = { .size = 0 };
	struct uuid ids[2000];
	const size_t count = sizeof(ids) / sizeof(ids[0]);

	(void)state;
	for (size_t i = 0; i < count; i++) {
		ids[i] = (struct uuid){ { 0xb2 } };
		ids[i].bytes[12] = ids[i].bytes[15] = (uint8_t)i;
		ids[i].bytes[13] = (uint8_t)(i >> 8);
		good_stage(&ids[i], "x", 1, &staged);
	}
	blob_hold(good.rig.blobs);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(blob_remove(good.rig.blobs, &ids[i]), 0);
	/* Twice is once. */
	assert_int_equal(blob_remove(good.rig.blobs, &ids[count - 1]), 0);
	for (size_t i = 0; i < count; i++)
		assert_true(is_there(&ids[i]));
	blob_unhold(good.rig.blobs);
	for (size_t i = 0; i < count; i++)
		assert_false(is_there(&ids[i]));
	assert_true(is_there(&good.blob));
}

/* An old file that no record names: the sweep would remove it, but the one who holds may have read of it before. */
static void the_sweep_waits_too(void **state)
{
	struct timespec old[2] = { { .tv_sec = 1 }, { .tv_sec = 1 } };
	struct staged staged = { .size = 0 };
	struct uuid blob = { { 0xb2 } };
	int64_t removed, size;
	int fd;

	(void)state;
	good_stage(&blob, "x", 1, &staged);
	assert_int_equal(blob_open(good.rig.blobs, &blob, &fd, &size), 0);
	assert_int_equal(futimens(fd, old), 0);
	close(fd);
	blob_hold(good.rig.blobs);
	assert_int_equal(blob_sweep(good.rig.blobs, good.rig.store, &removed), 0);
	assert_int_equal(removed, 0);
	assert_true(is_there(&blob));
	blob_unhold(good.rig.blobs);
	assert_false(is_there(&blob));
	assert_true(is_there(&good.blob));
}

static bool canceled_at_once_cb(void *user)
{
	++*(int *)user;
	return true;
}

static void a_large_file_is_given_up_halfway(void **state)
{
	static char large[20 << 20];
	struct staged staged = { .size = 0 };
	struct uuid id = { { 0xb2 } };
	struct blob_store *to;
	struct error_info info;
	int64_t size = 0;
	int fd, asked = 0;

	(void)state;
	good_stage(&id, large, sizeof(large), &staged);
	assert_int_equal(blob_store_open(good.dir.path, &to, &info), 0);
	assert_int_equal(blob_copy(good.rig.blobs, &id, to, canceled_at_once_cb, &asked), ERR_CANCELED);
	assert_int_equal(asked, 1);
	assert_int_equal(blob_open(to, &id, &fd, &size), 0);
	close(fd);
	assert_in_range(size, 1, sizeof(large) - 1);
	assert_int_equal(blob_remove(to, &id), 0);
	assert_int_equal(blob_copy(good.rig.blobs, &id, to, NULL, NULL), 0);
	assert_int_equal(blob_open(to, &id, &fd, &size), 0);
	close(fd);
	assert_int_equal(size, sizeof(large));
	blob_store_close(to);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, good_setup, good_teardown)
	const struct CMUnitTest tests[] = {
		T(a_held_file_goes_when_the_last_lets_go),
		T(many_held_files_go_too),
		T(the_sweep_waits_too),
		T(a_large_file_is_given_up_halfway),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
