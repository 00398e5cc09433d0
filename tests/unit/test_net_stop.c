/* Where the net listens, and how it stops. */
#include <fcntl.h>
#include <sys/stat.h>

#include "tests/unit/test_net_rig.h"

static struct net_rig rig;

static int setup(void **state)
{
	(void)state;
	rig_open(&rig);
	return 0;
}

/* The test itself stops what it served. */
static int teardown(void **state)
{
	(void)state;
	rig_close(&rig);
	return 0;
}

/* ---- addresses ---- */

/* What net_new() says to a list of addresses that it does not take; what was opened is closed again. */
static int refused(const char *const *listen, size_t count, struct error_info *info)
{
	struct net *net = NULL;
	int rc;

	rig.options.listen = listen;
	rig.options.listen_count = count;
	rc = net_new(&rig.loop, &rig.options, &net, info);
	assert_true(rc < 0);
	assert_null(net);
	uv_run(&rig.loop, UV_RUN_DEFAULT);
	return rc;
}

static int refused_one(const char *address, struct error_info *info)
{
	int rc = refused(&address, 1, info);

	assert_string_equal(info->field, "listen");
	assert_non_null(strstr(info->message, address));
	return rc;
}

static void bad_addresses_are_refused_by_name(void **state)
{
	static const char *const bad[] = {
		"",	    "127.0.0.1", "127.0.0.1:",	   "127.0.0.1:http", "127.0.0.1:65536", "127.0.0.1:-1",
		"::1:7246", "[::1]",	 "no such host:1", "unix:",	     "127.0.0.1:123456"
	};
	struct error_info info;
	char path[300];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(refused_one(bad[i], &info), ERR_CONFIG);
	memset(path, 'x', sizeof(path));
	memcpy(path, "unix:", 5);
	path[200] = '\0';
	assert_int_equal(refused_one(path, &info), ERR_CONFIG);
	assert_int_equal(refused_one("unix:/no/such/folder/socket", &info), ERR_CONFIG);
	assert_non_null(strstr(info.message, ": no such file or directory"));
}

static void only_loopback_is_safe_without_tokens(void **state)
{
	static const char *const far[] = { "0.0.0.0:0", "[::]:0", ":0", "192.0.2.1:0", "[::ffff:192.0.2.1]:0" };
	const char *near = "127.9.9.9:0";
	struct error_info info;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(far); i++) {
		assert_int_equal(refused_one(far[i], &info), ERR_CONFIG);
		assert_non_null(strstr(info.message, "--insecure"));
	}
	rig_serve(&rig, near);
	assert_int_equal(strncmp(rig.address, "127.9.9.9:", 10), 0);
	rig_order_stop(&rig, false);
}

static void beyond_loopback_with_insecure(void **state)
{
	struct peer p;

	(void)state;
	rig.options.insecure = true;
	rig_serve(&rig, "0.0.0.0:0");
	peer_open(&p, &rig);
	assert_int_equal(peer_ping(&p), 0);
	rig_order_stop(&rig, false);
	assert_closed(&p);
	peer_close(&p);
}

/* A peer comes in on r's address, and out again. */
static void visit(struct net_rig *r)
{
	struct peer p;

	peer_open(&p, r);
	assert_int_equal(peer_ping(&p), 0);
	peer_close(&p);
}

static bool has_ipv6(void)
{
	struct sockaddr_in6 at = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	int fd = socket(AF_INET6, SOCK_STREAM, 0);
	bool has = fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0;

	if (fd >= 0)
		close(fd);
	return has;
}

static void ipv6_is_spoken(void **state)
{
	(void)state;
	if (!has_ipv6())
		skip();
	rig_serve(&rig, "[::1]:0");
	assert_int_equal(strncmp(rig.address, "[::1]:", 6), 0);
	visit(&rig);
	rig_order_stop(&rig, false);
}

static const char *socket_address(char ret[256])
{
	snprintf(ret, 256, "unix:%s/rpc.sock", rig.dir.path);
	return ret;
}

static void a_unix_socket_comes_and_goes(void **state)
{
	char address[256];
	struct stat st;

	(void)state;
	rig_serve(&rig, socket_address(address));
	assert_string_equal(rig.address, address);
	visit(&rig);
	rig_order_stop(&rig, false);
	rig_join(&rig);
	assert_int_equal(lstat(address + 5, &st), -1);
}

/* What a broker left that was killed. */
static void leave_socket(const char *path, bool alive, int *ret_fd)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(at.sun_path, sizeof(at.sun_path), "%s", path);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(fd, 1), 0);
	if (alive)
		*ret_fd = fd;
	else
		close(fd);
}

static void a_stale_socket_is_replaced(void **state)
{
	char address[256];

	(void)state;
	socket_address(address);
	leave_socket(address + 5, false, NULL);
	rig_serve(&rig, address);
	visit(&rig);
	rig_order_stop(&rig, false);
}

