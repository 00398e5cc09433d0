/* What one damaged record may cost: its own job, and nothing beside it. Each test damages the store of a live engine
 * and shows that the others go on; where the engine puts things right by itself, the checker says so at the end. */
#include "tests/unit/test_engine_damage.h"

#include "server/store/blob.h"

static struct group_weight weights[MAX_WEIGHTS];

static void insert(enum store_table table, struct key key, struct slice value)
{
	struct store_txn *t = begin();

	assert_int_equal(store_put(t, table, key_slice(&key), value), 0);
	assert_int_equal(store_commit(t), 0);
}

static void flip_last_byte(enum store_table table, struct key key)
{
	struct store_txn *t = begin();
	uint8_t bytes[4096];
	struct slice value;

	assert_int_equal(store_get(t, table, key_slice(&key), &value), 0);
	assert_in_range(value.size, 1, sizeof(bytes));
	memcpy(bytes, value.data, value.size);
	bytes[value.size - 1] ^= 1;
	assert_int_equal(store_put(t, table, key_slice(&key), slice_of(bytes, value.size)), 0);
	assert_int_equal(store_commit(t), 0);
}

static void a_stray_entry_costs_no_job(void **state)
{
	struct uuid id = rig_put(&rig, "q", "first");

	(void)state;
	insert(TABLE_READY, key_ready(0, 0, 1, &id), slice_of(NULL, 0));
	expect_leased("first");
	insert(TABLE_READY, key_ready(0, 0, 1, &id), slice_of(NULL, 0));
	rig_put(&rig, "q", "second");
	expect_leased("second");
	rig_put(&rig, "q", "third");
	expect_leased("third");
	rig_check(&rig);
}

static void entries_of_no_shape_hold_up_nobody(void **state)
{
	struct key ready = key_queue(0), due = { .bytes = { 0 }, .size = 1 };

	(void)state;
	rig_put(&rig, "q", "x");
	ready.bytes[ready.size++] = 0;
	insert(TABLE_READY, ready, slice_of(NULL, 0));
	insert(TABLE_DUE, due, slice_of(NULL, 0));
	expect_leased("x");
	rig_put(&rig, "q", "y");
	insert(TABLE_READY, ready, slice_of(NULL, 0));
	expect_leased("y");
	rig_put(&rig, "q", "z");
	expect_leased("z");
	rig_pass(&rig, 0);
	assert_true(engine_next_ms(rig.engine) > rig.now_ms);
	rig_pass(&rig, 30000);
	expect_leased("x");
	expect_leased("y");
	expect_leased("z");
	rig_check(&rig);
}

static void a_damaged_record_is_set_aside(void **state)
{
	struct uuid id = rig_put(&rig, "q", "damaged");
	struct msg_leased_job job;

	(void)state;
	rig_put(&rig, "q", "sound");
	flip_last_byte(TABLE_JOBS, key_job(&id));
	expect_leased("sound");
	assert_false(rig_lease(&rig, "q", &job));
	rig_put(&rig, "q", "later");
	expect_leased("later");
	rig_job(&rig, &id);
	assert_int_equal(rig.code, ERR_CORRUPT);
}

static void a_damaged_record_of_a_running_job_is_set_aside_in_its_time(void **state)
{
	struct uuid id = rig_put(&rig, "q", "damaged");
	struct msg_queue queue;

	(void)state;
	expect_leased("damaged");
	rig_put(&rig, "q", "sound");
	flip_last_byte(TABLE_JOBS, key_job(&id));
	rig_pass(&rig, 30000);
	assert_true(reported(&id));
	assert_int_equal(set_aside(), 1);
	rig_pass(&rig, 1);
	assert_false(reported(&id));
	expect_leased("sound");
	rig_job(&rig, &id);
	assert_int_equal(rig.code, ERR_CORRUPT);
	assert_int_equal(view_queue_by_name(rig.view_txn, slice_str("q"), weights, &queue), 0);
	assert_int_equal(queue.counts.running, 1);
	assert_int_equal(queue.bytes, 5);
	rig_erase(&rig, &id);
	assert_int_equal(rig.code, 0);
	assert_int_equal(set_aside(), 0);
	rig_check(&rig);
}

