/* A client that reads slowly costs itself: while one sits on a large artifact and takes nothing more of it, over HTTP
 * and over RPC, jobs come and go and the store's file does not grow with them. GROWTH_JOBS makes it
 * longer.
 */
#include <arpa/inet.h>
#include <msgpack.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/raincheck.h"
#include "tests/harness/stack.h"

#define PAYLOAD	 8000
#define LARGE	 (3 << 20)
#define REQUESTS 16 /* for the whole of it, of which none is read */

static struct stack stack;
static struct raincheck *rc;
static char payload[PAYLOAD];
static char *large;
static char large_id[RAINCHECK_ID_SIZE], large_link[512];

static int jobs_wanted(void)
{
	const char *value = getenv("GROWTH_JOBS");

	return value && *value ? atoi(value) : 600;
}

/* ---- jobs that come and go ---- */

static void put(char *ret_id, char *ret_link, size_t link_size)
{
	struct raincheck_put params = { .queue = "q", .payload = { payload, sizeof(payload) } };
	struct raincheck_put_result *result;

	assert_int_equal(raincheck_put(rc, &params, &result), 0);
	memcpy(ret_id, result->id, RAINCHECK_ID_SIZE);
	if (ret_link)
		snprintf(ret_link, link_size, "%s", result->link);
	raincheck_free(result);
}

static void finish(const char *id, const void *data, size_t size)
{
	static const char *const queues[] = { "q" };
	struct raincheck_lease lease = { .queues = queues, .queue_count = 1 };
	struct raincheck_complete complete = { .id = id, .result = { "video/mp4", { data, size } } };
	struct raincheck_complete_result *completed;
	struct raincheck_lease_result *leased;

	assert_int_equal(raincheck_lease(rc, &lease, &leased), 0);
	assert_int_equal(leased->job_count, 1);
	assert_string_equal(leased->jobs[0].id, id);
	complete.lease = leased->jobs[0].lease;
	assert_int_equal(raincheck_complete(rc, &complete, &completed), 0);
	raincheck_free(completed);
	raincheck_free(leased);
}

/* A job's whole life, up to its erasure. */
static void live_once(void)
{
	struct raincheck_change_result *erased;
	char id[RAINCHECK_ID_SIZE];

	put(id, NULL, 0);
	finish(id, payload, sizeof(payload));
	assert_int_equal(raincheck_erase(rc, id, &erased), 0);
	assert_int_equal(erased->count, 1);
	raincheck_free(erased);
}

static int64_t used_after(int jobs)
{
	struct raincheck_stats *stats;
	int64_t used;

	for (int i = 0; i < jobs; i++)
		live_once();
	assert_int_equal(raincheck_stats(rc, &stats), 0);
	used = stats->store.used_bytes;
	raincheck_free(stats);
	return used;
}

/* ---- who reads slowly ---- */

static void send_all(int fd, const void *data, size_t size)
{
	assert_int_equal(send(fd, data, size, MSG_NOSIGNAL), size);
}

/* Asks for the artifact and waits for its first byte; the rest stays where it is. */
static void await_first_byte(int fd)
{
	char byte;

	assert_int_equal(recv(fd, &byte, 1, 0), 1);
}

static int slow_http_reader(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	const char *path = strstr(large_link, "/r/");
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int small = 4096;
	char request[700];
	unsigned port;

	assert_int_equal(sscanf(stack.http, "http://127.0.0.1:%u", &port), 1);
	address.sin_port = htons((uint16_t)port);
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	snprintf(request, sizeof(request), "GET %s/result HTTP/1.1\r\nHost: x\r\n\r\n", path);
	send_all(fd, request, strlen(request));
	await_first_byte(fd);
	return fd;
}

static void pack_text(msgpack_packer *pk, const char *text)
{
	msgpack_pack_str_with_body(pk, text, strlen(text));
}

static void pack_call(msgpack_packer *pk, unsigned id, const char *method, unsigned params)
{
	msgpack_pack_array(pk, 4);
	msgpack_pack_int(pk, 0);
	msgpack_pack_unsigned_int(pk, id);
	pack_text(pk, method);
	msgpack_pack_array(pk, 1);
	msgpack_pack_map(pk, params);
}

static int slow_rpc_reader(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	msgpack_sbuffer out;
	msgpack_packer pk;

	msgpack_sbuffer_init(&out);
	msgpack_packer_init(&pk, &out, msgpack_sbuffer_write);
	pack_call(&pk, 1, "session.hello", 0);
	for (unsigned i = 0; i < REQUESTS; i++) {
		pack_call(&pk, 2 + i, "artifact.read", 3);
		pack_text(&pk, "id");
		pack_text(&pk, large_id);
		pack_text(&pk, "name");
		pack_text(&pk, "result");
		pack_text(&pk, "length");
		msgpack_pack_int(&pk, LARGE);
	}
	assert_memory_equal(stack.server, "unix:", 5);
	assert_true(strlen(stack.server + 5) < sizeof(address.sun_path));
	strcpy(address.sun_path, stack.server + 5);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	send_all(fd, out.data, out.size);
	await_first_byte(fd);
	msgpack_sbuffer_destroy(&out);
	return fd;
}

/* ---- the test ---- */

static void slow_readers_cost_the_store_nothing(void **state)
{
	int jobs = jobs_wanted();
	int64_t before, after, passed_through = (int64_t)jobs * 2 * PAYLOAD;
	int http, rpc;

	(void)state;
	put(large_id, large_link, sizeof(large_link));
	finish(large_id, large, LARGE);
	before = used_after(jobs / 4);
	http = slow_http_reader();
	rpc = slow_rpc_reader();
	after = used_after(jobs);
	print_message("# %lld bytes went through the store, which grew by %lld\n", (long long)passed_through,
		      (long long)(after - before));
	/* What is left of each job is its tombstone. */
	assert_true(after - before < passed_through / 10);
	close(http);
	close(rpc);
}

static int setup(void **state)
{
	(void)state;
	memset(payload, 'x', sizeof(payload));
	large = malloc(LARGE);
	memset(large, 'y', LARGE);
	tempdir_make(&stack.dir);
	stack_start_broker(&stack);
	rc = stack_connect(&stack);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	raincheck_close(rc, NULL, NULL);
	stack_stop(&stack);
	free(large);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(slow_readers_cost_the_store_nothing, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
