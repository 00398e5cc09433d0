/* Whatever a peer sends to the HTTP port gets a clear 4xx or a closed connection, and a neighbour is served meanwhile.
 * Raw sockets: no library would send any of this. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "proto/base/clean.h"
#include "tests/harness/stack.h"

#define PATIENCE_SECONDS 60
#define H		 "Host: localhost\r\n"

static struct stack stack;
static int neighbour; /* a connection that was there before */
static char answer[65536];
static size_t answer_size;

static int dial(void)
{
	const struct timeval patience = { .tv_sec = PATIENCE_SECONDS };
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	at.sin_port = htons((uint16_t)atoi(strrchr(stack.http, ':') + 1));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	return fd;
}

static int setup(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN);
	memset(&stack, 0, sizeof(stack));
	tempdir_make(&stack.dir);
	stack_start_broker(&stack);
	neighbour = dial();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	close(neighbour);
	stack_stop(&stack);
	return 0;
}

/* False where the peer has had enough, which is an answer too. */
static bool say(int fd, const void *bytes, size_t size)
{
	const char *p = bytes;

	while (size > 0) {
		ssize_t n = send(fd, p, size, MSG_NOSIGNAL);

		if (n <= 0)
			return false;
		p += n;
		size -= (size_t)n;
	}
	return true;
}

/* Until the other side closes or is silent for long, which fails the test. */
static void hear_all(int fd)
{
	ssize_t n = 1;

	answer_size = 0;
	while (n > 0 && answer_size < sizeof(answer) - 1) {
		n = recv(fd, answer + answer_size, sizeof(answer) - 1 - answer_size, 0);
		if (n > 0)
			answer_size += (size_t)n;
		else if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			fail_msg("the connection stays open after:\n%.*s", (int)answer_size, answer);
	}
	answer[answer_size] = '\0';
}

static void ask(int fd)
{
	static const char request[] = "GET /healthz HTTP/1.1\r\n" H "\r\n";

	assert_true(say(fd, request, sizeof(request) - 1));
}

static void is_served(int fd)
{
	size_t size = 0;
	char reply[2048] = "";

	while (!strstr(reply, "alive\n")) {
		ssize_t n = recv(fd, reply + size, sizeof(reply) - 1 - size, 0);

		assert_true(n > 0);
		size += (size_t)n;
		reply[size] = '\0';
	}
	assert_memory_equal(reply, "HTTP/1.1 200", 12);
}

static void the_neighbour_is_served(void)
{
	ask(neighbour);
	is_served(neighbour);
}

static int answer_status(void)
{
	return strncmp(answer, "HTTP/1.", 7) == 0 ? atoi(answer + 9) : 0;
}

static int count_words(const char *words)
{
	int count = 0;

	for (const char *p = answer; (p = strstr(p, words)); p++)
		count++;
	return count;
}

static int count_fine(void)
{
	return count_words("HTTP/1.1 2");
}

/* ---- one request that is wrong ---- */

/* Followed by another request on the same connection: whoever reads the first wrongly would answer both. status 0: any
 * 4xx, or nothing at all. */
