#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "worker/call/traceparent.h"

#define TRACE  "4bf92f3577b34da6a3ce929d0e0e4736"
#define PARENT "00f067aa0ba902b7"

static void what_the_standard_allows_is_forwarded(void **state)
{
	static const char *const good[] = {
		"00-" TRACE "-" PARENT "-01",
		"00-" TRACE "-" PARENT "-00",
		"00-" TRACE "-" PARENT "-ff",
		"01-" TRACE "-" PARENT "-01",
		"cc-" TRACE "-" PARENT "-01-what-comes-later",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		if (!traceparent_valid(good[i]))
			fail_msg("%s is refused", good[i]);
}

static void what_it_forbids_is_not(void **state)
{
	static const char *const bad[] = {
		"",
		"00",
		"00-",
		"00-" TRACE,
		"00-" TRACE "-" PARENT,
		"00-" TRACE "-" PARENT "-",
		"00-" TRACE "-" PARENT "-1",
		"00-" TRACE "-" PARENT "-01-more",
		"00-" TRACE "-" PARENT "-01\r\nX: y",
		"01-" TRACE "-" PARENT "-01x",
		"01-" TRACE "-" PARENT "-01-a\r\nX: y",
		"ff-" TRACE "-" PARENT "-01",
		"00-4BF92F3577B34DA6A3CE929D0E0E4736-" PARENT "-01",
		"00-00000000000000000000000000000000-" PARENT "-01",
		"00-" TRACE "-0000000000000000-01",
		"00_" TRACE "-" PARENT "-01",
		" 00-" TRACE "-" PARENT "-01",
	};

	(void)state;
	assert_false(traceparent_valid(NULL));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (traceparent_valid(bad[i]))
			fail_msg("\"%s\" is taken", bad[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_the_standard_allows_is_forwarded),
		cmocka_unit_test(what_it_forbids_is_not),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
