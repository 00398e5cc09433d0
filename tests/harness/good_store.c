#include "tests/harness/good_store.h"

#include <dirent.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/broker_secret.h"
#include "server/store/blob.h"

struct good_store good;

/* ---- a store with a bit of everything ---- */

struct uuid good_put(struct msg_job_put more)
{
	more.has_queue = more.has_payload = true;
	more.queue = slice_str("q");
	if (!more.payload.data)
		more.payload = slice_str("payload");
	return rig_put_params(&good.rig, &more);
}

void good_stage(const struct uuid *id, const void *bytes, size_t size, struct staged *ret)
{
	struct blob_writer *w;

	assert_int_equal(blob_create(good.rig.blobs, id, &w), 0);
	assert_int_equal(blob_append(w, slice_of(bytes, size)), 0);
	assert_int_equal(blob_publish(w, ret->sha256), 0);
	blob_close(w);
	ret->content_type = slice_str("video/mp4");
	ret->size = (int64_t)size;
	ret->has_blob = true;
	ret->blob = *id;
}

static void make_succeeded(void)
{
	static char video[GOOD_VIDEO_BYTES];
	struct complete_item item = { .has_result = true };
	struct command_complete params = { .items = &item, .count = 1 };
	struct msg_leased_job job;

	good.succeeded = good_put((struct msg_job_put){ .has_preview = true,
							.preview = { .has_content_type = true,
								     .content_type = slice_str("image/png"),
								     .has_data = true,
								     .data = slice_str("still") } });
	assert_true(rig_lease(&good.rig, "q", &job));
	memset(video, 'v', sizeof(video));
	memset(good.blob.bytes, 0xb1, sizeof(good.blob.bytes));
	good_stage(&good.blob, video, sizeof(video), &item.result);
	item.id = good.succeeded;
	item.lease = job.lease;
	rig_run(&good.rig, COMMAND_COMPLETE, &params);
	assert_int_equal(good.rig.code, 0);
}

int good_setup(void **state)
{
	struct error_info info = { 0 };
	struct msg_leased_job job;

	(void)state;
	rig_open(&good.rig);
	tempdir_make(&good.dir);
	make_succeeded();
	good.running = good_put((struct msg_job_put){ .has_priority = false });
	assert_true(rig_lease(&good.rig, "q", &job));
	good.ready = good_put((struct msg_job_put){ .has_idempotency_key = true, .idempotency_key = slice_str("key") });
	assert_int_equal(broker_secret_load(good.rig.store, good.secret, &info), 0);
	return 0;
}

int good_teardown(void **state)
{
	(void)state;
	rig_close(&good.rig);
	tempdir_remove(&good.dir);
	return 0;
}

void good_hook(const struct uuid *id, const char *body)
{
	struct pair header = { slice_str("webhook-id"), slice_str(body) };
	struct command_hook hook = {
		.id = *id,
		.attempt = 1,
		.content_type = slice_str("text/plain"),
		.headers = &header,
		.headers_count = 1,
		.body = slice_str(body),
	};

	memcpy(hook.digest, body, strlen(body) < sizeof(hook.digest) ? strlen(body) : sizeof(hook.digest));
	rig_run(&good.rig, COMMAND_HOOK, &hook);
	assert_int_equal(good.rig.code, 0);
}

/* ---- a job whose every field can be found again ---- */

#define MARK(n) "Marked-For-Erasure-" #n

static const char *const marks[] = { MARK(0), MARK(1), MARK(2), MARK(3), MARK(4), MARK(5), MARK(6),
				     MARK(7), MARK(8), MARK(9), MARK(A), MARK(B), MARK(C), MARK(D) };

static struct uuid put_marked(void)
{
	struct pair metadata[] = { { slice_str(MARK(0)), slice_str(MARK(1)) } };
	struct msg_job_put params = {
		.payload = slice_str(MARK(2)),
		.has_group = true,
		.group = slice_str(MARK(3)),
		.has_title = true,
		.title = slice_str(MARK(4)),
		.has_idempotency_key = true,
		.idempotency_key = slice_str(MARK(5)),
		.has_callback_url = true,
		.callback_url = slice_str("http://example.test/" MARK(6)),
		.has_metadata = true,
		.metadata = metadata,
		.metadata_count = 1,
		.has_priority = true,
		.priority = 0,
		.has_preview = true,
		.preview = { .has_content_type = true,
			     .content_type = slice_str("image/" MARK(7)),
			     .has_data = true,
			     .data = slice_str(MARK(8)) },
	};

	return good_put(params);
}

static void work_on_marked(const struct uuid *id)
{
	struct msg_extend_item extended = { .has_id = true, .has_lease = true, .has_note = true };
	struct msg_job_extend extend = { .has_leases = true, .leases = &extended, .leases_count = 1 };
	struct msg_job_checkpoint checkpoint = { .has_id = true, .has_lease = true, .has_data = true };
	struct complete_item item = { .has_result = true };
	struct command_complete complete = { .items = &item, .count = 1 };
	struct uuid blob = { { 0xb3 } };
	struct command_attach attach;
	struct msg_leased_job job;

	assert_true(rig_lease(&good.rig, "q", &job));
	assert_memory_equal(&job.id, id, sizeof(*id));
	extended.id = checkpoint.id = item.id = *id;
	extended.lease = checkpoint.lease = item.lease = job.lease;
	extended.note = slice_str(MARK(9));
	rig_run(&good.rig, COMMAND_EXTEND, &extend);
	checkpoint.data = slice_str(MARK(A));
	rig_run(&good.rig, COMMAND_CHECKPOINT, &checkpoint);
	attach = (struct command_attach){ .id = *id, .lease = job.lease, .has_lease = true };
	attach.name = slice_str(MARK(B));
	attach.staged.content_type = slice_str("text/plain");
	attach.staged.data = slice_str(MARK(C));
	attach.staged.size = (int64_t)attach.staged.data.size;
	blob_sha256(attach.staged.data, attach.staged.sha256);
	rig_run(&good.rig, COMMAND_ATTACH, &attach);
	assert_int_equal(good.rig.code, 0);
	good_stage(&blob, MARK(D), strlen(MARK(D)), &item.result);
	rig_run(&good.rig, COMMAND_COMPLETE, &complete);
	assert_int_equal(good.rig.code, 0);
}

