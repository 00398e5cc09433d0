/* What operators and producers change, as a peer sees it: jobs canceled, retried and erased, and links. What each does
 * to a job is test_engine_changes.c's; here it is what may be asked, by whom, and what the refusal says. */
#include "server/net/net_priv.h"
#include "server/net/session.h"
#include "tests/unit/test_net_served.h"

static const enum method_id changes[] = { METHOD_job_cancel, METHOD_job_retry, METHOD_job_erase };

/* ---- what is asked ---- */

static struct msg_job_change of_id(const struct uuid *id)
{
	return (struct msg_job_change){ .has_id = true, .id = *id };
}

static struct msg_job_change of_queue(const char *queue)
{
	return (struct msg_job_change){ .has_filter = true,
					.filter = { .has_queue = true, .queue = slice_str(queue) } };
}

static struct msg_job_change of_all(void)
{
	return (struct msg_job_change){ .has_filter = true, .filter = { .has_all = true, .all = true } };
}

/* The count of the answer, or the error. */
static int64_t change(enum method_id m, const struct msg_job_change *params)
{
	struct msg_job_change_result result;
	int rc = peer_call(&p, m, params, &result);

	return rc < 0 ? rc : result.count;
}

static int64_t change_one(enum method_id m, const struct uuid *id)
{
	struct msg_job_change params = of_id(id);

	return change(m, &params);
}

/* The job's state, or the error. */
static int state_of(const struct uuid *id)
{
	struct msg_job_id params = { .has_id = true, .id = *id };
	struct msg_job job;
	int rc = peer_call(&p, METHOD_job_get, &params, &job);

	return rc < 0 ? rc : (int)job.state;
}

/* Takes a job and gives it up for good. */
static struct uuid dead_job(const char *queue)
{
	struct msg_job_fail fail = { .has_id = true,
				     .has_lease = true,
				     .has_kind = true,
				     .kind = FAIL_REJECTED,
				     .has_message = true,
				     .message = slice_str("no face") };

	fail.lease = peer_take(&p, queue, &fail.id);
	assert_int_equal(peer_call(&p, METHOD_job_fail, &fail, NULL), 0);
	return fail.id;
}

/* ---- one job ---- */

static void one_job_is_canceled_retried_and_erased(void **state)
{
	struct uuid id, dead;

	(void)state;
	serve();
	id = peer_put(&p, "q");
	assert_int_equal(change_one(METHOD_job_cancel, &id), 1);
	assert_int_equal(state_of(&id), JOB_CANCELED);
	assert_int_equal(change_one(METHOD_job_cancel, &id), 0);
	assert_refused((int)change_one(METHOD_job_retry, &id), ERR_INVALID_STATE, "");
	dead = dead_job("q");
	assert_refused((int)change_one(METHOD_job_cancel, &dead), ERR_INVALID_STATE, "");
	assert_int_equal(change_one(METHOD_job_retry, &dead), 1);
	assert_int_equal(state_of(&dead), JOB_READY);
	assert_refused((int)change_one(METHOD_job_retry, &dead), ERR_INVALID_STATE, "");
	assert_int_equal(change_one(METHOD_job_erase, &id), 1);
	assert_int_equal(state_of(&id), ERR_GONE);
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++)
		assert_refused((int)change_one(changes[i], &id), ERR_GONE, "");
	id.bytes[10] ^= 1; /* the last ones count up */
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++)
		assert_refused((int)change_one(changes[i], &id), ERR_NOT_FOUND, "");
}

/* The lease is void at once, and whoever has it learns which of its leases that was. */
static void a_running_job_is_taken_from_its_holder(void **state)
{
	struct msg_extend_item items[2] = { { .has_id = true, .has_lease = true } };
	struct msg_job_extend extend = { .has_leases = true, .leases = items, .leases_count = 2 };
	struct msg_job_extend_result result = { 0 };
	struct msg_job_complete done = { .has_id = true, .has_lease = true };

	(void)state;
	serve();
	items[0].lease = peer_take(&p, "q", &items[0].id);
	items[1] = items[0];
	items[1].lease.bytes[0] ^= 1;
	assert_int_equal(change_one(METHOD_job_cancel, &items[0].id), 1);
	assert_int_equal(peer_call(&p, METHOD_job_extend, &extend, &result), 0);
	assert_int_equal(result.leases_count, 2);
	assert_true(result.leases && result.leases[0].status == EXTEND_CANCEL);
	assert_true(result.leases && result.leases[1].status == EXTEND_LOST);
	done.id = items[0].id;
	done.lease = items[0].lease;
	assert_int_equal(peer_call(&p, METHOD_job_complete, &done, NULL), ERR_LEASE_LOST);
	assert_int_equal(state_of(&done.id), JOB_CANCELED);
}