/* By so long from now. */
static void extend(const struct msg_leased_job *job, int64_t lease_ms)
{
	struct msg_extend_item item = { .has_id = true, .id = job->id, .has_lease = true, .lease = job->lease };
	struct msg_job_extend extend = {
		.has_leases = true, .leases = &item, .leases_count = 1, .has_lease_ms = true, .lease_ms = lease_ms
	};

	rig_run(&rig, COMMAND_EXTEND, &extend);
	assert_int_equal(rig.code, 0);
}

/* Nobody will ever tell how the call ended that was to say whether the API is back: another one may. */
static void a_probe_that_is_set_aside_is_followed_by_another(void **state)
{
	struct msg_leased_job job, probe;
	struct uuid id;

	(void)state;
	rig_limit_set(&rig, "api",
		      (struct msg_limit_set){ .has_breaker = true,
					      .breaker = { .has_min_calls = true,
							   .min_calls = 1,
							   .has_failure_ratio = true,
							   .failure_ratio = 1,
							   .has_open_ms = true,
							   .open_ms = 1000 } });
	rig_queue_limit(&rig, "q", "api");
	rig_queue_limit(&rig, "other", "api");
	id = rig_put(&rig, "q", "fails");
	assert_true(rig_lease(&rig, "q", &job));
	/* Something else goes on all the while. */
	rig_put(&rig, "other", "long");
	assert_true(rig_lease(&rig, "other", &probe));
	rig_fail(&rig, &id, &job.lease, FAIL_REJECTED, 0);
	id = rig_put(&rig, "q", "breaks");
	assert_true(rig_lease(&rig, "q", &job));
	rig_fail(&rig, &id, &job.lease, FAIL_UNAVAILABLE, 3600000);
	rig_pass(&rig, 1000);
	id = rig_put(&rig, "q", "damaged");
	expect_leased("damaged");
	rig_put(&rig, "q", "sound");
	assert_false(rig_lease(&rig, "q", &job));
	flip_last_byte(TABLE_JOBS, key_job(&id));
	extend(&probe, 86400000);
	rig_pass(&rig, 30000);
	assert_true(reported(&id));
	assert_int_equal(rig_limit(&rig, "api")->now.in_flight, 1);
	expect_leased("sound");
}

/* Both of its entries are met, one after the other: it is taken out of the counts once. */
static void a_damaged_record_is_counted_out_once(void **state)
{
	struct msg_job_put put = { .has_queue = true, .queue = slice_str("q"), .has_payload = true };
	struct msg_leased_job job;
	struct msg_queue queue;
	struct uuid id;

	(void)state;
	put.has_deadline_ms = true;
	put.deadline_ms = 1000;
	put.payload = slice_str("damaged");
	id = rig_put_params(&rig, &put);
	rig_put(&rig, "q", "sound");
	flip_last_byte(TABLE_JOBS, key_job(&id));
	rig_pass(&rig, 1000);
	assert_int_equal(set_aside(), 1);
	expect_leased("sound");
	assert_false(rig_lease(&rig, "q", &job));
	rig_job(&rig, &id);
	assert_int_equal(view_queue_by_name(rig.view_txn, slice_str("q"), weights, &queue), 0);
	assert_int_equal(queue.counts.ready, 0);
	assert_int_equal(queue.bytes, 5);
	rig_erase(&rig, &id);
	rig_check(&rig);
}

