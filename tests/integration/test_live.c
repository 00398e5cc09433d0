/* Those who wait for a job: event streams and held answers, from the first event to the last, with visitors who vanish,
 * read nothing or come back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "tests/harness/stack.h"

#define PATIENCE_SECONDS 60
#define CROWD		 200
#define CHANGES		 2000 /* progress is told in four digits */

/* A connection of the test's own, and what it has read of the answer. */
struct peer {
	int fd;
	size_t size;
	char text[65536];
};

static struct stack stack;
static struct raincheck *rc;
static char id[RAINCHECK_ID_SIZE], lease[RAINCHECK_TOKEN_SIZE], link_path[256];
static struct peer peers[2];

static int setup(void **state)
{
	(void)state;
	memset(&stack, 0, sizeof(stack));
	tempdir_make(&stack.dir);
	stack_start_broker(&stack);
	rc = stack_connect(&stack);
	peers[0].fd = peers[1].fd = -1;
	return 0;
}

static void hang_up(struct peer *p)
{
	if (p->fd >= 0)
		close(p->fd);
	p->fd = -1;
}

static int teardown(void **state)
{
	(void)state;
	hang_up(&peers[0]);
	hang_up(&peers[1]);
	raincheck_close(rc, NULL, NULL);
	stack_stop(&stack);
	return 0;
}

/* ---- what happens to the job ---- */

static void put(void)
{
	struct raincheck_put params = { .queue = "q", .payload = { "x", 1 }, .max_attempts = 1 };
	struct raincheck_put_result *result;

	assert_int_equal(raincheck_put(rc, &params, &result), 0);
	snprintf(link_path, sizeof(link_path), "%s", strstr(result->link, "/r/"));
	memcpy(id, result->id, sizeof(id));
	raincheck_free(result);
}

static void lease_one(void)
{
	static const char *const queues[] = { "q" };
	struct raincheck_lease params = { .queues = queues, .queue_count = 1 };
	struct raincheck_lease_result *result;

	assert_int_equal(raincheck_lease(rc, &params, &result), 0);
	assert_int_equal(result->job_count, 1);
	memcpy(id, result->jobs[0].id, sizeof(id));
	memcpy(lease, result->jobs[0].lease, sizeof(lease));
	raincheck_free(result);
}

static void tell(double progress, const char *note)
{
	struct raincheck_extend_item item = {
		.id = id, .lease = lease, .has_progress = true, .progress = progress, .note = note
	};
	struct raincheck_extend extend = { .leases = &item, .lease_count = 1 };
	struct raincheck_extend_result *result;

	assert_int_equal(raincheck_extend(rc, &extend, &result), 0);
	assert_int_equal(result->leases[0].status, RAINCHECK_EXTEND_OK);
	raincheck_free(result);
}

static void cancel(void)
{
	struct raincheck_change_result *result;

	assert_int_equal(raincheck_cancel(rc, id, &result), 0);
	raincheck_free(result);
}

/* ---- visitors ---- */

