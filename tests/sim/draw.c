/* Chance itself (splitmix64), and what a batch and a worker's or producer's command is drawn from. Names, keys and
 * groups are few, so that they meet; leases are mostly right, but also stale, another job's, or none at all.
 */
#include "tests/sim/draw.h"

#include <stdlib.h>
#include <string.h>

#include "proto/base/clean.h"
#include "tests/sim/texts.h"

#define SESSIONS 4
#define YEAR_MS	 INT64_C(31536000000) /* some moments are centuries away: the clock does not go there */

/* ---- numbers ---- */

static uint64_t mix(uint64_t z)
{
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

void draw_begin(struct sim *s, int index)
{
	s->index = index;
	s->rng = mix(mix(s->seed + 0x9e3779b97f4a7c15u) + s->batch * 64 + (uint64_t)(index + 1));
}

uint64_t draw_number(struct sim *s)
{
	return mix(s->rng += 0x9e3779b97f4a7c15u);
}

int64_t draw_below(struct sim *s, int64_t n)
{
	return (int64_t)(draw_number(s) % (uint64_t)n);
}

bool draw_one_in(struct sim *s, int64_t n)
{
	return draw_below(s, n) == 0;
}

void draw_bytes(struct sim *s, void *ret, size_t size)
{
	uint8_t *p = ret;

	for (size_t i = 0; i < size; i++)
		p[i] = (uint8_t)draw_number(s);
}

#define PICK(s, array) (array)[draw_below(s, (int64_t)ARRAY_SIZE(array))]

/* ---- runs and batches ---- */

/* Now and then there are so many jobs that neither what is due nor a change by filter is done with in one batch. */
static void crowd(struct profile *p)
{
	p->crowd = CROWD;
	p->batch = BATCH_MAX;
	p->tempo = 50;
	p->tight = false;
}

struct profile draw_profile(struct sim *s)
{
	static const int crowds[] = { 20, 60, 60, 120, 120, 250 };
	static const int64_t tempos[] = { 50, 2000, 2000, 30000, 400000 };
	static const int64_t result_ttls[] = { 0, 1000, 20000, 20000, 200000, 604800000 };
	static const int64_t more[] = { 0, 1000, 30000, 30000, 2592000000 };
	static const int64_t tombstones[] = { 0, 500, 20000, 20000, 100000 };
	struct profile p;

	draw_begin(s, -1);
	p.queues = 1 + (int)draw_below(s, 4);
	p.crowd = PICK(s, crowds);
	p.batch = draw_one_in(s, 3) ? BATCH_MAX : 1 + (int)draw_below(s, 6);
	p.tempo = PICK(s, tempos);
	p.faults_in = draw_one_in(s, 4) ? 6 : 20 + (int)draw_below(s, 40);
	p.tight = draw_one_in(s, 3);
	p.answer_bytes = draw_one_in(s, 3) ? 6000 + draw_below(s, 30000) : 0;
	p.result_ttl_ms = PICK(s, result_ttls);
	p.record_ttl_ms = p.result_ttl_ms + PICK(s, more);
	p.tombstone_ttl_ms = PICK(s, tombstones);
	if (draw_one_in(s, 8))
		crowd(&p);
	return p;
}

int64_t draw_time(struct sim *s)
{
	int64_t next = model_next_ms(s->model);
	int64_t tempo = s->profile.tempo;
	bool crowded = s->model->jobs_count > (size_t)s->profile.crowd;

	switch (draw_below(s, crowded ? 12 : 24)) {
	case 0:
		/* To the moment itself, and just before it. */
		return next > s->now_ms && next < s->now_ms + YEAR_MS ? next - s->now_ms - draw_below(s, 2) : 0;
	case 1:
		return draw_below(s, tempo * 20);
	case 2:
		return draw_one_in(s, 8) ? draw_below(s, 1 + s->profile.record_ttl_ms + tempo * 2000) : 0;
	case 3:
		return draw_one_in(s, 3) ? -draw_below(s, tempo * (draw_one_in(s, 4) ? 50 : 1)) : 0;
	case 4:
	case 5:
	case 6:
		return draw_below(s, tempo);
	case 7:
	case 8:
	case 9:
		return draw_below(s, 3);
	default:
		return 0;
	}
}

enum fate draw_fate(struct sim *s)
{
	static const enum fate others[] = { FATE_LOST,	 FATE_UNSURE, FATE_LOST,  FATE_BREAKS,	    FATE_BREAKS,
					    FATE_BREAKS, FATE_CRASH,  FATE_CRASH, FATE_CRASH_AFTER, FATE_RESTART };

	return draw_one_in(s, s->profile.faults_in) ? PICK(s, others) : FATE_COMMIT;
}

int draw_batch_size(struct sim *s)
{
	if (draw_one_in(s, 20))
		return 0;
	return draw_one_in(s, 2) ? 1 : 1 + (int)draw_below(s, s->profile.batch);
}

/* ---- jobs and leases ---- */

struct uuid draw_id(struct sim *s)
{
	struct uuid id;

	if (s->model->jobs_count > 0 && !draw_one_in(s, 40))
		return s->model->jobs[draw_below(s, (int64_t)s->model->jobs_count)].id;
	if (s->former_count >= FORMER && draw_one_in(s, 2))
		return s->former[draw_below(s, FORMER)];
	draw_bytes(s, &id, sizeof(id));
	return id;
}

/* A job to work on: mostly one that runs. */
static struct uuid draw_leased(struct sim *s, struct token *ret_lease)
{
	struct uuid id = draw_id(s);
	const struct model_job *job = model_find(s->model, &id);

	for (int i = 0; i < 12 && !(job && !job->gone && job->state == JOB_RUNNING); i++) {
		id = draw_id(s);
		job = model_find(s->model, &id);
	}
	memset(ret_lease, 0, sizeof(*ret_lease));
	if (job)
		*ret_lease = job->lease;
	switch (draw_below(s, 30)) {
	case 0: /* none */
		memset(ret_lease, 0, sizeof(*ret_lease));
		break;
	case 1: /* nearly */
		ret_lease->bytes[draw_below(s, 16)] ^= (uint8_t)(1 << draw_below(s, 8));
		break;
	case 2: /* one that was given to somebody once */
	case 3:
		*ret_lease = s->seen[draw_below(s, TOKENS)];
		break;
	case 4: { /* another job's */
		struct uuid other = draw_id(s);
		const struct model_job *owner = model_find(s->model, &other);

		if (owner)
			*ret_lease = owner->lease;
		break;
	}
	case 5: /* its own, of an earlier attempt */
		if (job)
			*ret_lease = job->former_lease;
		break;
	default:
		break;
	}
	return id;
}

static uint64_t draw_session(struct sim *s)
{
	return 1 + (uint64_t)draw_below(s, SESSIONS);
}

struct slice draw_queue_name(struct sim *s)
{
	if (draw_one_in(s, 20))
		return slice_str("_webhooks");
	if (draw_one_in(s, 40))
		return slice_str(draw_one_in(s, 2) ? "_internal" : "nobody-has-put-here");
	return texts_queue((int)draw_below(s, s->profile.queues));
}

/* ---- producers ---- */

static void draw_times(struct sim *s, struct msg_job_put *put)
{
	static const int64_t delays[] = { 0, 1, 500, 20000, 3600000, 3153600000000 };
	static const int64_t timeouts[] = { 1, 200, 5000, 60000, 3153600000000 };

	if (draw_one_in(s, 5)) {
		put->has_delay_ms = true;
		put->delay_ms = PICK(s, delays);
	} else if (draw_one_in(s, 12)) {
		put->has_run_at_ms = true;
		put->run_at_ms = draw_one_in(s, 20) ? 253402300799999 : s->now_ms - 2000 + draw_below(s, 6000);
	}
	put->has_start_deadline_ms = draw_one_in(s, 8);
	put->start_deadline_ms = 1 + draw_below(s, PICK(s, timeouts));
	put->has_deadline_ms = draw_one_in(s, 8);
	put->deadline_ms = 1 + draw_below(s, PICK(s, timeouts));
	put->has_attempt_timeout_ms = draw_one_in(s, 8);
	put->attempt_timeout_ms = PICK(s, timeouts);
}

struct msg_backoff draw_backoff(struct sim *s)
{
	static const int64_t bases[] = { 0, 1, 700, 1000, 86400000 }, most[] = { 0, 5000, 300000, 3153600000000 };
	static const double factors[] = { 1, 1.5, 2, 10, 100 }, jitters[] = { 0, 0, 0, 0, 0.25, 1 };
	struct msg_backoff b = { .has_jitter = !draw_one_in(s, 12) };

	b.has_base_ms = !draw_one_in(s, 4);
	b.base_ms = PICK(s, bases);
	b.has_max_ms = draw_one_in(s, 4);
	b.max_ms = PICK(s, most);
	b.has_factor = draw_one_in(s, 2);
	b.factor = PICK(s, factors);
	b.jitter = PICK(s, jitters);
	return b;
}

static void draw_words(struct sim *s, struct msg_job_put *put)
{
	put->has_content_type = draw_one_in(s, 3);
	put->content_type = slice_str("application/json");
	put->has_group = draw_one_in(s, 2);
	put->group = texts_group((int)draw_below(s, TEXTS_GROUPS));
	put->has_title = draw_one_in(s, 6);
	put->title = texts_title((int)draw_below(s, TEXTS_TITLES));
	put->has_callback_url = draw_one_in(s, 10);
	put->callback_url = slice_str("https://example.test/done");
	put->has_traceparent = draw_one_in(s, 10);
	put->traceparent = slice_str("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
	put->has_metadata = draw_one_in(s, 6);
	put->metadata = texts_metadata(&put->metadata_count);
	/* What is not given is not there. */
	if (!put->has_content_type)
		put->content_type = slice_of(NULL, 0);
	if (!put->has_group)
		put->group = slice_of(NULL, 0);
	if (!put->has_title)
		put->title = slice_of(NULL, 0);
	if (!put->has_callback_url)
		put->callback_url = slice_of(NULL, 0);
	if (!put->has_traceparent)
		put->traceparent = slice_of(NULL, 0);
	if (!put->has_metadata)
		put->metadata_count = 0;
}

static void draw_put_item(struct sim *s, struct put_item *item)
{
	static const int64_t ttls[] = { 0, 1000, 60000, 315360000000 };
	struct msg_job_put *put = &item->put;

	memset(item, 0, sizeof(*item));
	put->has_queue = put->has_payload = true;
	put->queue = draw_queue_name(s);
	put->payload = texts_payload((int)draw_below(s, TEXTS_PAYLOADS));
	put->has_priority = !draw_one_in(s, 3);
	put->priority = draw_one_in(s, 2) ? 5 : draw_below(s, 10);
	put->has_max_attempts = draw_one_in(s, 2);
	put->max_attempts = 1 + draw_below(s, 4);
	put->has_backoff = !draw_one_in(s, 5);
	put->backoff = draw_backoff(s);
	put->has_result_ttl_ms = draw_one_in(s, 6);
	put->result_ttl_ms = PICK(s, ttls);
	put->has_idempotency_key = draw_one_in(s, 4);
	if (put->has_idempotency_key)
		put->idempotency_key = texts_key((int)draw_below(s, TEXTS_KEYS));
	draw_times(s, put);
	draw_words(s, put);
	put->has_preview = draw_one_in(s, 8);
	if (!put->has_preview)
		return;
	item->preview = draw_staged(s, true);
	put->preview = (struct msg_media){ .has_content_type = true,
					   .content_type = item->preview.content_type,
					   .has_data = true,
					   .data = item->preview.data };
}

static void draw_put(struct sim *s, struct params *p)
{
	bool crowds = s->profile.crowd >= CROWD;

	p->put = (struct command_put){ .items = p->puts, .count = 1, .many = crowds || draw_one_in(s, 8) };
	if (p->put.many)
		p->put.count = crowds ? ITEMS_MAX : (size_t)draw_below(s, ITEMS_MAX + 1);
	for (size_t i = 0; i < p->put.count; i++) {
		draw_put_item(s, &p->puts[i]);
		if (p->put.many && draw_one_in(s, 20))
			error_set(&p->puts[i].error, ERR_TOO_LARGE, "payload", "it is larger than allowed");
	}
}

/* ---- workers ---- */

static int64_t draw_lease_ms(struct sim *s)
{
	static const int64_t most[] = { 1, 50, 2000, 30000, 86400000 };

	return 1 + draw_below(s, PICK(s, most));
}

static void draw_lease(struct sim *s, struct params *p)
{
	static const int64_t waits[] = { 0, 10, 1000, 60000 };
	struct msg_job_lease *l = &p->lease;

	*l = (struct msg_job_lease){ .has_queues = true, .queues = p->names };
	l->queues_count = draw_one_in(s, 2) ? 1 : 1 + (size_t)draw_below(s, 4);
	for (size_t i = 0; i < l->queues_count; i++)
		p->names[i] = draw_queue_name(s);
	l->has_max = draw_one_in(s, 2);
	l->max = 1 + draw_below(s, draw_one_in(s, 10) ? 100 : 6);
	l->has_lease_ms = !draw_one_in(s, 6);
	l->lease_ms = draw_lease_ms(s);
	l->has_wait_ms = draw_one_in(s, 3);
	l->wait_ms = s->model->parked_count < KEPT_MAX ? PICK(s, waits) : 0;
}

static void draw_extend(struct sim *s, struct params *p)
{
	p->extend = (struct msg_job_extend){ .has_leases = true, .leases = p->extends };
	p->extend.leases_count = (size_t)draw_below(s, draw_one_in(s, 4) ? ITEMS_MAX + 1 : 3);
	p->extend.has_lease_ms = !draw_one_in(s, 4);
	p->extend.lease_ms = draw_lease_ms(s);
	for (size_t i = 0; i < p->extend.leases_count; i++) {
		struct msg_extend_item *item = &p->extends[i];

		*item = (struct msg_extend_item){ .has_id = true, .has_lease = true };
		item->id = draw_leased(s, &item->lease);
		item->has_progress = draw_one_in(s, 3);
		item->progress = (double)draw_below(s, 1001) / 1000;
		item->has_note = draw_one_in(s, 3);
		item->note = texts_note((int)draw_below(s, TEXTS_NOTES));
	}
}

static void draw_complete(struct sim *s, struct params *p)
{
	p->complete = (struct command_complete){ .items = p->completes, .count = 1, .many = draw_one_in(s, 6) };
	if (p->complete.many)
		p->complete.count = (size_t)draw_below(s, ITEMS_MAX + 1);
	for (size_t i = 0; i < p->complete.count; i++) {
		struct complete_item *item = &p->completes[i];

		memset(item, 0, sizeof(*item));
		item->id = draw_leased(s, &item->lease);
		item->has_result = draw_one_in(s, 2);
		if (item->has_result)
			item->result = draw_staged(s, false);
		item->has_call_ms = draw_one_in(s, 2);
		item->call_ms = draw_below(s, 100000);
	}
}

static void draw_fail(struct sim *s, struct params *p)
{
	static const int64_t after[] = { 0, 1, 900, 5000, 3600000, 90000000 };
	struct msg_job_fail *f = &p->fail;

	*f = (struct msg_job_fail){ .has_id = true, .has_lease = true, .has_kind = true, .has_message = true };
	f->id = draw_leased(s, &f->lease);
	f->kind = (int)draw_below(s, FAIL_KINDS);
	f->message = texts_error((int)draw_below(s, TEXTS_ERRORS));
	f->has_retry_after_ms = draw_one_in(s, 3);
	f->retry_after_ms = PICK(s, after);
	f->has_call_ms = draw_one_in(s, 3);
	f->call_ms = draw_below(s, 100000);
}

static void draw_release(struct sim *s, struct params *p)
{
	static const int64_t delays[] = { 0, 1, 3000, 3153600000000 };

	p->release = (struct msg_job_release){ .has_id = true, .has_lease = true, .has_delay_ms = draw_one_in(s, 2) };
	p->release.id = draw_leased(s, &p->release.lease);
	p->release.delay_ms = PICK(s, delays);
}

static void draw_checkpoint(struct sim *s, struct params *p)
{
	p->checkpoint = (struct msg_job_checkpoint){ .has_id = true, .has_lease = true, .has_data = true };
	p->checkpoint.id = draw_leased(s, &p->checkpoint.lease);
	p->checkpoint.data = texts_checkpoint((int)draw_below(s, TEXTS_CHECKPOINTS));
}

/* The oldest that nobody has leased: now and then it gets as many artifacts as a job may have. */
static struct uuid oldest_unleased(struct sim *s)
{
	for (size_t i = 0; i < s->model->jobs_count; i++)
		if (!s->model->jobs[i].gone && s->model->jobs[i].started_at_ms == 0)
			return s->model->jobs[i].id;
	return draw_id(s);
}

/* One that the job has not yet; never "result", so that the worker's may be the one too many. */
static struct slice next_name(struct sim *s, const struct uuid *id)
{
	const struct model_artifact *list[TEXTS_ARTIFACTS];
	size_t count = model_artifacts(s->model, id, list, TEXTS_ARTIFACTS - 2);

	return texts_artifact(1 + (int)count);
}

static void draw_attach(struct sim *s, struct params *p)
{
	bool hoards = draw_one_in(s, 3);

	memset(&p->attach, 0, sizeof(p->attach));
	p->attach.has_lease = !hoards && !draw_one_in(s, 3);
	if (p->attach.has_lease)
		p->attach.id = draw_leased(s, &p->attach.lease);
	else
		p->attach.id = hoards ? oldest_unleased(s) : draw_id(s);
	p->attach.name = hoards ? next_name(s, &p->attach.id) : texts_artifact((int)draw_below(s, 3));
	p->attach.staged = draw_staged(s, false);
}

/* ---- one of them ---- */

static const struct {
	enum command_kind kind;
	int weight;
} weights[] = {
	{ COMMAND_PUT, 24 },	 { COMMAND_LEASE, 20 },	      { COMMAND_EXTEND, 7 },  { COMMAND_CHECKPOINT, 4 },
	{ COMMAND_COMPLETE, 9 }, { COMMAND_FAIL, 9 },	      { COMMAND_RELEASE, 4 }, { COMMAND_ATTACH, 6 },
	{ COMMAND_CHANGE, 8 },	 { COMMAND_QUEUE, 3 },	      { COMMAND_LIMIT, 2 },   { COMMAND_LINK, 2 },
	{ COMMAND_FORGET, 1 },	 { COMMAND_LEASE_CANCEL, 1 },
};

static enum command_kind draw_kind(struct sim *s)
{
	int64_t at = draw_below(s, 100);
	size_t i = 0;

	for (; at >= weights[i].weight; i++)
		at -= weights[i].weight;
	return weights[i].kind;
}

static void draw_params(struct sim *s, enum command_kind kind, struct params *p)
{
	switch (kind) {
	case COMMAND_PUT:
		draw_put(s, p);
		break;
	case COMMAND_LEASE:
		draw_lease(s, p);
		break;
	case COMMAND_EXTEND:
		draw_extend(s, p);
		break;
	case COMMAND_CHECKPOINT:
		draw_checkpoint(s, p);
		break;
	case COMMAND_COMPLETE:
		draw_complete(s, p);
		break;
	case COMMAND_FAIL:
		draw_fail(s, p);
		break;
	case COMMAND_RELEASE:
		draw_release(s, p);
		break;
	case COMMAND_ATTACH:
		draw_attach(s, p);
		break;
	case COMMAND_CHANGE:
		draw_change(s, &p->change);
		break;
	case COMMAND_QUEUE:
		draw_queue(s, p);
		break;
	case COMMAND_LIMIT:
		draw_limit(s, p);
		break;
	case COMMAND_LINK:
		p->link = (struct command_link){ .id = draw_id(s), .revoke = draw_one_in(s, 3) };
		break;
	default:
		break;
	}
}

void draw_command(struct sim *s, struct slot *slot)
{
	struct params *p = &slot->asked_params;
	enum command_kind kind = draw_kind(s);
	int64_t jobs = (int64_t)s->model->jobs_count;

	if (s->profile.crowd >= CROWD && jobs < CROWD / 2 && draw_one_in(s, 2))
		kind = COMMAND_PUT;
	if (kind == COMMAND_PUT && jobs > s->profile.crowd && !draw_one_in(s, 8))
		kind = COMMAND_LEASE;
	slot->asked.cmd = (struct command){ .kind = kind, .params = p, .session = draw_session(s) };
	draw_params(s, kind, p);
}
