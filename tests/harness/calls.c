#include "tests/harness/calls.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/base/clean.h"

const struct calls_shape calls_by_sync = { .mode = "sync", .submit = ", on_unknown: retry" };
const struct calls_shape calls_by_sync_url = {
	.mode = "sync",
	.path = "/sync/json",
	.submit = ", on_unknown: retry",
	.result = "from: pointer, media: /output/0, preview: /poster",
};
const struct calls_shape calls_by_poll = { .mode = "poll" };
const struct calls_shape calls_by_http_state = {
	.poll = ", path: \"/v2/renders/{id}\", state: http, pending: [202], ok: [200]",
	.result = "from: body",
};

void calls_open(struct calls *c)
{
	memset(c, 0, sizeof(*c));
	tempdir_make(&c->stack.dir);
	stack_start_api(&c->stack, NULL);
	stack_start_broker(&c->stack);
	snprintf(c->local_base, sizeof(c->local_base), "http://localhost%s", strrchr(c->stack.api_url, ':'));
	c->rc = stack_connect(&c->stack);
}

void calls_close(struct calls *c)
{
	raincheck_free(c->job);
	raincheck_close(c->rc, NULL, NULL);
	stack_stop(&c->stack);
}

/* ---- the worker ---- */

static const char *either(const char *given, const char *otherwise)
{
	return given ? given : otherwise;
}

void calls_configure_worker(struct calls *c, const struct calls_shape *s)
{
	bool sync = s->mode && strcmp(s->mode, "sync") == 0;
	FILE *f;

	snprintf(c->stack.worker_config, sizeof(c->stack.worker_config), "%s",
		 tempdir_file(&c->stack.dir, "worker.yaml"));
	f = fopen(c->stack.worker_config, "w");
	assert_non_null(f);
	fprintf(f, "server: %s\n%squeues: { %s }\nupstreams:\n  api:\n    base_url: %s\n    mode: %s\n%s%s",
		c->stack.server, either(s->top, "slots: 4\nlease: 60s\n"), either(s->queues, "q: api"),
		either(s->base, c->stack.api_url), either(s->mode, "poll"),
		s->is_public ? "" : "    allow_private: true\n", either(s->lines, ""));
	fprintf(f, "    submit: { path: %s%s%s }\n", either(s->path, sync ? "/sync/render" : "/v1/renders"),
		sync ? "" : ", id: /id", either(s->submit, ""));
	if (!sync)
		fprintf(f, "    poll: { first: 10ms, interval: 20ms, max: 50ms%s }\n",
			either(s->poll, ", path: \"/v1/renders/{id}\", ok: [SUCCEEDED], failed: [FAILED, CANCELLED]"));
	fprintf(f, "    result: { %s, types: [video/mp4] }\n    error: { message: /error/message%s }\n%s",
		either(s->result, sync ? "from: body" : "media: /output/0"), either(s->error, ""),
		either(s->others, ""));
	fclose(f);
}

void calls_start_worker(struct calls *c, const struct calls_shape *s)
{
	char program[512];
	const char *argv[] = { program, "--config", c->stack.worker_config, "--log-level", "info", NULL };

	calls_configure_worker(c, s);
	snprintf(program, sizeof(program), "%s", process_program("raincheck-worker"));
	process_start_heard(&c->stack.worker, argv);
}

void calls_wait_for_log(struct calls *c, const char *words)
{
	if (!process_wait_words(&c->stack.worker, words))
		fail_msg("the worker ended without having said \"%s\"", words);
}

/* ---- jobs ---- */

const char *calls_put_into(struct calls *c, const char *queue, int64_t attempts, const char *name, const char *behave)
{
	static char id[RAINCHECK_ID_SIZE];
	struct raincheck_put params = { .queue = queue, .content_type = "application/json", .max_attempts = attempts };
	struct raincheck_put_result *result;
	char payload[1024];

	snprintf(payload, sizeof(payload), "{\"name\":\"%s\",\"behave\":{%s}}", name, behave);
	params.payload = (struct raincheck_bytes){ payload, strlen(payload) };
	params.backoff = (struct raincheck_backoff){ .has_base_ms = true, .base_ms = 10, .max_ms = 20 };
	if (raincheck_put(c->rc, &params, &result) < 0)
		fail_msg("%s", raincheck_last_error(c->rc)->message);
	memcpy(id, result->id, sizeof(id));
	raincheck_free(result);
	return id;
}

const char *calls_put(struct calls *c, int64_t attempts, const char *name, const char *behave)
{
	return calls_put_into(c, "q", attempts, name, behave);
}

void calls_expect_end(struct calls *c, const char *id, enum raincheck_job_state state)
{
	raincheck_free(TAKE_PTR(c->job));
	if (raincheck_wait(c->rc, id, 60000, &c->job) < 0)
		fail_msg("%s", raincheck_last_error(c->rc)->message);
	if (c->job->state != state)
		fail_msg("the job is %s, not %s; error: %s", raincheck_job_state_name(c->job->state),
			 raincheck_job_state_name(state), c->job->error ? c->job->error->message : "none");
}

