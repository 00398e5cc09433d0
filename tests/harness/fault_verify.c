/* Holds a life against what a broker says of it. */
#include <stdlib.h>
#include <string.h>

#include "proto/base/clean.h"
#include "tests/harness/fault_life_priv.h"

#define NONE (-1)

/* ---- what must be and what may be, at the cut ---- */

/* What was acknowledged after the cut is not. */
static void trim_mark(struct life_mark *m, uint64_t cut)
{
	if (m->at != LIFE_NEVER && m->at > cut)
		m->at = LIFE_NEVER;
}

static bool was_asked(const struct life_mark *m, uint64_t cut)
{
	return m->from == LIFE_NEVER || m->from < cut;
}

static void trim_bytes(struct life_bytes *b, uint64_t cut)
{
	while (b->count > 0 && !was_asked(&b->versions[b->count - 1], cut))
		b->count--;
	for (int i = 0; i < b->count; i++)
		trim_mark(&b->versions[i], cut);
}

/* Takes what was asked after the cut out of the log. */
static void trim(struct life_job *j, uint64_t cut)
{
	while (j->event_count > 0 && !was_asked(&j->events[j->event_count - 1].mark, cut))
		j->event_count--;
	for (int i = 0; i < j->event_count; i++)
		trim_mark(&j->events[i].mark, cut);
	trim_bytes(&j->checkpoint, cut);
	for (int i = 0; i < j->artifact_count; i++)
		trim_bytes(&j->artifacts[i].bytes, cut);
}

static bool is_owed(const struct life_mark *m)
{
	return m->at != LIFE_NEVER;
}

static bool may_be(const struct life_mark *m)
{
	return m->from != LIFE_NEVER;
}

/* The last event that must have happened; NONE where not even the put. */
static int last_owed(const struct life_job *j)
{
	int last = NONE;

	for (int i = 0; i < j->event_count; i++)
		if (is_owed(&j->events[i].mark))
			last = i;
	return last;
}

/* Whether any later event may have happened. */
static bool in_doubt(const struct life_job *j, int since)
{
	for (int i = since + 1; i < j->event_count; i++)
		if (may_be(&j->events[i].mark))
			return true;
	return false;
}

static uint32_t allowed_states(const struct life_job *j)
{
	int owed = last_owed(j);
	uint32_t states = j->events[owed].states;

	for (int i = owed + 1; i < j->event_count; i++)
		if (may_be(&j->events[i].mark))
			states |= j->events[i].states;
	return states;
}

static bool is_final(uint32_t states)
{
	return (states & ~((1u << RAINCHECK_JOB_SUCCEEDED) - 1)) != 0;
}

static bool may_have_ended(const struct life_job *j)
{
	return is_final(allowed_states(j));
}

static int last_owed_version(const struct life_bytes *b)
{
	int last = NONE;

	for (int i = 0; i < b->count; i++)
		if (is_owed(&b->versions[i]))
			last = i;
	return last;
}

/* Whether the bytes are those of a version that may be there. */
static bool is_some_version(const struct life *l, const struct life_job *j, const char *what,
			    const struct life_bytes *b, const size_t *sizes, struct raincheck_bytes found)
{
	_cleanup_free_ char *expected = malloc(found.size + 1);
	int owed = last_owed_version(b);

	if (!expected)
		abort();
	for (int i = 0; i < b->count; i++) {
		if (i < owed || !may_be(&b->versions[i]) || (sizes && sizes[i] != found.size))
			continue;
		life__fill(l, j, what, i, expected, found.size);
		if (memcmp(expected, found.data, found.size) == 0)
			return true;
	}
	return false;
}

/* ---- what is there ---- */

static void check_payload_bytes(struct life *l, const struct life_job *j, struct raincheck_bytes found)
{
	_cleanup_free_ char *expected = malloc(found.size + 1);

	if (!expected)
		abort();
	life__fill(l, j, "payload", 0, expected, found.size);
	if (found.size != j->flavour->payload || memcmp(expected, found.data, found.size) != 0)
		life__wrong(l, j, "its payload is another, of %zu bytes", found.size);
}

