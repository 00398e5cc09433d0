#include "server/http/hooks.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "proto/base/buf.h"
#include "proto/base/clean.h"
#include "proto/error.h"
#include "server/engine/command.h"
#include "server/engine/link.h"
#include "server/engine/settings.h"
#include "server/http/path.h"
#include "server/http/response.h"
#include "server/http/site.h"
#include "server/store/hook_record.h"
#include "server/writer/writer.h"

#define ALLOWED		   "POST, OPTIONS"
#define RECEIVING_BYTES	   (64 << 20) /* of all hooks that are being received together */
#define PATIENCE_BYTES	   (16 << 20) /* that are read of one, and thrown away, to tell that it is too large */
#define CONTENT_TYPE_BYTES 255
#define HEADER_NAME_BYTES  128
#define HEADER_BYTES	   4096
/* What a message to a worker holds besides a hook's body. */
#define ENVELOPE_BYTES 32768

struct hook_post {
	struct site *site;
	struct MHD_Connection *connection;
	struct command command;
	struct command_hook hook;
	struct pair headers[HOOK_HEADERS];
	size_t headers_bytes;
	struct buf texts; /* lower-case names of headers; sized once */
	struct buf body;
	size_t read;	/* bytes of the body that came */
	size_t claimed; /* of RECEIVING_BYTES */
	bool no_room;	/* for it */
	bool submitted;
	struct error_info refused; /* code < 0: by the engine */
	int released;		   /* the writer's verdict */
};

/* Bytes that hooks in receipt hold. */
static atomic_size_t receiving;

static size_t body_max(const struct site *site)
{
	int64_t message = site->settings->answer_bytes;

	/* A larger one could not be given to any worker. */
	if (message > 0 && message - ENVELOPE_BYTES < HOOK_BODY_BYTES)
		return (size_t)(message - ENVELOPE_BYTES);
	return HOOK_BODY_BYTES;
}

static enum MHD_Result too_large(struct MHD_Connection *c)
{
	return response_refuse(c, MHD_HTTP_CONTENT_TOO_LARGE, "too_large", "a hook's body may have 1 MiB");
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
	const char *type = request_header(post->connection, "Content-Type");
	uint8_t *room;
	int rc;

	rc = buf_reserve(&post->texts, HOOK_HEADERS_BYTES + CONTENT_TYPE_BYTES, &room);
	if (rc < 0)
		return rc;
	MHD_get_connection_values(post->connection, MHD_HEADER_KIND, header_cb, post);
	if (type && is_printable(type, 1, CONTENT_TYPE_BYTES)) {
		post->hook.content_type = slice_of(post->texts.data + post->texts.size, strlen(type));
		buf_append_str(&post->texts, type);
	}
	post->hook.headers = post->headers;
	return buf_error(&post->texts);
}

static int post_new(struct site *site, struct MHD_Connection *c, struct hook_post **ret)
{
	struct hook_post *post = calloc(1, sizeof(*post));
	int rc;

	if (!post)
		return ERR_NO_MEMORY;
	post->site = site;
	post->connection = c;
	buf_init(&post->texts, HOOK_HEADERS_BYTES + CONTENT_TYPE_BYTES);
	buf_init(&post->body, body_max(site));
	rc = take_head(post);
	if (rc < 0) {
		hook_post_free(post);
		return rc;
	}
	*ret = post;
	return 0;
}

void hook_post_free(struct hook_post *post)
{
	if (!post)
		return;
	atomic_fetch_sub(&receiving, post->claimed);
	buf_done(&post->texts);
	buf_done(&post->body);
	free(post);
}

/* An answer before the body makes the library read nothing more and close the connection, and that may cost whoever is
 * still sending the answer: so one that is not much too large is read, and told then. */
