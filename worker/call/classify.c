#include "worker/call/classify.h"

#include <curl/curl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/buf.h"
#include "proto/base/clean.h"
#include "worker/config/pointer.h"
#include "worker/config/secrets.h"
#include "worker/config/upstream.h"
#include "worker/transport/exchange.h"

#define CODE_SIZE    128
#define MESSAGE_SIZE 320
#define WORDS_MAX    (32 << 20) /* of an answer, masked */

void verdict_set(struct verdict *v, enum raincheck_failure kind, const char *fmt, ...)
{
	va_list args;

	*v = (struct verdict){ .kind = kind };
	va_start(args, fmt);
	vsnprintf(v->message, sizeof(v->message), fmt, args);
	va_end(args);
}

void scalar_text(json_t *value, char *ret, size_t size)
{
	ret[0] = '\0';
	if (json_is_string(value))
		snprintf(ret, size, "%s", json_string_value(value));
	else if (json_is_integer(value))
		snprintf(ret, size, "%lld", (long long)json_integer_value(value));
	else if (json_is_real(value))
		snprintf(ret, size, "%.17g", json_real_value(value));
	else if (json_is_boolean(value))
		snprintf(ret, size, "%s", json_is_true(value) ? "true" : "false");
}

/* ---- when to come back ---- */

/* A plain number from 0 on; false for what else may stand there. */
static bool number(const char *text, double *ret)
{
	char *end;

	if (!text)
		return false;
	text += strspn(text, " \t");
	/* strtod() alone would take "inf", "0x10" and "1e9" too. */
	if (strspn(text, "0123456789.") == 0)
		return false;
	*ret = strtod(text, &end);
	return end == text + strspn(text, "0123456789.") && end[strspn(end, " \t")] == '\0';
}

static int64_t capped(double ms, int64_t cap_ms)
{
	if (!(ms > 0))
		return 0;
	return ms < (double)cap_ms ? (int64_t)ms : cap_ms;
}

/* A number that is no plausible pause is a moment. */
static double reset_ms(double value, int64_t now_ms)
{
	if (value >= 1e12)
		return value - (double)now_ms;
	if (value >= 1e9)
		return value * 1000 - (double)now_ms;
	return value * 1000;
}

void classify_headers(const struct upstream_error *e, const struct answer *a, struct retry_headers *ret)
{
	*ret = (struct retry_headers){
		.retry_after = answer_header(a, "Retry-After"),
		.retry_after_ms = answer_header(a, "Retry-After-Ms"),
		.reset = answer_header(a, "X-RateLimit-Reset"),
		.code = e->code_header ? answer_header(a, e->code_header) : NULL,
	};
	if (!ret->reset)
		ret->reset = answer_header(a, "RateLimit-Reset");
}

int64_t classify_retry_after(const struct upstream_error *e, const struct retry_headers *h, int64_t now_ms)
{
	double value;
	time_t date;

	if (e->retry_after == RETRY_AFTER_NONE)
		return 0;
	if (number(h->retry_after_ms, &value))
		return capped(value, e->cap_ms);
	if (number(h->retry_after, &value))
		return capped(value * (e->retry_after == RETRY_AFTER_MS ? 1 : 1000), e->cap_ms);
	/* curl_getdate() takes a lone number for a day. */
	date = h->retry_after && strpbrk(h->retry_after, "abcdefghijklmnopqrstuvwxyz")
		       ? curl_getdate(h->retry_after, NULL)
		       : -1;
	if (date >= 0)
		return capped((double)date * 1000 - (double)now_ms, e->cap_ms);
	if (number(h->reset, &value))
		return capped(reset_ms(value, now_ms), e->cap_ms);
	return 0;
}

/* ---- no answer ---- */