/* ---- filters ---- */

static void the_target_is_one_job_or_a_filter(void **state)
{
	struct uuid id;

	(void)state;
	serve();
	id = peer_put(&p, "q");
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		struct msg_job_change none = { 0 }, both = of_queue("q"), limited = of_id(&id), later = of_id(&id);

		assert_refused((int)change(changes[i], &none), ERR_BAD_REQUEST, "id");
		both.has_id = true;
		both.id = id;
		assert_refused((int)change(changes[i], &both), ERR_BAD_REQUEST, "filter");
		limited.has_limit = true;
		limited.limit = 1;
		assert_refused((int)change(changes[i], &limited), ERR_BAD_REQUEST, "limit");
		later.has_cursor = true;
		later.cursor = slice_str("x");
		assert_refused((int)change(changes[i], &later), ERR_BAD_REQUEST, "cursor");
	}
	assert_int_equal(state_of(&id), JOB_READY);
}

/* A slip of the hand must not reach every job there is. */
static void a_filter_must_name_something_or_say_all(void **state)
{
	struct uuid id;

	(void)state;
	serve();
	id = peer_put(&p, "q");
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		struct msg_job_change params = { .has_filter = true };

		assert_refused((int)change(changes[i], &params), ERR_BAD_REQUEST, "filter");
		params.filter.has_all = true;
		assert_refused((int)change(changes[i], &params), ERR_BAD_REQUEST, "filter");
	}
	assert_int_equal(state_of(&id), JOB_READY);
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		struct msg_job_change all = of_all();

		/* what was canceled is not retried, but erased */
		assert_int_equal(change(changes[i], &all), changes[i] != METHOD_job_retry);
	}
	assert_int_equal(state_of(&id), ERR_GONE);
}

static void a_filters_state_must_be_one_that_can_be_changed_so(void **state)
{
	static const unsigned fits[] = { 1 << JOB_SCHEDULED | 1 << JOB_READY | 1 << JOB_RUNNING, 1 << JOB_DEAD,
					 (1 << JOB_STATES) - 1 };

	(void)state;
	serve();
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++)
		for (int s = 0; s < JOB_STATES; s++) {
			struct msg_job_change params = { .has_filter = true,
							 .filter = { .has_state = true, .state = s } };

			if (fits[i] & 1u << s)
				assert_int_equal(change(changes[i], &params), 0);
			else
				assert_refused((int)change(changes[i], &params), ERR_BAD_REQUEST, "filter.state");
		}
}

/* Only what all the words of a filter hold for is changed. */
static void every_word_of_a_filter_counts(void **state)
{
	struct msg_job_put put = put_of("q", "x", 1);
	struct msg_job_put_result mine, other;
	struct msg_job_change params = of_queue("q");

	(void)state;
	serve();
	put.has_group = true;
	put.group = slice_str("ada");
	assert_int_equal(peer_call(&p, METHOD_job_put, &put, &mine), 0);
	put.group = slice_str("bob");
	assert_int_equal(peer_call(&p, METHOD_job_put, &put, &other), 0);
	params.filter.has_group = true;
	params.filter.group = slice_str("ada");
	params.filter.has_before_at_ms = true;
	params.filter.before_at_ms = 1;
	assert_int_equal(change(METHOD_job_cancel, &params), 0);
	params.filter.before_at_ms = clock_wall_ms() + 60000;
	assert_int_equal(change(METHOD_job_cancel, &params), 1);
	assert_int_equal(state_of(&mine.id), JOB_CANCELED);
	assert_int_equal(state_of(&other.id), JOB_READY);
	params = of_queue("nowhere");
	assert_int_equal(change(METHOD_job_cancel, &params), 0);
}