static bool refuses_at_once(const struct site *site, struct MHD_Connection *c)
{
	const char *length = request_header(c, "Content-Length");
	unsigned long long size = length ? strtoull(length, NULL, 10) : 0;

	return size > PATIENCE_BYTES || (size > body_max(site) && request_header(c, "Expect"));
}

bool hooks_begin(struct site *site, struct MHD_Connection *c, const char *method, const char *path,
		 struct hook_post **ret_post, enum MHD_Result *ret)
{
	struct hook_post *post = NULL;
	struct path parsed;
	uint32_t attempt;
	struct uuid job;
	int rc;

	*ret_post = NULL;
	path_parse(path, &parsed);
	if (parsed.route != ROUTE_HOOK || strcmp(method, "POST") != 0)
		return false;
	rc = hook_read(site->settings->link_secret, slice_str(parsed.token), &job, &attempt);
	if (rc == 0 && refuses_at_once(site, c)) {
		*ret = too_large(c);
		return true;
	}
	if (rc == 0)
		rc = post_new(site, c, &post);
	if (!post) {
		*ret = response_error(c, rc);
		return true;
	}
	post->hook.id = job;
	post->hook.attempt = attempt;
	*ret_post = post;
	*ret = MHD_YES;
	return true;
}

/* ---- its body ---- */

static bool claim(struct hook_post *post, size_t bytes)
{
	if (atomic_fetch_add(&receiving, bytes) + bytes > RECEIVING_BYTES) {
		atomic_fetch_sub(&receiving, bytes);
		return false;
	}
	post->claimed += bytes;
	return true;
}

static enum MHD_Result receive(struct hook_post *post, const char *data, size_t *size)
{
	size_t bytes = *size;

	*size = 0;
	post->read += bytes;
	if (post->read > PATIENCE_BYTES)
		return MHD_NO;
	if (post->no_room || post->read > body_max(post->site))
		return MHD_YES;
	post->no_room = !claim(post, bytes) || buf_append(&post->body, data, bytes) < 0;
	return MHD_YES;
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
	(void)cmd;
	(void)m;
	(void)result;
}

static void refuse_cb(struct command *cmd, const struct error_info *info)
{
	CONTAINER_OF(cmd, struct hook_post, command)->refused = *info;
}

/* From the resumption on the connection's thread may end the request. */
static void release_cb(struct command *cmd, int rc)
{
	struct hook_post *post = CONTAINER_OF(cmd, struct hook_post, command);

	post->released = rc;
	MHD_resume_connection(post->connection);
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
	MHD_suspend_connection(post->connection);
	writer_submit(post->site->writer, &post->command);
}

static enum MHD_Result tell(struct hook_post *post, struct MHD_Connection *c)
{
	if (post->released < 0)
		return response_error(c, post->released);
	if (post->refused.code < 0)
		return response_error(c, post->refused.code);
	return response_send(c, MHD_HTTP_ACCEPTED, response_empty());
}

enum MHD_Result hooks_go_on(struct hook_post *post, struct MHD_Connection *c, const char *data, size_t *size)
{
	int rc;

	if (*size > 0)
		return receive(post, data, size);
	if (post->submitted)
		return tell(post, c);
	if (post->read > body_max(post->site))
		return too_large(c);
	if (post->no_room)
		return response_error(c, ERR_NO_MEMORY);
	post->hook.body = buf_slice(&post->body);
	rc = digest(post, post->hook.digest);
	if (rc < 0)
		return response_error(c, rc);
	submit(post);
	return MHD_YES;
}

/* ---- whatever is no POST ---- */

enum MHD_Result hooks_serve_method(const struct request *r, bool options)
{
	struct MHD_Response *response =
		options ? response_empty()
			: response_problem(MHD_HTTP_METHOD_NOT_ALLOWED, "bad_request", "only " ALLOWED);

	response_header(response, "Allow", ALLOWED);
	return response_send(r->connection, options ? MHD_HTTP_NO_CONTENT : MHD_HTTP_METHOD_NOT_ALLOWED, response);
}
