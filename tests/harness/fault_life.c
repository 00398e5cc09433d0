#include "tests/harness/fault_life.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/clean.h"
#include "tests/harness/fault_life_priv.h"

#define BATCH 4

static const struct life_flavour flavours[] = {
	{ .payload = 20, .steps = { STEP_LEASE, STEP_EXTEND, STEP_CHECKPOINT, STEP_COMPLETE_SMALL } },
	{ .payload = 3000,
	  .preview = LIFE_SMALL,
	  .steps = { STEP_LOOK, STEP_LEASE, STEP_CHECKPOINT, STEP_RELEASE, STEP_LEASE, STEP_CHECKPOINT,
		     STEP_COMPLETE_LARGE } },
	{ .payload = 100,
	  .preview = LIFE_LARGE,
	  .steps = { STEP_NOTE, STEP_LEASE, STEP_FILM, STEP_UPLOAD, STEP_COMPLETE } },
	{ .payload = 60000, .steps = { STEP_LEASE, STEP_REJECT } },
	{ .payload = 50, .steps = { STEP_LEASE, STEP_CHECKPOINT, STEP_RETRY } },
	{ .payload = 50, .preview = LIFE_SMALL, .delay_ms = 86400000 },
	{ .payload = 50,
	  .preview = LIFE_LARGE,
	  .fleeting = true,
	  .steps = { STEP_LEASE, STEP_COMPLETE_LARGE, STEP_UNTIL_GONE } },
	{ .payload = 50, .steps = { STEP_LEASE, STEP_FILM, STEP_FILM, STEP_NOTE, STEP_NOTE, STEP_LOOK } },
	{ .payload = 50, .steps = { STEP_LEASE, STEP_ABANDON, STEP_UPLOAD } },
	{ .payload = 50 },
	{ .payload = 50, .steps = { STEP_LEASE, STEP_CHECKPOINT, STEP_CANCEL } },
	{ .payload = 50, .steps = { STEP_LEASE, STEP_REJECT, STEP_AGAIN, STEP_LEASE, STEP_COMPLETE_SMALL } },
	{ .payload = 3000, .preview = LIFE_LARGE, .steps = { STEP_LEASE, STEP_CHECKPOINT, STEP_FILM, STEP_ERASE } },
	{ .payload = 50, .batched = true },
	{ .payload = 5000, .batched = true },
	{ .payload = 50, .preview = LIFE_SMALL, .batched = true },
	{ .payload = 50, .preview = LIFE_LARGE, .batched = true },
};
_Static_assert(ARRAY_SIZE(flavours) <= LIFE_JOBS, "room for each");

/* ---- several at once ---- */

static bool put_batch(struct life *l, struct life_job **jobs)
{
	struct life_put_room *room = calloc(BATCH, sizeof(*room));
	struct raincheck_put_many_result *result = NULL;
	struct raincheck_put params[BATCH];
	bool ok = true;
	int rc;

	if (!room)
		abort();
	for (int i = 0; i < BATCH; i++) {
		life__put_params(l, jobs[i], &room[i], &params[i]);
		life__begin_put(l, jobs[i]);
	}
	rc = raincheck_put_many(l->rc, params, BATCH, &result);
	for (int i = 0; i < BATCH; i++) {
		const struct raincheck_put_result *one = result ? &result->jobs[i] : NULL;

		ok = life__end_put(l, jobs[i], one && one->error ? one->error->code : rc, one) && ok;
	}
	raincheck_free(result);
	free(room);
	return ok;
}