/* Goes on from cursor to cursor; how many requests it took. */
static int change_in_slices(enum method_id m, struct msg_job_change params, int64_t *ret_count)
{
	struct msg_job_change_result result;
	char cursor[129];
	int slices = 0;

	*ret_count = 0;
	do {
		assert_int_equal(peer_call(&p, m, &params, &result), 0);
		assert_true(result.count <= params.limit);
		*ret_count += result.count;
		slices++;
		params.has_cursor = result.has_cursor;
		snprintf(cursor, sizeof(cursor), "%.*s", SLICE_FMT(result.cursor));
		params.cursor = slice_str(cursor);
	} while (result.has_cursor);
	return slices;
}

static void many_are_changed_in_slices(void **state)
{
	struct msg_job_change params = of_queue("q");
	int64_t count;

	(void)state;
	serve();
	put_many("q", 30);
	put_many("other", 5);
	params.has_limit = true;
	params.limit = 7;
	assert_true(change_in_slices(METHOD_job_cancel, params, &count) >= 5);
	assert_int_equal(count, 30);
	assert_int_equal(peer_stats(&p).jobs.canceled, 30);
	assert_int_equal(peer_stats(&p).jobs.ready, 5);
	assert_true(change_in_slices(METHOD_job_erase, params, &count) >= 5);
	assert_int_equal(count, 30);
}

static void a_cursor_is_good_for_its_request_alone(void **state)
{
	static const char *const made_up[] = { "x", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
					       "01977420-a4ab-7cde-8f01-23456789abff", "../../../../etc/passwd" };
	struct msg_job_change params = of_queue("q");
	struct msg_job_list list = { .has_queue = true, .queue = slice_str("q"), .has_cursor = true };
	struct msg_job_change_result first;
	char cursor[129];

	(void)state;
	serve();
	put_many("q", 5);
	params.has_limit = true;
	params.limit = 2;
	assert_int_equal(peer_call(&p, METHOD_job_cancel, &params, &first), 0);
	assert_true(first.has_cursor);
	snprintf(cursor, sizeof(cursor), "%.*s", SLICE_FMT(first.cursor));
	params.has_cursor = true;
	params.cursor = slice_str(cursor);
	assert_refused((int)change(METHOD_job_erase, &params), ERR_BAD_REQUEST, "cursor");
	list.cursor = params.cursor;
	assert_refused(peer_call(&p, METHOD_job_list, &list, NULL), ERR_BAD_REQUEST, "cursor");
	params.filter.has_before_at_ms = true;
	assert_refused((int)change(METHOD_job_cancel, &params), ERR_BAD_REQUEST, "cursor");
	params.filter.has_before_at_ms = false;
	cursor[5] ^= 1;
	assert_refused((int)change(METHOD_job_cancel, &params), ERR_BAD_REQUEST, "cursor");
	cursor[5] ^= 1;
	/* another limit is no other request */
	params.limit = 100;
	assert_int_equal(change(METHOD_job_cancel, &params), 3);
	for (size_t i = 0; i < ARRAY_SIZE(made_up); i++) {
		params.cursor = slice_str(made_up[i]);
		assert_refused((int)change(METHOD_job_cancel, &params), ERR_BAD_REQUEST, "cursor");
	}
}

/* ---- links ---- */

static void a_link_is_made_anew_and_revoked(void **state)
{
	struct msg_job_id id = { .has_id = true };
	struct msg_link_result first, second;
	struct msg_job job;
	char link[256];

	(void)state;
	serve();
	assert_refused(peer_call(&p, METHOD_link_rotate, &id, NULL), ERR_NOT_FOUND, "");
	assert_refused(peer_call(&p, METHOD_link_revoke, &id, NULL), ERR_NOT_FOUND, "");
	id.id = peer_put(&p, "q");
	assert_int_equal(peer_call(&p, METHOD_link_rotate, &id, &first), 0);
	snprintf(link, sizeof(link), "%.*s", SLICE_FMT(first.link));
	assert_int_equal(strncmp(link, "http://example.test/r/", 22), 0);
	assert_int_equal(peer_call(&p, METHOD_link_rotate, &id, &second), 0);
	assert_false(slice_is(second.link, link));
	assert_int_equal(peer_call(&p, METHOD_link_revoke, &id, NULL), 0);
	assert_int_equal(peer_call(&p, METHOD_link_revoke, &id, NULL), 0);
	assert_int_equal(peer_call(&p, METHOD_job_get, &id, &job), 0);
	assert_false(job.has_link);
	assert_int_equal(peer_call(&p, METHOD_link_rotate, &id, &first), 0);
	snprintf(link, sizeof(link), "%.*s", SLICE_FMT(first.link));
	assert_int_equal(peer_call(&p, METHOD_job_get, &id, &job), 0);
	assert_true(job.has_link && slice_is(job.link, link));
	assert_int_equal(change_one(METHOD_job_erase, &id.id), 1);
	assert_refused(peer_call(&p, METHOD_link_rotate, &id, NULL), ERR_GONE, "");
}

