/* The HTTP front without a store behind it: places, and how long one may be kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "proto/base/clean.h"
#include "server/engine/settings.h"
#include "server/http/gateway.h"
#include "server/http/guests.h"

#define PATIENCE_SECONDS 60
#define LOOKS		 60000
#define HOUR_MS		 3600000
#define HEALTHZ		 "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"

static struct gateway *gateway;
static struct gateway_options options;
static struct settings settings;

static int setup(void **state)
{
	struct error_info info;

	(void)state;
	signal(SIGPIPE, SIG_IGN);
	settings = (struct settings){ .payload_bytes = 1 << 20 };
	options = (struct gateway_options){
		.connections = 32,
		.settings = &settings,
		.head_ms = HOUR_MS,
		.page = { .name = "Raincheck", .accent = "#3366ff" },
	};
	return gateway_bind("127.0.0.1:0", false, &gateway, &info);
}

static int teardown(void **state)
{
	(void)state;
	gateway_stop(TAKE_PTR(gateway));
	return 0;
}

static void serve(void)
{
	struct error_info info;

	assert_int_equal(gateway_start(gateway, &options, &info), 0);
}

static int dial_port(uint16_t port)
{
	const struct timeval patience = { .tv_sec = PATIENCE_SECONDS };
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	at.sin_port = htons(port);
	assert_true(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	return fd;
}

static int dial(void)
{
	return dial_port((uint16_t)atoi(strrchr(gateway_address(gateway), ':') + 1));
}

static void say(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void expect_answer(int fd)
{
	char answer[4096] = "";
	size_t size = 0;

	while (!strstr(answer, "alive\n")) {
		ssize_t n = recv(fd, answer + size, sizeof(answer) - size - 1, 0);

		assert_true(n > 0);
		size += (size_t)n;
		answer[size] = '\0';
	}
	assert_memory_equal(answer, "HTTP/1.1 200", 12);
}

/* A byte now and then, until the other side has had enough. True where that happens before this side has. */
static bool is_cut_off(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char byte;

	for (int i = 0; i < PATIENCE_SECONDS * 20; i++) {
		if (poll(&p, 1, 50) > 0)
			return recv(fd, &byte, 1, 0) <= 0;
		if (send(fd, "x", 1, MSG_NOSIGNAL) < 0)
			return true;
	}
	return false;
}

static void a_head_has_its_time_however_it_comes(void **state)
{
	int fd;

	(void)state;
	options.head_ms = 300;
	serve();
	fd = dial();
	say(fd, "GET / HTTP/1.1\r\nX: ");
	assert_true(is_cut_off(fd));
	close(fd);
}

static void so_has_the_head_after_an_answer(void **state)
{
	int fd;

	(void)state;
	options.head_ms = 1000;
	serve();
	fd = dial();
	say(fd, HEALTHZ);
	expect_answer(fd);
	say(fd, HEALTHZ "GET / HTTP/1.1\r\nX: ");
	expect_answer(fd);
	assert_true(is_cut_off(fd));
	close(fd);
}

#define PUT(length) "POST /v1/queues/q/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: " length "\r\n\r\n"

/* However it comes: what arrives in the time of a head is too little. */
static void so_has_each_piece_of_a_body(void **state)
{
	int fd;

	(void)state;
	options.head_ms = 300;
	serve();
	fd = dial();
	say(fd, PUT("1000000"));
	assert_true(is_cut_off(fd));
	close(fd);
	fd = dial();
	say(fd, "POST /v1/queues/q/jobs HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nffffff\r\n");
	assert_true(is_cut_off(fd));
	close(fd);
}

static void send_bytes(int fd, size_t size)
{
	static char bytes[1 << 20];

	while (size > 0) {
		ssize_t n = send(fd, bytes, size < sizeof(bytes) ? size : sizeof(bytes), MSG_NOSIGNAL);

		assert_true(n > 0);
		size -= (size_t)n;
	}
}

