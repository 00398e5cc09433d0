/* Each thing that can be done to a job: asked, noted, and checked for its answer. */
#include <stdlib.h>
#include <string.h>

#include "proto/base/clean.h"
#include "tests/harness/fault_life_priv.h"

#define PIECE_BYTES 24000 /* of an upload's writes */
#define GONE_TRIES  2000

/* ---- putting ---- */

void life__put_params(const struct life *l, const struct life_job *j, struct life_put_room *b,
		      struct raincheck_put *ret)
{
	life__fill(l, j, "payload", 0, b->payload, j->flavour->payload);
	*ret = (struct raincheck_put){
		.queue = j->queue,
		.payload = { b->payload, j->flavour->payload },
		.idempotency_key = j->key,
		.delay_ms = j->flavour->delay_ms,
		.has_result_ttl_ms = j->flavour->fleeting,
		.result_ttl_ms = 1,
		.backoff = { .has_base_ms = true, .base_ms = 0 },
	};
	if (j->flavour->preview == 0)
		return;
	life__fill(l, j, "preview", 0, b->preview, j->flavour->preview);
	ret->preview = (struct raincheck_media){ "image/png", { b->preview, j->flavour->preview } };
}

/* Notes that a put is about to be asked. */
void life__begin_put(struct life *l, struct life_job *j)
{
	life__new_event(l, j, j->flavour->delay_ms ? LIFE_BIT(RAINCHECK_JOB_SCHEDULED) : LIFE_WAITING);
	if (j->flavour->preview > 0)
		life__new_artifact(l, j, "preview", j->flavour->preview);
}

/* Notes how it fared: the preview fares alike. */
bool life__end_put(struct life *l, struct life_job *j, int code, const struct raincheck_put_result *result)
{
	const struct raincheck_error *e = result && result->error ? result->error : raincheck_last_error(l->rc);
	bool ok = life__settle_as(l, j, &j->events[0].mark, code, e, "put");

	if (j->flavour->preview > 0)
		j->artifacts[0].bytes.versions[0] = j->events[0].mark;
	if (!ok || !result)
		return false;
	memcpy(j->id, result->id, sizeof(j->id));
	if (!result->created)
		life__wrong(l, j, "put: a new job is said to be known");
	return true;
}

bool life__put(struct life *l, struct life_job *j)
{
	_cleanup_free_ struct life_put_room *room = malloc(sizeof(*room));
	struct raincheck_put_result *result = NULL;
	struct raincheck_put params;
	bool ok;
	int rc;

	if (!room)
		abort();
	life__put_params(l, j, room, &params);
	life__begin_put(l, j);
	rc = raincheck_put(l->rc, &params, &result);
	ok = life__end_put(l, j, rc, result);
	raincheck_free(result);
	return ok;
}

/* ---- one step of one job ---- */

bool life__lease(struct life *l, struct life_job *j)
{
	const char *queue = j->queue;
	struct raincheck_lease params = { .queues = &queue, .queue_count = 1, .lease_ms = LIFE_LEASE_MS };
	struct raincheck_lease_result *result = NULL;
	struct life_event *e = life__new_event(l, j, LIFE_BIT(RAINCHECK_JOB_RUNNING));
	bool ok;
	int rc;

	rc = raincheck_lease(l->rc, &params, &result);
	ok = life__settle(l, j, &e->mark, rc, "lease");
	if (ok && (result->job_count != 1 || strcmp(result->jobs[0].id, j->id) != 0)) {
		life__wrong(l, j, "lease: %zu jobs, and not the one", result->job_count);
		ok = false;
	}
	if (ok) {
		memcpy(e->lease, result->jobs[0].lease, sizeof(e->lease));
		life__check_leased(l, j, &result->jobs[0]);
	}
	raincheck_free(result);
	return ok;
}

static bool extend(struct life *l, struct life_job *j)
{
	struct raincheck_extend_item item = {
		.id = j->id, .lease = life__lease_of(j), .has_progress = true, .progress = 0.5
	};
	struct raincheck_extend params = { .leases = &item, .lease_count = 1, .lease_ms = LIFE_LEASE_MS };
	struct raincheck_extend_result *result = NULL;
	struct life_mark mark = life__asked(l);
	bool ok;

	ok = life__settle(l, j, &mark, raincheck_extend(l->rc, &params, &result), "extend");
	if (ok && result->leases[0].status != RAINCHECK_EXTEND_OK)
		life__wrong(l, j, "extend: the lease is said to be over");
	raincheck_free(result);
	return ok;
}

