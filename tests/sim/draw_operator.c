/* What operators ask for: changes of jobs by id and by filter, settings of queues; and bytes for artifacts. */
#include <stdlib.h>
#include <string.h>

#include "proto/base/clean.h"
#include "tests/sim/draw.h"
#include "tests/sim/texts.h"

#define PICK(s, array) (array)[draw_below(s, (int64_t)ARRAY_SIZE(array))]

/* ---- changes ---- */

struct msg_job_filter draw_filter(struct sim *s)
{
	struct msg_job_filter f = { .has_queue = draw_one_in(s, 2), .has_group = draw_one_in(s, 3) };

	if (draw_one_in(s, 8))
		return (struct msg_job_filter){ .has_all = true, .all = true };
	f.queue = f.has_queue ? draw_queue_name(s) : slice_of(NULL, 0);
	f.group = f.has_group ? texts_group((int)draw_below(s, TEXTS_GROUPS)) : slice_of(NULL, 0);
	f.has_state = draw_one_in(s, 2);
	f.state = f.has_state ? (int)draw_below(s, JOB_STATES) : 0;
	f.has_before_at_ms = draw_one_in(s, 3);
	if (f.has_before_at_ms) {
		struct uuid id = draw_id(s);
		const struct model_job *job = model_find(s->model, &id);

		/* The very moment of a job, or the next one. */
		f.before_at_ms = (job ? job->created_at_ms : s->now_ms) + draw_below(s, 2);
	}
	f.all = f.has_all = !f.has_queue && !f.has_group && !f.has_state && !f.has_before_at_ms;
	return f;
}

static void draw_cursor(struct sim *s, struct command_change *c)
{
	const struct cursor *from = &s->cursors[draw_below(s, (int64_t)s->cursors_count)];

	c->action = from->action;
	c->filter = from->filter;
	c->has_after = true;
	c->after = from->id;
}

void draw_change(struct sim *s, struct command_change *c)
{
	static const int64_t limits[] = { 0, 0, 0, 1, 3, 1000 };

	memset(c, 0, sizeof(*c));
	c->action = (enum change_action)draw_below(s, CHANGE_PURGE);
	if (!draw_one_in(s, s->profile.crowd >= CROWD ? 2 : 5) || s->model->sweeps_count >= KEPT_MAX) {
		c->has_id = true;
		c->id = draw_id(s);
		return;
	}
	c->limit = PICK(s, limits);
	if (s->cursors_count > 0 && draw_one_in(s, 3)) {
		draw_cursor(s, c);
		return;
	}
	c->filter = draw_filter(s);
	/* What a front would let through: see job.cancel and job.retry. */
	if (c->action == CHANGE_RETRY && c->filter.has_state)
		c->filter.state = JOB_DEAD;
	if (c->action == CHANGE_CANCEL && c->filter.has_state)
		c->filter.state = (int)draw_below(s, JOB_RUNNING + 1);
	if (c->action == CHANGE_REDELIVER && c->filter.has_state)
		c->filter.state = JOB_SUCCEEDED;
	if (!draw_one_in(s, 10))
		return;
	memset(c, 0, sizeof(*c));
	c->action = CHANGE_PURGE;
	c->filter.has_queue = true;
	c->filter.queue = draw_queue_name(s);
}

/* ---- queues ---- */

/* A key is given, given as nil, or left out. */
#define DRAW_SETTING(s, set, field, expression) DRAW_SETTING_OF(queue_set, s, set, field, expression)
#define DRAW_SETTING_OF(message, s, set, field, expression)   \
	do {                                                  \
		switch (draw_below(s, 6)) {                   \
		case 0:                                       \
			(set)->has_##field = true;            \
			(set)->field = (expression);          \
			break;                                \
		case 1:                                       \
			MESSAGE_SET_NIL(message, set, field); \
			break;                                \
		default:                                      \
			break;                                \
		}                                             \
	} while (0)

static void draw_weights(struct sim *s, struct params *p)
{
	static const uint32_t weights[] = { 1, 2, 3, 1000 };
	struct msg_queue_set *set = &p->queue.set;

	set->weights = p->weights;
	if (draw_one_in(s, 8))
		MESSAGE_SET_NIL(queue_set, set, weights);
	if (set->nils != 0 || !draw_one_in(s, 4))
		return;
	set->has_weights = true;
	for (int i = 0; i < TEXTS_GROUPS; i++)
		if (draw_one_in(s, 2))
			p->weights[set->weights_count++] = (struct group_weight){ texts_group(i), PICK(s, weights) };
}

static void draw_flow(struct sim *s, struct params *p)
{
	struct msg_queue_set *set = &p->queue.set;

	/* Mostly of those there are. */
	DRAW_SETTING(s, set, limit, texts_limit((int)draw_below(s, TEXTS_LIMITS)));
	DRAW_SETTING(s, set, weight, 1 + draw_below(s, 5));
	DRAW_SETTING(s, set, admit, (int)draw_below(s, ADMISSIONS));
	draw_weights(s, p);
}