static const struct {
	const char *what, *bytes;
	size_t size;
	int status;
} wrong[] = {
#define CASE(what, bytes, status)                      \
	{                                              \
		what, bytes, sizeof(bytes) - 1, status \
	}
#define POST(head, body) "POST /v1/queues/q/jobs HTTP/1.1\r\n" H head "\r\n" body
	CASE("both ways to end a body", POST("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), 400),
	CASE("the same the other way round", POST("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", "0\r\n\r\n"),
	     400),
	CASE("two lengths", POST("Content-Length: 4\r\nContent-Length: 5\r\n", "abcde"), 400),
	CASE("one length twice", POST("Content-Length: 4\r\nContent-Length: 4\r\n", "abcd"), 400),
	CASE("a list of lengths", POST("Content-Length: 4, 4\r\n", "abcd"), 400),
	CASE("a negative length", POST("Content-Length: -1\r\n", ""), 400),
	CASE("a length with a sign", POST("Content-Length: +4\r\n", "abcd"), 400),
	CASE("a length in hexadecimal", POST("Content-Length: 0x4\r\n", "abcd"), 400),
	CASE("no length at all", POST("Content-Length:\r\n", "abcd"), 400),
	CASE("a length with words", POST("Content-Length: 4 bytes\r\n", "abcd"), 400),
	CASE("a length beyond all numbers", POST("Content-Length: 99999999999999999999999\r\n", "abcd"), 0),
	CASE("a length that is very large", POST("Content-Length: 9223372036854775807\r\n", "abcd"), 413),
	CASE("a coding nobody knows", POST("Transfer-Encoding: gzip\r\n", "abcd"), 400),
	CASE("two codings", POST("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"), 400),
	CASE("a coding twice", POST("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), 400),
	CASE("a coding that is hidden", POST("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"), 0),
	CASE("a coding behind a tab", POST("Transfer-Encoding:\vchunked\r\n", "0\r\n\r\n"), 0),
	CASE("a chunk of no size", POST("Transfer-Encoding: chunked\r\n", "zz\r\nabcd\r\n0\r\n\r\n"), 0),
	CASE("a chunk of a negative size", POST("Transfer-Encoding: chunked\r\n", "-1\r\nabcd\r\n0\r\n\r\n"), 0),
	CASE("a chunk beyond all numbers",
	     POST("Transfer-Encoding: chunked\r\n", "fffffffffffffffffff\r\nabcd\r\n0\r\n\r\n"), 0),
	CASE("a chunk longer than it says", POST("Transfer-Encoding: chunked\r\n", "1\r\nabcd\r\n0\r\n\r\n"), 0),
	CASE("two hosts", "GET /v1/queues HTTP/1.1\r\n" H "Host: evil.example\r\n\r\n", 400),
	CASE("no host", "GET /v1/queues HTTP/1.1\r\n\r\n", 400),
	CASE("a host that is none", "GET /v1/queues HTTP/1.1\r\nHost: a b\r\n\r\n", 421),
	CASE("an empty host", "GET /v1/queues HTTP/1.1\r\nHost:\r\n\r\n", 400),
	CASE("a host with a path", "GET /v1/queues HTTP/1.1\r\nHost: localhost:1/x\r\n\r\n", 400),
	CASE("garbage", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 \r\n\r\n", 0),
	CASE("a method with blanks", "G E T /healthz HTTP/1.1\r\n" H "\r\n", 0),
	CASE("no method", " /healthz HTTP/1.1\r\n" H "\r\n", 0),
	CASE("a version that is none", "GET /healthz HTTP/9.9\r\n" H "\r\n", 505),
	CASE("no version", "GET /healthz\r\n\r\n", 0),
	CASE("a header without a colon", "GET /healthz HTTP/1.1\r\n" H "nonsense\r\n\r\n", 0),
	CASE("a method with a NUL", "GE\0T /healthz HTTP/1.1\r\n" H "\r\n", 0),
};

static void what_is_wrong_is_refused_and_the_connection_ends(void **state)
{
	static const char next[] = "GET /healthz HTTP/1.1\r\n" H "Connection: close\r\n\r\n";

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		int fd = dial(), status;

		(void)(say(fd, wrong[i].bytes, wrong[i].size) && say(fd, next, strlen(next)));
		shutdown(fd, SHUT_WR);
		hear_all(fd);
		close(fd);
		status = answer_status();
		if (wrong[i].status ? status != wrong[i].status : status != 0 && status / 100 != 4)
			fail_msg("%s: %d\n%s", wrong[i].what, status, answer);
		/* At most the next request was carried out, where it was clear what that is. */
		if (count_fine() > (strstr(answer, "alive") ? 1 : 0))
			fail_msg("%s: %d went well\n%s", wrong[i].what, count_fine(), answer);
		the_neighbour_is_served();
	}
}

/* What one proxy takes for a body must never be taken for a request. */
static void a_request_inside_a_body_is_never_answered(void **state)
{
	static const char *const smuggled[] = {
		"POST /v1/queues/q/jobs HTTP/1.1\r\n" H "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n"
		"0\r\n\r\nGET /healthz HTTP/1.1\r\n" H "\r\n",
		"POST /v1/queues/q/jobs HTTP/1.1\r\n" H "Content-Length: 0\r\nContent-Length: 44\r\n\r\n"
		"GET /healthz HTTP/1.1\r\n" H "\r\n",
		"GET /v1/queues HTTP/1.1\r\n" H "Content-Length: 40\r\n\r\nGET /healthz HTTP/1.1\r\n" H "\r\n",
		"DELETE /v1/jobs/x HTTP/1.1\r\n" H
		"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\n" H "\r\n",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(smuggled); i++) {
		int fd = dial();

		(void)say(fd, smuggled[i], strlen(smuggled[i]));
		shutdown(fd, SHUT_WR);
		hear_all(fd);
		close(fd);
		if (strstr(answer, "alive"))
			fail_msg("%zu: it was answered:\n%s", i, answer);
	}
	the_neighbour_is_served();
}

/* ---- paths ---- */

/* Each names nothing, or what it says and nothing else. */
static const struct {
	const char *path;
	int status;
} paths[] = {
	{ "/v1/queues/../../etc/passwd", 404 },
	{ "/v1/queues/%2e%2e/jobs", 405 },
	{ "/v1/queues/..", 404 },
	{ "/v1/queues/%2e%2e%2fx", 404 },
	{ "/v1//queues", 404 },
	{ "//v1/queues", 404 },
	{ "/v1/queues/", 404 },
	{ "/v1/queues//jobs", 405 },
	{ "/v1/queues/q%00/jobs", 400 },
	{ "/v1/queues/%00", 400 },
	{ "/v1/queues/%zz", 400 },
	{ "/v1/queues/%2", 400 },
	{ "/v1/queues/%", 400 },
	{ "/v1/queues/%2541", 404 }, /* undone once: "%41" */
	{ "/v1/queues/%c0%ae", 404 },
	{ "/v1/queues/%ff", 404 },
	{ "/v1/%71ueues", 200 },
	{ "/%76%31/queues", 200 },
	{ "/v1/queues%2fq", 404 },
	{ "/V1/queues", 404 },
	{ "/v1/queues;x=1", 404 },
	{ "/v1", 404 },
	{ "/v1/", 404 },
	{ "/v1/jobs", 404 },
	{ "/v1/jobs/", 400 },
	{ "/v1/jobs/x/y/z/a/b/c/d/e", 404 },
	{ "/v1/jobs/01a2011f-a33b-701d-9a26-c1cadd74b596", 404 },
	{ "/v1/jobs/01A2011F-A33B-701D-9A26-C1CADD74B596/result", 404 },
	{ "/v1/jobs/01a2011f-a33b-701d-9a26-c1cadd74b596/artifacts/..", 404 },
	{ "/v1/jobs/01a2011f-a33b-701d-9a26-c1cadd74b596/artifacts/%2e%2e%2fx", 404 },
	{ "/r/../metrics", 404 },
	{ "/r/%2e%2e", 404 },
	{ "/r/x/a/..", 404 },
	{ "/metrics/", 404 },
	{ "/metrics%00", 404 },
	{ "http://localhost/v1/queues", 200 },
	{ "http://evil.example/v1/queues", 200 }, /* the Host is what counts, and is looked at */
	{ "*", 404 },
	{ "healthz", 404 },
	{ "/healthz?%zz", 200 },
};

static void a_path_names_one_thing_or_nothing(void **state)
{
	char request[1024];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		int fd = dial();

		snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\n" H "Connection: close\r\n\r\n", paths[i].path);
		assert_true(say(fd, request, strlen(request)));
		hear_all(fd);
		close(fd);
		if (answer_status() != paths[i].status)
			fail_msg("%s: %d\n%s", paths[i].path, answer_status(), answer);
		assert_null(strstr(answer, "root:"));
	}
	the_neighbour_is_served();
}

/* ---- too much ---- */

/* Says the head, then unit again and again, at most so often, then CRLF and CRLF. */
static void flood(const char *head, const char *unit, int times)
{
	int fd = dial();
	bool listens = say(fd, head, strlen(head));

	for (int i = 0; i < times && listens; i++)
		listens = say(fd, unit, strlen(unit));
	if (listens)
		listens = say(fd, "\r\n\r\n", 4);
	shutdown(fd, SHUT_WR);
	hear_all(fd);
	close(fd);
	if (answer_status() != 0 && answer_status() / 100 != 4)
		fail_msg("%.40s…: %s", head, answer);
	the_neighbour_is_served();
}

static void too_much_is_cut_off(void **state)
{
	(void)state;
	flood("GET /v1/queues HTTP/1.1\r\n" H, "X-Some-Header: value\r\n", 100000);
	flood("GET /v1/queues HTTP/1.1\r\n" H "X: ", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", 100000);
	flood("GET /v1/queues/", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", 100000);
	flood("GET /v1/queues?", "a=1&", 100000);
	flood("", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", 100000);
	flood("POST /v1/queues/q/jobs HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n", "8\r\nxxxxxxxx\r\n",
	      1000000);
}

static void more_settings_than_may_be_are_refused(void **state)
{
	char request[8192] = "POST /v1/queues/q/jobs?";
	int fd = dial();

	(void)state;
	for (int i = 0; i < 130; i++)
		snprintf(request + strlen(request), sizeof(request) - strlen(request), "metadata.%d=1&", i);
	snprintf(request + strlen(request), sizeof(request) - strlen(request),
		 "priority=1 HTTP/1.1\r\n" H "Content-Length: 0\r\nConnection: close\r\n\r\n");
	assert_true(say(fd, request, strlen(request)));
	hear_all(fd);
	close(fd);
	assert_int_equal(answer_status(), 400);
	assert_non_null(strstr(answer, "too_large"));
	the_neighbour_is_served();
}

/* ---- slow and silent ones, and many at once ---- */

static void slow_ones_are_in_nobodys_way(void **state)
{
	static const char *const begun[] = {
		"GET /v1/queues HTTP/1.1\r\nHost: local",
		"POST /v1/queues/q/jobs HTTP/1.1\r\n" H "Content-Length: 1000000\r\n\r\nx",
		"POST /v1/queues/q/jobs HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n5\r\nab",
		"POST /v1/queues/q/jobs HTTP/1.1\r\n" H "Content-Length: 3\r\nPrefer: wait=60\r\n\r\nabc",
		"",
	};
	int slow[100];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(slow); i++) {
		slow[i] = dial();
		assert_true(say(slow[i], begun[i % 5], strlen(begun[i % 5])));
	}
	for (int i = 0; i < 20; i++)
		the_neighbour_is_served();
	flood("GET /healthz", "x", 1);
	for (size_t i = 0; i < ARRAY_SIZE(slow); i++)
		close(slow[i]);
	the_neighbour_is_served();
}

/* All at once, answered in their order. */
static void requests_in_a_row_are_answered_in_a_row(void **state)
{
	static const char one[] = "GET /v1/queues/none HTTP/1.1\r\n" H "\r\n"
				  "POST /v1/queues/q/jobs HTTP/1.1\r\n" H "Content-Length: 2\r\n\r\nhi"
				  "DELETE /v1/jobs/x HTTP/1.1\r\n" H "\r\n"
				  "GET /healthz HTTP/1.1\r\n" H "\r\n";
	static const int expected[] = { 404, 202, 400, 200 };
	const char *p = answer;
	int fd = dial();

	(void)state;
	for (int i = 0; i < 20; i++)
		assert_true(say(fd, one, strlen(one)));
	shutdown(fd, SHUT_WR);
	hear_all(fd);
	close(fd);
	assert_int_equal(count_words("HTTP/1.1 "), 80);
	for (int i = 0; i < 80; i++, p++) {
		p = strstr(p, "HTTP/1.1 ");
		assert_int_equal(atoi(p + 9), expected[i % 4]);
	}
}

/* ---- no descriptor left ---- */

/* Of the broker as it runs: how many it may have. Returns what it was. */
static rlim_t limit_descriptors(rlim_t count)
{
	struct rlimit limit, before;

	assert_int_equal(prlimit(stack.broker.pid, RLIMIT_NOFILE, NULL, &before), 0);
	limit = before;
	limit.rlim_cur = count;
	assert_int_equal(prlimit(stack.broker.pid, RLIMIT_NOFILE, &limit, NULL), 0);
	return before.rlim_cur;
}

/* The number that the broker's next one would have. */
static rlim_t next_descriptor(void)
{
	char path[64];
	rlim_t n = 0;

	do
		snprintf(path, sizeof(path), "/proc/%d/fd/%llu", (int)stack.broker.pid, (unsigned long long)n++);
	while (faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0);
	return n - 1;
}

/* A descriptor that the broker was about to close when it was counted may serve one of them; none serves two. */
static void without_descriptors_who_comes_is_served_later(void **state)
{
	int fds[20], waiting = 0;
	rlim_t before;
	char byte;

	(void)state;
	the_neighbour_is_served();
	before = limit_descriptors(next_descriptor());
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		fds[i] = dial();
		ask(fds[i]);
		the_neighbour_is_served();
	}
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		waiting += recv(fds[i], &byte, 1, MSG_DONTWAIT | MSG_PEEK) < 0;
	assert_true(waiting > 0);
	limit_descriptors(before);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		is_served(fds[i]);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(what_is_wrong_is_refused_and_the_connection_ends),
		TEST(a_request_inside_a_body_is_never_answered),
		TEST(a_path_names_one_thing_or_nothing),
		TEST(too_much_is_cut_off),
		TEST(more_settings_than_may_be_are_refused),
		TEST(slow_ones_are_in_nobodys_way),
		TEST(requests_in_a_row_are_answered_in_a_row),
		TEST(without_descriptors_who_comes_is_served_later),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
