/* Where requests may go: origins, hosts, addresses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "proto/base/clean.h"
#include "proto/error.h"
#include "worker/config/upstream.h"
#include "worker/transport/address_guard.h"
#include "worker/transport/url.h"

static void test_closed_addresses(void **state)
{
	static const char *const closed[] = {
		"0.0.0.0",
		"10.1.2.3",
		"100.64.0.1",
		"100.127.255.255",
		"127.0.0.1",
		"127.255.255.254",
		"169.254.169.254",
		"172.16.0.1",
		"172.31.255.255",
		"192.0.0.1",
		"192.0.2.1",
		"192.168.1.1",
		"198.18.0.1",
		"198.19.255.255",
		"198.51.100.7",
		"203.0.113.9",
		"224.0.0.1",
		"239.1.1.1",
		"240.0.0.1",
		"255.255.255.255",
		"::",
		"::1",
		"fe80::1",
		"fc00::1",
		"fd12:3456::1",
		"ff02::1",
		"::ffff:127.0.0.1",
		"::ffff:10.0.0.1",
		"64:ff9b::10.0.0.1",
		"64:ff9b::a9fe:a9fe",
		"2002:7f00:1::",
		"2001::1",
		"2001:db8::1",
		"3fff:1::1",
		"::127.0.0.1",
		"100::1",
		"fec0::1",
		"",
		"localhost",
		"127.1",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(closed); i++)
		if (address_text_is_public(closed[i]))
			fail_msg("%s is taken for public", closed[i]);
}

static void test_public_addresses(void **state)
{
	static const char *const open[] = {
		"1.1.1.1",	    "8.8.8.8",	       "9.255.255.255",	       "11.0.0.1",
		"100.63.255.255",   "100.128.0.1",     "172.15.255.255",       "172.32.0.1",
		"192.167.255.255",  "192.169.0.1",     "198.17.255.255",       "198.20.0.1",
		"223.255.255.255",  "2606:4700::1111", "2a00:1450::1",	       "::ffff:1.1.1.1",
		"64:ff9b::1.1.1.1", "2002:101:101::",  "2001:4860:4860::8888",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(open); i++)
		if (!address_text_is_public(open[i]))
			fail_msg("%s is not taken for public", open[i]);
}

static void test_socket_addresses(void **state)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(80) };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons(80) };
	struct sockaddr_un un = { .sun_family = AF_UNIX };

	(void)state;
	inet_pton(AF_INET, "8.8.8.8", &in.sin_addr);
	assert_true(address_is_public((struct sockaddr *)&in));
	inet_pton(AF_INET, "127.0.0.1", &in.sin_addr);
	assert_false(address_is_public((struct sockaddr *)&in));
	inet_pton(AF_INET6, "2606:4700::1111", &in6.sin6_addr);
	assert_true(address_is_public((struct sockaddr *)&in6));
	inet_pton(AF_INET6, "::1", &in6.sin6_addr);
	assert_false(address_is_public((struct sockaddr *)&in6));
	assert_false(address_is_public((struct sockaddr *)&un));
}

/* What a proxy may be asked for. */
static void test_hosts_that_are_private(void **state)
{
	static const char *const closed[] = {
		"localhost",
		"localhost.",
		"a.localhost",
		"LOCALHOST..",
		"127.0.0.1",
		"127.0.0.1.",
		"127.0.0.1..",
		"2130706433",
		"2130706433.",
		"127.1",
		"127.1.",
		"0x7f000001",
		"0x7f.1",
		"0X7F.0.0.1",
		"017700000001",
		"0177.0.0.1",
		"010.0.0.1",
		"4294967297",
		"1.2.3.4.5",
		"256.1.1.1",
		"0x",
		"10.0.0.1",
		"169.254.169.254",
		"0",
		"a.b.1",
		"::1",
		"::ffff:10.0.0.1",
		"fe80::1%eth0",
		"127.0.0.1 x",
		"%6cocalhost",
		"a\x7f",
		"",
		".",
		"127.0.0.\xef\xbc\x91",
	};
	static const char *const open[] = {
		"api.example.com",   "api.example.com.",      "8.8.8.8",  "8.8.8.8.",	"2606:4700::1111",
		"1.example.com",     "127.0.0.1.nip.example", "0xa.b0x1", "example.x1", "example.1x",
		"localhost.example", "xn--bcher-kva.example", "cafe",
	};
	char longest[300];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(closed); i++)
		if (!address_host_is_private(closed[i]))
			fail_msg("%s is not taken for private", closed[i]);
	for (size_t i = 0; i < ARRAY_SIZE(open); i++)
		if (address_host_is_private(open[i]))
			fail_msg("%s is taken for private", open[i]);
	memset(longest, 'a', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	assert_true(address_host_is_private(longest));
}

