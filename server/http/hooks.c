#include "server/http/hooks.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "proto/base/buf.h"
#include "proto/base/clean.h"
#include "proto/error.h"
#include "server/engine/command.h"
#include "server/engine/link.h"
#include "server/engine/settings.h"
#include "server/http/exchange.h"
#include "server/http/problem.h"
#include "server/http/response.h"
#include "server/http/site.h"
#include "server/store/hook_record.h"
#include "server/writer/writer.h"

#define CONTENT_TYPE_BYTES 255
#define HEADER_NAME_BYTES  128
#define HEADER_BYTES	   4096
/* What a message to a worker holds besides a hook's body. */
#define ENVELOPE_BYTES 32768

struct hook_post {
	struct exchange *exchange;
	struct command command;
	struct command_hook hook;
	struct pair headers[HOOK_HEADERS];
	size_t headers_bytes;
	struct buf texts; /* lower-case names of headers; sized once */
	bool submitted, suspended;
	struct error_info error; /* code < 0: refused by the engine; what it said last, see command.h */
	int released;		 /* the writer's verdict */
};

size_t hooks_body_max(const struct site *site)
{
	int64_t message = site->settings->answer_bytes;

	/* A larger one could not be given to any worker. */
	if (message > 0 && message - ENVELOPE_BYTES < HOOK_BODY_BYTES)
		return (size_t)(message - ENVELOPE_BYTES);
	return HOOK_BODY_BYTES;
}

/* ---- its head ---- */

/* Those that prove a hook: of Standard Webhooks and its forerunner, of fal, and whatever is called a signature. */
static bool is_kept(const char *name)
{
	static const char *const beginnings[] = { "webhook-", "svix-", "x-fal-webhook-" };
	static const char signature[] = "-signature";
	size_t length = strlen(name);

	for (size_t i = 0; i < ARRAY_SIZE(beginnings); i++)
		if (strncasecmp(name, beginnings[i], strlen(beginnings[i])) == 0)
			return true;
	return length > strlen(signature) && strcasecmp(name + length - strlen(signature), signature) == 0;
}

static bool is_printable(const char *text, size_t least, size_t most)
{
	size_t length = strlen(text);

	if (length < least || length > most)
		return false;
	for (; *text; text++)
		if (*text < ' ' || *text > '~')
			return false;
	return true;
}

static bool is_taken(const struct hook_post *post, const char *name)
{
	for (size_t i = 0; i < post->hook.headers_count; i++)
		if (strncasecmp(post->headers[i].key.data, name, post->headers[i].key.size) == 0 &&
		    strlen(name) == post->headers[i].key.size)
			return true;
	return false;
}

/* What is beyond the bounds is left out: the signature will say that something is missing. */
static enum MHD_Result header_cb(void *user, enum MHD_ValueKind kind, const char *name, const char *value)
{
	struct hook_post *post = user;
	size_t bytes = strlen(name) + (value ? strlen(value) : 0), at = post->texts.size;

	(void)kind;
	if (!value || !is_kept(name) || !is_printable(name, 1, HEADER_NAME_BYTES) ||
	    !is_printable(value, 0, HEADER_BYTES) || post->hook.headers_count == HOOK_HEADERS ||
	    post->headers_bytes + bytes > HOOK_HEADERS_BYTES || is_taken(post, name))
		return MHD_YES;
	for (const char *p = name; *p; p++) {
		char lower = *p >= 'A' && *p <= 'Z' ? (char)(*p - 'A' + 'a') : *p;

		(void)buf_append(&post->texts, &lower, 1);
	}
	buf_append_str(&post->texts, value);
	if (buf_error(&post->texts))
		return MHD_NO;
	post->headers[post->hook.headers_count++] = (struct pair){
		.key = slice_of(post->texts.data + at, strlen(name)),
		.value = slice_of(post->texts.data + at + strlen(name), strlen(value)),
	};
	post->headers_bytes += bytes;
	return MHD_YES;
}

/* The names and values stay where they are: the buffer has all its room from the beginning. */
static int take_head(struct hook_post *post)
{
	const char *type = request_header(post->exchange->request.connection, "Content-Type");
	uint8_t *room;
	int rc;

	rc = buf_reserve(&post->texts, HOOK_HEADERS_BYTES + CONTENT_TYPE_BYTES, &room);
	if (rc < 0)
		return rc;
	MHD_get_connection_values(post->exchange->request.connection, MHD_HEADER_KIND, header_cb, post);
	if (type && is_printable(type, 1, CONTENT_TYPE_BYTES)) {
		post->hook.content_type = slice_of(post->texts.data + post->texts.size, strlen(type));
		buf_append_str(&post->texts, type);
	}
	post->hook.headers = post->headers;
	return buf_error(&post->texts);
}

