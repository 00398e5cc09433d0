/* Connections: hello, framing, limits, and how they end. */
#include "tests/unit/test_net_rig.h"

static struct net_rig rig;

static int setup(void **state)
{
	(void)state;
	rig_open(&rig);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	rig_stop(&rig);
	return 0;
}

#define MESSAGE(text) text, sizeof(text) - 1

/* ---- hello ---- */

static void hello_tells_who_and_how_much(void **state)
{
	struct msg_hello hello = { .has_client = true, .client = slice_str("test"), .has_subscribe = true };
	struct msg_hello_result result;
	struct peer p;

	(void)state;
	rig.options.limits.message = 100000;
	rig_serve(&rig, NULL);
	peer_connect(&p, &rig);
	assert_int_equal(peer_call(&p, METHOD_session_hello, &hello, &result), 0);
	assert_true(slice_is(result.server, "raincheckd"));
	assert_true(slice_is(result.version, "1.2.3"));
	assert_int_equal(result.protocol, 1);
	assert_int_equal(result.role, ROLE_ADMIN);
	assert_int_equal(result.limits.message, 100000);
	assert_int_equal(result.limits.payload, 1 << 20);
	assert_int_equal(result.limits.batch, 1000);
	assert_int_equal(peer_call(&p, METHOD_session_hello, &hello, NULL), ERR_BAD_REQUEST);
	assert_int_equal(peer_ping(&p), 0);
	peer_close(&p);
}

static void nothing_comes_before_hello(void **state)
{
	struct msg_hello hello = { 0 };
	struct peer p;

	(void)state;
	rig_serve(&rig, NULL);
	peer_connect(&p, &rig);
	assert_int_equal(peer_ping(&p), ERR_BAD_REQUEST);
	assert_string_equal(p.info.message, "session.hello must come first");
	peer_send(&p, MESSAGE("\x94\x00\x02\xa4nope\x90"));
	assert_int_equal(peer_answer(&p, 2, METHOD_session_ping, NULL), ERR_BAD_REQUEST);
	assert_string_equal(p.info.message, "session.hello must come first");
	assert_int_equal(peer_call(&p, METHOD_session_hello, &hello, NULL), 0);
	assert_int_equal(peer_ping(&p), 0);
	peer_close(&p);
}

static void who_never_says_hello_is_closed(void **state)
{
	struct peer p, talker;

	(void)state;
	rig.options.limits.hello_ms = 1000;
	rig_serve(&rig, NULL);
	peer_connect(&p, &rig);
	peer_open(&talker, &rig);
	assert_closed(&p);
	assert_int_equal(peer_ping(&talker), 0);
	peer_close(&p);
	peer_close(&talker);
}

static void a_stranger_may_not_send_much(void **state)
{
	static const uint8_t head[] = "\x94\x00\x09\xa7job.put\x91\x81\xa7payload\xc6\x00\x02\x00\x00";
	struct msg_job_put put;
	struct peer p;
	char *bytes = calloc(1, 200000);

	(void)state;
	rig_serve(&rig, NULL);
	peer_connect(&p, &rig);
	peer_send(&p, head, sizeof(head) - 1);
	assert_int_equal(peer_answer(&p, 9, METHOD_job_put, NULL), ERR_TOO_LARGE);
	assert_closed(&p);
	peer_close(&p);
	peer_open(&p, &rig);
	put = put_of("q", bytes, 200000);
	assert_int_equal(peer_call(&p, METHOD_job_put, &put, NULL), 0);
	peer_close(&p);
	free(bytes);
}

/* ---- framing ---- */

static void bytes_may_come_one_by_one(void **state)
{
	struct msg_hello hello = { 0 };
	struct msg_job_put put = put_of("q", "abc", 3);
	struct buf out;
	struct peer p;

	(void)state;
	rig_serve(&rig, NULL);
	peer_connect(&p, &rig);
	buf_init(&out, 4096);
	add_request(&out, 1, METHOD_session_hello, &hello);
	add_request(&out, 2, METHOD_job_put, &put);
	for (size_t i = 0; i < out.size; i++)
		peer_send(&p, out.data + i, 1);
	assert_int_equal(peer_answer(&p, 1, METHOD_session_hello, NULL), 0);
	assert_int_equal(peer_answer(&p, 2, METHOD_job_put, NULL), 0);
	buf_done(&out);
	peer_close(&p);
}

