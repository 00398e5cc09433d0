/* What "HOST:PORT" is taken as, and what is refused: with words that name what is wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/http/address.h"

static void expect_refusal(int rc, const struct error_info *info, int code, const char *words)
{
	assert_int_equal(rc, code);
	assert_string_equal(info->field, "http");
	if (!strstr(info->message, words))
		fail_msg("\"%s\" does not say \"%s\"", info->message, words);
}

static void what_is_no_address_is_refused_and_quoted(void **state)
{
	static const char *const bad[] = {
		"",	  "localhost", ":80",	"localhost:", "localhost:http",	  "localhost:80x", "localhost:65536",
		"::1:80", "[::1:80",   "[]:80", "[::1]",      "localhost:123456", "localhost:-1",
	};
	char quoted[64];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct error_info info = { 0 };
		int fd;

		snprintf(quoted, sizeof(quoted), "\"%s\" is not HOST:PORT", bad[i]);
		expect_refusal(address_check(bad[i], &info), &info, ERR_CONFIG, quoted);
		expect_refusal(address_listen(bad[i], true, &fd, &info), &info, ERR_CONFIG, quoted);
	}
}

static void a_host_longer_than_names_are_is_refused(void **state)
{
	struct error_info info = { 0 };
	char address[300];

	(void)state;
	snprintf(address, sizeof(address), "%0256d:80", 0);
	expect_refusal(address_check(address, &info), &info, ERR_CONFIG, "is not HOST:PORT");
}

static void well_formed_ones_are_taken(void **state)
{
	static const char *const good[] = { "localhost:80", "127.0.0.1:0", "[::1]:65535", "a.example:7247" };
	struct error_info info = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_int_equal(address_check(good[i], &info), 0);
}

static void expect_listening(int fd, const char *prefix)
{
	struct address_text text;
	unsigned port = 0;
	int listens = 0;
	socklen_t size = sizeof(listens);

	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size), 0);
	assert_int_equal(listens, 1);
	assert_int_equal(address_of(fd, &text), 0);
	assert_memory_equal(text.text, prefix, strlen(prefix));
	assert_int_equal(sscanf(text.text + strlen(prefix), "%u", &port), 1);
	assert_int_not_equal(port, 0);
}

static void a_socket_tells_its_real_port(void **state)
{
	struct error_info info = { 0 };
	int fd;

	(void)state;
	assert_int_equal(address_listen("127.0.0.1:0", false, &fd, &info), 0);
	expect_listening(fd, "127.0.0.1:");
	close(fd);
}

static void ipv6_stands_in_brackets_both_ways(void **state)
{
	struct error_info info = { 0 };
	int fd;

	(void)state;
	if (address_listen("[::1]:0", false, &fd, &info) < 0) {
		print_message("# no IPv6 on this machine: %s\n", info.message);
		skip();
	}
	expect_listening(fd, "[::1]:");
	close(fd);
}

static void nobody_beyond_this_machine_gets_in_unasked(void **state)
{
	static const char *const open_ones[] = { "0.0.0.0:0", "[::]:0", "192.0.2.1:0" };

	(void)state;
	for (size_t i = 0; i < sizeof(open_ones) / sizeof(open_ones[0]); i++) {
		struct error_info info = { 0 };
		int fd;

		expect_refusal(address_listen(open_ones[i], false, &fd, &info), &info, ERR_CONFIG, "--insecure");
	}
}

static void who_says_insecure_gets_it(void **state)
{
	struct error_info info = { 0 };
	int fd;

	(void)state;
	assert_int_equal(address_listen("0.0.0.0:0", true, &fd, &info), 0);
	close(fd);
}

static void a_port_that_is_taken_is_a_conflict(void **state)
{
	struct error_info info = { 0 };
	struct address_text text;
	int fd, other;

	(void)state;
	assert_int_equal(address_listen("127.0.0.1:0", false, &fd, &info), 0);
	assert_int_equal(address_of(fd, &text), 0);
	expect_refusal(address_listen(text.text, false, &other, &info), &info, ERR_CONFLICT, text.text);
	close(fd);
}

static void an_address_of_another_machine_cannot_be_listened_on(void **state)
{
	struct error_info info = { 0 };
	int fd;

	(void)state;
	expect_refusal(address_listen("192.0.2.1:0", true, &fd, &info), &info, ERR_CONFIG, "192.0.2.1:0: ");
}

static void what_is_no_socket_of_the_internet_has_no_address(void **state)
{
	struct address_text text;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)state;
	assert_int_equal(address_of(-1, &text), ERR_IO);
	assert_int_equal(address_of(fd, &text), ERR_IO);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_no_address_is_refused_and_quoted),
		cmocka_unit_test(a_host_longer_than_names_are_is_refused),
		cmocka_unit_test(well_formed_ones_are_taken),
		cmocka_unit_test(a_socket_tells_its_real_port),
		cmocka_unit_test(ipv6_stands_in_brackets_both_ways),
		cmocka_unit_test(nobody_beyond_this_machine_gets_in_unasked),
		cmocka_unit_test(who_says_insecure_gets_it),
		cmocka_unit_test(a_port_that_is_taken_is_a_conflict),
		cmocka_unit_test(an_address_of_another_machine_cannot_be_listened_on),
		cmocka_unit_test(what_is_no_socket_of_the_internet_has_no_address),
	};

	return cmocka_run_group_tests_name("http address", tests, NULL, NULL);
}
