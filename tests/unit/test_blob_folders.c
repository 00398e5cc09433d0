/* The folders of the blobs: whichever are missing are made, whatever else there is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "proto/error.h"
#include "server/store/blob.h"
#include "tests/harness/tempdir.h"

static struct tempdir dir;

static const char *folder(const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "blobs/%s", name);
	return tempdir_file(&dir, path);
}

static bool is_folder(const char *name)
{
	struct stat st;

	return stat(folder(name), &st) == 0 && S_ISDIR(st.st_mode);
}

static void open_and_close(void)
{
	struct error_info info = { 0 };
	struct blob_store *bs;

	assert_int_equal(blob_store_open(dir.path, &bs, &info), 0);
	blob_store_close(bs);
}

static void expect_all(void)
{
	char name[3];

	assert_true(is_folder("tmp"));
	for (unsigned i = 0; i < 256; i++) {
		snprintf(name, sizeof(name), "%02x", i);
		assert_true(is_folder(name));
	}
}

static void folders_that_are_missing_are_made(void **state)
{
	static const char *const missing[] = { "00", "7f", "ab", "ff", "tmp" };

	(void)state;
	open_and_close();
	expect_all();
	for (size_t i = 0; i < sizeof(missing) / sizeof(missing[0]); i++)
		assert_int_equal(rmdir(folder(missing[i])), 0);
	/* It is no "ab". */
	assert_int_equal(mkdir(folder("AB"), 0700), 0);
	open_and_close();
	expect_all();
}

static int setup(void **state)
{
	(void)state;
	tempdir_make(&dir);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	tempdir_remove(&dir);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(folders_that_are_missing_are_made, setup, teardown),
	};

	return cmocka_run_group_tests_name("blob folders", tests, NULL, NULL);
}
