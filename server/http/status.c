/* The body says nothing finer than what a visitor may know: no error text of a worker, which may hold secrets, no
 * estimate to the millisecond, which would make every answer new. So its weak tag holds while nothing has changed. */
#include "status.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "proto/base/clean.h"
#include "server/http/conditions.h"
#include "server/http/response.h"
#include "server/http/site.h"
#include "server/http/visit.h"
#include "server/http/words.h"

#define BODY_MAX   16384
#define GRAIN_MS   5000
#define DUMP_FLAGS (JSON_COMPACT | JSON_REAL_PRECISION(4))

struct answer {
	struct buf body;
	unsigned status;
	int retry_after;
	char tag[32];
};

static json_t *text_or_null(bool has, struct slice text)
{
	json_t *j = has ? json_stringn(text.data, text.size) : NULL;

	return j ? j : json_null(); /* what is not UTF-8 is nothing to show */
}

static json_t *sentence(struct buf *words)
{
	json_t *j = text_or_null(words->size > 0, buf_slice(words));

	buf_reset(words);
	return j;
}

static json_t *url_or_null(bool there, const struct msg_job *job, const char *name)
{
	char url[560];

	if (!there || !job->has_link)
		return json_null();
	snprintf(url, sizeof(url), "%.*s/%s", SLICE_FMT(job->link), name);
	return json_string(url);
}

/* Why it did not succeed, in words that may be shown to anybody. */
static json_t *error_or_null(const struct msg_job *job, json_t *detail)
{
	const char *kind = job_state_names[job->state];

	if (!job_state_final(job->state) || job->state == JOB_SUCCEEDED)
		return json_null();
	if (job->state == JOB_DEAD)
		kind = failure_kind_names[job->has_error ? job->error.kind : FAIL_INTERNAL];
	return json_pack("{s:s, s:O}", "kind", kind, "message", detail);
}

static json_t *progress_or_null(const struct msg_job *job)
{
	if (job->state == JOB_SUCCEEDED)
		return json_real(1);
	return job->has_progress && !job_state_final(job->state) ? json_real(job->progress) : json_null();
}

static json_t *eta_or_null(bool has, const struct msg_eta *eta)
{
	if (!has)
		return json_null();
	return json_pack("{s:I, s:I}", "low", (json_int_t)words_round_low(eta->low), "high",
			 (json_int_t)words_round_high(eta->high));
}

/* Rounded up to a few seconds, like all that is told of time here. */
static json_t *waiting_or_null(const struct msg_job *job)
{
	const struct msg_waiting *w = &job->waiting_for;
	json_t *until =
		w->has_until_at_ms ? json_integer((w->until_at_ms + GRAIN_MS - 1) / GRAIN_MS * GRAIN_MS) : json_null();

	if (!job->has_waiting_for) {
		json_decref(until);
		return json_null();
	}
	return json_pack("{s:s, s:o}", "reason", wait_reason_names[w->reason], "until_at_ms", until);
}

static json_t *describe(const struct request *r, const struct visit *v)
{
	const struct msg_job *job = &v->job.job;
	bool pending = !job_state_final(job->state);
	json_t *headline, *detail, *all;
	struct buf words;

	buf_init(&words, WORDS_MAX);
	words_headline(&words, &r->site->page, job, v->now_ms);
	headline = sentence(&words);
	words_detail(&words, &r->site->page, job);
	detail = sentence(&words);
	buf_done(&words);
	all = json_pack(
		"{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:O}", "state", job_state_names[job->state],
		"position", pending && job->has_position ? json_integer(job->position) : json_null(), "eta_ms",
		eta_or_null(pending && job->has_eta_ms, &job->eta_ms), "waiting_for", waiting_or_null(job), "progress",
		progress_or_null(job), "note", text_or_null(pending && job->has_note, job->note), "title",
		text_or_null(job->has_title, job->title), "preview", url_or_null(v->preview != NULL, job, "preview"),
		"result", url_or_null(v->result != NULL, job, "result"), "error", error_or_null(job, detail),
		"headline", headline, "detail", detail);
	json_decref(detail);
	return all;
}

static int append_cb(const char *text, size_t size, void *user)
{
	return buf_append(user, text, size);
}

static int write_answer(const struct request *r, const struct visit *v, struct answer *a)
{
	const struct msg_job *job = &v->job.job;
	json_t *j = describe(r, v);
	int rc = j && json_dump_callback(j, append_cb, &a->body, DUMP_FLAGS) == 0 ? 0 : ERR_NO_MEMORY;

	json_decref(j);
	if (rc < 0)
		return rc;
	snprintf(a->tag, sizeof(a->tag), "W/\"%016llx\"", (unsigned long long)XXH3_64bits(a->body.data, a->body.size));
	a->status = job_state_final(job->state) ? MHD_HTTP_OK : MHD_HTTP_ACCEPTED;
	a->retry_after = job_state_final(job->state) ? 0 : words_retry_after(job);
	return 0;
}

static int look(const struct request *r, struct answer *a)
{
	struct visit v;
	int rc;

	rc = visit_begin(r, &v);
	if (rc == 0)
		rc = write_answer(r, &v, a);
	visit_end(&v);
	return rc;
}

static struct MHD_Response *dress(struct MHD_Response *response, const struct answer *a)
{
	char seconds[16];

	response_header(response, "ETag", a->tag);
	response_header(response, "Cache-Control", "private, no-cache");
	if (a->retry_after > 0) {
		snprintf(seconds, sizeof(seconds), "%d", a->retry_after);
		response_header(response, "Retry-After", seconds);
	}
	return response;
}

static enum MHD_Result reply(const struct request *r, struct answer *a)
{
	struct MHD_Connection *c = r->connection;
	int rc = look(r, a);

	if (rc < 0)
		return response_error(c, rc);
	if (etag_match_weak(request_header(c, "If-None-Match"), a->tag))
		return response_send(c, MHD_HTTP_NOT_MODIFIED, dress(response_not_modified((int64_t)a->body.size), a));
	return response_send(c, a->status, dress(response_new(&a->body, "application/json"), a));
}

enum MHD_Result status_serve(const struct request *r)
{
	struct answer a = { .status = 0 };
	enum MHD_Result result;

	buf_init(&a.body, BODY_MAX);
	result = reply(r, &a);
	buf_done(&a.body);
	return result;
}