static int refuse(struct exchange *x, int rc)
{
	struct error_info info;

	error_set(&info, rc, NULL, "%s", error_text(rc));
	return exchange_refuse(x, 0, &info);
}

int hooks_begin(struct exchange *x)
{
	struct hook_post *post;
	uint32_t attempt;
	struct uuid job;
	int rc;

	rc = hook_read(x->request.site->settings->link_secret, slice_str(x->path.token), &job, &attempt);
	if (rc < 0)
		return refuse(x, rc);
	post = calloc(1, sizeof(*post));
	if (!post)
		return refuse(x, ERR_NO_MEMORY);
	x->hook = post;
	post->exchange = x;
	post->hook.id = job;
	post->hook.attempt = attempt;
	buf_init(&post->texts, HOOK_HEADERS_BYTES + CONTENT_TYPE_BYTES);
	rc = take_head(post);
	return rc < 0 ? refuse(x, rc) : 0;
}

/* For the counters: also of one whose peer had gone when it was resumed. */
static void note_suspended(struct hook_post *post, bool suspended)
{
	if (post->suspended != suspended)
		exchange_suspended(post->exchange, TRAFFIC_WRITE, suspended ? 1 : -1);
	post->suspended = suspended;
}

void hook_post_free(struct hook_post *post)
{
	if (!post)
		return;
	note_suspended(post, false);
	buf_done(&post->texts);
	free(post);
}

/* By what a delivery that is repeated is known. */
static int digest(const struct hook_post *post, uint8_t ret[HOOK_DIGEST])
{
	const struct command_hook *hook = &post->hook;
	gnutls_hash_hd_t hash;
	uint8_t sha256[32];

	if (gnutls_hash_init(&hash, GNUTLS_DIG_SHA256) < 0)
		return ERR_NO_MEMORY;
	gnutls_hash(hash, hook->content_type.data, hook->content_type.size);
	gnutls_hash(hash, "", 1);
	for (size_t i = 0; i < hook->headers_count; i++)
		if (slice_is(hook->headers[i].key, "webhook-id") || slice_is(hook->headers[i].key, "svix-id"))
			gnutls_hash(hash, hook->headers[i].value.data, hook->headers[i].value.size);
	gnutls_hash(hash, "", 1);
	gnutls_hash(hash, hook->body.data, hook->body.size);
	gnutls_hash_deinit(hash, sha256);
	memcpy(ret, sha256, HOOK_DIGEST);
	return 0;
}

/* ---- through the writer ---- */

static void answer_cb(struct command *cmd, const struct message *m, const void *result)
{
	(void)m;
	(void)result;
	CONTAINER_OF(cmd, struct hook_post, command)->error.code = 0;
}

static void refuse_cb(struct command *cmd, const struct error_info *info)
{
	CONTAINER_OF(cmd, struct hook_post, command)->error = *info;
}

/* From the resumption on the connection's thread may end the request. */
static void release_cb(struct command *cmd, int rc)
{
	struct hook_post *post = CONTAINER_OF(cmd, struct hook_post, command);

	post->released = rc == ERR_CANCELED ? ERR_SHUTTING_DOWN : rc;
	MHD_resume_connection(post->exchange->request.connection);
}

static void submit(struct hook_post *post)
{
	post->submitted = true;
	post->command = (struct command){
		.kind = COMMAND_HOOK,
		.params = &post->hook,
		.answer = answer_cb,
		.refuse = refuse_cb,
		.release = release_cb,
	};
	note_suspended(post, true);
	/* First: the writer may be done with it before this thread is out of here. */
	MHD_suspend_connection(post->exchange->request.connection);
	writer_submit(post->exchange->request.site->writer, &post->command);
}

static enum MHD_Result tell(struct hook_post *post)
{
	struct MHD_Connection *c = post->exchange->request.connection;

	note_suspended(post, false);
	if (post->released < 0)
		error_set(&post->error, post->released, NULL, "%s", error_text(post->released));
	if (post->error.code < 0)
		return problem_send(c, &post->error);
	return response_send(c, MHD_HTTP_ACCEPTED, response_empty());
}

enum MHD_Result hooks_serve(struct exchange *x)
{
	struct hook_post *post = x->hook;
	struct error_info info;
	int rc;

	if (post->submitted)
		return tell(post);
	post->hook.body = buf_slice(&x->body);
	rc = digest(post, post->hook.digest);
	if (rc < 0) {
		error_set(&info, rc, NULL, "%s", error_text(rc));
		return problem_send(x->request.connection, &info);
	}
	submit(post);
	return MHD_YES;
}