static void expect_status(int fd, const char *status)
{
	char answer[4096] = "";

	assert_true(recv(fd, answer, sizeof(answer) - 1, 0) > 0);
	assert_memory_equal(answer + strlen("HTTP/1.1 "), status, 3);
}

/* One large body is let in, another that would take too much together with it is not; a small one always is. */
static void large_bodies_are_bounded_together(void **state)
{
	int first, second;

	(void)state;
	settings.payload_bytes = 80 << 20;
	options.body_bytes = 1 << 20;
	serve();
	first = dial();
	say(first, PUT("83886080"));
	/* What was sent was read, but for what the system holds, which is less by far. */
	send_bytes(first, 79 << 20);
	second = dial();
	say(second, PUT("1048576"));
	send_bytes(second, 1 << 20);
	expect_status(second, "503");
	say(second, "POST /v1/queues/_none/jobs?x=1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi");
	expect_status(second, "400");
	close(first);
	close(second);
}

static void who_asks_keeps_the_connection(void **state)
{
	int fd;

	(void)state;
	serve();
	fd = dial();
	for (int i = 0; i < 3; i++) {
		say(fd, HEALTHZ);
		expect_answer(fd);
	}
	close(fd);
}

/* However many keep silent, and however long they may. */
static void those_who_ask_for_nothing_make_way(void **state)
{
	int slow[200], fd;

	(void)state;
	serve();
	for (size_t i = 0; i < ARRAY_SIZE(slow); i++) {
		slow[i] = dial();
		(void)send(slow[i], "G", 1, MSG_NOSIGNAL);
	}
	for (int i = 0; i < 100; i++) {
		fd = dial();
		say(fd, HEALTHZ);
		expect_answer(fd);
		close(fd);
	}
	for (size_t i = 0; i < ARRAY_SIZE(slow); i++)
		close(slow[i]);
}

/* A daemon of its own, whose answer takes as long as the test wants. */
static struct slow_daemon {
	struct guests *guests;
	struct MHD_Daemon *daemon;
	struct MHD_Connection *asked;
	sem_t heard;
} slow_daemon;

static enum MHD_Result slow_cb(void *user, struct MHD_Connection *c, const char *path, const char *method,
			       const char *version, const char *data, size_t *size, void **request)
{
	static char text[] = "alive\n";
	struct slow_daemon *d = user;
	struct MHD_Response *r;
	enum MHD_Result result;

	(void)path, (void)method, (void)version, (void)data, (void)size;
	guests_heard(d->guests, c);
	if (!*request) {
		*request = d;
		d->asked = c;
		MHD_suspend_connection(c);
		sem_post(&d->heard);
		return MHD_YES;
	}
	r = MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_PERSISTENT);
	result = MHD_queue_response(c, MHD_HTTP_OK, r);
	MHD_destroy_response(r);
	return result;
}

static void who_is_being_served_makes_way_for_nobody(void **state)
{
	struct slow_daemon *d = &slow_daemon;
	int served, silent[20];
	uint16_t port;
	char byte;

	(void)state;
	sem_init(&d->heard, 0, 0);
	assert_int_equal(guests_new(8, HOUR_MS, &d->guests), 0);
	d->daemon =
		MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, slow_cb, d,
				 MHD_OPTION_CONNECTION_LIMIT, 8u, MHD_OPTION_NOTIFY_CONNECTION, guests_connection_cb,
				 d->guests, MHD_OPTION_NOTIFY_COMPLETED, guests_answered_cb, d->guests, MHD_OPTION_END);
	assert_non_null(d->daemon);
	port = MHD_get_daemon_info(d->daemon, MHD_DAEMON_INFO_BIND_PORT)->port;
	served = dial_port(port);
	say(served, HEALTHZ);
	sem_wait(&d->heard);
	for (size_t i = 0; i < ARRAY_SIZE(silent); i++)
		silent[i] = dial_port(port);
	assert_true(recv(silent[10], &byte, 1, 0) <= 0);
	MHD_resume_connection(d->asked);
	expect_answer(served);
	close(served);
	for (size_t i = 0; i < ARRAY_SIZE(silent); i++)
		close(silent[i]);
	MHD_stop_daemon(d->daemon);
	guests_free(d->guests);
	sem_destroy(&d->heard);
}

