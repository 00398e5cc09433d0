/* The switches, as one table: a row is a field of struct behave, a member of "behave" in the request and, with dashes
 * for underscores, a flag of the command line.
 *
 * Each kind of row takes a JSON value. The command line hands its text over as JSON too (a word that is not JSON is
 * taken as a string), so that both ways in meet the same checks. */
#include "behave.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "pad.h"

enum behave_kind { KIND_COUNT, KIND_SWITCH, KIND_STATUS, KIND_FAIL, KIND_CHOICE, KIND_BASE };

struct behave_row {
	const char *name;
	enum behave_kind kind;
	size_t offset;
	int max;
	const char *choices[2]; /* values 1 and 2; `true` means the first */
	const char *help;
};

#define ROW_COUNT(f, m, h)                                                                                    \
	{                                                                                                     \
		.name = #f, .kind = KIND_COUNT, .offset = offsetof(struct behave, f), .max = (m), .help = (h) \
	}
#define ROW_SWITCH(f, h)                                                                           \
	{                                                                                          \
		.name = #f, .kind = KIND_SWITCH, .offset = offsetof(struct behave, f), .help = (h) \
	}
#define ROW_BASE(f, h)                                                                           \
	{                                                                                        \
		.name = #f, .kind = KIND_BASE, .offset = offsetof(struct behave, f), .help = (h) \
	}
#define ROW_CHOICE(f, c1, c2, h)                                                                              \
	{                                                                                                     \
		.name = #f, .kind = KIND_CHOICE, .offset = offsetof(struct behave, f), .choices = { c1, c2 }, \
		.help = (h)                                                                                   \
	}

static const struct behave_row rows[] = {
	ROW_COUNT(delay_ms, 86400000, "work before the rendering; the job is RUNNING, its still is there"),
	ROW_COUNT(answer_delay_ms, 86400000, "hold the answer to a submit back, after it is accepted and paid"),
	{ .name = "fail",
	  .kind = KIND_FAIL,
	  .offset = offsetof(struct behave, fail),
	  .help = "true | HTTP status | message | {\"message\",\"code\",\"http\"}: the render fails, paid all the "
		  "same" },
	ROW_COUNT(fail_times, INT_MAX, "the first N submits of this name get 503, unpaid"),
	ROW_COUNT(throttle_times, INT_MAX, "the first N submits of this name get 429 with Retry-After, unpaid"),
	ROW_COUNT(retry_after_s, 86400, "what Retry-After says with 429 and 503 (default 1; 0: no header)"),
	{ .name = "http_status",
	  .kind = KIND_STATUS,
	  .offset = offsetof(struct behave, http_status),
	  .help = "answer submits with this status, unpaid" },
	ROW_COUNT(poll_fail_times, INT_MAX, "the first N polls of the render answer 500"),
	ROW_CHOICE(reset, "unpaid", "paid", "true = unpaid: close without an answer before accepting; paid: after it"),
	ROW_SWITCH(hang, "accept (paid, rendered) and never answer"),
	ROW_SWITCH(hang_body, "send half of the video, then stall"),
	ROW_SWITCH(truncate, "send half of the video, then close"),
	ROW_SWITCH(wrong_type, "text/html in place of the video"),
	ROW_CHOICE(bad_json, "submit", "poll", "true = submit: the answer to the submit, or to polls, is not JSON"),
	ROW_COUNT(
		times, INT_MAX,
		"http_status, reset, hang, bad_json: only for the first N submits of this name;\n"
		"                           hang_body, hold_body, truncate, wrong_type: only for the first N fetches\n"
		"                           (0: always)"),
	ROW_COUNT(pad_kib, PAD_KIB_MAX, "the video is so much larger: a further free box, made up while it is sent"),
	ROW_COUNT(slow_body_ms, 86400000, "the video in eighths, and so long a pause before each"),
	ROW_SWITCH(hold_body, "send half of the video, the rest after POST /release"),
	ROW_SWITCH(hold, "the render stays RUNNING until POST /release"),
	ROW_SWITCH(data_url, "the output is a data: URL that holds the video"),
	ROW_COUNT(expire_times, INT_MAX,
		  "the first N requests for a video of this name get 403, as if its URL were old"),
	ROW_COUNT(redirects, INT_MAX, "the video is N redirects away"),
	ROW_SWITCH(echo_auth, "http_status: the message repeats the Authorization of the submit"),
	ROW_BASE(media_base, "what the URL of the output begins with"),
	ROW_BASE(redirect_base, "what the URLs of redirects begin with"),
};

const struct behave behave_default = {
	.retry_after_s = 1,
	.fail = { .http = 500, .code = "RENDER_FAILED", .message = "the render failed, as told to" },
};

static int set_count(const struct behave_row *row, int *field, const json_t *value, struct fault *f)
{
	json_int_t n = json_integer_value(value);

	if (!json_is_integer(value) || n < 0 || n > row->max)
		return fault_set(f, -EINVAL, "%s must be a whole number from 0 to %d", row->name, row->max);
	*field = (int)n;
	return 0;
}

static int set_http(const char *name, int *field, int min, const json_t *value, struct fault *f)
{
	json_int_t n = json_integer_value(value);

	if (!json_is_integer(value) || n < min || n > 599)
		return fault_set(f, -EINVAL, "%s must be an HTTP status from %d to 599", name, min);
	*field = (int)n;
	return 0;
}

/* A status, or false for none. */
static int set_status(const char *name, int *field, const json_t *value, struct fault *f)
{
	if (!json_is_false(value))
		return set_http(name, field, 200, value, f);
	*field = 0;
	return 0;
}

