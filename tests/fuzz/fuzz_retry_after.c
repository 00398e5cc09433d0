/* Headers of any text that say when to come back: never before now, never later than the cap. */
#include "tests/fuzz/fuzz_text.h"

#include "proto/base/clean.h"
#include "worker/call/classify.h"
#include "worker/config/upstream.h"

#define NOW 1700000000000LL

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum retry_after_unit units[] = { RETRY_AFTER_SECONDS, RETRY_AFTER_MS, RETRY_AFTER_NONE };
	_cleanup_free_ char *one = NULL, *two = NULL, *three = NULL;
	struct retry_headers h;
	size_t length;

	one = take_line(&data, &size, &length);
	two = take_line(&data, &size, &length);
	three = take_line(&data, &size, &length);
	h = (struct retry_headers){
		.retry_after = one[0] ? one : NULL,
		.retry_after_ms = two[0] ? two : NULL,
		.reset = three[0] ? three : NULL,
	};
	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		for (int64_t cap = 0; cap <= 120000; cap += 60000) {
			struct upstream_error e = { .retry_after = units[i], .cap_ms = cap };
			int64_t ms = classify_retry_after(&e, &h, NOW);

			must(ms >= 0 && ms <= cap);
			must(units[i] != RETRY_AFTER_NONE || ms == 0);
		}
	}
	return 0;
}