static void a_damaged_input_ends_its_job_and_frees_its_key(void **state)
{
	struct msg_job_put put = {
		.has_queue = true,
		.queue = slice_str("q"),
		.has_payload = true,
		.payload = slice_str("x"),
		.has_idempotency_key = true,
		.idempotency_key = slice_str("key"),
	};
	struct uuid id = rig_put_params(&rig, &put);
	struct msg_leased_job job;
	struct key key = key_job(&id);
	struct store_txn *t;
	struct slice bytes;
	struct job record;

	(void)state;
	flip_last_byte(TABLE_INPUTS, key);
	assert_false(rig_lease(&rig, "q", &job));
	t = begin();
	assert_int_equal(store_get(t, TABLE_JOBS, key_slice(&key), &bytes), 0);
	assert_int_equal(record_read_job(bytes, &record), 0);
	assert_int_equal(record.state, JOB_DEAD);
	store_abort(t);
	rig_put_params(&rig, &put);
	assert_int_equal(rig.code, ERR_CORRUPT);
	assert_string_equal(rig.info.field, "idempotency_key");
	rig_pass(&rig, rig.settings.result_ttl_ms);
	rig_pass(&rig, rig.settings.record_ttl_ms);
	rig_put_params(&rig, &put);
	assert_int_equal(rig.code, 0);
	assert_true(rig.answer.put.created);
	rig_check(&rig);
}

static void a_damaged_checkpoint_is_not_paid_for_again(void **state)
{
	struct msg_job_checkpoint checkpoint = { .has_id = true, .has_lease = true, .has_data = true };
	struct msg_job_release release = { .has_id = true, .has_lease = true };
	struct msg_leased_job job;

	(void)state;
	checkpoint.id = release.id = rig_put(&rig, "q", "x");
	assert_true(rig_lease(&rig, "q", &job));
	checkpoint.lease = release.lease = job.lease;
	checkpoint.data = slice_str("provider-id");
	rig_run(&rig, COMMAND_CHECKPOINT, &checkpoint);
	rig_run(&rig, COMMAND_RELEASE, &release);
	flip_last_byte(TABLE_CHECKPOINTS, key_job(&release.id));
	assert_false(rig_lease(&rig, "q", &job));
	assert_int_equal(rig_job(&rig, &release.id)->state, JOB_DEAD);
}

static void an_artifact_key_of_no_shape_stops_no_retention(void **state)
{
	struct uuid id = rig_put(&rig, "q", "x");
	struct msg_leased_job job;

	(void)state;
	assert_true(rig_lease(&rig, "q", &job));
	rig_complete(&rig, &id, &job.lease, "done");
	insert(TABLE_ARTIFACTS, key_job(&id), slice_of(NULL, 0));
	rig_pass(&rig, rig.settings.result_ttl_ms);
	rig_pass(&rig, rig.settings.record_ttl_ms);
	rig_job(&rig, &id);
	assert_int_equal(rig.code, ERR_GONE);
}

static void a_damaged_job_shows_itself_to_its_link_alone(void **state)
{
	struct uuid id = rig_put(&rig, "q", "x"), found;
	char token[LINK_TOKEN_SIZE + 1] = "";

	(void)state;
	memcpy(token, (const char *)rig.answer.put.link.data + rig.answer.put.link.size - LINK_TOKEN_SIZE,
	       LINK_TOKEN_SIZE);
	flip_last_byte(TABLE_INPUTS, key_job(&id));
	rig_job(&rig, &id);
	assert_int_equal(view_link(rig.view_txn, &rig.settings, rig.now_ms, slice_str(token), &found, &rig.view),
			 ERR_CORRUPT);
	/* The first 22 characters are the job's id, which is no secret. */
	token[30] = token[30] == 'A' ? 'B' : 'A';
	assert_int_equal(view_link(rig.view_txn, &rig.settings, rig.now_ms, slice_str(token), &found, &rig.view),
			 ERR_NOT_FOUND);
}

/* A flip that heals, as one in memory does: the job stays out of every count until it is erased. */
static void a_record_that_reads_well_again_stays_set_aside(void **state)
{
	struct uuid id = rig_put(&rig, "q", "x");
	struct msg_leased_job job;

	(void)state;
	flip_last_byte(TABLE_JOBS, key_job(&id));
	assert_false(rig_lease(&rig, "q", &job));
	flip_last_byte(TABLE_JOBS, key_job(&id));
	rig_cancel(&rig, &id);
	assert_int_equal(rig.code, ERR_CORRUPT);
	rig_job(&rig, &id);
	assert_int_equal(rig.code, ERR_CORRUPT);
	rig_restart(&rig);
	rig_cancel(&rig, &id);
	assert_int_equal(rig.code, ERR_CORRUPT);
	rig_erase(&rig, &id);
	assert_int_equal(rig.code, 0);
	assert_int_equal(set_aside(), 0);
	rig_check(&rig);
}