void life__check_leased(struct life *l, const struct life_job *j, const struct raincheck_leased_job *leased)
{
	check_payload_bytes(l, j, leased->payload);
	if (leased->has_checkpoint) {
		if (!is_some_version(l, j, "checkpoint", &j->checkpoint, NULL, leased->checkpoint))
			life__wrong(l, j, "its checkpoint is another");
	} else if (last_owed_version(&j->checkpoint) != NONE) {
		life__wrong(l, j, "its checkpoint is lost");
	}
}

static void check_payload(struct life *l, const struct life_job *j)
{
	struct raincheck_payload *payload = NULL;

	if (raincheck_payload(l->rc, j->id, &payload) < 0)
		life__wrong(l, j, "its payload is lost: %s", raincheck_last_error(l->rc)->message);
	else
		check_payload_bytes(l, j, payload->data);
	raincheck_free(payload);
}

static const struct life_artifact *known_artifact(const struct life_job *j, const char *name)
{
	for (int i = 0; i < j->artifact_count; i++)
		if (strcmp(j->artifacts[i].name, name) == 0)
			return &j->artifacts[i];
	return NULL;
}

static bool lists(const struct raincheck_job *job, const char *name)
{
	for (size_t i = 0; i < job->artifact_count; i++)
		if (strcmp(job->artifacts[i].name, name) == 0)
			return true;
	return false;
}

/* An artifact that is listed. may_go: retention may take it at any moment. */
static void check_artifact_bytes(struct life *l, const struct life_job *j, const struct life_artifact *a, bool may_go)
{
	struct raincheck_artifact_read read = { .id = j->id, .name = a->name };
	struct raincheck_artifact_data *data = NULL;
	int rc = raincheck_artifact_read(l->rc, &read, &data);

	if (rc == 0 && !is_some_version(l, j, a->name, &a->bytes, a->sizes, data->data))
		life__wrong(l, j, "its artifact %s is another, of %zu bytes", a->name, data->data.size);
	else if (rc < 0 && !(may_go && (rc == RAINCHECK_EGONE || rc == RAINCHECK_ENOT_FOUND)))
		life__wrong(l, j, "its artifact %s is listed and not there: %s", a->name,
			    raincheck_last_error(l->rc)->message);
	raincheck_free(data);
}

static void check_artifacts(struct life *l, const struct life_job *j, const struct raincheck_job *job)
{
	bool may_go = (j->flavour->fleeting || l->forgetful) && may_have_ended(j);

	for (size_t i = 0; i < job->artifact_count; i++)
		if (!known_artifact(j, job->artifacts[i].name))
			life__wrong(l, j, "it has an artifact %s that was never committed", job->artifacts[i].name);
	for (int i = 0; i < j->artifact_count; i++) {
		const struct life_artifact *a = &j->artifacts[i];

		if (lists(job, a->name))
			check_artifact_bytes(l, j, a, may_go);
		else if (last_owed_version(&a->bytes) != NONE && !may_go)
			life__wrong(l, j, "its artifact %s is lost", a->name);
	}
}

/* From now on it is one that was acknowledged. */
static void note_put(struct life_job *j, const char *id)
{
	const struct life_mark mark = { .from = 0, .at = 0 };

	memcpy(j->id, id, sizeof(j->id));
	j->events[0].mark = mark;
	for (int i = 0; i < j->artifact_count; i++)
		if (strcmp(j->artifacts[i].name, "preview") == 0)
			j->artifacts[i].bytes.versions[0] = mark;
}

