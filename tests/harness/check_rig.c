#include "tests/harness/check_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "server/store/blob.h"

struct checked checked;
char checked_said[65536];
struct check_result checked_found;

static void report_cb(void *user, enum check_kind kind, const char *line)
{
	size_t size = strlen(checked_said);

	(void)user;
	(void)kind;
	snprintf(checked_said + size, sizeof(checked_said) - size, "%s\n", line);
}

int64_t checked_run(void)
{
	const struct check_options options = {
		.store = checked.rig.store,
		.blobs = checked.rig.blobs,
		.report = report_cb,
	};

	checked_said[0] = '\0';
	assert_int_equal(check_store(&options, &checked_found), 0);
	return checked_found.breaches;
}

/* ---- the good store ---- */

static struct uuid put(struct msg_job_put more)
{
	more.has_queue = more.has_payload = true;
	more.queue = slice_str("q");
	more.payload = slice_str("payload");
	return rig_put_params(&checked.rig, &more);
}

static void make_gone(void)
{
	struct msg_leased_job job;

	checked.gone = put((struct msg_job_put){ .has_result_ttl_ms = true, .result_ttl_ms = 1 });
	assert_true(rig_lease(&checked.rig, "q", &job));
	rig_complete(&checked.rig, &checked.gone, &job.lease, NULL);
	rig_pass(&checked.rig, 1);
	rig_pass(&checked.rig, checked.rig.settings.record_ttl_ms);
}

/* The result is larger than what the map takes, so it is a file. */
static void make_succeeded(void)
{
	struct complete_item item = { .has_result = true };
	struct command_complete params = { .items = &item, .count = 1 };
	struct blob_writer *w;
	struct msg_leased_job job;

	checked.succeeded = put((struct msg_job_put){ .has_preview = true,
						      .preview = { .has_content_type = true,
								   .content_type = slice_str("image/png"),
								   .has_data = true,
								   .data = slice_str("still") } });
	assert_true(rig_lease(&checked.rig, "q", &job));
	memset(checked.blob.bytes, 0xb1, sizeof(checked.blob.bytes));
	assert_int_equal(blob_create(checked.rig.blobs, &checked.blob, &w), 0);
	assert_int_equal(blob_append(w, slice_str("video")), 0);
	assert_int_equal(blob_publish(w, item.result.sha256), 0);
	blob_close(w);
	item.id = checked.succeeded;
	item.lease = job.lease;
	item.result.content_type = slice_str("video/mp4");
	item.result.size = 5;
	item.result.has_blob = true;
	item.result.blob = checked.blob;
	rig_run(&checked.rig, COMMAND_COMPLETE, &params);
	assert_int_equal(checked.rig.code, 0);
}

static void make_running(void)
{
	struct msg_job_checkpoint checkpoint = { .has_id = true, .has_lease = true, .has_data = true };
	struct msg_leased_job job;

	checkpoint.id = checked.running = put((struct msg_job_put){ .has_priority = false });
	assert_true(rig_lease(&checked.rig, "q", &job));
	checkpoint.lease = job.lease;
	checkpoint.data = slice_str("provider-id");
	rig_run(&checked.rig, COMMAND_CHECKPOINT, &checkpoint);
	assert_int_equal(checked.rig.code, 0);
}

int checked_setup(void **state)
{
	(void)state;
	rig_open(&checked.rig);
	make_gone();
	make_succeeded();
	make_running();
	checked.ready = put((struct msg_job_put){ .has_idempotency_key = true,
						  .idempotency_key = slice_str("key"),
						  .has_deadline_ms = true,
						  .deadline_ms = 100000 });
	checked.scheduled = put((struct msg_job_put){ .has_delay_ms = true, .delay_ms = 50000 });
	memset(checked.unknown.bytes, 0x55, sizeof(checked.unknown.bytes));
	assert_int_equal(checked_run(), 0);
	return 0;
}

int checked_teardown(void **state)
{
	(void)state;
	rig_close(&checked.rig);
	return 0;
}

/* ---- damaging it ---- */

static struct store_txn *begin(void)
{
	struct store_txn *t;

	assert_int_equal(store_begin_write(checked.rig.store, &t), 0);
	return t;
}

void checked_set(enum store_table table, struct key key, struct slice value)
{
	struct store_txn *t = begin();

	assert_int_equal(store_put(t, table, key_slice(&key), value), 0);
	assert_int_equal(store_commit(t), 0);
}

void checked_drop(enum store_table table, struct key key)
{
	struct store_txn *t = begin();

	assert_int_equal(store_delete(t, table, key_slice(&key)), 0);
	assert_int_equal(store_commit(t), 0);
}

size_t checked_value(enum store_table table, struct key key, uint8_t *ret, size_t cap)
{
	struct store_txn *t = begin();
	struct slice value;

	assert_int_equal(store_get(t, table, key_slice(&key), &value), 0);
	assert_in_range(value.size, 1, cap);
	memcpy(ret, value.data, value.size);
	store_abort(t);
	return value.size;
}

void checked_flip(enum store_table table, struct key key)
{
	uint8_t bytes[4096];
	size_t size = checked_value(table, key, bytes, sizeof(bytes));

	bytes[size / 2] ^= 0x10;
	checked_set(table, key, slice_of(bytes, size));
}

void checked_change_job(const struct uuid *id, void (*change)(struct job *job))
{
	uint8_t bytes[4096];
	size_t size = checked_value(TABLE_JOBS, key_job(id), bytes, sizeof(bytes));
	struct buf record;
	struct job job;

	assert_int_equal(record_read_job(slice_of(bytes, size), &job), 0);
	change(&job);
	buf_init(&record, 65536);
	assert_int_equal(record_write_job(&record, &job), 0);
	checked_set(TABLE_JOBS, key_job(id), buf_slice(&record));
	buf_done(&record);
}

void checked_change_queue(void (*change)(struct queue_record *q))
{
	uint8_t bytes[4096];
	size_t size = checked_value(TABLE_QUEUES, key_queue(0), bytes, sizeof(bytes));
	struct queue_record q;
	struct buf record;

	assert_int_equal(record_read_queue(slice_of(bytes, size), &q), 0);
	change(&q);
	buf_init(&record, 65536);
	assert_int_equal(record_write_queue(&record, &q), 0);
	checked_set(TABLE_QUEUES, key_queue(0), buf_slice(&record));
	buf_done(&record);
}

const char *checked_blob_file(void)
{
	return tempdir_file(&checked.rig.dir, "blobs/b1/b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1");
}

struct job checked_load(const struct uuid *id)
{
	static uint8_t bytes[4096];
	size_t size = checked_value(TABLE_JOBS, key_job(id), bytes, sizeof(bytes));
	struct job job;

	assert_int_equal(record_read_job(slice_of(bytes, size), &job), 0);
	return job;
}

static void expect_said(const struct breach_row *row)
{
	struct uuid_text id = { .text = "" };
	char line[512];

	if (row->job)
		id = uuid_format(row->job);
	snprintf(line, sizeof(line), "%s%s%s", row->before, id.text, row->after);
	if (!strstr(checked_said, line))
		fail_msg("\"%s\" was not checked_said, but:\n%s", line, checked_said);
}

void checked_breach_is_named(void **state)
{
	const struct breach_row *row = *state;

	row->damage();
	assert_true(checked_run() > 0);
	expect_said(row);
}

/* cmocka has one state pointer for the row and the fixture: the fixture is static. */
int checked_setup_row(void **state)
{
	void *row = *state;
	int rc = checked_setup(state);

	*state = row;
	return rc;
}
