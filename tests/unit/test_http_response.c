/* Files as answers: the bytes asked for, whether they are mapped or sent from the file, to those who read fast and to
 * those who do not; and what happens when a file is not what it was. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "proto/base/clean.h"
#include "server/http/response.h"
#include "tests/harness/tempdir.h"

#define PATIENCE_SECONDS 60
#define MIB		 (INT64_C(1) << 20)
#define FILE_BYTES	 (5 * MIB)

static struct rig {
	struct MHD_Daemon *daemon;
	struct tempdir dir;
	char path[256];
	uint8_t *bytes; /* of the file */
	/* What is answered next. */
	const char *source;
	int64_t offset, length;
} rig;

static enum MHD_Result answer_cb(void *user, struct MHD_Connection *c, const char *path, const char *method,
				 const char *version, const char *data, size_t *size, void **request)
{
	int fd = open(rig.source, O_RDONLY | O_CLOEXEC);

	(void)user, (void)path, (void)method, (void)version, (void)data, (void)size, (void)request;
	assert_true(fd >= 0);
	return response_send(c, MHD_HTTP_OK, response_file(fd, rig.offset, rig.length, "video/mp4"));
}

static int setup(void **state)
{
	int fd;

	(void)state;
	signal(SIGPIPE, SIG_IGN);
	tempdir_make(&rig.dir);
	snprintf(rig.path, sizeof(rig.path), "%s", tempdir_file(&rig.dir, "video"));
	rig.source = rig.path;
	rig.bytes = malloc((size_t)FILE_BYTES);
	for (int64_t i = 0; i < FILE_BYTES; i++)
		rig.bytes[i] = (uint8_t)(i * 2654435761u >> 16);
	fd = open(rig.path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, rig.bytes, (size_t)FILE_BYTES), FILE_BYTES);
	close(fd);
	rig.daemon = MHD_start_daemon(MHD_USE_TURBO | MHD_USE_EPOLL_INTERNAL_THREAD, 0, NULL, NULL, answer_cb, NULL,
				      MHD_OPTION_CONNECTION_TIMEOUT, 1u, MHD_OPTION_END);
	return rig.daemon ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	if (rig.daemon)
		MHD_stop_daemon(TAKE_PTR(rig.daemon));
	tempdir_remove(&rig.dir);
	free(TAKE_PTR(rig.bytes));
	return 0;
}

/* room_bytes: of the socket, for what comes; 0: as it is. */
static int ask(int room_bytes)
{
	static const char request[] = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
	const struct timeval patience = { .tv_sec = PATIENCE_SECONDS };
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	at.sin_port = htons(MHD_get_daemon_info(rig.daemon, MHD_DAEMON_INFO_BIND_PORT)->port);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (room_bytes > 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room_bytes, sizeof(room_bytes));
	assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL), sizeof(request) - 1);
	return fd;
}

/* All that comes, after `already` bytes that are in room. */
static size_t hear(int fd, char *room, size_t size, size_t already)
{
	ssize_t n = 1;

	while (n > 0 && already < size) {
		n = recv(fd, room + already, size - already, 0);
		already += n > 0 ? (size_t)n : 0;
	}
	close(fd);
	return already;
}

static void expect_bytes(const char *room, size_t size, const uint8_t *bytes)
{
	const char *body = memmem(room, size, "\r\n\r\n", 4);
	char announced[64];

	assert_non_null(body);
	body += 4;
	snprintf(announced, sizeof(announced), "Content-Length: %lld\r\n", (long long)rig.length);
	assert_non_null(memmem(room, size, announced, strlen(announced)));
	assert_int_equal(size - (size_t)(body - room), rig.length);
	assert_memory_equal(body, bytes, (size_t)rig.length);
}

static void expect_piece(int64_t offset, int64_t length, int room_bytes)
{
	char *room = malloc((size_t)length + 4096);
	size_t size;

	rig.offset = offset;
	rig.length = length;
	size = hear(ask(room_bytes), room, (size_t)length + 4096, 0);
	expect_bytes(room, size, rig.bytes + offset);
	free(room);
}