static void lose_record(const struct uuid *id)
{
	struct key key = key_job(id);
	struct store_txn *t = begin();

	assert_int_equal(store_delete(t, TABLE_JOBS, key_slice(&key)), 0);
	assert_int_equal(store_commit(t), 0);
}

static void what_is_left_of_a_lost_record_can_be_erased(void **state)
{
	struct command_change all = { .action = CHANGE_ERASE, .filter = { .has_all = true, .all = true } };
	struct uuid first = rig_put(&rig, "q", "x"), second = rig_put(&rig, "q", "y");
	struct msg_leased_job job;

	(void)state;
	lose_record(&first);
	lose_record(&second);
	assert_false(rig_lease(&rig, "q", &job));
	assert_int_equal(set_aside(), 2);
	rig_erase(&rig, &first);
	assert_int_equal(rig.code, 0);
	assert_int_equal(set_aside(), 1);
	rig_change(&rig, &all);
	assert_int_equal(rig.answer.change.count, 1);
	assert_int_equal(set_aside(), 0);
	rig_check(&rig);
}

static void the_file_of_a_damaged_artifact_goes_with_its_job(void **state)
{
	static const char bytes[20000] = "video";
	struct uuid id = rig_put(&rig, "q", "x"), blob = { .bytes = { 9, 9 } };
	struct command_attach attach = { .id = id,
					 .name = slice_str("video"),
					 .staged = { .content_type = slice_str("video/mp4"),
						     .size = sizeof(bytes),
						     .has_blob = true,
						     .blob = blob } };
	struct blob_writer *w;
	size_t count;

	(void)state;
	assert_int_equal(blob_create(rig.blobs, &blob, &w), 0);
	assert_int_equal(blob_append(w, slice_of(bytes, sizeof(bytes))), 0);
	assert_int_equal(blob_publish(w, attach.staged.sha256), 0);
	blob_close(w);
	rig_run(&rig, COMMAND_ATTACH, &attach);
	assert_int_equal(rig.code, 0);
	flip_last_byte(TABLE_ARTIFACTS, key_artifact(&id, slice_str("video")));
	rig_erase(&rig, &id);
	assert_true(uuid_equal(engine_garbage(rig.engine, &count), &blob));
	assert_int_equal(count, 1);
	rig_check(&rig);
}

static void a_damaged_queue_hides_no_other(void **state)
{
	struct queues_view queues;
	struct msg_counts counts;
	int64_t number, total;

	(void)state;
	rig_put(&rig, "q", "x");
	rig_put(&rig, "r", "x");
	flip_last_byte(TABLE_QUEUES, key_queue(0));
	rig_job(&rig, &rig.answer.put.id);
	assert_int_equal(view_queues(rig.view_txn, &queues), 0);
	assert_int_equal(queues.count, 1);
	assert_true(slice_is(queues.items[0].queue, "r"));
	queues_view_done(&queues);
	assert_int_equal(view_totals(rig.view_txn, &counts, &number, &total), 0);
	assert_int_equal(counts.ready, 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_stray_entry_costs_no_job),
		T(entries_of_no_shape_hold_up_nobody),
		T(a_damaged_record_is_set_aside),
		T(a_damaged_record_of_a_running_job_is_set_aside_in_its_time),
		T(a_probe_that_is_set_aside_is_followed_by_another),
		T(a_damaged_record_is_counted_out_once),
		T(a_record_that_reads_well_again_stays_set_aside),
		T(what_is_left_of_a_lost_record_can_be_erased),
		T(the_file_of_a_damaged_artifact_goes_with_its_job),
		T(a_damaged_queue_hides_no_other),
		T(a_damaged_input_ends_its_job_and_frees_its_key),
		T(a_damaged_checkpoint_is_not_paid_for_again),
		T(an_artifact_key_of_no_shape_stops_no_retention),
		T(a_damaged_job_shows_itself_to_its_link_alone),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