/* ---- who may ---- */

static enum role role_to_be;

static void set_role(struct net_rig *r)
{
	/* the newest is the first */
	r->net->sessions->role = role_to_be;
}

/* A connection that is no admin's: no token can say so yet. */
static void open_as(enum role role)
{
	peer_close(&p);
	peer_open(&p, &rig);
	role_to_be = role;
	rig_run(&rig, set_role);
}

/* Sends the method an empty map, whatever its params are. */
static uint64_t ask_nothing(enum method_id m)
{
	struct msg_empty nothing = { 0 };
	struct buf out;

	buf_init(&out, 4096);
	assert_int_equal(rpc_write_request(&out, ++p.last_id, method_get(m)->name, &MSG_empty, &nothing), 0);
	peer_send(&p, out.data, out.size);
	buf_done(&out);
	return p.last_id;
}

static void a_producer_changes_one_job_and_no_more(void **state)
{
	static const enum method_id operators[] = { METHOD_queue_get,	 METHOD_queue_set,    METHOD_queue_pause,
						    METHOD_queue_resume, METHOD_queue_purge,  METHOD_server_backup,
						    METHOD_server_check, METHOD_server_stats, METHOD_queue_list };
	struct msg_job_change many = of_queue("q"), all = of_all(), empty = { .has_filter = true };
	struct msg_job_id id = { .has_id = true };

	(void)state;
	serve();
	open_as(ROLE_PRODUCER);
	id.id = peer_put(&p, "q");
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		assert_refused((int)change(changes[i], &many), ERR_DENIED, "filter");
		assert_refused((int)change(changes[i], &all), ERR_DENIED, "filter");
		assert_refused((int)change(changes[i], &empty), ERR_DENIED, "filter");
	}
	for (size_t i = 0; i < ARRAY_SIZE(operators); i++)
		assert_refused(peer_answer(&p, ask_nothing(operators[i]), operators[i], NULL), ERR_DENIED, "");
	assert_int_equal(state_of(&id.id), JOB_READY);
	assert_int_equal(change_one(METHOD_job_cancel, &id.id), 1);
	assert_int_equal(peer_call(&p, METHOD_link_rotate, &id, NULL), 0);
	assert_int_equal(peer_call(&p, METHOD_link_revoke, &id, NULL), 0);
	assert_int_equal(change_one(METHOD_job_erase, &id.id), 1);
}

static void a_worker_changes_none_of_it(void **state)
{
	struct msg_job_id id = { .has_id = true };

	(void)state;
	serve();
	id.id = peer_put(&p, "q");
	open_as(ROLE_WORKER);
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++)
		assert_refused((int)change_one(changes[i], &id.id), ERR_DENIED, "");
	assert_refused(peer_call(&p, METHOD_link_rotate, &id, NULL), ERR_DENIED, "");
	assert_refused(peer_call(&p, METHOD_link_revoke, &id, NULL), ERR_DENIED, "");
}

/* ---- many at once, and ends ---- */

static void changes_may_be_pipelined(void **state)
{
	enum { MANY = 300 };
	struct uuid ids[MANY];
	struct rpc_envelope e;
	uint64_t first;
	int done = 0;

	(void)state;
	serve();
	for (int i = 0; i < MANY; i++)
		ids[i] = peer_put(&p, "q");
	first = p.last_id + 1;
	for (int i = 0; i < MANY; i++) {
		struct msg_job_change params = of_id(&ids[i]);

		peer_request(&p, METHOD_job_cancel, &params);
		peer_request(&p, METHOD_job_erase, &params);
	}
	for (; done < 2 * MANY; done++) {
		struct msg_job_change_result result;

		peer_read(&p, &e);
		assert_in_range(e.id, first, first + 2 * MANY - 1);
		assert_int_equal(peer_outcome(&p, &e, METHOD_job_cancel, &result), 0);
		assert_int_equal(result.count, 1);
	}
	assert_int_equal(peer_stats(&p).jobs.canceled, 0);
	for (int i = 0; i < MANY; i++)
		assert_int_equal(state_of(&ids[i]), ERR_GONE);
}

