#include "classify.h"

#include <curl/curl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "exchange.h"
#include "pointer.h"
#include "proto/base/clean.h"
#include "upstream.h"

#define CODE_SIZE    128
#define MESSAGE_SIZE 320

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
	if (h->retry_after) {
		date = curl_getdate(h->retry_after, NULL);
		return date < 0 ? 0 : capped((double)date * 1000 - (double)now_ms, e->cap_ms);
	}
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

/* The API's own words: where the file says they are, or where APIs usually put them. */
static void words_of_error(const struct upstream_error *e, json_t *body, char ret[static MESSAGE_SIZE])
{
	static const char *const usual[] = { "/error/message", "/message",	    "/detail", "/error",
					     "/failure",       "/errors/0/message", "/title" };

	ret[0] = '\0';
	if (!body)
		return;
	if (e->message.size > 0)
		scalar_text(pointer_find(body, e->message), ret, MESSAGE_SIZE);
	for (size_t i = 0; ret[0] == '\0' && i < ARRAY_SIZE(usual); i++)
		scalar_text(pointer_find(body, slice_str(usual[i])), ret, MESSAGE_SIZE);
}

static void code_of_error(const struct upstream_error *e, json_t *body, char ret[static CODE_SIZE])
{
	ret[0] = '\0';
	if (body && e->code.size > 0)
		scalar_text(pointer_find(body, e->code), ret, CODE_SIZE);
}

bool classify_has_error(const struct upstream_error *e, json_t *body)
{
	char code[CODE_SIZE], words[MESSAGE_SIZE] = "";

	code_of_error(e, body, code);
	if (body && e->message.size > 0)
		scalar_text(pointer_find(body, e->message), words, sizeof(words));
	/* APIs that always send a code send 0 or nothing for "no error". */
	return (code[0] && strcmp(code, "0") != 0) || words[0];
}

static bool retried(const struct upstream_error *e, long status)
{
	for (size_t i = 0; i < e->retry_http_count; i++)
		if (e->retry_http[i] == (unsigned long)status)
			return true;
	if (e->retry_http_count > 0)
		return false;
	return status == 408 || status == 425 || status == 429 || status >= 500;
}

static enum raincheck_failure kind_of_status(const struct upstream_error *e, long status, const char *code)
{
	if (words_have(&e->fatal_codes, code))
		return RAINCHECK_FAIL_REJECTED;
	if (!retried(e, status) && !words_have(&e->retry_codes, code))
		return RAINCHECK_FAIL_REJECTED;
	if (status == 429 || status == 425)
		return RAINCHECK_FAIL_THROTTLED;
	return status == 408 || status == 504 ? RAINCHECK_FAIL_TIMEOUT : RAINCHECK_FAIL_UNAVAILABLE;
}

void classify_status(const struct upstream_error *e, long status, const struct retry_headers *h, json_t *body,
		     int64_t now_ms, const char *what, struct verdict *ret)
{
	char words[MESSAGE_SIZE], code[CODE_SIZE];

	words_of_error(e, body, words);
	code_of_error(e, body, code);
	verdict_set(ret, kind_of_status(e, status, code), "%s was answered with HTTP %ld%s%s%s%s%s", what, status,
		    words[0] ? ": " : "", words, code[0] ? " (" : "", code, code[0] ? ")" : "");
	ret->code_listed = words_have(&e->retry_codes, code);
	if (ret->kind != RAINCHECK_FAIL_REJECTED)
		ret->retry_after_ms = classify_retry_after(e, h, now_ms);
}

void classify_report(const struct upstream_error *e, json_t *body, const char *what, struct verdict *ret)
{
	char words[MESSAGE_SIZE], code[CODE_SIZE];
	bool retry;

	words_of_error(e, body, words);
	code_of_error(e, body, code);
	retry = words_have(&e->retry_codes, code) && !words_have(&e->fatal_codes, code);
	verdict_set(ret, retry ? RAINCHECK_FAIL_UNAVAILABLE : RAINCHECK_FAIL_REJECTED, "%s%s%s%s%s%s", what,
		    words[0] ? ": " : "", words, code[0] ? " (" : "", code, code[0] ? ")" : "");
	ret->code_listed = retry;
}
