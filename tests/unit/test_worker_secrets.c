/* Secrets: where they come from, what is refused, and that they do not come out again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <unistd.h>

#include "proto/base/buf.h"
#include "proto/base/clean.h"
#include "proto/error.h"
#include "worker/config/secrets.h"

static void write_file(char path[static 64], const void *data, size_t size)
{
	int fd;

	strcpy(path, "/tmp/raincheck-secret-XXXXXX");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, size), (ssize_t)size);
	close(fd);
}

static int load_file(struct secrets *s, const char *path, const char **ret_value)
{
	char name[80];
	int rc;

	snprintf(name, sizeof(name), "file.%s", path);
	rc = secrets_load(s, slice_str(name), true);
	*ret_value = secrets_get(s, slice_str(name));
	return rc;
}

static void test_environment(void **state)
{
	_cleanup_(secrets_freep) struct secrets *s = NULL;

	(void)state;
	setenv("SECRET_ONE", "first", 1);
	setenv("SECRET_EMPTY", "", 1);
	unsetenv("SECRET_NONE");
	assert_int_equal(secrets_new(&s), 0);
	assert_int_equal(secrets_load(s, slice_str("env.SECRET_ONE"), true), 0);
	assert_string_equal(secrets_get(s, slice_str("env.SECRET_ONE")), "first");
	assert_int_equal(secrets_load(s, slice_str("env.SECRET_NONE"), true), ERR_NOT_FOUND);
	assert_int_equal(secrets_load(s, slice_str("env.SECRET_EMPTY"), true), ERR_BAD_REQUEST);
	assert_int_equal(secrets_load(s, slice_str("else.SECRET_ONE"), true), ERR_BAD_REQUEST);
	assert_null(secrets_get(s, slice_str("env.SECRET_NONE")));
	/* Read once: a later change is not seen. */
	setenv("SECRET_ONE", "changed", 1);
	assert_int_equal(secrets_load(s, slice_str("env.SECRET_ONE"), true), 0);
	assert_string_equal(secrets_get(s, slice_str("env.SECRET_ONE")), "first");
}

static void test_files(void **state)
{
	_cleanup_(secrets_freep) struct secrets *s = NULL;
	char path[64], nul[64], large[64];
	const char *value;
	char *bytes = calloc(1, 70000);

	(void)state;
	assert_int_equal(secrets_new(&s), 0);
	write_file(path, "from a file\n", 12);
	assert_int_equal(load_file(s, path, &value), 0);
	assert_string_equal(value, "from a file");
	write_file(nul, "a\0b", 3);
	assert_int_equal(load_file(s, nul, &value), ERR_BAD_REQUEST);
	memset(bytes, 'x', 70000);
	write_file(large, bytes, 70000);
	assert_int_equal(load_file(s, large, &value), ERR_TOO_LARGE);
	assert_int_equal(load_file(s, "/nonexistent/file", &value), ERR_NOT_FOUND);
	assert_int_equal(load_file(s, "/", &value), ERR_IO);
	unlink(path);
	unlink(nul);
	unlink(large);
	free(bytes);
}

static void test_expanding(void **state)
{
	_cleanup_(secrets_freep) struct secrets *s = NULL;
	_cleanup_free_ char *text = NULL;
	char *none = NULL;
	struct slice name;

	(void)state;
	setenv("SECRET_TWO", "{env.SECRET_TWO}", 1);
	unsetenv("SECRET_NONE");
	assert_int_equal(secrets_new(&s), 0);
	assert_int_equal(secrets_expand(s, "a {env.SECRET_TWO} {input/x} {b", true, &text, &name), 0);
	/* A value is not looked into. */
	assert_string_equal(text, "a {env.SECRET_TWO} {input/x} {b");
	assert_int_equal(secrets_expand(s, "x {env.SECRET_NONE}", true, &none, &name), ERR_NOT_FOUND);
	assert_true(slice_is(name, "env.SECRET_NONE"));
}