static int open_sessions;

static void count_open(struct net_rig *r)
{
	open_sessions = 0;
	for (struct session *s = r->net->sessions; s; s = s->next)
		open_sessions += s->state == SESSION_OPEN;
}

/* Waits until the broker has seen that all but count peers are gone. */
static void await_open_sessions(int count)
{
	int64_t until = clock_mono_ms() + PATIENCE_SECONDS * 1000;

	do {
		assert_true(clock_mono_ms() < until);
		rig_run(&rig, count_open);
	} while (open_sessions > count);
}

/* The writer begins when all of it is there: a change of many that nobody waits for any more is not gone on with. */
static void a_change_of_many_goes_with_its_session(void **state)
{
	enum { MANY = 600 }; /* more than it would do in its first piece */
	struct msg_job_change all = of_all();
	struct peer gone;

	(void)state;
	serve();
	put_many("q", MANY);
	peer_close(&p);
	rig_restart(&rig);
	rig.late_writer = true;
	serve();
	peer_open(&gone, &rig);
	peer_request(&gone, METHOD_job_erase, &all);
	assert_int_equal(peer_ping(&gone), 0); /* so it was taken before */
	peer_close(&gone);
	await_open_sessions(1);
	assert_int_equal(writer_start(rig.writer), 0);
	peer_put(&p, "q");
	assert_int_equal(peer_stats(&p).jobs.ready, MANY + 1);
}

/* job.lease_cancel is for leases: a change of the same connection goes on. */
static void a_change_of_many_outlives_a_cancel_of_leases(void **state)
{
	enum { MANY = 600 };
	struct msg_job_change all = of_all();
	struct msg_empty nothing = { 0 };
	struct msg_job_change_result done = { 0 };
	uint64_t change_id;

	(void)state;
	serve();
	put_many("q", MANY);
	peer_close(&p);
	rig_restart(&rig);
	rig.late_writer = true;
	serve();
	change_id = peer_request(&p, METHOD_job_erase, &all);
	peer_request(&p, METHOD_job_lease_cancel, &nothing);
	assert_int_equal(peer_ping(&p), 0);
	assert_int_equal(writer_start(rig.writer), 0);
	for (int i = 0; i < 2; i++) {
		struct rpc_envelope e;

		peer_read(&p, &e);
		if (e.id == change_id)
			assert_int_equal(peer_outcome(&p, &e, METHOD_job_erase, &done), 0);
	}
	assert_int_equal(done.count, MANY);
	assert_false(done.has_cursor);
}

/* Every method of the table has somebody who answers it, whatever it is asked. */
static void every_method_is_answered(void **state)
{
	(void)state;
	serve();
	for (int m = 0; m < METHODS; m++) {
		uint64_t id = ask_nothing((enum method_id)m);
		struct rpc_envelope e;

		peer_read(&p, &e);
		assert_int_equal(e.id, id);
	}
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(one_job_is_canceled_retried_and_erased),
		TEST(a_running_job_is_taken_from_its_holder),
		TEST(the_target_is_one_job_or_a_filter),
		TEST(a_filter_must_name_something_or_say_all),
		TEST(a_filters_state_must_be_one_that_can_be_changed_so),
		TEST(every_word_of_a_filter_counts),
		TEST(many_are_changed_in_slices),
		TEST(a_cursor_is_good_for_its_request_alone),
		TEST(a_link_is_made_anew_and_revoked),
		TEST(a_producer_changes_one_job_and_no_more),
		TEST(a_worker_changes_none_of_it),
		TEST(changes_may_be_pipelined),
		TEST(a_change_of_many_goes_with_its_session),
		TEST(a_change_of_many_outlives_a_cancel_of_leases),
		TEST(every_method_is_answered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