void calls_expect_failure(struct calls *c, const char *id, enum raincheck_failure kind, const char *words)
{
	calls_expect_end(c, id, RAINCHECK_JOB_DEAD);
	assert_non_null(c->job->error);
	if (c->job->error->kind != kind || !strstr(c->job->error->message, words))
		fail_msg("error is %s \"%s\", not %s \"%s\"", raincheck_failure_name(c->job->error->kind),
			 c->job->error->message, raincheck_failure_name(kind), words);
}

/* ---- the API's books ---- */

static json_t *stats(struct calls *c)
{
	struct http_answer answer;
	char url[256];
	json_t *books;

	snprintf(url, sizeof(url), "%s/stats", c->stack.api_url);
	http_request(NULL, url, NULL, &answer);
	books = json_loadb(answer.body, answer.size, 0, NULL);
	http_answer_done(&answer);
	assert_non_null(books);
	return books;
}

int64_t calls_counted(struct calls *c, const char *what)
{
	json_t *books = stats(c);
	int64_t n = json_integer_value(json_object_get(books, what));

	json_decref(books);
	return n;
}

void calls_expect_counts(struct calls *c, int64_t submits, int64_t paid)
{
	assert_int_equal(calls_counted(c, "submits"), submits);
	assert_int_equal(calls_counted(c, "paid"), paid);
}

void calls_wait_until_counted(struct calls *c, const char *what, int64_t n)
{
	stack_wait_for_api(&c->stack, NULL, what, n);
}

const char *calls_authorization(struct calls *c, const char *door)
{
	static char seen[256];
	json_t *books = stats(c);
	const char *value = json_string_value(json_object_get(json_object_get(books, "authorization"), door));

	snprintf(seen, sizeof(seen), "%s", value ? value : "nobody");
	json_decref(books);
	return seen;
}

void calls_release_bodies(struct calls *c)
{
	struct http_answer answer;
	char url[256];

	snprintf(url, sizeof(url), "%s/release", c->stack.api_url);
	http_request("POST", url, NULL, &answer);
	assert_int_equal(answer.status, 200);
	http_answer_done(&answer);
}

/* ---- what came home ---- */

void calls_read_back(struct calls *c, const char *id, struct calls_content *ret)
{
	struct raincheck_artifact_read read = { .id = id, .name = "result" };
	struct raincheck_artifact_data *piece;

	*ret = (struct calls_content){ .size = 0 };
	do {
		read.offset = (int64_t)ret->size;
		if (raincheck_artifact_read(c->rc, &read, &piece) < 0)
			fail_msg("%s", raincheck_last_error(c->rc)->message);
		if (!ret->data)
			ret->data = malloc((size_t)piece->size);
		assert_non_null(ret->data);
		assert_true(ret->size + piece->data.size <= (size_t)piece->size);
		memcpy(ret->data + ret->size, piece->data.data, piece->data.size);
		ret->size += piece->data.size;
		assert_true(piece->data.size > 0 || (int64_t)ret->size == piece->size);
		read.length = piece->size - (int64_t)ret->size;
		raincheck_free(piece);
	} while (read.length > 0);
}

static void hash(const struct calls_content *content, char hex[RAINCHECK_SHA256_SIZE])
{
	unsigned char digest[32];

	assert_int_equal(gnutls_hash_fast(GNUTLS_DIG_SHA256, content->data, content->size, digest), 0);
	for (size_t i = 0; i < sizeof(digest); i++)
		snprintf(hex + 2 * i, 3, "%02x", digest[i]);
}

/* The pad at the end, as tests/render_api/pad.h describes it. */
static void expect_pad(const struct calls_content *content, size_t size)
{
	const unsigned char *pad = content->data + content->size - size;

	assert_true(content->size >= size);
	if (size == 0)
		return;
	assert_memory_equal(pad + 4, "free", 4);
	for (size_t i = 0; i < size - 8; i++)
		if (pad[8 + i] != (unsigned char)(i + i / 251 + i / 65521))
			fail_msg("byte %zu of %zu is wrong", content->size - size + 8 + i, content->size);
}

const struct raincheck_artifact *calls_artifact(struct calls *c, const char *name)
{
	for (size_t i = 0; i < c->job->artifact_count; i++)
		if (strcmp(c->job->artifacts[i].name, name) == 0)
			return &c->job->artifacts[i];
	return NULL;
}

void calls_expect_video(struct calls *c, const char *id, const char *name, size_t pad_kib)
{
	const struct raincheck_artifact *a;
	char sha256[RAINCHECK_SHA256_SIZE], key[128];
	struct calls_content video;

	calls_expect_end(c, id, RAINCHECK_JOB_SUCCEEDED);
	a = calls_artifact(c, "result");
	assert_non_null(a);
	assert_string_equal(a->content_type, "video/mp4");
	calls_read_back(c, id, &video);
	hash(&video, sha256);
	assert_string_equal(a->sha256, sha256);
	assert_int_equal(a->size, video.size);
	assert_int_equal(video.size, 24 + 8 + (size_t)c->job->payload_size + pad_kib * KIB);
	assert_memory_equal(video.data + 4, "ftyp", 4);
	snprintf(key, sizeof(key), "{\"name\":\"%s\",", name);
	assert_memory_equal(video.data + 32, key, strlen(key));
	expect_pad(&video, pad_kib * KIB);
	free(video.data);
}