static void test_what_stands_in_for_a_variable(void **state)
{
	_cleanup_(secrets_freep) struct secrets *s = NULL;
	_cleanup_free_ char *text = NULL, *other = NULL;

	(void)state;
	unsetenv("SECRET_NONE");
	setenv("SECRET_EMPTY", "", 1);
	setenv("SECRET_THREE", "three", 1);
	assert_int_equal(secrets_new(&s), 0);
	assert_int_equal(secrets_expand(s, "{env.SECRET_NONE:-http://a:1}/{env.SECRET_EMPTY:-b}", false, &text, NULL),
			 0);
	assert_string_equal(text, "http://a:1/b");
	assert_int_equal(secrets_expand(s, "{env.SECRET_THREE:-other}", true, &other, NULL), 0);
	assert_string_equal(other, "three");
}

static void assert_masked(const struct secrets *s, const char *text, const char *expected)
{
	struct buf out;

	buf_init(&out, 1000);
	assert_int_equal(secrets_mask(s, slice_str(text), &out), 0);
	assert_int_equal(out.size, strlen(expected));
	assert_memory_equal(out.data, expected, out.size);
	buf_done(&out);
}

/* A token that was renewed: the last two may still be in answers. */
static void test_passing_secrets(void **state)
{
	_cleanup_(secrets_freep) struct secrets *s = NULL;

	(void)state;
	unsetenv("SECRET_NONE");
	assert_int_equal(secrets_new(&s), 0);
	assert_int_equal(secrets_load(s, slice_str("env.SECRET_NONE:-plain-word"), true), 0);
	assert_int_equal(secrets_add_passing(s, "one", "token-1"), 0);
	assert_int_equal(secrets_add_passing(s, "two", "token-of-two"), 0);
	assert_int_equal(secrets_add_passing(s, "one", "token-2"), 0);
	assert_masked(s, "token-1 token-2", "*** ***");
	assert_int_equal(secrets_add_passing(s, "one", "token-3"), 0);
	assert_masked(s, "token-1 token-2 token-3", "token-1 *** ***");
	assert_masked(s, "token-of-two plain-word", "*** plain-word");
}

static void test_masking(void **state)
{
	_cleanup_(secrets_freep) struct secrets *s = NULL;

	(void)state;
	setenv("SECRET_ONE", "hush-hush", 1);
	setenv("SECRET_LONG", "hush-hush-longer", 1);
	setenv("SECRET_SHORT", "ab", 1);
	setenv("SECRET_PLAIN", "http://127.0.0.1", 1);
	assert_int_equal(secrets_new(&s), 0);
	assert_int_equal(secrets_load(s, slice_str("env.SECRET_ONE"), true), 0);
	assert_int_equal(secrets_load(s, slice_str("env.SECRET_LONG"), true), 0);
	assert_int_equal(secrets_load(s, slice_str("env.SECRET_SHORT"), true), 0);
	assert_int_equal(secrets_load(s, slice_str("env.SECRET_PLAIN"), false), 0);
	assert_int_equal(secrets_add_literal(s, "literally"), 0);
	assert_masked(s, "key hush-hush, again hush-hush.", "key ***, again ***.");
	assert_masked(s, "hush-hush-longer", "***");
	assert_masked(s, "about http://127.0.0.1", "about http://127.0.0.1");
	assert_masked(s, "literally hush", "*** hush");
	/* Once it is used as a secret anywhere, it is one. */
	assert_int_equal(secrets_load(s, slice_str("env.SECRET_PLAIN"), true), 0);
	assert_masked(s, "http://127.0.0.1", "***");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_environment),	cmocka_unit_test(test_files),
		cmocka_unit_test(test_expanding),	cmocka_unit_test(test_what_stands_in_for_a_variable),
		cmocka_unit_test(test_passing_secrets), cmocka_unit_test(test_masking),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