/* Sends it after a hello; the code of the answer, which has id 7, or 0 for a connection that is closed without one. */
static int broken(const void *data, size_t size)
{
	struct rpc_envelope e;
	struct peer p;
	int code = 0;

	peer_open(&p, &rig);
	peer_send(&p, data, size);
	if (peer_try_read(&p, &e)) {
		assert_int_equal(e.id, 7);
		code = peer_outcome(&p, &e, METHOD_session_ping, NULL);
		assert_true(code < 0);
		assert_closed(&p);
	}
	peer_close(&p);
	return code;
}

static void broken_framing_is_told_where_possible_and_ends(void **state)
{
	struct peer other;

	(void)state;
	rig_serve(&rig, NULL);
	peer_open(&other, &rig);
	assert_int_equal(broken(MESSAGE("\xc1")), 0);
	assert_int_equal(broken(MESSAGE("GET / HTTP/1.1\r\n\r\n")), 0);
	assert_int_equal(broken(MESSAGE("\x80")), 0);
	assert_int_equal(broken(MESSAGE("\xdd\x04\x00\x00\x00")), 0);
	assert_int_equal(broken(MESSAGE("\x94\x09\x07\xa1x\x90")), 0);
	assert_int_equal(broken(MESSAGE("\x94\x00\xa1x\xa1x\x90")), 0);
	assert_int_equal(broken(MESSAGE("\x94\x01\x07\xc0\x80")), 0); /* a response */
	assert_int_equal(broken(MESSAGE("\x93\x00\x07\xa1x")), 0);
	assert_int_equal(broken(MESSAGE("\x94\x00\x07\x05\x90")), ERR_BAD_REQUEST); /* no method */
	assert_int_equal(broken(MESSAGE("\x94\x00\x07\xa1x\xdd\x04\x00\x00\x00")), ERR_TOO_LARGE);
	assert_int_equal(broken(MESSAGE("\x94\x00\x07\xa1x\xdb\xff\xff\xff\xff")), ERR_TOO_LARGE);
	assert_int_equal(broken(MESSAGE("\x94\x00\x07\xa1x"
					"\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91")),
			 ERR_TOO_LARGE);
	assert_int_equal(peer_ping(&other), 0);
	peer_close(&other);
}

static void answers_in_flight_come_before_the_end(void **state)
{
	struct msg_job_put put = put_of("q", "abc", 3);
	struct buf out;
	struct peer p;

	(void)state;
	rig_serve(&rig, NULL);
	peer_open(&p, &rig);
	buf_init(&out, 4096);
	add_request(&out, 1, METHOD_job_put, &put);
	buf_append(&out, "\xc1\xc1\xc1", 3);
	peer_send(&p, out.data, out.size);
	assert_int_equal(peer_answer(&p, 1, METHOD_job_put, NULL), 0);
	assert_closed(&p);
	buf_done(&out);
	peer_close(&p);
}

static void odd_but_whole_messages_do_no_harm(void **state)
{
	struct peer p;

	(void)state;
	rig_serve(&rig, NULL);
	peer_open(&p, &rig);
	/* notifications, one with params of the wrong shape */
	peer_send(&p, MESSAGE("\x93\x02\xa1x\x90"));
	peer_send(&p, MESSAGE("\x93\x02\xa1x\x05"));
	/* the method as bin, no params, the largest id */
	peer_send(&p, MESSAGE("\x94\x00\xcf\xff\xff\xff\xff\xff\xff\xff\xff\xc4\x0csession.ping\x90"));
	assert_int_equal(peer_answer(&p, UINT64_MAX, METHOD_session_ping, NULL), 0);
	peer_send(&p, MESSAGE("\x94\x00\x05\xacsession.ping\x80"));
	assert_int_equal(peer_answer(&p, 5, METHOD_session_ping, NULL), ERR_BAD_REQUEST);
	peer_send(&p, MESSAGE("\x94\x00\x06\xacsession.ping\x92\x80\x80"));
	assert_int_equal(peer_answer(&p, 6, METHOD_session_ping, NULL), ERR_BAD_REQUEST);
	peer_send(&p, MESSAGE("\x94\x00\x07\xa9job.nope\n\x90"));
	assert_int_equal(peer_answer(&p, 7, METHOD_session_ping, NULL), ERR_UNKNOWN_METHOD);
	assert_string_equal(p.info.message, "there is no such method");
	peer_send(&p, MESSAGE("\x94\x00\x08\xa8job.nope\x90"));
	assert_int_equal(peer_answer(&p, 8, METHOD_session_ping, NULL), ERR_UNKNOWN_METHOD);
	assert_string_equal(p.info.message, "there is no method job.nope");
	assert_int_equal(peer_ping(&p), 0);
	peer_close(&p);
}

