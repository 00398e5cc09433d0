/* The pauses between polls, and what lets a later attempt take a call up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "proto/base/clean.h"
#include "proto/error.h"
#include "worker/call/checkpoint.h"
#include "worker/call/pauses.h"
#include "worker/config/upstream.h"

static void test_pauses_grow_to_the_maximum(void **state)
{
	static const struct upstream_poll p = { .first_ms = 5000, .interval_ms = 6000, .factor = 1.5, .max_ms = 30000 };
	static const int64_t expected[] = { 5000, 6000, 9000, 13500, 20250, 30000, 30000 };

	(void)state;
	for (unsigned n = 0; n < ARRAY_SIZE(expected); n++)
		assert_int_equal(pause_before_poll(&p, n, 0.5), expected[n]);
	assert_int_equal(pause_before_poll(&p, 4000000000U, 0.5), 30000);
}

static void test_jitter_stays_within_its_part(void **state)
{
	static const struct upstream_poll p = {
		.first_ms = 1000, .interval_ms = 1000, .factor = 1, .max_ms = 1000, .jitter = 0.25
	};

	(void)state;
	assert_int_equal(pause_before_poll(&p, 3, 0), 750);
	assert_int_equal(pause_before_poll(&p, 3, 0.5), 1000);
	assert_int_equal(pause_before_poll(&p, 3, 1), 1250);
	for (int i = 0; i <= 100; i++) {
		int64_t pause = pause_before_poll(&p, 1, i / 100.0);

		assert_in_range(pause, 750, 1250);
	}
}

static void test_a_constant_interval(void **state)
{
	static const struct upstream_poll p = { .first_ms = 0, .interval_ms = 700, .factor = 1, .max_ms = 30000 };

	(void)state;
	assert_int_equal(pause_before_poll(&p, 0, 0.9), 0);
	assert_int_equal(pause_before_poll(&p, 1, 0.5), 700);
	assert_int_equal(pause_before_poll(&p, 1000000, 0.5), 700);
}

static void copy(const struct checkpoint *from, struct checkpoint *ret)
{
	_cleanup_free_ char *text = NULL;

	assert_int_equal(checkpoint_write(from, &text), 0);
	assert_int_equal(checkpoint_read(slice_str(text), ret), 0);
}

static void test_a_checkpoint_comes_back(void **state)
{
	struct checkpoint c = {
		.upstream = (char[]){ "runway" },
		.n = 2,
		.id = (char[]){ "a\"b/c" },
		.status_url = (char[]){ "https://x/s" },
		.result_url = (char[]){ "https://x/r" },
		.cancel_url = (char[]){ "https://x/c" },
		.outputs = json_pack("{s:s}", "still", "https://x/o"),
		.submitted_at_ms = 1700000000123,
	};
	struct checkpoint back;

	(void)state;
	copy(&c, &back);
	assert_string_equal(back.upstream, "runway");
	assert_int_equal(back.n, 2);
	assert_false(back.submitting);
	assert_string_equal(back.id, "a\"b/c");
	assert_string_equal(back.status_url, "https://x/s");
	assert_string_equal(back.result_url, "https://x/r");
	assert_string_equal(back.cancel_url, "https://x/c");
	assert_string_equal(json_string_value(json_object_get(back.outputs, "still")), "https://x/o");
	json_decref(c.outputs);
	assert_null(back.media_url);
	assert_int_equal(back.submitted_at_ms, 1700000000123);
	assert_true(checkpoint_resumes(&back));
	checkpoint_done(&back);
}

static void test_an_intent_is_no_call(void **state)
{
	struct checkpoint c = { .upstream = (char[]){ "runway" }, .submitting = true };
	struct checkpoint back;

	(void)state;
	copy(&c, &back);
	assert_true(back.submitting);
	assert_false(checkpoint_resumes(&back));
	checkpoint_done(&back);
}

static void test_giving_up_counts(void **state)
{
	struct checkpoint c = {
		.upstream = strdup("runway"), .n = 1, .id = strdup("x"), .submitting = true, .submitted_at_ms = 5
	};

	(void)state;
	checkpoint_give_up(&c);
	assert_string_equal(c.upstream, "runway");
	assert_int_equal(c.n, 2);
	assert_null(c.id);
	assert_false(c.submitting);
	assert_int_equal(c.submitted_at_ms, 0);
	checkpoint_done(&c);
}

static void test_texts_that_are_no_checkpoints(void **state)
{
	static const struct {
		const char *text;
		int code;
	} known[] = {
		{ "nonsense", ERR_CORRUPT },
		{ "[]", ERR_CORRUPT },
		{ "{}", ERR_UNSUPPORTED_VERSION },
		{ "{\"v\":2}", ERR_UNSUPPORTED_VERSION },
		{ "{\"v\":1,\"outputs\":7}", ERR_CORRUPT },
		{ "{\"v\":1,\"outputs\":{\"a\":7}}", ERR_CORRUPT },
		{ "{\"v\":1,\"id\":7}", ERR_CORRUPT },
		{ "{\"v\":1,\"urls\":{\"status\":[]}}", ERR_CORRUPT },
	};
	struct checkpoint c;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		assert_int_equal(checkpoint_read(slice_str(known[i].text), &c), known[i].code);
	assert_int_equal(checkpoint_read(slice_of(NULL, 0), &c), 0);
	assert_false(checkpoint_resumes(&c));
	assert_null(c.upstream);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pauses_grow_to_the_maximum),
		cmocka_unit_test(test_jitter_stays_within_its_part),
		cmocka_unit_test(test_a_constant_interval),
		cmocka_unit_test(test_a_checkpoint_comes_back),
		cmocka_unit_test(test_an_intent_is_no_call),
		cmocka_unit_test(test_giving_up_counts),
		cmocka_unit_test(test_texts_that_are_no_checkpoints),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
