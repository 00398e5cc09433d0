/* The first bytes of any picture: a size that can be, or none; and of a file that is longer the same or more. */
#include "tests/fuzz/fuzz_text.h"

#include "proto/base/clean.h"
#include "server/http/picture_size.h"

static bool read_cut(const uint8_t *data, size_t size, struct picture_size *ret)
{
	_cleanup_free_ uint8_t *bytes = malloc(size > 0 ? size : 1); /* of exactly that size */

	must(bytes != NULL);
	if (size > 0)
		memcpy(bytes, data, size);
	return picture_size_read(slice_of(bytes, size), ret);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct picture_size part = { 0 }, whole = { 0 };
	bool has_part = read_cut(data, size / 2, &part), has_whole = read_cut(data, size, &whole);

	must(has_whole || (whole.width == 0 && whole.height == 0));
	if (has_whole)
		must(whole.width > 0 && whole.width <= 65535 && whole.height > 0 && whole.height <= 65535);
	/* Of what is known from the beginning of a file no later byte makes anything else. */
	if (has_part)
		must(has_whole && part.width == whole.width && part.height == whole.height);
	return 0;
}