void draw_queue(struct sim *s, struct params *p)
{
	struct command_queue *c = &p->queue;
	static const int64_t timeouts[] = { 1, 300, 10000, 86400000 }, ttls[] = { 0, 1000, 60000, 3153600000000 };
	static const int64_t bytes[] = { 0, 5, 400, 20000 };
	struct msg_queue_set *set = &c->set;

	memset(c, 0, sizeof(*c));
	set->has_queue = true;
	/* The front keeps names with _ away. */
	set->queue =
		draw_one_in(s, 12) ? slice_str("q-of-settings") : texts_queue((int)draw_below(s, s->profile.queues));
	if (draw_one_in(s, 2)) {
		/* Resumed more often than paused, so that most of a run goes on. */
		c->action = draw_one_in(s, 3) ? QUEUE_PAUSE : QUEUE_RESUME;
		if (draw_one_in(s, 10))
			set->queue = slice_str("nobody-has-put-here");
		return;
	}
	c->action = QUEUE_SET;
	draw_flow(s, p);
	DRAW_SETTING(s, set, title, texts_title((int)draw_below(s, TEXTS_TITLES)));
	DRAW_SETTING(s, set, paused, draw_one_in(s, 4));
	DRAW_SETTING(s, set, max_attempts, 1 + draw_below(s, 4));
	DRAW_SETTING(s, set, backoff, draw_backoff(s));
	if (set->has_backoff && !set->backoff.has_base_ms && draw_one_in(s, 2))
		MESSAGE_SET_NIL(backoff, &set->backoff, base_ms);
	if (set->has_backoff && !set->backoff.has_factor && draw_one_in(s, 2))
		MESSAGE_SET_NIL(backoff, &set->backoff, factor);
	DRAW_SETTING(s, set, attempt_timeout_ms, PICK(s, timeouts));
	DRAW_SETTING(s, set, result_ttl_ms, PICK(s, ttls));
	if (!s->profile.tight) {
		MESSAGE_SET_NIL(queue_set, set, max_jobs);
		MESSAGE_SET_NIL(queue_set, set, max_bytes);
		return;
	}
	DRAW_SETTING(s, set, max_jobs, draw_below(s, 1 + s->profile.crowd / 2));
	DRAW_SETTING(s, set, max_bytes, PICK(s, bytes));
}

/* ---- limits ---- */

/* Around the present, now and then upside down or over. */
static void draw_schedule(struct sim *s, struct params *p)
{
	int64_t from = s->now_ms - 2 * s->profile.tempo;
	struct msg_limit_set *set = &p->limit.set;

	set->schedule = p->spells;
	if (draw_one_in(s, 6))
		MESSAGE_SET_NIL(limit_set, set, schedule);
	else
		set->has_schedule = draw_one_in(s, 3);
	for (int64_t i = draw_below(s, 3); set->has_schedule && i >= 0; i--) {
		int64_t until = from + draw_below(s, 1 + 40 * s->profile.tempo);

		p->spells[set->schedule_count++] = (struct msg_limit_spell){
			.has_from_at_ms = true,
			.from_at_ms = from,
			.has_until_at_ms = true,
			.until_at_ms = until,
			.has_concurrency = true,
			.concurrency = 1 + draw_below(s, 6),
		};
		from = until + draw_below(s, 3) - (draw_one_in(s, 20) ? 5 : 0);
		if (from < 1)
			from = 1;
	}
	/* In another order than that of time. */
	if (set->schedule_count > 1 && draw_one_in(s, 2)) {
		struct msg_limit_spell first = p->spells[0];

		p->spells[0] = p->spells[1];
		p->spells[1] = first;
	}
}

void draw_limit(struct sim *s, struct params *p)
{
	/* A millisecond of each is a sum of halves, so that the model's arithmetic and the engine's are the same. */
	static const double rates[] = { 125, 250, 500, 1000, 15.625 };
	struct command_limit *c = &p->limit;
	struct msg_limit_set *set = &c->set;

	memset(c, 0, sizeof(*c));
	set->has_limit = true;
	set->limit = texts_limit((int)draw_below(s, TEXTS_LIMITS));
	if (draw_one_in(s, 6)) {
		c->action = LIMIT_DELETE;
		return;
	}
	c->action = LIMIT_SET;
	DRAW_SETTING_OF(limit_set, s, set, concurrency, 1 + draw_below(s, 8));
	DRAW_SETTING_OF(limit_set, s, set, rate, PICK(s, rates));
	if (set->has_rate || draw_one_in(s, 20))
		DRAW_SETTING_OF(limit_set, s, set, burst, (double)(1 + draw_below(s, 10)));
	draw_schedule(s, p);
}

/* ---- artifacts ---- */

static struct staged in_file(struct sim *s, struct slice data)
{
	struct staged staged = { .content_type = slice_str("video/mp4"), .has_blob = true };
	struct blob_writer *w;
	uint8_t random[UUID_RANDOM_SIZE];

	draw_bytes(s, random, sizeof(random));
	uuid_v7(&s->blob_ids, s->now_ms, random, &staged.blob);
	staged.size = (int64_t)data.size;
	if (blob_create(s->blobs, &staged.blob, &w) < 0 || blob_append(w, data) < 0 ||
	    blob_publish(w, staged.sha256) < 0)
		sim_fail(s, "a blob cannot be written");
	blob_close(w);
	return staged;
}

struct staged draw_staged(struct sim *s, bool preview)
{
	int which = (int)draw_below(s, TEXTS_PAYLOADS);
	struct staged staged = { .content_type = slice_str(preview ? "image/png" : "text/plain") };

	if (draw_one_in(s, 12))
		return in_file(s, texts_payload(which));
	staged.data = texts_payload(which);
	staged.size = (int64_t)staged.data.size;
	memcpy(staged.sha256, texts_payload_sha256(which), sizeof(staged.sha256));
	return staged;
}