static void it_ends_with_guests_in_every_state(void **state)
{
	int silent, served;

	(void)state;
	serve();
	silent = dial();
	say(silent, "GET");
	served = dial();
	say(served, HEALTHZ);
	expect_answer(served);
	gateway_quiesce(gateway);
	gateway_stop(TAKE_PTR(gateway));
	close(silent);
	close(served);
}

static int try_to_dial(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), rc;

	at.sin_port = htons((uint16_t)atoi(strrchr(gateway_address(gateway), ':') + 1));
	rc = connect(fd, (struct sockaddr *)&at, sizeof(at)) < 0 ? -errno : 0;
	close(fd);
	return rc;
}

static void quiesced_it_answers_those_who_are_there_and_nobody_else(void **state)
{
	int there[8];

	(void)state;
	serve();
	for (size_t i = 0; i < ARRAY_SIZE(there); i++) {
		there[i] = dial();
		say(there[i], HEALTHZ);
		expect_answer(there[i]);
	}
	gateway_quiesce(gateway);
	assert_int_equal(try_to_dial(), -ECONNREFUSED);
	for (size_t i = 0; i < ARRAY_SIZE(there); i++) {
		say(there[i], HEALTHZ);
		expect_answer(there[i]);
		close(there[i]);
	}
}

/* ---- even shares ---- */

/* How many descriptors an epoll set has; −1 for what is none. */
static int count_in_set(const char *name)
{
	char path[300], line[256];
	int count = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fd/%s", name);
	line[0] = '\0';
	if (readlink(path, line, sizeof(line)) < 0 || strncmp(line, "anon_inode:[eventpoll]", 22) != 0)
		return -1;
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%s", name);
	f = fopen(path, "re");
	if (!f) /* it is gone since */
		return -1;
	while (fgets(line, sizeof(line), f))
		count += strncmp(line, "tfd:", 4) == 0;
	fclose(f);
	return count;
}

/* The two largest sets of this process: those of the threads that serve. */
static void largest_sets(int ret[2])
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *e;

	assert_non_null(dir);
	ret[0] = ret[1] = 0;
	while ((e = readdir(dir))) {
		int count = count_in_set(e->d_name);

		if (count > ret[0]) {
			ret[1] = ret[0];
			ret[0] = count;
		} else if (count > ret[1]) {
			ret[1] = count;
		}
	}
	closedir(dir);
}

/* A connection is in its thread's set when that has nothing more to read of it. Each has a bell of its own in there. */
static void both_threads_have_as_many(void **state)
{
	int fds[24], sets[2] = { 0, 0 };

	(void)state;
	options.connections = 1000;
	serve();
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = dial();
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		say(fds[i], HEALTHZ);
		expect_answer(fds[i]);
	}
	/* Nothing tells of it: it is looked at again and again, and not for ever. */
	for (int i = 0; i < LOOKS && sets[0] + sets[1] < (int)ARRAY_SIZE(fds) + 2; i++) {
		poll(NULL, 0, 1);
		largest_sets(sets);
	}
	assert_int_equal(sets[0] + sets[1], ARRAY_SIZE(fds) + 2);
	assert_int_equal(sets[0], sets[1]);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_head_has_its_time_however_it_comes),
		TEST(so_has_the_head_after_an_answer),
		TEST(so_has_each_piece_of_a_body),
		TEST(large_bodies_are_bounded_together),
		TEST(who_asks_keeps_the_connection),
		TEST(those_who_ask_for_nothing_make_way),
		TEST(it_ends_with_guests_in_every_state),
		TEST(who_is_being_served_makes_way_for_nobody),
		TEST(quiesced_it_answers_those_who_are_there_and_nobody_else),
		TEST(both_threads_have_as_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
