/* Files of a commit that may be on the disk or not: what a record came to name stays, the rest goes, and not before the
 * store can be read. The whole way, with a disk that fails, is in tests/crash/test_uncertain_commit.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/store/blob.h"
#include "server/store/store_priv.h"
#include "server/writer/doubtful.h"
#include "tests/harness/good_store.h"

static void remove_cb(void *user, const struct uuid *blob)
{
	(void)user;
	assert_int_equal(blob_remove(good.rig.blobs, blob), 0);
}

static bool is_there(const struct uuid *blob)
{
	int64_t size;
	int fd, rc = blob_open(good.rig.blobs, blob, &fd, &size);

	if (rc == 0)
		close(fd);
	return rc == 0;
}

static void set_shut(bool shut)
{
	pthread_mutex_lock(&good.rig.store->lock);
	good.rig.store->shut = shut;
	pthread_mutex_unlock(&good.rig.store->lock);
}

static void what_a_record_names_stays(void **state)
{
	struct doubtful doubtful = { .count = 0 };
	struct staged staged = { .size = 0 };
	struct uuid nobodys = { { 0xb2 } };

	(void)state;
	good_stage(&nobodys, "x", 1, &staged);
	doubtful_add(&doubtful, &nobodys, 1);
	doubtful_add(&doubtful, &good.blob, 1);
	set_shut(true);
	doubtful_settle(&doubtful, good.rig.store, remove_cb, NULL);
	assert_true(is_there(&nobodys));
	set_shut(false);
	doubtful_settle(&doubtful, good.rig.store, remove_cb, NULL);
	assert_false(is_there(&nobodys));
	assert_true(is_there(&good.blob));
	assert_int_equal(doubtful.count, 0);
	doubtful_done(&doubtful);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, good_setup, good_teardown)
	const struct CMUnitTest tests[] = {
		T(what_a_record_names_stays),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