static bool checkpoint(struct life *l, struct life_job *j)
{
	char data[LIFE_SMALL];
	struct raincheck_checkpoint params = { .id = j->id,
					       .lease = life__lease_of(j),
					       .data = { data, sizeof(data) } };
	struct life_mark *mark;

	life__fill(l, j, "checkpoint", j->checkpoint.count, data, sizeof(data));
	mark = life__new_version(l, &j->checkpoint);
	return life__settle(l, j, mark, raincheck_checkpoint(l->rc, &params), "checkpoint");
}

static bool artifact(struct life *l, struct life_job *j, const char *name, size_t size)
{
	const struct life_artifact *a = life__artifact_of(j, name);
	char data[LIFE_LARGE];
	struct raincheck_artifact_put params = { .id = j->id,
						 .lease = life__lease_of(j),
						 .name = name,
						 .content_type = "image/jpeg",
						 .data = { data, size } };
	struct raincheck_stored *stored = NULL;
	struct life_mark *mark;
	bool ok;

	life__fill(l, j, name, a ? a->bytes.count : 0, data, size);
	mark = life__new_artifact(l, j, name, size);
	ok = life__settle(l, j, mark, raincheck_artifact_put(l->rc, &params, &stored), name);
	raincheck_free(stored);
	return ok;
}

/* An answer that changes nothing durable. */
static bool said_yes(struct life *l, struct life_job *j, int code, const char *what)
{
	struct life_mark ignored = life__asked(l);

	return life__settle(l, j, &ignored, code, what);
}

static bool write_pieces(struct life *l, struct life_job *j, const char *token, const char *data, size_t size)
{
	for (size_t at = 0; at < size;) {
		size_t n = size - at < PIECE_BYTES ? size - at : PIECE_BYTES;
		struct raincheck_artifact_write params = { .upload = token,
							   .offset = (int64_t)at,
							   .data = { data + at, n } };
		struct raincheck_written *written = NULL;
		bool ok = said_yes(l, j, raincheck_artifact_write(l->rc, &params, &written), "artifact.write");

		raincheck_free(written);
		if (!ok)
			return false;
		at += n;
	}
	return true;
}

static bool upload(struct life *l, struct life_job *j, bool commit)
{
	struct raincheck_artifact_begin begin = { .id = j->id,
						  .lease = life__lease_of(j),
						  .name = commit ? "result" : "draft",
						  .content_type = "video/mp4" };
	struct raincheck_artifact_commit end = { 0 };
	struct raincheck_upload *begun = NULL;
	struct raincheck_stored *stored = NULL;
	struct life_mark *mark;
	char data[LIFE_LARGE];
	bool ok;

	life__fill(l, j, "result", 0, data, sizeof(data));
	ok = said_yes(l, j, raincheck_artifact_begin(l->rc, &begin, &begun), "artifact.begin") &&
	     write_pieces(l, j, begun->upload, data, sizeof(data));
	if (ok && commit) {
		end.upload = begun->upload;
		mark = life__new_artifact(l, j, "result", sizeof(data));
		ok = life__settle(l, j, mark, raincheck_artifact_commit(l->rc, &end, &stored), "artifact.commit");
	}
	raincheck_free(begun);
	raincheck_free(stored);
	return ok;
}

static bool look(struct life *l, struct life_job *j)
{
	struct raincheck_payload *payload = NULL;
	struct raincheck_job *job = NULL;
	bool ok;

	ok = said_yes(l, j, raincheck_get(l->rc, j->id, &job), "get") &&
	     said_yes(l, j, raincheck_payload(l->rc, j->id, &payload), "payload");
	raincheck_free(payload);
	raincheck_free(job);
	return ok;
}

static bool give_back(struct life *l, struct life_job *j)
{
	struct raincheck_release params = { .id = j->id, .lease = life__lease_of(j) };
	struct raincheck_release_result *result = NULL;
	struct life_event *e = life__new_event(l, j, LIFE_WAITING);
	bool ok;

	ok = life__settle(l, j, &e->mark, raincheck_release(l->rc, &params, &result), "release");
	raincheck_free(result);
	return ok;
}

