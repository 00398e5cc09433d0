#include "tests/harness/old_store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "server/store/layout.h"

struct old_store old;

void old_setup(const char *fixture)
{
	char command[512];

	rig_open(&old.rig);
	rig_pause(&old.rig);
	old.is_open = false;
	snprintf(command, sizeof(command), "rm -r '%s'/* && tar -xzf %s -C '%s'", old.rig.dir.path, fixture,
		 old.rig.dir.path);
	assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c): the test's own words */
	old.rig.now_ms = OLD_NOW_MS;
	old.rig.ids = (struct uuid_gen){ 0 };
}

void old_teardown(void)
{
	if (!old.is_open)
		rig_resume(&old.rig);
	rig_close(&old.rig);
}

/* ---- opening ---- */

static void note_cb(void *user, const char *line)
{
	size_t size = strlen(old.said);

	(void)user;
	snprintf(old.said + size, sizeof(old.said) - size, "%s\n", line);
}

int old_open(bool read_only, int64_t max_bytes, struct store **ret, struct error_info *info)
{
	const struct store_options options = {
		.dir = old.rig.dir.path, .max_bytes = max_bytes, .read_only = read_only, .notice = note_cb
	};

	old.said[0] = '\0';
	return store_open(&options, ret, info);
}

void old_migrate(void)
{
	struct error_info info = { 0 };
	struct store *s;

	if (old_open(false, OLD_MAP_BYTES, &s, &info) < 0)
		fail_msg("%s", info.message);
	store_close(s);
	rig_resume(&old.rig);
	old.is_open = true;
	/* Ids that are made now are younger than those of the fixture. */
	rig_pass(&old.rig, 1);
}

void old_leave(void)
{
	rig_pause(&old.rig);
	old.is_open = false;
}

/* ---- looking ---- */

struct check_result old_check(void)
{
	const struct check_options options = { .store = old.rig.store, .blobs = old.rig.blobs };
	struct check_result result;

	assert_int_equal(check_store(&options, &result), 0);
	return result;
}

struct uuid old_find(const char *payload)
{
	struct slice key, value;
	struct store_txn *t;
	struct uuid id = { { 0 } };
	int rc;

	assert_int_equal(store_begin_read(old.rig.store, &t), 0);
	for (rc = store_seek(t, TABLE_INPUTS, slice_of(NULL, 0), &key, &value); rc == 0;
	     rc = store_next(t, TABLE_INPUTS, &key, &value)) {
		struct job_input input;

		if (record_read_input(value, &input) == 0 && slice_is(input.payload, payload))
			assert_int_equal(key_read_job(key, &id), 0);
	}
	store_abort(t);
	assert_true(id.bytes[0] != 0);
	return id;
}

/* ---- the file by hand ---- */

uint8_t *old_read_file(size_t *ret_size)
{
	FILE *f = fopen(tempdir_file(&old.rig.dir, LAYOUT_RECORDS), "r");
	uint8_t *bytes;
	struct stat st;

	assert_non_null(f);
	assert_int_equal(fstat(fileno(f), &st), 0);
	bytes = malloc((size_t)st.st_size);
	assert_non_null(bytes);
	assert_int_equal(fread(bytes, 1, (size_t)st.st_size, f), st.st_size);
	fclose(f);
	*ret_size = (size_t)st.st_size;
	return bytes;
}

void old_write_file(const uint8_t *bytes, size_t size)
{
	FILE *f = fopen(tempdir_file(&old.rig.dir, LAYOUT_RECORDS), "r+");

	assert_non_null(f);
	assert_int_equal(fwrite(bytes, 1, size, f), size);
	assert_int_equal(fclose(f), 0);
}

void old_flip(const char *words, size_t offset)
{
	size_t size, found = 0;
	uint8_t *bytes = old_read_file(&size);

	for (size_t i = 0; i + strlen(words) < size; i++) {
		if (memcmp(bytes + i, words, strlen(words)) != 0)
			continue;
		bytes[i + offset] ^= 4;
		found++;
	}
	assert_true(found > 0);
	old_write_file(bytes, size);
	free(bytes);
}