static void each_piece_is_what_was_asked_for(void **state)
{
	static const int64_t lengths[] = { 1, 100, 4096, 65537, MIB, RESPONSE_MAPPED_MAX, RESPONSE_MAPPED_MAX + 1 };
	static const int64_t offsets[] = { 0, 1, 4095, 4096, 4097, 1234567 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		for (size_t k = 0; k < ARRAY_SIZE(offsets); k++)
			expect_piece(offsets[k], lengths[i], 0);
		expect_piece(FILE_BYTES - lengths[i], lengths[i], 0);
	}
	expect_piece(0, FILE_BYTES, 0);
}

/* The socket takes them bit by bit: those that are accepted have the listening one's room. */
static void also_for_those_who_read_little_at_a_time(void **state)
{
	const int listener = MHD_get_daemon_info(rig.daemon, MHD_DAEMON_INFO_LISTEN_FD)->listen_fd;
	const int room = 4096;

	(void)state;
	assert_int_equal(setsockopt(listener, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room)), 0);
	expect_piece(4097, RESPONSE_MAPPED_MAX, 4096);
	expect_piece(4097, RESPONSE_MAPPED_MAX + 4097, 4096);
}

/* What cannot be mapped is sent from the file all the same. */
static void a_file_that_cannot_be_mapped_is_sent(void **state)
{
	char expected[4096], room[8192];
	int fd = open("/proc/version", O_RDONLY | O_CLOEXEC);

	(void)state;
	rig.source = "/proc/version";
	rig.offset = 0;
	rig.length = read(fd, expected, sizeof(expected));
	close(fd);
	assert_true(rig.length > 0);
	expect_bytes(room, hear(ask(0), room, sizeof(room), 0), (const uint8_t *)expected);
}

/* As when the disk does not give it back: the connection ends early, by the library's timeout where it takes that for a
 * reader who takes nothing; the program does not end. */
static void a_file_that_has_lost_its_bytes_ends_the_connection(void **state)
{
	static const int64_t lengths[] = { RESPONSE_MAPPED_MAX, RESPONSE_MAPPED_MAX + 1 };
	static char room[4 * MIB];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		rig.offset = MIB;
		rig.length = lengths[i];
		assert_int_equal(truncate(rig.path, MIB + 10000), 0);
		assert_true(hear(ask(0), room, sizeof(room), 0) < (size_t)lengths[i]);
	}
}

/* ---- what is kept ---- */

static int count_lines(const char *path, const char *with)
{
	FILE *f = fopen(path, "re");
	char line[4352];
	int count = 0;

	while (fgets(line, sizeof(line), f))
		count += strstr(line, with) != NULL;
	fclose(f);
	return count;
}

static int count_open(const char *path)
{
	DIR *dir = opendir("/proc/self/fd");
	char name[300], at[300];
	struct dirent *e;
	int count = 0;

	while ((e = readdir(dir))) {
		ssize_t n;

		snprintf(name, sizeof(name), "/proc/self/fd/%s", e->d_name);
		n = readlink(name, at, sizeof(at) - 1);
		at[n > 0 ? n : 0] = '\0';
		count += strcmp(at, path) == 0;
	}
	closedir(dir);
	return count;
}

static struct MHD_Response *make(int64_t length)
{
	struct MHD_Response *r = response_file(open(rig.path, O_RDONLY | O_CLOEXEC), 4097, length, "video/mp4");

	assert_non_null(r);
	return r;
}

/* A descriptor or a mapping, not both. */
static void nothing_of_a_file_is_kept_for_longer_than_the_answer(void **state)
{
	struct MHD_Response *small = make(RESPONSE_MAPPED_MAX), *large;

	(void)state;
	assert_int_equal(count_open(rig.path), 0);
	assert_int_equal(count_lines("/proc/self/maps", rig.path), 1);
	large = make(RESPONSE_MAPPED_MAX + 1);
	assert_int_equal(count_open(rig.path), 1);
	assert_int_equal(count_lines("/proc/self/maps", rig.path), 1);
	MHD_destroy_response(small);
	assert_int_equal(count_lines("/proc/self/maps", rig.path), 0);
	MHD_destroy_response(large);
	assert_int_equal(count_open(rig.path), 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(each_piece_is_what_was_asked_for),
		TEST(also_for_those_who_read_little_at_a_time),
		TEST(a_file_that_cannot_be_mapped_is_sent),
		TEST(a_file_that_has_lost_its_bytes_ends_the_connection),
		TEST(nothing_of_a_file_is_kept_for_longer_than_the_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
