/* Forms of any bytes under any Content-Type: what is taken lies in the body, part after part, and ends where a boundary
 * begins. */
#include "tests/fuzz/fuzz_text.h"

#include "proto/base/clean.h"
#include "proto/error.h"
#include "server/http/form.h"

/* true where a lies within the bytes from begin to end. */
static bool is_within(struct slice a, const char *begin, const char *end)
{
	const char *p = a.data;

	return a.size == 0 || (p >= begin && p + a.size <= end);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *type = NULL;
	_cleanup_free_ char *body = NULL;
	_cleanup_free_ struct form *form = malloc(sizeof(*form));
	struct error_info info = { .code = 0 };
	struct slice boundary;
	size_t length;
	const char *at;

	type = take_line(&data, &size, &length);
	body = malloc(size > 0 ? size : 1); /* of exactly that size */
	must(form && body);
	if (size > 0)
		memcpy(body, data, size);
	if (form_boundary(type, &boundary, &info) < 0)
		return 0;
	must(form_is_announced(type) && is_within(boundary, type, type + length));
	must(boundary.size > 0 && boundary.size <= FORM_BOUNDARY_BYTES);
	if (form_parse(slice_of(body, size), boundary, form, &info) < 0) {
		must(info.code < 0 && info.message[0]);
		return 0;
	}
	must(form->count <= FORM_PARTS);
	at = body;
	for (size_t i = 0; i < form->count; i++) {
		const struct form_part *part = &form->parts[i];
		const char *end = (const char *)part->data.data + part->data.size;

		must(part->name.size > 0 && is_within(part->name, at, body + size));
		must(is_within(part->content_type, at, body + size) && is_within(part->data, at, body + size));
		must(end >= at && (size_t)(body + size - end) >= 4 + boundary.size);
		must(memcmp(end, "\r\n--", 4) == 0 && memcmp(end + 4, boundary.data, boundary.size) == 0);
		at = end;
	}
	return 0;
}