static void dial(struct peer *p, int room_bytes)
{
	const struct timeval patience = { .tv_sec = PATIENCE_SECONDS };
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	at.sin_port = htons((uint16_t)atoi(strrchr(stack.http, ':') + 1));
	p->size = 0;
	p->text[0] = '\0';
	p->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(p->fd >= 0);
	setsockopt(p->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (room_bytes > 0)
		setsockopt(p->fd, SOL_SOCKET, SO_RCVBUF, &room_bytes, sizeof(room_bytes));
	assert_int_equal(connect(p->fd, (struct sockaddr *)&at, sizeof(at)), 0);
}

static void ask(struct peer *p, const char *path, const char *header)
{
	char request[1024];
	int n = snprintf(request, sizeof(request), "GET %s%s HTTP/1.1\r\nHost: x\r\n%s\r\n", link_path, path, header);

	assert_int_equal(send(p->fd, request, (size_t)n, MSG_NOSIGNAL), n);
}

/* False at the end of what the broker sends. */
static bool read_more(struct peer *p)
{
	ssize_t n;

	assert_true(p->size + 1 < sizeof(p->text));
	n = recv(p->fd, p->text + p->size, sizeof(p->text) - p->size - 1, 0);
	assert_true(n >= 0);
	p->size += (size_t)n;
	p->text[p->size] = '\0';
	return n > 0;
}

/* Reads until words are there, and forgets all up to their end. */
static void expect(struct peer *p, const char *words)
{
	char *at;

	while (!(at = strstr(p->text, words)))
		if (!read_more(p))
			fail_msg("the connection ended without \"%s\":\n%s", words, p->text);
	at += strlen(words);
	p->size -= (size_t)(at - p->text);
	memmove(p->text, at, p->size + 1);
}

static void expect_end(struct peer *p)
{
	while (read_more(p))
		;
	if (p->size > 0)
		fail_msg("there came more:\n%s", p->text);
}

static void follow(struct peer *p, const char *header)
{
	dial(p, 0);
	ask(p, "/events", header);
}

/* The id of the event that is read next. */
static void expect_id(struct peer *p, char ret[17])
{
	expect(p, "\nid: ");
	while (p->size < 17)
		assert_true(read_more(p));
	memcpy(ret, p->text, 16);
	ret[16] = '\0';
}

/* ---- event streams ---- */

static void a_stream_tells_the_whole_life(void **state)
{
	struct peer *p = &peers[0];

	(void)state;
	put();
	follow(p, "");
	expect(p, "HTTP/1.1 200 OK\r\nDate: ");
	expect(p, "\r\nContent-Type: text/event-stream\r\nX-Content-Type-Options: nosniff\r\n");
	expect(p, "\r\nCache-Control: no-store\r\n");
	expect(p, "\r\n\r\nretry: ");
	expect(p, "\ndata: {\"state\":\"ready\",\"position\":1,");
	expect(p, "}\n\n");
	lease_one();
	expect(p, "\ndata: {\"state\":\"running\"");
	tell(0.25, "a quarter");
	expect(p, "\"progress\":0.25,\"note\":\"a quarter\"");
	tell(0.5, NULL);
	expect(p, "\"progress\":0.5,");
	cancel();
	expect(p, "\ndata: {\"state\":\"canceled\"");
	expect(p, "}\n\n");
	expect_end(p);
}

/* Nothing happens to it but that others before it go. */
static void a_place_in_line_moves_by_itself(void **state)
{
	struct peer *p = &peers[0];
	char first[RAINCHECK_ID_SIZE];

	(void)state;
	put();
	memcpy(first, id, sizeof(first));
	put();
	follow(p, "");
	expect(p, "\"position\":2,");
	memcpy(id, first, sizeof(id));
	cancel();
	expect(p, "\"position\":1,");
}

static void whoever_comes_back_is_told_only_what_is_new(void **state)
{
	struct peer *p = &peers[0];
	char known[17], header[64];

	(void)state;
	put();
	follow(p, "");
	expect_id(p, known);
	hang_up(p);
	snprintf(header, sizeof(header), "Last-Event-ID: %s\r\n", known);
	follow(p, header);
	expect(p, "\r\n\r\nretry: ");
	expect(p, "\n\n");
	lease_one();
	expect(p, "id: ");
	expect(p, "\ndata: {\"state\":\"running\"");
	hang_up(p);
	follow(p, header);
	expect(p, "\ndata: {\"state\":\"running\"");
	hang_up(p);

	cancel();
	follow(p, header);
	expect_id(p, known);
	expect(p, "}\n\n");
	expect_end(p);
	hang_up(p);
	snprintf(header, sizeof(header), "Last-Event-ID: %s\r\n", known);
	follow(p, header);
	expect(p, "HTTP/1.1 204 ");
}

static void a_link_that_ends_ends_its_streams(void **state)
{
	struct peer *p = &peers[0];

	(void)state;
	put();
	follow(p, "");
	expect(p, "}\n\n");
	assert_int_equal(raincheck_link_revoke(rc, id), 0);
	expect_end(p);
	hang_up(p);
	follow(p, "");
	expect(p, "HTTP/1.1 404 ");
}

static void only_a_head_is_asked_of_a_stream(void **state)
{
	char url[512];
	struct http_answer answer;

	(void)state;
	put();
	snprintf(url, sizeof(url), "%s%s/events", stack.http, link_path);
	http_request("HEAD", url, NULL, &answer);
	assert_int_equal(answer.status, 200);
	assert_string_equal(http_header(&answer, "Content-Type"), "text/event-stream");
	http_answer_done(&answer);
}

/* How many bytes there were; the last of them are left. */
static size_t read_to_the_end(struct peer *p)
{
	size_t total = 0, before = p->size;

	while (read_more(p)) {
		total += p->size - before;
		before = p->size;
		if (p->size > sizeof(p->text) / 2) {
			before = sizeof(p->text) / 4;
			memmove(p->text, p->text + p->size - before, before + 1);
			p->size = before;
		}
	}
	return total;
}

/* More than two sockets hold, and it never reads. */
static void a_visitor_who_does_not_read_holds_back_nobody(void **state)
{
	static char note[401];

	(void)state;
	memset(note, 'n', sizeof(note) - 1);
	put();
	lease_one();
	dial(&peers[0], 65536);
	ask(&peers[0], "/events", "");
	follow(&peers[1], "");
	expect(&peers[1], "\n\n");
	for (int i = 1; i < CHANGES; i++) {
		char words[64];

		note[i % 400] ^= 1;
		tell((double)i / CHANGES, note);
		snprintf(words, sizeof(words), "\"progress\":%.4g,", (double)i / CHANGES);
		expect(&peers[1], words);
		expect(&peers[1], "\n\n");
	}
	cancel();
	expect(&peers[1], "\"state\":\"canceled\"");
	/* When it does read in the end it has skipped what was old: the newest is the last. */
	assert_in_range(read_to_the_end(&peers[0]), 1, (size_t)CHANGES * sizeof(note) / 2);
	assert_non_null(strstr(peers[0].text, "\"state\":\"canceled\""));
}

/* ---- held answers ---- */

/* Until so many streams and held answers wait in the broker. Connections are shared among threads, so that what comes
 * later on another one may be answered before; only the broker itself knows. */
static void wait_until_held(int count)
{
	char line[64];

	snprintf(line, sizeof(line), "raincheck_http_watchers %d", count);
	stack_wait_for_metric(&stack, line);
}

static void a_status_is_held_until_something_changes(void **state)
{
	struct peer *p = &peers[0];

	(void)state;
	put();
	dial(p, 0);
	ask(p, "/status?wait=60", "");
	wait_until_held(1);
	assert_int_equal(recv(p->fd, p->text, 1, MSG_DONTWAIT), -1);
	lease_one();
	expect(p, "HTTP/1.1 202 ");
	expect(p, "\"state\":\"running\"");
	ask(p, "/status?wait=60", "");
	cancel();
	expect(p, "\"state\":\"canceled\"");
	ask(p, "/status?wait=60", "");
	expect(p, "HTTP/1.1 200 ");
}

static void what_the_client_does_not_know_is_told_at_once(void **state)
{
	struct peer *p = &peers[0];
	char tag[64], *end;

	(void)state;
	put();
	dial(p, 0);
	ask(p, "/status?wait=60", "If-None-Match: W/\"other\"\r\n");
	expect(p, "HTTP/1.1 202 ");
	expect(p, "\r\nETag: ");
	while (!(end = strstr(p->text, "\r\n")))
		read_more(p);
	snprintf(tag, sizeof(tag), "If-None-Match: %.*s\r\n", (int)(end - p->text), p->text);
	expect(p, "}");
	ask(p, "/status?wait=1", tag);
	expect(p, "HTTP/1.1 304 ");
	ask(p, "/status?wait=60", tag);
	lease_one();
	expect(p, "HTTP/1.1 202 ");
	expect(p, "\"state\":\"running\"");
}

static void a_wait_that_is_no_number_is_refused(void **state)
{
	static const char *const waits[] = { "x", "", "-1", "1.5", "1x" };
	char path[64];

	(void)state;
	put();
	for (size_t i = 0; i < sizeof(waits) / sizeof(waits[0]); i++) {
		struct peer *p = &peers[0];

		dial(p, 0);
		snprintf(path, sizeof(path), "/status?wait=%s", waits[i]);
		ask(p, path, "");
		expect(p, "HTTP/1.1 400 ");
		expect(p, "wait must be a number of seconds");
		hang_up(p);
	}
}

/* ---- crowds, and the end ---- */

static void write_text(const char *name, const char *text)
{
	FILE *f = fopen(tempdir_file(&stack.dir, name), "we");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

/* settings: lines of the broker's file. */
static void restart_broker(const char *settings)
{
	char config[512], program[512], data[512];
	const char *argv[] = { program, "--config", config, "--data", data, "--listen", stack.server, NULL };
	char text[1024];

	process_stop(&stack.broker);
	snprintf(program, sizeof(program), "%s", process_program("raincheckd"));
	snprintf(data, sizeof(data), "%s", tempdir_file(&stack.dir, "data"));
	snprintf(config, sizeof(config), "%s", tempdir_file(&stack.dir, "broker.yaml"));
	snprintf(text, sizeof(text), "http: 127.0.0.1:0\nlog: { level: error }\n%s\n", settings);
	write_text("broker.yaml", text);
	process_start(&stack.broker, argv);
	assert_true(process_wait_line(&stack.broker, "ready "));
	process_line_word(&stack.broker, "http=", stack.http + strlen("http://"), sizeof(stack.http) - 7);
}

/* Of 16 places some are for those who come and go. */
static void a_visitor_who_vanished_leaves_a_place(void **state)
{
	static struct peer crowd[16];
	size_t count = 0;

	(void)state;
	restart_broker("limits: { visitors: 16 }");
	put();
	do {
		follow(&crowd[count], "");
		expect(&crowd[count], "HTTP/1.1 ");
	} while (crowd[count].text[0] == '2' && ++count < 16);
	assert_in_range(count, 8, 15);
	expect(&crowd[count], "503 ");
	expect(&crowd[count], "Retry-After: ");
	hang_up(&crowd[count]);
	/* Meanwhile others are served, and a held answer is not held. */
	dial(&crowd[count], 0);
	ask(&crowd[count], "/status?wait=60", "");
	expect(&crowd[count], "HTTP/1.1 202 ");
	hang_up(&crowd[count]);
	hang_up(&crowd[0]);
	do {
		hang_up(&crowd[0]);
		follow(&crowd[0], "");
		expect(&crowd[0], "HTTP/1.1 ");
	} while (crowd[0].text[0] != '2');
	for (size_t i = 0; i < count; i++)
		hang_up(&crowd[i]);
}

static void the_operators_logo_and_words_are_served(void **state)
{
	struct peer *p = &peers[0];
	char settings[900];

	(void)state;
	write_text("logo.svg", "<svg/>");
	write_text("page.html", "<p>{{name}} says {{headline}}</p>{{logo}}");
	snprintf(settings, sizeof(settings), "page: { name: Kino, lang: de, logo: %s/logo.svg, templates: %s }",
		 stack.dir.path, stack.dir.path);
	restart_broker(settings);
	put();
	dial(p, 0);
	ask(p, "", "");
	expect(p, "\r\n\r\n<p>Kino says Du bist als Nächstes dran</p><img class=\"logo\" src=\"../logo?v=");
	hang_up(p);
	dial(p, 0);
	snprintf(link_path, sizeof(link_path), "/logo");
	ask(p, "", "");
	expect(p, "HTTP/1.1 200 OK\r\n");
	expect(p, "\r\nContent-Type: image/svg+xml\r\n");
	expect(p, "\r\n\r\n<svg/>");
	hang_up(p);
}

/* The address that stands in the page behind what comes before it. */
static void find_address(const char *before, char *ret, size_t size)
{
	struct peer *p = &peers[0];

	put();
	dial(p, 0);
	ask(p, "", "");
	expect(p, before);
	while (!strchr(p->text, '"'))
		assert_true(read_more(p));
	snprintf(ret, size, "%.*s", (int)strcspn(p->text, "\""), p->text);
	hang_up(p);
}

static void assert_cached(const char *path, const char *how)
{
	struct peer *p = &peers[0];
	char line[128];

	dial(p, 0);
	snprintf(link_path, sizeof(link_path), "%s", path);
	ask(p, "", "");
	expect(p, "HTTP/1.1 200 OK\r\n");
	snprintf(line, sizeof(line), "\r\nCache-Control: %s\r\n", how);
	expect(p, line);
	hang_up(p);
}

/* A page of before an upgrade names another version: it gets what there is, which no cache may take for that. */
static void only_the_present_version_is_kept_for_ever(void **state)
{
	char path[256];

	(void)state;
	find_address("<script src=\"..", path, sizeof(path));
	assert_memory_equal(path, "/page.js?v=", 11);
	assert_cached(path, "public, max-age=31536000, immutable");
	path[strlen(path) - 1] ^= 1;
	assert_cached(path, "no-cache");
	assert_cached("/page.js", "public, max-age=3600");
	write_text("logo.svg", "<svg/>");
	snprintf(path, sizeof(path), "page: { logo: %s/logo.svg }", stack.dir.path);
	restart_broker(path);
	find_address("<link rel=\"icon\" href=\"..", path, sizeof(path));
	assert_memory_equal(path, "/logo?v=", 8);
	assert_cached(path, "public, max-age=31536000, immutable");
	assert_cached("/logo", "public, max-age=3600");
}

static void all_hear_of_it(void **state)
{
	static struct peer crowd[CROWD];

	(void)state;
	put();
	for (size_t i = 0; i < CROWD; i++)
		follow(&crowd[i], "");
	for (size_t i = 0; i < CROWD; i++)
		expect(&crowd[i], "\"position\":1,");
	lease_one();
	for (size_t i = 0; i < CROWD; i++)
		expect(&crowd[i], "\"state\":\"running\"");
	cancel();
	for (size_t i = 0; i < CROWD; i++) {
		expect(&crowd[i], "\"state\":\"canceled\"");
		hang_up(&crowd[i]);
	}
}

static void the_broker_ends_with_visitors_in_every_state(void **state)
{
	(void)state;
	put();
	dial(&peers[1], 0);
	ask(&peers[1], "/status?wait=60", "");
	follow(&peers[0], "");
	expect(&peers[0], "\n\n");
	wait_until_held(2);
	process_stop(&stack.broker);
	expect_end(&peers[0]);
	expect(&peers[1], "HTTP/1.1 202 ");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_stream_tells_the_whole_life),
		TEST(a_place_in_line_moves_by_itself),
		TEST(whoever_comes_back_is_told_only_what_is_new),
		TEST(a_link_that_ends_ends_its_streams),
		TEST(only_a_head_is_asked_of_a_stream),
		TEST(a_visitor_who_does_not_read_holds_back_nobody),
		TEST(a_status_is_held_until_something_changes),
		TEST(what_the_client_does_not_know_is_told_at_once),
		TEST(a_wait_that_is_no_number_is_refused),
		TEST(a_visitor_who_vanished_leaves_a_place),
		TEST(the_operators_logo_and_words_are_served),
		TEST(only_the_present_version_is_kept_for_ever),
		TEST(all_hear_of_it),
		TEST(the_broker_ends_with_visitors_in_every_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