static void a_live_socket_and_a_file_are_left_alone(void **state)
{
	struct error_info info;
	char address[256];
	struct stat st;
	int fd;

	(void)state;
	socket_address(address);
	leave_socket(address + 5, true, &fd);
	assert_int_equal(refused_one(address, &info), ERR_CONFLICT);
	assert_int_equal(lstat(address + 5, &st), 0);
	close(fd);
	unlink(address + 5);
	close(open(address + 5, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	assert_int_equal(refused_one(address, &info), ERR_CONFIG);
	assert_int_equal(lstat(address + 5, &st), 0);
	assert_true(S_ISREG(st.st_mode));
}

static void a_port_in_use_is_a_conflict(void **state)
{
	const char *both[2] = { "127.0.0.1:0", NULL };
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t size = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct error_info info;
	char address[64];

	(void)state;
	assert_int_equal(bind(fd, (struct sockaddr *)&at, size), 0);
	assert_int_equal(listen(fd, 1), 0);
	getsockname(fd, (struct sockaddr *)&at, &size);
	snprintf(address, sizeof(address), "127.0.0.1:%u", ntohs(at.sin_port));
	both[1] = address;
	/* The first one was fine, and is closed again. */
	assert_int_equal(refused(both, 2, &info), ERR_CONFLICT);
	assert_non_null(strstr(info.message, address));
	close(fd);
}

static void several_addresses_are_served(void **state)
{
	char address[256];
	const char *all[3] = { "127.0.0.1:0", socket_address(address), "127.0.0.1:0" };
	char ports[2][64];

	(void)state;
	rig_serve_all(&rig, all, 3);
	snprintf(ports[0], sizeof(ports[0]), "%s", net_address(rig.net, 0));
	snprintf(ports[1], sizeof(ports[1]), "%s", net_address(rig.net, 2));
	assert_string_equal(net_address(rig.net, 1), address);
	assert_null(net_address(rig.net, 3));
	assert_string_not_equal(ports[0], ports[1]);
	visit(&rig);
	memcpy(rig.address, ports[1], sizeof(ports[1]));
	visit(&rig);
	memcpy(rig.address, address, sizeof(address));
	visit(&rig);
	rig_order_stop(&rig, false);
}

/* ---- stopping ---- */

static void who_subscribed_is_told(void **state)
{
	struct msg_hello hello = { .has_subscribe = true, .subscribe = true };
	struct peer told, other;
	struct rpc_envelope e;

	(void)state;
	rig_serve(&rig, NULL);
	peer_connect(&told, &rig);
	assert_int_equal(peer_call(&told, METHOD_session_hello, &hello, NULL), 0);
	peer_open(&other, &rig);
	rig_order_stop(&rig, false);
	peer_read(&told, &e);
	assert_int_equal(e.type, RPC_NOTIFICATION);
	assert_true(slice_is(e.method, "server.shutdown"));
	assert_closed(&told);
	assert_closed(&other);
	peer_close(&told);
	peer_close(&other);
}

/* Every request that was taken is answered: what is parked or waits as well, and at once. */
static void what_is_in_flight_is_answered(void **state)
{
	struct slice queue = slice_str("none");
	struct msg_job_lease lease = lease_of(&queue, 60000);
	struct msg_job_wait wait = { .has_id = true, .has_wait_ms = true, .wait_ms = 60000 };
	struct msg_job_lease_result leased;
	struct rpc_envelope e;
	struct peer p;
	uint64_t parked, waiting;

	(void)state;
	rig_serve(&rig, NULL);
	peer_open(&p, &rig);
	wait.id = peer_put(&p, "q");
	parked = peer_request(&p, METHOD_job_lease, &lease);
	waiting = peer_request(&p, METHOD_job_wait, &wait);
	assert_int_equal(peer_ping(&p), 0); /* so both were taken before */
	rig_order_stop(&rig, false);
	for (int i = 0; i < 2; i++) {
		peer_read(&p, &e);
		if (e.id == waiting) {
			assert_int_equal(peer_outcome(&p, &e, METHOD_job_wait, NULL), ERR_SHUTTING_DOWN);
			continue;
		}
		/* no job, or the reason why */
		assert_int_equal(e.id, parked);
		if (peer_outcome(&p, &e, METHOD_job_lease, &leased) == 0)
			assert_int_equal(leased.jobs_count, 0);
		else
			assert_int_equal(p.info.code, ERR_SHUTTING_DOWN);
	}
	assert_closed(&p);
	peer_close(&p);
}

struct busy {
	struct net_rig *rig;
	uint64_t acknowledged;
	bool stopped;
};

/* Puts until the connection ends, and counts what it was told. */
static void busy_cb(void *arg)
{
	static const char request[] = "\x94\x00\x01\xa7job.put\x91\x82\xa5queue\xa4"
				      "busy\xa7payload\xa1x";
	static const char hello[] = "\x94\x00\x01\xadsession.hello\x90";
	struct skim_limits limits = { 1 << 20, 16, 65536 };
	struct busy *b = arg;
	struct skim skim;
	uint8_t in[65536];
	size_t size = 0;
	ssize_t n;
	int fd = dial(b->rig->address);

	skim_init(&skim, &limits);
	send(fd, hello, sizeof(hello) - 1, MSG_NOSIGNAL);
	for (int i = 0; i < 16; i++)
		send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL);
	while ((n = recv(fd, in + size, sizeof(in) - size, 0)) > 0) {
		size_t at = 0, length;

		size += (size_t)n;
		while (skim_feed(&skim, in + at, size - at, &length) == 0 && length > 0) {
			at += length;
			b->acknowledged++;
			send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL);
		}
		memmove(in, in + at, size - at);
		size -= at;
	}
	b->stopped = n == 0; /* and not by a reset, which could take answers along */
	close(fd);
}

