#include "bench/campaign_broker.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/base.h"
#include "bench/campaign.h"
#include "proto/base/clean.h"
#include "server/engine/view_limits.h"
#include "tests/harness/api_model.h"
#include "tests/harness/tempdir.h"

static int64_t calendar(double now_ms)
{
	return BROKER_LAUNCH_MS + (int64_t)floor(now_ms);
}

void broker_open(struct broker *b, uint64_t seed)
{
	struct store_options options = { .max_bytes = (int64_t)1 << 32 };
	struct error_info info = { 0 };

	memset(b, 0, sizeof(*b));
	b->dir = campaign_zeros(1, sizeof(*b->dir));
	tempdir_make(b->dir);
	options.dir = b->dir->path;
	b->settings = (struct settings){
		.public_url = "http://example.test",
		.link_secret = { 7 },
		.inline_bytes = 16384,
		.payload_bytes = 1 << 20,
		.artifact_bytes = 1 << 28,
		.result_ttl_ms = 7 * 86400000LL,
		.record_ttl_ms = 30 * 86400000LL,
		.tombstone_ttl_ms = 90 * 86400000LL,
	};
	b->draws = seed;
	b->asked_end = &b->asked;
	b->settled_end = &b->settled;
	if (store_open(&options, &b->store, &info) < 0)
		die("%s", info.message);
	need(engine_new(&b->settings, b->store, &b->engine) == 0, "the engine does not begin");
}

static void order_free(struct broker_order *o)
{
	free(o->jobs);
	free(o);
}

static void free_list(struct command *cmd)
{
	while (cmd) {
		struct command *next = cmd->next;

		order_free((struct broker_order *)cmd);
		cmd = next;
	}
}

void broker_close(struct broker *b)
{
	free_list(b->asked);
	free_list(b->settled);
	free_list(engine_stop(b->engine));
	engine_free(b->engine);
	store_close(b->store);
	tempdir_remove(b->dir);
	free(b->dir);
}

/* ---- answers: within the transaction, so they are copied ---- */

static void keep_jobs(struct broker_order *o, const struct msg_job_lease_result *r)
{
	o->jobs = campaign_zeros(r->jobs_count + 1, sizeof(*o->jobs));
	for (size_t i = 0; i < r->jobs_count; i++) {
		char number[24] = { 0 };

		memcpy(number, r->jobs[i].payload.data, r->jobs[i].payload.size);
		o->jobs[o->jobs_count++] = (struct broker_job){
			.id = r->jobs[i].id,
			.lease = r->jobs[i].lease,
			.visitor = strtoull(number, NULL, 10),
		};
	}
}

static void keep_promise(struct broker_order *o, const struct put_rest *rest)
{
	struct estimate eta = { 0 };

	o->has_eta = rest->has_outlook && estimate_outlook(&rest->outlook, &eta);
	o->eta = (struct msg_eta){ .low = eta.low_ms, .high = eta.high_ms };
}

static void answer_cb(struct command *cmd, const struct message *m, const void *result)
{
	struct broker_order *o = (struct broker_order *)cmd;
	const struct msg_job_put_result *put = result;

	if (m == &MSG_job_put_result) {
		o->id = put->id;
		keep_promise(o, &o->params.put.item.rest);
	} else if (m == &MSG_job_lease_result) {
		keep_jobs(o, result);
	} else if (m == &MSG_job_fail_result) {
		o->state = ((const struct msg_job_fail_result *)result)->state;
	}
}

static void refuse_cb(struct command *cmd, const struct error_info *info)
{
	((struct broker_order *)cmd)->code = info->code;
}

static void release_cb(struct command *cmd, int rc)
{
	struct broker_order *o = (struct broker_order *)cmd;

	need(rc == 0, "a batch was taken back");
	if (o->then)
		o->then(o);
	order_free(o);
}

/* ---- batches ---- */

static void append(struct command ***end, struct command *cmd)
{
	cmd->next = NULL;
	**end = cmd;
	*end = &cmd->next;
}

struct broker_order *broker_order(struct broker *b, enum command_kind kind, void (*then)(struct broker_order *o),
				  void *user)
{
	struct broker_order *o = campaign_zeros(1, sizeof(*o));

	o->cmd.kind = kind;
	o->cmd.params = &o->params;
	o->cmd.answer = answer_cb;
	o->cmd.refuse = refuse_cb;
	o->cmd.release = release_cb;
	o->then = then;
	o->user = user;
	append(&b->asked_end, &o->cmd);
	return o;
}

static void draw_bytes(struct broker *b, uint8_t *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		bytes[i] = (uint8_t)(api_model_draw(&b->draws) * 256);
}

static void apply_one(struct broker *b, struct command *cmd, int64_t now_ms)
{
	uint8_t random[UUID_RANDOM_SIZE];
	bool parked;

	draw_bytes(b, cmd->random, sizeof(cmd->random));
	if (cmd->kind == COMMAND_PUT) {
		draw_bytes(b, random, sizeof(random));
		uuid_v7(&b->ids, now_ms, random, &cmd->first_id);
	}
	need(engine_apply(b->engine, cmd, &parked) == 0, "the engine fails");
	if (!parked)
		append(&b->settled_end, cmd);
}

void broker_apply(struct broker *b, double now_ms)
{
	struct command *cmd = b->asked, *next, *answered;
	struct store_txn *t;
	uint8_t random[32];

	b->asked = NULL;
	b->asked_end = &b->asked;
	draw_bytes(b, random, sizeof(random));
	need(store_begin_write(b->store, &t) == 0, "the store fails");
	need(engine_begin(b->engine, t, calendar(now_ms), random) == 0, "the engine fails");
	for (; cmd; cmd = next) {
		next = cmd->next;
		apply_one(b, cmd, calendar(now_ms));
	}
	need(engine_finish(b->engine) == 0 && store_commit(t) == 0, "the store fails");
	engine_committed(b->engine, &answered);
	for (; answered; answered = next) {
		next = answered->next;
		append(&b->settled_end, answered);
	}
}

void broker_release(struct broker *b)
{
	struct command *cmd = b->settled, *next;

	b->settled = NULL;
	b->settled_end = &b->settled;
	for (; cmd; cmd = next) {
		next = cmd->next;
		cmd->release(cmd, 0);
	}
}

double broker_next_ms(const struct broker *b)
{
	int64_t next_ms = engine_next_ms(b->engine);

	return next_ms == INT64_MAX ? INFINITY : (double)(next_ms - BROKER_LAUNCH_MS);
}

/* ---- looking ---- */

int32_t broker_concurrency(const struct broker *b, const char *limit, double now_ms)
{
	_cleanup_(store_abortp) struct store_txn *t = NULL;
	_cleanup_(limits_view_done) struct limits_view view = { 0 };
	struct slice name = slice_str(limit);

	need(store_begin_read(b->store, &t) == 0, "the store fails");
	need(view_limits(t, calendar(now_ms), &name, &view) == 0, "the limit is not there");
	return view.items[0].now.has_concurrency ? (int32_t)view.items[0].now.concurrency : -1;
}

bool broker_promise(const struct broker *b, const struct uuid *job, double now_ms, struct msg_eta *ret)
{
	_cleanup_(store_abortp) struct store_txn *t = NULL;
	struct job_view view;

	need(store_begin_read(b->store, &t) == 0, "the store fails");
	need(view_job(t, &b->settings, calendar(now_ms), job, &view) == 0, "a job is not there");
	*ret = view.job.eta_ms;
	return view.job.has_eta_ms;
}