static int set_switch(const char *name, int *field, const json_t *value, struct fault *f)
{
	if (!json_is_boolean(value))
		return fault_set(f, -EINVAL, "%s must be true or false", name);
	*field = json_is_true(value);
	return 0;
}

static int set_choice(const struct behave_row *row, int *field, const json_t *value, struct fault *f)
{
	if (json_is_boolean(value)) {
		*field = json_is_true(value);
		return 0;
	}
	for (int i = 0; i < 2 && json_is_string(value); i++) {
		if (strcmp(json_string_value(value), row->choices[i]) == 0) {
			*field = i + 1;
			return 0;
		}
	}
	return fault_set(f, -EINVAL, "%s must be true, false, \"%s\" or \"%s\"", row->name, row->choices[0],
			 row->choices[1]);
}

static int set_fail_text(const char *name, char *field, size_t size, const json_t *value, struct fault *f)
{
	if (value == NULL)
		return 0;
	if (!json_is_string(value) || json_string_length(value) >= size)
		return fault_set(f, -EINVAL, "%s must be a string of less than %zu bytes", name, size);
	memcpy(field, json_string_value(value), json_string_length(value) + 1);
	return 0;
}

static int set_fail_object(struct behave_fail *fail, const json_t *value, struct fault *f)
{
	static const char *const known[] = { "message", "code", "http" };
	const json_t *http = json_object_get(value, "http");
	size_t seen = 0;
	int rc;

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		seen += json_object_get(value, known[i]) != NULL;
	if (seen != json_object_size(value))
		return fault_set(f, -EINVAL, "fail takes message, code and http only");

	rc = set_fail_text("fail.message", fail->message, sizeof(fail->message), json_object_get(value, "message"), f);
	if (rc < 0)
		return rc;
	rc = set_fail_text("fail.code", fail->code, sizeof(fail->code), json_object_get(value, "code"), f);
	if (rc < 0)
		return rc;
	return http == NULL ? 0 : set_http("fail.http", &fail->http, 400, http, f);
}

static int set_fail(struct behave_fail *field, const json_t *value, struct fault *f)
{
	struct behave_fail fail = behave_default.fail;
	int rc = 0;

	fail.on = !json_is_false(value);
	if (json_is_object(value))
		rc = set_fail_object(&fail, value, f);
	else if (json_is_integer(value))
		rc = set_http("fail", &fail.http, 400, value, f);
	else if (json_is_string(value))
		rc = set_fail_text("fail", fail.message, sizeof(fail.message), value, f);
	else if (!json_is_boolean(value))
		rc = fault_set(f, -EINVAL, "fail must be a boolean, an HTTP status, a message or an object");
	if (rc < 0)
		return rc;
	*field = fail;
	return 0;
}

static int set_base(const char *name, char *field, const json_t *value, struct fault *f)
{
	if (!json_is_string(value) || json_string_length(value) >= BEHAVE_BASE_BYTES)
		return fault_set(f, -EINVAL, "%s must be a URL of less than %d bytes", name, BEHAVE_BASE_BYTES);
	memcpy(field, json_string_value(value), json_string_length(value) + 1);
	return 0;
}

static int row_set(const struct behave_row *row, struct behave *b, const json_t *value, struct fault *f)
{
	void *field = (char *)b + row->offset;

	switch (row->kind) {
	case KIND_COUNT:
		return set_count(row, field, value, f);
	case KIND_SWITCH:
		return set_switch(row->name, field, value, f);
	case KIND_STATUS:
		return set_status(row->name, field, value, f);
	case KIND_FAIL:
		return set_fail(field, value, f);
	case KIND_CHOICE:
		return set_choice(row, field, value, f);
	case KIND_BASE:
		return set_base(row->name, field, value, f);
	}
	return -EINVAL;
}

int behave_set(struct behave *b, const char *field, const json_t *value, struct fault *f)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (strcmp(rows[i].name, field) == 0)
			return row_set(&rows[i], b, value, f);
	}
	return fault_set(f, -ENOENT, "behave has no field \"%.64s\"", field);
}

int behave_from_json(struct behave *b, const json_t *object, struct fault *f)
{
	const char *field;
	json_t *value;

	if (!json_is_object(object))
		return fault_set(f, -EINVAL, "behave must be an object");
	json_object_foreach((json_t *)object, field, value)
	{
		if (behave_set(b, field, value, f) < 0)
			return -EINVAL;
	}
	return 0;
}

const char *behave_field(size_t i, bool *ret_needs_argument)
{
	if (i >= ARRAY_SIZE(rows))
		return NULL;
	*ret_needs_argument = rows[i].kind != KIND_SWITCH && rows[i].kind != KIND_CHOICE;
	return rows[i].name;
}

void behave_help(FILE *out)
{
	static const char *const argument[] = {
		[KIND_COUNT] = " N",  [KIND_SWITCH] = "",	 [KIND_STATUS] = " STATUS",
		[KIND_FAIL] = " HOW", [KIND_CHOICE] = "[=WHEN]", [KIND_BASE] = " URL",
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char flag[48];

		snprintf(flag, sizeof(flag), "%s%s", rows[i].name, argument[rows[i].kind]);
		for (char *c = flag; *c != '\0' && *c != ' ' && *c != '['; c++)
			*c = *c == '_' ? '-' : *c;
		fprintf(out, "  --%-22s %s\n", flag, rows[i].help);
	}
}
