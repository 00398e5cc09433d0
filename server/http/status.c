/* Rendered for all who look (board.h); what each of them does not know yet is told by its tag.
 *
 * The body says nothing finer than what a visitor may know: no error text of a worker, which may hold secrets, no
 * estimate to the millisecond, which would make every answer new. So its weak tag holds while nothing has changed. */
#include "status.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "proto/base/clean.h"
#include "proto/base/clock.h"
#include "server/http/board.h"
#include "server/http/conditions.h"
#include "server/http/guests.h"
#include "server/http/media_url.h"
#include "server/http/response.h"
#include "server/http/site.h"
#include "server/http/visit.h"
#include "server/http/watch.h"
#include "server/http/words.h"

#define WAIT_MAX_S 60
#define GRAIN_MS   5000
#define DUMP_FLAGS (JSON_COMPACT | JSON_REAL_PRECISION(4))

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

static json_t *url_or_null(const struct msg_artifact *a, const struct msg_job *job, const char *name)
{
	return a && job->has_link ? json_string(media_url_make(job->link, name, a).text) : json_null();
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
	all = json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:O}", "state",
			job_state_names[job->state], "position",
			pending && job->has_position ? json_integer(job->position) : json_null(), "eta_ms",
			eta_or_null(pending && job->has_eta_ms, &job->eta_ms), "waiting_for", waiting_or_null(job),
			"progress", progress_or_null(job), "note", text_or_null(pending && job->has_note, job->note),
			"title", text_or_null(job->has_title, job->title), "preview",
			url_or_null(v->preview, job, "preview"), "result", url_or_null(v->result, job, "result"),
			"error", error_or_null(job, detail), "headline", headline, "detail", detail);
	json_decref(detail);
	return all;
}

static int append_cb(const char *text, size_t size, void *user)
{
	return buf_append(user, text, size);
}

static void dress(struct MHD_Response *response, const struct posting *p, int retry_after)
{
	char seconds[16];

	response_header(response, "ETag", p->tag);
	response_header(response, "Cache-Control", "private, no-cache");
	if (retry_after > 0) {
		snprintf(seconds, sizeof(seconds), "%d", retry_after);
		response_header(response, "Retry-After", seconds);
	}
}

static int finish(const struct msg_job *job, struct buf *body, struct posting *p)
{
	int retry_after = p->final ? 0 : words_retry_after(job);
	unsigned long long digest = XXH3_64bits(body->data, body->size);

	snprintf(p->tag, sizeof(p->tag), "W/\"%016llx\"", digest);
	p->status = p->final ? MHD_HTTP_OK : MHD_HTTP_ACCEPTED;
	buf_printf(&p->event, "id: %016llx\ndata: ", digest);
	buf_append(&p->event, body->data, body->size);
	buf_append_str(&p->event, "\n\n");
	p->unchanged = response_not_modified((int64_t)body->size);
	p->answer = response_new(body, "application/json");
	if (buf_error(&p->event) || !p->unchanged || !p->answer)
		return ERR_NO_MEMORY;
	dress(p->unchanged, p, retry_after);
	dress(p->answer, p, retry_after);
	return 0;
}

int status_post(const struct request *r, const struct visit *v, struct posting *p)
{
	_cleanup_(buf_done) struct buf body;
	json_t *j = describe(r, v);
	int rc;

	buf_init(&body, STATUS_MAX_BYTES);
	rc = j && json_dump_callback(j, append_cb, &body, DUMP_FLAGS) == 0 ? 0 : ERR_NO_MEMORY;
	json_decref(j);
	return rc < 0 ? rc : finish(&v->job.job, &body, p);
}

/* ---- waiting ---- */

/* A request that is held until something changes. */
struct wait {
	struct held held;
	struct watcher watcher;
	int64_t until_ms;
	char seen[BOARD_TAG_BYTES];
};

static void wait_end(struct held *h)
{
	struct wait *w = CONTAINER_OF(h, struct wait, held);

	watch_leave(&w->watcher);
	free(w);
}

/* "?wait=N" in seconds, at most a minute. False for what is no number. */
static bool wait_asked(struct MHD_Connection *c, int64_t *ret_ms)
{
	const char *text = MHD_lookup_connection_value(c, MHD_GET_ARGUMENT_KIND, "wait");
	char *end;
	long seconds;

	*ret_ms = 0;
	if (!text)
		return true;
	seconds = strtol(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || *end != '\0')
		return false;
	*ret_ms = 1000 * (seconds < WAIT_MAX_S ? seconds : WAIT_MAX_S);
	return true;
}

/* NULL where it cannot be held: it is answered at once then. */
static struct wait *hold(const struct request *r, struct posting *p, int64_t wait_ms)
{
	struct wait *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->held.end = wait_end;
	w->watcher.connection = r->connection;
	w->until_ms = clock_mono_ms() + wait_ms;
	memcpy(w->seen, p->tag, sizeof(w->seen));
	if (!watch_join_link(r->site->watch, &w->watcher, r->token, p) || !guests_hold(r->connection, &w->held)) {
		wait_end(&w->held);
		return NULL;
	}
	return w;
}

/* The request's wait. One that is not there yet begins only where nothing is new to the client. */
static struct wait *wait_of(const struct request *r, struct posting *p, int64_t wait_ms)
{
	struct held *held = guests_held(r->connection);
	const char *known = request_header(r->connection, "If-None-Match");

	if (held)
		return CONTAINER_OF(held, struct wait, held);
	if (wait_ms == 0 || p->final || (known && !etag_match_weak(known, p->tag)))
		return NULL;
	return hold(r, p, wait_ms);
}

static enum MHD_Result reply(struct MHD_Connection *c, const struct posting *p)
{
	if (etag_match_weak(request_header(c, "If-None-Match"), p->tag))
		return MHD_queue_response(c, MHD_HTTP_NOT_MODIFIED, p->unchanged);
	return MHD_queue_response(c, p->status, p->answer);
}

enum MHD_Result status_serve(const struct request *r)
{
	int64_t wait_ms;

	if (!wait_asked(r->connection, &wait_ms))
		return response_refuse(r->connection, MHD_HTTP_BAD_REQUEST, "bad_request",
				       "wait must be a number of seconds");
	for (;;) {
		_cleanup_(posting_releasep) struct posting *p = NULL;
		enum watch_verdict verdict;
		struct wait *w;
		int rc = board_get(r, BOARD_STATUS, &p);

		if (rc < 0)
			return response_error(r->connection, rc);
		w = wait_of(r, p, wait_ms);
		if (!w || p->final || strcmp(w->seen, p->tag) != 0)
			return reply(r->connection, p);
		verdict = watch_wait(&w->watcher, w->until_ms);
		if (verdict == WATCH_ASLEEP)
			return MHD_YES;
		/* What is news to others may be none to this client: then it goes on waiting. */
		if (verdict != WATCH_NEWS)
			return reply(r->connection, p);
	}
}