static bool fail(struct life *l, struct life_job *j, bool for_good)
{
	struct raincheck_fail params = { .id = j->id,
					 .lease = life__lease_of(j),
					 .kind = for_good ? RAINCHECK_FAIL_REJECTED : RAINCHECK_FAIL_UNAVAILABLE,
					 .message = "it broke" };
	struct raincheck_fail_result *result = NULL;
	struct life_event *e = life__new_event(l, j, for_good ? LIFE_BIT(RAINCHECK_JOB_DEAD) : LIFE_WAITING);
	bool ok;

	ok = life__settle(l, j, &e->mark, raincheck_fail(l->rc, &params, &result), "fail");
	raincheck_free(result);
	return ok;
}

/* The job ends; its result, if it comes with the completion, fares alike. */
bool life__complete(struct life *l, struct life_job *j, size_t size)
{
	struct raincheck_complete params = { .id = j->id, .lease = life__lease_of(j), .call_ms = 10 };
	struct raincheck_complete_result *result = NULL;
	struct life_mark *bytes = NULL;
	struct life_event *e;
	char data[LIFE_LARGE];
	bool ok;

	if (size > 0) {
		life__fill(l, j, "result", 0, data, size);
		params.result = (struct raincheck_media){ "video/mp4", { data, size } };
		bytes = life__new_artifact(l, j, "result", size);
	}
	e = life__new_event(l, j, LIFE_BIT(RAINCHECK_JOB_SUCCEEDED));
	ok = life__settle(l, j, &e->mark, raincheck_complete(l->rc, &params, &result), "complete");
	if (bytes)
		*bytes = e->mark;
	raincheck_free(result);
	return ok;
}

typedef int (*change_fn)(struct raincheck *rc, const char *id, struct raincheck_change_result **ret);

static bool change(struct life *l, struct life_job *j, change_fn fn, uint32_t states, const char *what)
{
	struct raincheck_change_result *result = NULL;
	struct life_event *e = life__new_event(l, j, states);
	bool ok;

	ok = life__settle(l, j, &e->mark, fn(l->rc, j->id, &result), what);
	raincheck_free(result);
	return ok;
}

/* The artifacts of a job that has ended go by themselves. Where the disk fails they may stay. */
static bool until_gone(struct life *l, struct life_job *j)
{
	for (int i = 0; i < GONE_TRIES; i++) {
		struct raincheck_job *job = NULL;
		bool ok = said_yes(l, j, raincheck_get(l->rc, j->id, &job), "get");
		bool gone = ok && job->artifact_count == 0;

		raincheck_free(job);
		if (!ok || gone)
			return ok;
	}
	if (fault_met(l->fault) == 0)
		life__wrong(l, j, "its artifacts do not go");
	return true;
}

bool life__take_step(struct life *l, struct life_job *j, enum life_step step)
{
	switch (step) {
	case STEP_LEASE:
		return life__lease(l, j);
	case STEP_EXTEND:
		return extend(l, j);
	case STEP_CHECKPOINT:
		return checkpoint(l, j);
	case STEP_NOTE:
		return artifact(l, j, "note", LIFE_SMALL);
	case STEP_FILM:
		return artifact(l, j, "film", LIFE_LARGE);
	case STEP_UPLOAD:
	case STEP_ABANDON:
		return upload(l, j, step == STEP_UPLOAD);
	case STEP_LOOK:
		return look(l, j);
	case STEP_RELEASE:
		return give_back(l, j);
	case STEP_RETRY:
	case STEP_REJECT:
		return fail(l, j, step == STEP_REJECT);
	case STEP_COMPLETE:
		return life__complete(l, j, 0);
	case STEP_COMPLETE_SMALL:
		return life__complete(l, j, LIFE_SMALL);
	case STEP_COMPLETE_LARGE:
		return life__complete(l, j, LIFE_LARGE);
	case STEP_CANCEL:
		return change(l, j, raincheck_cancel, LIFE_BIT(RAINCHECK_JOB_CANCELED), "cancel");
	case STEP_AGAIN:
		return change(l, j, raincheck_retry, LIFE_WAITING, "retry");
	case STEP_ERASE:
		return change(l, j, raincheck_erase, LIFE_ERASED, "erase");
	case STEP_UNTIL_GONE:
		return until_gone(l, j);
	case STEP_END:
		break;
	}
	return false;
}