void classify_transport(const struct answer *a, const char *what, struct verdict *ret)
{
	switch (a->end) {
	case EXCHANGE_NOT_CONNECTED:
		verdict_set(ret, RAINCHECK_FAIL_UNAVAILABLE, "%s could not be sent: %s", what, a->detail);
		break;
	case EXCHANGE_FORBIDDEN:
		verdict_set(ret, RAINCHECK_FAIL_REJECTED,
			    "%s leads to an address that is not public (allow_private would allow it)", what);
		break;
	case EXCHANGE_SILENT:
		verdict_set(ret, RAINCHECK_FAIL_TIMEOUT, "%s: the API went silent %s", what,
			    a->status ? "in the middle of its answer" : "and did not answer");
		break;
	case EXCHANGE_BROKEN:
		verdict_set(ret, a->body_began ? RAINCHECK_FAIL_INVALID : RAINCHECK_FAIL_UNAVAILABLE,
			    a->body_began ? "%s: the answer is cut short: %s" : "%s: the connection broke: %s", what,
			    a->detail);
		break;
	case EXCHANGE_TOO_LARGE:
		verdict_set(ret, RAINCHECK_FAIL_INVALID, "%s: the answer is larger than what is read of one", what);
		break;
	default:
		verdict_set(ret, RAINCHECK_FAIL_INTERNAL, "%s: %s", what, a->detail);
	}
	ret->unknown = a->sent;
}

/* ---- what the API says ---- */

/* The scalar as text, its secrets masked before it is cut: what is cut first may keep the half of one. */
static void masked_text(const struct upstream_error *e, json_t *value, char ret[static MESSAGE_SIZE])
{
	_cleanup_(buf_done) struct buf b;

	buf_init(&b, WORDS_MAX);
	if (!e->secrets || !json_is_string(value)) {
		scalar_text(value, ret, MESSAGE_SIZE);
		return;
	}
	ret[0] = '\0';
	if (secrets_mask(e->secrets, slice_of(json_string_value(value), json_string_length(value)), &b) == 0)
		snprintf(ret, MESSAGE_SIZE, "%.*s", SLICE_FMT(buf_slice(&b)));
}

/* The API's own words: where the file says they are, or where APIs usually put them. */
static void words_of_error(const struct upstream_error *e, json_t *body, char ret[static MESSAGE_SIZE])
{
	static const char *const usual[] = { "/error/message", "/message",	    "/detail", "/error",
					     "/failure",       "/errors/0/message", "/title" };

	ret[0] = '\0';
	if (!body)
		return;
	if (e->message.size > 0)
		masked_text(e, pointer_find(body, e->message), ret);
	for (size_t i = 0; ret[0] == '\0' && i < ARRAY_SIZE(usual); i++)
		masked_text(e, pointer_find(body, slice_str(usual[i])), ret);
}

static void code_of_error(const struct upstream_error *e, json_t *body, const char *header_code,
			  char ret[static CODE_SIZE])
{
	ret[0] = '\0';
	if (e->code_header && header_code && header_code[0])
		snprintf(ret, CODE_SIZE, "%s", header_code);
	else if (body && e->code.size > 0)
		scalar_text(pointer_find(body, e->code), ret, CODE_SIZE);
}

bool classify_has_error(const struct upstream_error *e, json_t *body)
{
	char code[CODE_SIZE], words[MESSAGE_SIZE] = "";

	code_of_error(e, body, NULL, code);
	/* APIs that always send a code send 0 or nothing for "no error", and some say "success" beside it. */
	if (code[0])
		return strcmp(code, "0") != 0;
	if (body && e->message.size > 0)
		scalar_text(pointer_find(body, e->message), words, sizeof(words));
	return words[0];
}

bool classify_has_listed_code(const struct upstream_error *e, json_t *body, const char *header_code)
{
	char code[CODE_SIZE];

	code_of_error(e, body, header_code, code);
	return code[0] && (words_have(&e->retry_codes, code) || words_have(&e->fatal_codes, code) ||
			   words_have(&e->throttle_codes, code));
}

bool json_says_something(json_t *value)
{
	if (json_is_string(value))
		return json_string_length(value) > 0;
	if (json_is_number(value))
		return json_number_value(value) != 0;
	return json_is_true(value) || json_object_size(value) > 0 || json_array_size(value) > 0;
}

static bool lists(const unsigned *list, size_t count, long status)
{
	for (size_t i = 0; i < count; i++)
		if (list[i] == (unsigned long)status)
			return true;
	return false;
}