/* ---- how much at once ---- */

struct flood {
	struct peer *peer;
	struct buf bytes;
};

static void flood_cb(void *arg)
{
	struct flood *f = arg;

	if (send(f->peer->fd, f->bytes.data, f->bytes.size, MSG_NOSIGNAL) != (ssize_t)f->bytes.size)
		abort();
}

/* More than may be in flight, in one go, while the answers are read. */
static void a_pipeline_may_be_longer_than_the_limits(void **state)
{
	enum { MANY = 3000 };
	struct msg_job_put put = put_of("q", "abc", 3);
	uv_thread_t thread;
	struct flood flood;
	struct peer p;

	(void)state;
	rig.options.limits.in_flight = 7;
	rig.options.limits.unsent = 16384;
	rig_serve(&rig, NULL);
	peer_open(&p, &rig);
	flood.peer = &p;
	buf_init(&flood.bytes, 1 << 20);
	for (uint64_t i = 1; i <= MANY; i++)
		add_request(&flood.bytes, i, METHOD_job_put, &put);
	uv_thread_create(&thread, flood_cb, &flood);
	for (uint64_t i = 1; i <= MANY; i++)
		assert_int_equal(peer_answer(&p, i, METHOD_job_put, NULL), 0);
	uv_thread_join(&thread);
	assert_int_equal(peer_stats(&p).put_total, MANY);
	buf_done(&flood.bytes);
	peer_close(&p);
}

/* The broker reads no further, other peers notice nothing, and nothing is lost when the peer reads after all. */
static void who_does_not_read_is_not_read_from(void **state)
{
	char *payload = calloc(1, 500000);
	struct msg_job_put put = put_of("q", payload, 500000);
	struct msg_job_put_result result;
	struct msg_job_payload_result read;
	struct msg_job_id id = { .has_id = true };
	struct peer lazy, other;
	size_t sent = 0, got = 0;
	struct buf out;

	(void)state;
	rig.options.limits.unsent = 1 << 20;
	rig_serve(&rig, NULL);
	peer_open(&lazy, &rig);
	peer_open(&other, &rig);
	assert_int_equal(peer_call(&other, METHOD_job_put, &put, &result), 0);
	id.id = result.id;
	buf_init(&out, 1 << 20);
	add_request(&out, 5, METHOD_job_payload, &id);
	/* Until the connection takes no more. */
	for (ssize_t n = 1; n > 0;) {
		struct pollfd ready = { .fd = lazy.fd, .events = POLLOUT };
		size_t at = sent % out.size;

		if (poll(&ready, 1, 300) == 0)
			break;
		n = send(lazy.fd, out.data + at, out.size - at, MSG_NOSIGNAL | MSG_DONTWAIT);
		sent += n > 0 ? (size_t)n : 0;
	}
	assert_int_equal(peer_ping(&other), 0);
	for (; got < 100; got++) {
		assert_int_equal(peer_answer(&lazy, 5, METHOD_job_payload, &read), 0);
		assert_int_equal(read.data.size, 500000);
	}
	assert_true(sent / out.size >= got);
	buf_done(&out);
	peer_close(&lazy);
	peer_close(&other);
	free(payload);
}