static bool lease_batch(struct life *l, struct life_job **jobs)
{
	const char *queues[BATCH];
	struct raincheck_lease params = {
		.queues = queues, .queue_count = BATCH, .max = BATCH, .lease_ms = LIFE_LEASE_MS
	};
	struct raincheck_lease_result *result = NULL;
	int rc, found = 0;

	for (int i = 0; i < BATCH; i++) {
		queues[i] = jobs[i]->queue;
		life__new_event(l, jobs[i], LIFE_BIT(RAINCHECK_JOB_RUNNING));
	}
	rc = raincheck_lease(l->rc, &params, &result);
	for (int i = 0; i < BATCH; i++) {
		struct life_event *e = &jobs[i]->events[jobs[i]->event_count - 1];

		if (!life__settle(l, jobs[i], &e->mark, rc, "lease"))
			continue;
		for (size_t k = 0; k < result->job_count; k++)
			if (strcmp(result->jobs[k].id, jobs[i]->id) == 0) {
				memcpy(e->lease, result->jobs[k].lease, sizeof(e->lease));
				life__check_leased(l, jobs[i], &result->jobs[k]);
				found++;
			}
	}
	if (rc == 0 && found != BATCH)
		life__wrong(l, jobs[0], "lease: %d jobs of %d", found, BATCH);
	raincheck_free(result);
	return rc == 0 && found == BATCH;
}

static void complete_batch(struct life *l, struct life_job **jobs)
{
	struct raincheck_complete params[BATCH];
	struct raincheck_complete_result *result = NULL;
	char data[BATCH][LIFE_SMALL];
	int rc;

	for (int i = 0; i < BATCH; i++) {
		struct life_job *j = jobs[i];

		life__fill(l, j, "result", 0, data[i], LIFE_SMALL);
		params[i] = (struct raincheck_complete){ .id = j->id,
							 .lease = life__lease_of(j),
							 .result = { "image/png", { data[i], LIFE_SMALL } } };
	}
	for (int i = 0; i < BATCH; i++) {
		life__new_artifact(l, jobs[i], "result", LIFE_SMALL);
		life__new_event(l, jobs[i], LIFE_BIT(RAINCHECK_JOB_SUCCEEDED));
	}
	rc = raincheck_complete_many(l->rc, params, BATCH, &result);
	for (int i = 0; i < BATCH; i++) {
		const struct raincheck_error *e = result ? result->jobs[i].error : NULL;
		struct life_mark *mark = &jobs[i]->events[jobs[i]->event_count - 1].mark;

		life__settle_as(l, jobs[i], mark, e ? e->code : rc, e ? e : raincheck_last_error(l->rc),
				"complete_many");
		life__artifact_of(jobs[i], "result")->bytes.versions[0] = *mark;
	}
	raincheck_free(result);
}

/* ---- the whole ---- */

static struct life_job *new_job(struct life *l, const struct life_flavour *flavour)
{
	struct life_job *j = &l->jobs[l->count];

	j->flavour = flavour;
	j->number = (unsigned)l->count++;
	snprintf(j->queue, sizeof(j->queue), "life-%u-%u", l->number, j->number);
	snprintf(j->key, sizeof(j->key), "key-%u-%u", l->number, j->number);
	return j;
}

void life_init(struct life *l, struct fault *f, unsigned number)
{
	memset(l, 0, sizeof(*l));
	l->fault = f;
	l->number = number;
}

void life_run(struct life *l)
{
	struct life_job *batch[BATCH];
	int batched = 0;

	l->rc = fault_connect(l->fault);
	for (size_t i = 0; i < ARRAY_SIZE(flavours) && !l->lost; i++) {
		struct life_job *j = new_job(l, &flavours[i]);
		bool ok;

		if (flavours[i].batched) {
			batch[batched++] = j;
			continue;
		}
		ok = life__put(l, j);
		for (const enum life_step *s = flavours[i].steps; ok && *s != STEP_END; s++)
			ok = life__take_step(l, j, *s);
	}
	if (!l->lost && batched == BATCH && put_batch(l, batch) && lease_batch(l, batch))
		complete_batch(l, batch);
	raincheck_close(l->rc, NULL, NULL);
	l->rc = NULL;
}

bool life_try(struct fault *f, unsigned number)
{
	struct life l;
	bool ok;

	life_init(&l, f, number);
	l.rc = fault_connect(f);
	ok = life__put(&l, new_job(&l, &flavours[0]));
	for (const enum life_step *s = flavours[0].steps; ok && *s != STEP_END; s++)
		ok = life__take_step(&l, &l.jobs[0], *s);
	raincheck_close(l.rc, NULL, NULL);
	return ok && !l.wrong[0];
}
