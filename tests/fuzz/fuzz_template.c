/* Templates of any text, filled with any payload: what is refused at start is never filled; a path's values cannot add
 * a segment, a query or a "..", a header's cannot add a line, and a filled body is JSON of the template's own shape.
 */
#include "tests/fuzz/fuzz_text.h"

#include "proto/base/buf.h"
#include "proto/base/clean.h"
#include "proto/error.h"
#include "proto/messages.h"
#include "worker/config/secrets.h"
#include "worker/config/template.h"

#define CAP (1 << 24)

static const struct pair metadata[] = {
	{ { "k", 1 }, { "value", 5 } },
	{ { "evil", 4 }, { "a\r\nX-Injected: 1", 16 } },
};

/* Everything but the literal parts: one placeholder alone. */
static void fill_alone(struct slice text, const struct template_values *v)
{
	static const char safe[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~%";
	bool spread = text.size > 1 && ((const char *)text.data)[1] == '+';
	struct error_info info = { .code = 0 };
	struct buf out;

	buf_init(&out, CAP);
	if (template_fill(text, v, TEMPLATE_PATH, &out, &info) == 0) {
		const char *p = (const char *)out.data;

		must(out.size > 0);
		for (size_t i = 0; i < out.size; i++)
			must(p[i] && (strchr(safe, p[i]) || (spread && p[i] == '/')));
		for (size_t at = 0; at <= out.size;) {
			const char *slash = at < out.size ? memchr(p + at, '/', out.size - at) : NULL;
			size_t n = slash ? (size_t)(slash - p) - at : out.size - at;

			must(!(n == 1 && p[at] == '.') && !(n == 2 && memcmp(p + at, "..", 2) == 0));
			at += n + 1;
		}
	}
	buf_reset(&out);
	if (template_fill(text, v, TEMPLATE_HEADER, &out, &info) == 0)
		for (size_t i = 0; i < out.size; i++)
			must(out.data[i] >= 0x20 && out.data[i] != 0x7f);
	buf_done(&out);
}

/* Containers have the same members; whatever stands for a string is somebody's value. */
static void same_shape(json_t *template, json_t *filled)
{
	const char *key;
	json_t *child;
	size_t i;

	if (json_is_string(template))
		return;
	must(json_typeof(template) == json_typeof(filled));
	must(json_object_size(template) == json_object_size(filled));
	must(json_array_size(template) == json_array_size(filled));
	json_object_foreach(template, key, child)
	{
		must(json_object_get(filled, key) != NULL);
		same_shape(child, json_object_get(filled, key));
	}
	json_array_foreach(template, i, child)
	{
		same_shape(child, json_array_get(filled, i));
	}
}

static void fill_body(const char *text, size_t size, struct secrets *secrets, const struct template_values *v)
{
	json_t *body = json_loadb(text, size, JSON_DECODE_ANY, NULL), *filled;
	struct error_info info = { .code = 0 };
	char why[200];

	if (body && template_check_json(body, secrets, TEMPLATE_KNOWS_ID, why, sizeof(why)) == 0 &&
	    template_fill_json(body, v, &filled, &info) == 0) {
		same_shape(body, filled);
		json_decref(filled);
	}
	json_decref(body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const unsigned known = TEMPLATE_KNOWS_ID | TEMPLATE_KNOWS_ANSWER | TEMPLATE_IS_PATH;
	_cleanup_(secrets_freep) struct secrets *secrets = NULL;
	struct template_values v = {
		.job_id = "0192f0c1-0000-7000-8000-000000000001",
		.queue = "q",
		.attempt = 3,
		.key = "key",
		.metadata = metadata,
		.metadata_count = ARRAY_SIZE(metadata),
		.id = "models/a/../b",
	};
	_cleanup_free_ char *text = NULL;
	char why[200] = "";
	size_t length;

	must(secrets_new(&secrets) == 0);
	text = take_line(&data, &size, &length);
	v.payload = slice_of(data, size);
	v.input = v.answer = rest_as_json(data, size);
	v.secrets = secrets;
	/* No file of this machine is to be read; in JSON its name may be written with escapes. */
	if (!memmem(text, length, "file.", 5) && !memmem(text, length, "\\u", 2)) {
		if (template_check(slice_of(text, length), secrets, known, why, sizeof(why)) == 0) {
			if (length > 0 && text[0] == '{' && memchr(text, '}', length) == text + length - 1 &&
			    text[1] != '{')
				fill_alone(slice_of(text, length), &v);
		} else {
			must(why[0] != '\0');
		}
		fill_body(text, length, secrets, &v);
	}
	json_decref(v.input);
	return 0;
}
