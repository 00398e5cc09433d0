/* The switches of the stand-in API: how a call is made slow, refused, failed, cut short or never answered.
 *
 * A struct behave is filled process-wide from the command line, copied for each request, and overridden there by the
 * fields of the request's "behave" object. One table (behave.c) drives the flags, the JSON fields and --help.
 * Any thread: a struct behave belongs to whoever holds it. */
#ifndef RENDER_API_BEHAVE_H
#define RENDER_API_BEHAVE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "util.h"

#define BEHAVE_BASE_BYTES 128

enum behave_reset { RESET_NO, RESET_UNPAID, RESET_PAID };
enum behave_bad_json { BAD_JSON_NO, BAD_JSON_SUBMIT, BAD_JSON_POLL };

/* How a render fails: status FAILED with code and message; a sync call answers http with the same two. */
struct behave_fail {
	bool on;
	int http;
	char code[64];
	char message[160];
};

struct behave {
	int delay_ms;
	int answer_delay_ms;
	struct behave_fail fail;
	int fail_times;
	int throttle_times;
	int retry_after_s;
	int http_status; /* 0: no */
	int poll_fail_times;
	int reset; /* enum behave_reset */
	int hang;
	int hang_body;
	int truncate;
	int wrong_type;
	int bad_json; /* enum behave_bad_json */
	int pad_kib;
	int slow_body_ms;
	int hold_body;
	int hold;
	int data_url;
	int expire_times;
	int redirects;
	int echo_auth;
	char media_base[BEHAVE_BASE_BYTES]; /* "": the API's own */
	char redirect_base[BEHAVE_BASE_BYTES];
	int times; /* 0: always */
};

/* What the process does when nothing is said. */
extern const struct behave behave_default;

/* Sets one field ("delay_ms"). -ENOENT: no such field; -EINVAL: a value it does not take. On error b is unchanged. */
int behave_set(struct behave *b, const char *field, const json_t *value, struct fault *f);

/* Overrides b with every field of the object. A field unknown is an error: a misspelt switch would make a test that
 * cannot fail. -EINVAL. */
int behave_from_json(struct behave *b, const json_t *object, struct fault *f);

/* The i-th field's name and whether it needs an argument on the command line; NULL past the last. */
const char *behave_field(size_t i, bool *ret_needs_argument);

/* Prints the fields as command line flags. */
void behave_help(FILE *out);

#endif