struct uuid good_put_marked(void)
{
	struct uuid id = put_marked();

	work_on_marked(&id);
	return id;
}

/* ---- damage ---- */

void good_flip(enum store_table table, struct key key)
{
	struct store_txn *t;
	struct slice value;
	uint8_t bytes[4096];

	assert_int_equal(store_begin_write(good.rig.store, &t), 0);
	assert_int_equal(store_get(t, table, key_slice(&key), &value), 0);
	assert_in_range(value.size, 1, sizeof(bytes));
	memcpy(bytes, value.data, value.size);
	bytes[value.size / 2] ^= 0x10;
	assert_int_equal(store_put(t, table, key_slice(&key), slice_of(bytes, value.size)), 0);
	assert_int_equal(store_commit(t), 0);
}

/* A node of LMDB's: the key's size in two bytes, the key, the value. */
struct good_spot good_spot(enum store_table table, struct key key)
{
	struct good_spot spot = { .key_size = key.size };
	struct store_txn *t;
	struct slice value;
	uint16_t size = (uint16_t)key.size;
	size_t shown;

	assert_int_equal(store_begin_read(good.rig.store, &t), 0);
	assert_int_equal(store_get(t, table, key_slice(&key), &value), 0);
	shown = value.size < 8 ? value.size : 8;
	memcpy(spot.needle, &size, 2);
	memcpy(spot.needle + 2, key.bytes, key.size);
	if (shown > 0)
		memcpy(spot.needle + 2 + key.size, value.data, shown);
	spot.size = 2 + key.size + shown;
	store_abort(t);
	return spot;
}

static unsigned char file_bytes[1 << 22];
static size_t file_size;

void good_save_file(void)
{
	FILE *file = fopen(tempdir_file(&good.rig.dir, "raincheck.mdb"), "r");

	assert_non_null(file);
	file_size = fread(file_bytes, 1, sizeof(file_bytes), file);
	assert_in_range(file_size, 1, sizeof(file_bytes) - 1);
	assert_int_equal(fclose(file), 0);
}

void good_restore_file(void)
{
	FILE *file = fopen(tempdir_file(&good.rig.dir, "raincheck.mdb"), "w");

	assert_non_null(file);
	assert_int_equal(fwrite(file_bytes, 1, file_size, file), file_size);
	assert_int_equal(fclose(file), 0);
}

void good_flip_key(const struct good_spot *spot, size_t bit)
{
	unsigned char *at = file_bytes;
	FILE *file;

	good_save_file();
	file = fopen(tempdir_file(&good.rig.dir, "raincheck.mdb"), "r+");
	assert_non_null(file);
	while ((at = memmem(at, file_size - (size_t)(at - file_bytes), spot->needle, spot->size))) {
		unsigned char byte = at[2 + bit / 8] ^ (unsigned char)(1 << bit % 8);

		assert_int_equal(fseek(file, at - file_bytes + 2 + (long)(bit / 8), SEEK_SET), 0);
		assert_int_equal(fwrite(&byte, 1, 1, file), 1);
		at++;
	}
	assert_int_equal(fclose(file), 0);
}

/* ---- making and looking at copies ---- */

const char *good_target(void)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/copy", good.dir.path);
	return path;
}

int good_entries_of(const char *path)
{
	DIR *d = opendir(path);
	int count = 0;

	if (!d)
		return -1;
	for (const struct dirent *e; (e = readdir(d));)
		count += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
	closedir(d);
	return count;
}

void good_open_copy(struct rig *copy, const char *path)
{
	rig_open(copy);
	rig_pause(copy);
	tempdir_remove(&copy->dir);
	assert_int_equal(rename(path, copy->dir.path), 0);
	copy->settings = good.rig.settings;
	copy->now_ms = good.rig.now_ms;
	rig_resume(copy);
	copy->ids = good.rig.ids;
}

static int steps_until_kill = INT_MAX;

void good_step_cb(void *user, const char *what, int64_t done, int64_t total)
{
	(void)user;
	(void)what;
	(void)done;
	(void)total;
	if (--steps_until_kill < 0)
		kill(getpid(), SIGKILL);
}

bool good_survives(int n, int (*f)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		steps_until_kill = n;
		_exit(f() < 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status)) {
		assert_int_equal(WTERMSIG(status), SIGKILL);
		return false;
	}
	assert_int_equal(WEXITSTATUS(status), 0);
	return true;
}

/* ---- marks ---- */

int good_marks_in(const char *path)
{
	char command[512];
	int found = 0;

	for (size_t i = 0; i < GOOD_MARKS; i++) {
		snprintf(command, sizeof(command), "grep -rqaF '%s' '%s'", marks[i], path);
		found += system(command) == 0; /* NOLINT(cert-env33-c): the test's own words */
	}
	return found;
}

void good_erase_marked(const struct uuid *id)
{
	const struct uuid *garbage;
	size_t count;

	rig_erase(&good.rig, id);
	assert_int_equal(good.rig.code, 0);
	garbage = engine_garbage(good.rig.engine, &count);
	assert_int_equal(count, 1);
	assert_int_equal(blob_remove(good.rig.blobs, &garbage[0]), 0);
}