static void test_origins(void **state)
{
	struct origin a, b;

	(void)state;
	assert_int_equal(url_origin("https://API.Example.com/v1?x#y", &a), 0);
	assert_string_equal(a.scheme, "https");
	assert_string_equal(a.host, "api.example.com");
	assert_int_equal(a.port, 443);
	assert_int_equal(url_origin("https://api.example.com.:443", &b), 0);
	assert_true(origin_equal(&a, &b));
	assert_int_equal(url_origin("http://api.example.com", &b), 0);
	assert_false(origin_equal(&a, &b));
	assert_int_equal(url_origin("https://api.example.com:8443", &b), 0);
	assert_false(origin_equal(&a, &b));
	assert_int_equal(url_origin("http://[::1]:8080/", &b), 0);
	assert_string_equal(b.host, "::1");
	assert_int_equal(b.port, 8080);
}

static void test_urls_that_are_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"example.com/x",
		"/path",
		"ftp://example.com/",
		"file:///etc/passwd",
		"gopher://x/",
		"javascript:alert(1)",
		"http://user@host/",
		"http://u:p@host/",
		"http://",
	};
	struct origin o;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(url_origin(bad[i], &o), ERR_BAD_REQUEST);
}

static void assert_resolves(const char *base, const char *url, const char *expected)
{
	char *text = NULL;

	assert_int_equal(url_resolve(base, url, &text), 0);
	assert_string_equal(text, expected);
	free(text);
}

static void test_resolving(void **state)
{
	(void)state;
	assert_resolves("https://a.example/v1", "/files/1.mp4", "https://a.example/files/1.mp4");
	assert_resolves("https://a.example/v1", "https://b.example/x", "https://b.example/x");
	assert_resolves("https://a.example/v1", "//b.example/x", "https://b.example/x");
}

static void test_hosts(void **state)
{
	(void)state;
	assert_true(host_matches("cdn.example.com", "cdn.example.com"));
	assert_true(host_matches("cdn.example.com", "CDN.example.com"));
	assert_true(host_matches("a.example.com", "*.example.com"));
	assert_true(host_matches("a.b.example.com", "*.example.com"));
	assert_false(host_matches("example.com", "*.example.com"));
	assert_false(host_matches("evilexample.com", "*.example.com"));
	assert_false(host_matches("example.com.evil.net", "*.example.com"));
	assert_false(host_matches("cdn.example.com", "example.com"));
}

static void test_what_an_upstream_allows(void **state)
{
	static const char *const hosts[] = { "*.cdn.example.com", "10.0.0.7" };
	struct upstream u = { .allow_hosts = { hosts, 2 } };
	struct origin o;

	(void)state;
	assert_int_equal(url_origin("https://api.example.com", &u.origin), 0);
	assert_int_equal(url_origin("https://api.example.com/x", &o), 0);
	assert_true(upstream_may_fetch(&u, &o));
	assert_int_equal(url_origin("http://api.example.com/x", &o), 0);
	assert_false(upstream_may_fetch(&u, &o));
	assert_int_equal(url_origin("https://eu.cdn.example.com/x", &o), 0);
	assert_true(upstream_may_fetch(&u, &o));
	assert_int_equal(url_origin("http://10.0.0.7:9000/x", &o), 0);
	assert_true(upstream_may_fetch(&u, &o));
	assert_int_equal(url_origin("http://10.0.0.8/x", &o), 0);
	assert_false(upstream_may_fetch(&u, &o));
}

static void test_showing(void **state)
{
	char text[100];

	(void)state;
	url_show("https://x.example/a?sig=secret#f", text, sizeof(text));
	assert_string_equal(text, "https://x.example/a");
	url_show("https://user:pass@x.example/a@b", text, sizeof(text));
	assert_string_equal(text, "https://x.example/a@b");
	url_show("no url?x", text, sizeof(text));
	assert_string_equal(text, "no url");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_closed_addresses),
		cmocka_unit_test(test_public_addresses),
		cmocka_unit_test(test_socket_addresses),
		cmocka_unit_test(test_hosts_that_are_private),
		cmocka_unit_test(test_origins),
		cmocka_unit_test(test_urls_that_are_refused),
		cmocka_unit_test(test_resolving),
		cmocka_unit_test(test_hosts),
		cmocka_unit_test(test_what_an_upstream_allows),
		cmocka_unit_test(test_showing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