/* Nothing that was acknowledged is lost, no connection is reset, while peers go on sending. */
static void a_stop_in_full_flight_is_orderly(void **state)
{
	enum { PEERS = 8 };
	struct busy busy[PEERS] = { 0 };
	uv_thread_t threads[PEERS];
	struct msg_counts counts;
	struct store_txn *t;
	int64_t queues, put_total;
	uint64_t acknowledged = 0;
	struct peer p;

	(void)state;
	rig_serve(&rig, NULL);
	peer_open(&p, &rig);
	for (size_t i = 0; i < PEERS; i++) {
		busy[i].rig = &rig;
		uv_thread_create(&threads[i], busy_cb, &busy[i]);
	}
	while (peer_stats(&p).put_total < 2000)
		;
	rig_order_stop(&rig, false);
	for (size_t i = 0; i < PEERS; i++) {
		uv_thread_join(&threads[i]);
		assert_true(busy[i].stopped);
		acknowledged += busy[i].acknowledged - 1; /* the hello */
	}
	assert_closed(&p);
	peer_close(&p);
	assert_int_equal(store_begin_read(rig.store, &t), 0);
	assert_int_equal(view_totals(t, &counts, &queues, &put_total), 0);
	store_abort(t);
	assert_true((uint64_t)put_total >= acknowledged);
}

/* Peers that do not read what they asked for are not waited for. */
static void a_kill_does_not_wait(void **state)
{
	enum { REQUESTS = 200 };
	static char payload[500000];
	struct msg_job_put put = put_of("q", payload, sizeof(payload));
	struct msg_job_put_result stored;
	struct msg_job_id id = { .has_id = true };
	struct slice queue = slice_str("none");
	struct msg_job_lease lease = lease_of(&queue, 60000);
	struct peer p;

	(void)state;
	rig_serve(&rig, NULL);
	peer_open(&p, &rig);
	assert_int_equal(peer_call(&p, METHOD_job_put, &put, &stored), 0);
	id.id = stored.id;
	put.payload.size = 1;
	for (int i = 0; i < REQUESTS; i++) {
		peer_request(&p, METHOD_job_payload, &id);
		peer_request(&p, METHOD_job_lease, &lease);
		peer_request(&p, METHOD_job_put, &put);
	}
	rig_order_stop(&rig, true);
	rig_join(&rig);
	peer_close(&p);
}

/* The writer is the first to stop: everything is refused, nothing hangs. */
static void without_a_writer_everything_is_refused(void **state)
{
	struct slice queue = slice_str("none");
	struct msg_job_lease lease = lease_of(&queue, 60000);
	struct msg_job_put put = put_of("q", "x", 1);
	struct peer p;
	uint64_t parked;

	(void)state;
	rig_serve(&rig, NULL);
	peer_open(&p, &rig);
	parked = peer_request(&p, METHOD_job_lease, &lease);
	assert_int_equal(peer_ping(&p), 0);
	writer_stop(rig.writer);
	assert_int_equal(peer_answer(&p, parked, METHOD_job_lease, NULL), ERR_SHUTTING_DOWN);
	assert_int_equal(peer_call(&p, METHOD_job_put, &put, NULL), ERR_SHUTTING_DOWN);
	assert_int_equal(peer_ping(&p), 0);
	rig_order_stop(&rig, false);
	assert_closed(&p);
	peer_close(&p);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(bad_addresses_are_refused_by_name),
		TEST(only_loopback_is_safe_without_tokens),
		TEST(beyond_loopback_with_insecure),
		TEST(ipv6_is_spoken),
		TEST(a_unix_socket_comes_and_goes),
		TEST(a_stale_socket_is_replaced),
		TEST(a_live_socket_and_a_file_are_left_alone),
		TEST(a_port_in_use_is_a_conflict),
		TEST(several_addresses_are_served),
		TEST(who_subscribed_is_told),
		TEST(what_is_in_flight_is_answered),
		TEST(a_stop_in_full_flight_is_orderly),
		TEST(a_kill_does_not_wait),
		TEST(without_a_writer_everything_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