static void connections_beyond_the_limit_are_closed_and_room_is_used_again(void **state)
{
	enum { ROOM = 3, BEYOND = 20 };
	struct peer p[ROOM], more[BEYOND];
	struct rpc_envelope e;

	(void)state;
	rig.options.limits.connections = ROOM;
	rig_serve(&rig, NULL);
	for (size_t i = 0; i < ROOM; i++)
		peer_open(&p[i], &rig);
	for (size_t i = 0; i < BEYOND; i++)
		peer_connect(&more[i], &rig);
	for (size_t i = 0; i < BEYOND; i++) {
		assert_closed(&more[i]);
		peer_close(&more[i]);
	}
	assert_int_equal(peer_stats(&p[1]).connections, ROOM);
	peer_close(&p[0]);
	/* It takes the broker a moment to see that one is gone. */
	for (bool in = false; !in;) {
		static const char hello[] = "\x94\x00\x01\xadsession.hello\x90";

		peer_connect(&p[0], &rig);
		in = peer_try_send(&p[0], hello, sizeof(hello) - 1) && peer_try_read(&p[0], &e);
		if (!in)
			peer_close(&p[0]);
	}
	for (size_t i = 0; i < ROOM; i++)
		peer_close(&p[i]);
}

/* ---- ends ---- */

static void who_stops_sending_still_gets_the_answers(void **state)
{
	struct msg_job_put put = put_of("q", "abc", 3);
	struct peer p;
	uint64_t first;

	(void)state;
	rig_serve(&rig, NULL);
	peer_open(&p, &rig);
	first = peer_request(&p, METHOD_job_put, &put);
	peer_request(&p, METHOD_job_put, &put);
	shutdown(p.fd, SHUT_WR);
	assert_int_equal(peer_answer(&p, first, METHOD_job_put, NULL), 0);
	assert_int_equal(peer_answer(&p, first + 1, METHOD_job_put, NULL), 0);
	assert_closed(&p);
	peer_close(&p);
}

/* Resets connections with requests of every kind on their way. */
static void who_vanishes_takes_nothing_along(void **state)
{
	struct linger hard = { .l_onoff = 1 };
	struct slice queue = slice_str("none");
	struct msg_job_lease lease = lease_of(&queue, 60000);
	struct msg_job_put put = put_of("q", "abc", 3);
	struct msg_job_wait wait = { .has_id = true, .has_wait_ms = true, .wait_ms = 60000 };
	struct msg_empty nothing = { 0 };
	struct peer p, other;

	(void)state;
	rig_serve(&rig, NULL);
	peer_open(&other, &rig);
	wait.id = peer_put(&other, "q");
	for (int i = 0; i < 100; i++) {
		peer_open(&p, &rig);
		peer_request(&p, METHOD_job_lease, &lease);
		peer_request(&p, METHOD_job_put, &put);
		peer_request(&p, METHOD_job_wait, &wait);
		peer_request(&p, METHOD_server_stats, &nothing);
		if (i % 2)
			setsockopt(p.fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
		peer_close(&p);
	}
	while (peer_stats(&other).connections > 1)
		;
	assert_int_equal(peer_ping(&other), 0);
	peer_close(&other);
}

static void a_parked_lease_goes_with_its_session(void **state)
{
	struct slice queue = slice_str("q");
	struct msg_job_lease lease = lease_of(&queue, 60000);
	struct peer gone, other;
	struct uuid id;

	(void)state;
	rig_serve(&rig, NULL);
	peer_open(&gone, &rig);
	peer_open(&other, &rig);
	peer_request(&gone, METHOD_job_lease, &lease);
	assert_int_equal(peer_ping(&gone), 0); /* so the lease was taken before */
	peer_close(&gone);
	while (peer_stats(&other).connections > 1)
		;
	/* Otherwise the job would go to the one that is gone. */
	peer_take(&other, "q", &id);
	peer_close(&other);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(hello_tells_who_and_how_much),
		TEST(nothing_comes_before_hello),
		TEST(who_never_says_hello_is_closed),
		TEST(a_stranger_may_not_send_much),
		TEST(bytes_may_come_one_by_one),
		TEST(broken_framing_is_told_where_possible_and_ends),
		TEST(answers_in_flight_come_before_the_end),
		TEST(odd_but_whole_messages_do_no_harm),
		TEST(a_pipeline_may_be_longer_than_the_limits),
		TEST(who_does_not_read_is_not_read_from),
		TEST(connections_beyond_the_limit_are_closed_and_room_is_used_again),
		TEST(who_stops_sending_still_gets_the_answers),
		TEST(who_vanishes_takes_nothing_along),
		TEST(a_parked_lease_goes_with_its_session),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