/* Putting again by the key finds the job; where there must be none, it makes one. */
static void check_key(struct life *l, struct life_job *j, bool owed)
{
	_cleanup_free_ struct life_put_room *room = malloc(sizeof(*room));
	struct raincheck_put_result *result = NULL;
	struct raincheck_put params;

	if (!room)
		abort();
	life__put_params(l, j, room, &params);
	if (raincheck_put(l->rc, &params, &result) < 0)
		life__wrong(l, j, "cannot be put again: %s: %s",
			    raincheck_error_name(raincheck_last_error(l->rc)->code),
			    raincheck_last_error(l->rc)->message);
	else if (owed && (result->created || strcmp(result->id, j->id) != 0))
		life__wrong(l, j, "put again it is another job, %s", result->id);
	else if (!result->created && !may_be(&j->events[0].mark))
		life__wrong(l, j, "it was refused, and is there: %s", result->id);
	else if (!owed)
		note_put(j, result->id);
	raincheck_free(result);
}

/* ---- what can still be done with it ---- */

static void check_lease_over(struct life *l, const struct life_job *j, const char *lease)
{
	struct raincheck_complete params = { .id = j->id, .lease = lease };
	struct raincheck_complete_result *result = NULL;
	int rc = raincheck_complete(l->rc, &params, &result);
	bool forgotten = l->forgetful && (rc == RAINCHECK_EGONE || rc == RAINCHECK_ENOT_FOUND);

	if (rc != RAINCHECK_ELEASE_LOST && !forgotten)
		life__wrong(l, j, "its lease from before it ended: %s", rc == 0 ? "taken" : raincheck_error_name(rc));
	raincheck_free(result);
}

static const char *last_lease(const struct life_job *j)
{
	for (int i = j->event_count - 1; i >= 0; i--)
		if (j->events[i].lease[0])
			return j->events[i].lease;
	return NULL;
}

static void go_on(struct life *l, struct life_job *j, const struct raincheck_job *job)
{
	int owed = last_owed(j);

	switch (job->state) {
	case RAINCHECK_JOB_RUNNING:
		/* A lease whose answer never came is nobody's until it runs out. */
		if (in_doubt(j, owed) || !j->events[owed].lease[0])
			return;
		if (!life__complete(l, j, 0))
			life__wrong(l, j, "its lease is not honoured");
		break;
	case RAINCHECK_JOB_READY:
		if (!life__lease(l, j) || !life__complete(l, j, 0))
			life__wrong(l, j, "it is ready and cannot be worked on");
		break;
	case RAINCHECK_JOB_SCHEDULED:
		break;
	default:
		if (last_lease(j))
			check_lease_over(l, j, last_lease(j));
	}
}

static void verify_job(struct life *l, struct life_job *j)
{
	struct raincheck_job *job = NULL;
	bool ended;
	int rc;

	if (j->event_count == 0)
		return;
	if (last_owed(j) == NONE) {
		check_key(l, j, false);
		return;
	}
	ended = may_have_ended(j);
	rc = raincheck_get(l->rc, j->id, &job);
	if (rc == RAINCHECK_EGONE && (allowed_states(j) & LIFE_ERASED))
		return;
	if (rc < 0 && l->forgetful && ended && (rc == RAINCHECK_EGONE || rc == RAINCHECK_ENOT_FOUND))
		return;
	if (rc < 0) {
		life__wrong(l, j, "it is lost: %s", raincheck_last_error(l->rc)->message);
		return;
	}
	if (!(allowed_states(j) & (1u << job->state)))
		life__wrong(l, j, "it is %s", raincheck_job_state_name(job->state));
	check_artifacts(l, j, job);
	if (!(l->forgetful && ended)) {
		check_payload(l, j);
		check_key(l, j, true);
	}
	if (!l->wrong[0])
		go_on(l, j, job);
	raincheck_free(job);
}

void life_verify(struct life *l, uint64_t cut)
{
	l->lost = false;
	l->rc = fault_connect(l->fault);
	for (size_t i = 0; i < l->count; i++)
		trim(&l->jobs[i], cut);
	for (size_t i = 0; i < l->count && !l->wrong[0]; i++)
		verify_job(l, &l->jobs[i]);
	raincheck_close(l->rc, NULL, NULL);
	l->rc = NULL;
}
