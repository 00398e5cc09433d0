#include "tests/harness/damage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/base/clean.h"
#include "tests/harness/tempdir.h"

#define FILE_MAX  (1 << 24)
#define PAGE	  4096
#define PAGE_KIND 10 /* where a page of LMDB's says what it is, in two bytes */

void damage_pages(const struct tempdir *dir, const char *needle)
{
	_cleanup_free_ char *bytes = malloc(FILE_MAX);
	FILE *file = fopen(tempdir_file(dir, "raincheck.mdb"), "r+");
	size_t size, at = 0;
	char *found;

	assert_non_null(file);
	assert_non_null(bytes);
	size = fread(bytes, 1, FILE_MAX, file);
	while ((found = memmem(bytes + at, size - at, needle, strlen(needle)))) {
		assert_int_equal(fseek(file, (found - bytes) / PAGE * PAGE + PAGE_KIND, SEEK_SET), 0);
		assert_int_equal(fwrite("\0\0", 1, 2, file), 2);
		at = (size_t)(found - bytes) + 1;
	}
	assert_true(at > 0);
	assert_int_equal(fclose(file), 0);
}