static bool throttled(const struct upstream_error *e, long status)
{
	if (e->throttle_http_count > 0)
		return lists(e->throttle_http, e->throttle_http_count, status);
	return (status == 425 || status == 429) &&
	       (e->retry_http_count == 0 || lists(e->retry_http, e->retry_http_count, status));
}

static bool retried(const struct upstream_error *e, long status)
{
	if (e->retry_http_count > 0)
		return lists(e->retry_http, e->retry_http_count, status);
	return status == 408 || (status >= 500 && status <= 599);
}

static enum raincheck_failure kind_of_status(const struct upstream_error *e, long status, const char *code)
{
	if (words_have(&e->fatal_codes, code))
		return RAINCHECK_FAIL_REJECTED;
	if (words_have(&e->throttle_codes, code) || throttled(e, status))
		return RAINCHECK_FAIL_THROTTLED;
	if (!retried(e, status) && !words_have(&e->retry_codes, code))
		return RAINCHECK_FAIL_REJECTED;
	/* A code made it worth another attempt where the list of statuses does not. */
	if (e->throttle_http_count == 0 && (status == 425 || status == 429))
		return RAINCHECK_FAIL_THROTTLED;
	return status == 408 || status == 504 ? RAINCHECK_FAIL_TIMEOUT : RAINCHECK_FAIL_UNAVAILABLE;
}

/* What a gateway says that has lost the API's answer: the request may have got through. 520 and 524 are Cloudflare's.
 * Where the file says itself that the status is worth another attempt, or the API tells a code of its own that the file
 * knows, it is the API's word. */
static bool is_answer_lost(const struct upstream_error *e, long status, const char *code)
{
	return (status == 502 || status == 504 || status == 520 || status == 524) &&
	       !lists(e->retry_http, e->retry_http_count, status) &&
	       !lists(e->throttle_http, e->throttle_http_count, status) && !words_have(&e->retry_codes, code) &&
	       !words_have(&e->throttle_codes, code) && !words_have(&e->fatal_codes, code);
}

/* " (CODE)" behind the words; nothing for the code that means "no error". */
static void append_code(struct verdict *v, const char *code)
{
	size_t used = strlen(v->message);

	if (code[0] && strcmp(code, "0") != 0)
		snprintf(v->message + used, sizeof(v->message) - used, " (%s)", code);
}

static void set_details(const struct upstream_error *e, const char *code, struct verdict *v)
{
	v->code_listed = words_have(&e->retry_codes, code);
	v->final = words_have(&e->fatal_codes, code);
}

void classify_status(const struct upstream_error *e, long status, const struct retry_headers *h, json_t *body,
		     int64_t now_ms, const char *what, struct verdict *ret)
{
	char words[MESSAGE_SIZE], code[CODE_SIZE];

	words_of_error(e, body, words);
	code_of_error(e, body, h->code, code);
	verdict_set(ret, kind_of_status(e, status, code), "%s was answered with HTTP %ld%s%s", what, status,
		    words[0] ? ": " : "", words);
	append_code(ret, code);
	set_details(e, code, ret);
	ret->unknown = is_answer_lost(e, status, code);
	if (ret->kind != RAINCHECK_FAIL_REJECTED)
		ret->retry_after_ms = classify_retry_after(e, h, now_ms);
}

void classify_report(const struct upstream_error *e, json_t *body, const char *header_code, const char *what,
		     struct verdict *ret)
{
	char words[MESSAGE_SIZE], code[CODE_SIZE];
	enum raincheck_failure kind = RAINCHECK_FAIL_REJECTED;

	words_of_error(e, body, words);
	code_of_error(e, body, header_code, code);
	if (words_have(&e->fatal_codes, code))
		kind = RAINCHECK_FAIL_REJECTED;
	else if (words_have(&e->throttle_codes, code))
		kind = RAINCHECK_FAIL_THROTTLED;
	else if (words_have(&e->retry_codes, code))
		kind = RAINCHECK_FAIL_UNAVAILABLE;
	verdict_set(ret, kind, "%s%s%s", what, words[0] ? ": " : "", words);
	append_code(ret, code);
	set_details(e, code, ret);
}
