/* The links' secret: made once, the same ever after, and what is said of a file that is none. What tells the secrets of
 * two directories apart is in test_backup_damage.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/broker_secret.h"
#include "server/store/store.h"
#include "tests/harness/tempdir.h"

#define SECRET_BYTES 32

static struct tempdir dir;
static struct store *store;

static int setup(void **state)
{
	struct store_options options = { .dir = dir.path, .max_bytes = 1 << 26 };
	struct error_info info = { 0 };

	(void)state;
	tempdir_make(&dir);
	if (store_open(&options, &store, &info) < 0)
		fail_msg("%s", info.message);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	store_close(store);
	tempdir_remove(&dir);
	return 0;
}

static void load(uint8_t ret[SECRET_BYTES])
{
	struct error_info info = { 0 };

	if (broker_secret_load(store, ret, &info) < 0)
		fail_msg("%s", info.message);
}

static void expect_refused(int code, const char *words)
{
	struct error_info info = { 0 };
	uint8_t secret[SECRET_BYTES];

	assert_int_equal(broker_secret_load(store, secret, &info), code);
	assert_string_equal(info.field, "data");
	if (!strstr(info.message, words))
		fail_msg("\"%s\" is not in: %s", words, info.message);
}

static void write_key(const void *bytes, size_t size)
{
	const char *path = tempdir_file(&dir, "link.key");
	FILE *f = fopen(path, "we");

	assert_non_null(f);
	assert_int_equal(fchmod(fileno(f), 0600), 0);
	assert_int_equal(fwrite(bytes, 1, size, f), size);
	fclose(f);
}

/* For its owner alone; what an earlier start has left half made is no hindrance. */
static void it_is_made_once(void **state)
{
	uint8_t first[SECRET_BYTES], second[SECRET_BYTES], bytes[SECRET_BYTES + 1];
	struct stat st;
	FILE *f;

	(void)state;
	f = fopen(tempdir_file(&dir, "link.key.new"), "we");
	assert_non_null(f);
	fclose(f);
	load(first);
	load(second);
	assert_memory_equal(first, second, SECRET_BYTES);
	assert_int_equal(stat(tempdir_file(&dir, "link.key"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	f = fopen(tempdir_file(&dir, "link.key"), "re");
	assert_non_null(f);
	assert_int_equal(fread(bytes, 1, sizeof(bytes), f), SECRET_BYTES);
	fclose(f);
	assert_memory_equal(bytes, first, SECRET_BYTES);
	assert_int_equal(access(tempdir_file(&dir, "link.key.new"), F_OK), -1);
}

static void others_may_not_read_it(void **state)
{
	static const mode_t modes[] = { 0640, 0604, 0620, 0601 };
	uint8_t secret[SECRET_BYTES];

	(void)state;
	load(secret);
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		assert_int_equal(chmod(tempdir_file(&dir, "link.key"), modes[i]), 0);
		expect_refused(ERR_CONFIG, "link.key can be read by others: chmod 600");
	}
	assert_int_equal(chmod(tempdir_file(&dir, "link.key"), 0400), 0);
	load(secret);
}

static void it_has_its_size(void **state)
{
	uint8_t bytes[SECRET_BYTES + 1] = { 7 }, secret[SECRET_BYTES];

	(void)state;
	write_key(bytes, SECRET_BYTES - 1);
	expect_refused(ERR_CONFIG, "link.key is no secret of 32 bytes");
	write_key(bytes, SECRET_BYTES + 1);
	expect_refused(ERR_CONFIG, "link.key is no secret of 32 bytes");
	write_key(bytes, 0);
	expect_refused(ERR_CONFIG, "link.key is no secret of 32 bytes");
	/* One that an operator brings before the first start is taken. */
	write_key(bytes, SECRET_BYTES);
	load(secret);
	assert_memory_equal(secret, bytes, SECRET_BYTES);
}

/* What leads elsewhere is not followed, and a folder is no file. */
static void it_is_a_file_of_its_own(void **state)
{
	char path[300], other[300];
	uint8_t bytes[SECRET_BYTES] = { 7 };

	(void)state;
	snprintf(path, sizeof(path), "%s", tempdir_file(&dir, "link.key"));
	snprintf(other, sizeof(other), "%s", tempdir_file(&dir, "other.key"));
	write_key(bytes, SECRET_BYTES);
	assert_int_equal(rename(path, other), 0);
	assert_int_equal(symlink(other, path), 0);
	expect_refused(ERR_IO, "link.key: Too many levels of symbolic links");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	expect_refused(ERR_IO, "link.key: Is a directory");
	assert_int_equal(rmdir(path), 0);
}

/* Every link that is out would be dead with a new one. */
static void one_that_is_gone_is_not_made_anew(void **state)
{
	uint8_t first[SECRET_BYTES], again[SECRET_BYTES];

	(void)state;
	load(first);
	assert_int_equal(unlink(tempdir_file(&dir, "link.key")), 0);
	expect_refused(ERR_CONFIG, "link.key is missing: put it back");
	assert_int_equal(access(tempdir_file(&dir, "link.key"), F_OK), -1);
	write_key(first, SECRET_BYTES);
	load(again);
	assert_memory_equal(again, first, SECRET_BYTES);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(it_is_made_once),
		T(others_may_not_read_it),
		T(it_has_its_size),
		T(it_is_a_file_of_its_own),
		T(one_that_is_gone_is_not_made_anew),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
