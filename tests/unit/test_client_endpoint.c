/* Where a broker listens, as people write it: client/endpoint.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "client/endpoint.h"
#include "proto/error.h"

static void takes(const char *text, const char *host, uint16_t port, const char *shown)
{
	struct endpoint e;

	assert_int_equal(endpoint_parse(text, &e, NULL), 0);
	assert_false(e.is_unix);
	assert_string_equal(e.host, host);
	assert_int_equal(e.port, port);
	assert_string_equal(endpoint_format(&e).text, shown);
}

static void test_takes_host_and_port(void **state)
{
	(void)state;
	takes("127.0.0.1:7246", "127.0.0.1", 7246, "127.0.0.1:7246");
	takes("broker.example:1", "broker.example", 1, "broker.example:1");
	takes("broker", "broker", 7246, "broker:7246");
	takes("[::1]:65535", "::1", 65535, "[::1]:65535");
	takes("[fe80::1%eth0]", "fe80::1%eth0", 7246, "[fe80::1%eth0]:7246");
}

static void test_takes_a_unix_path(void **state)
{
	struct endpoint e;

	(void)state;
	assert_int_equal(endpoint_parse("unix:/run/raincheck/rpc.sock", &e, NULL), 0);
	assert_true(e.is_unix);
	assert_string_equal(e.path, "/run/raincheck/rpc.sock");
	assert_string_equal(endpoint_format(&e).text, "unix:/run/raincheck/rpc.sock");
}

static void test_refuses_what_is_no_address(void **state)
{
	static const char *const bad[] = {
		"",	":7246",   "host:",	"host:0", "host:65536", "host:99999999999", "host:7x", "::1:724",
		"[::1", "[]:7246", "[::1]7246", "[::1]:", "unix:",	"host:-1",
	};
	char longer[400];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct error_info info = { 0 };
		struct endpoint e;

		assert_int_equal(endpoint_parse(bad[i], &e, &info), ERR_BAD_REQUEST);
		assert_string_equal(info.field, "server");
		assert_string_not_equal(info.message, "");
	}
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	assert_int_equal(endpoint_parse(longer, &(struct endpoint){ 0 }, NULL), ERR_BAD_REQUEST);
	memcpy(longer, "unix:", 5);
	longer[5 + 108] = '\0';
	assert_int_equal(endpoint_parse(longer, &(struct endpoint){ 0 }, NULL), ERR_BAD_REQUEST);
	longer[5 + 107] = '\0';
	assert_int_equal(endpoint_parse(longer, &(struct endpoint){ 0 }, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_takes_host_and_port),
		cmocka_unit_test(test_takes_a_unix_path),
		cmocka_unit_test(test_refuses_what_is_no_address),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
