/* A run from its beginning to its end: the directory, the engine and the model that it needs, and now and then a look
 * at the whole of both. What happens in between is batch.c's.
 */
#include "tests/sim/sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/clean.h"
#include "server/engine/link.h"
#include "server/upkeep/check.h"
#include "server/store/keys.h"
#include "server/store/records.h"
#include "tests/sim/batch.h"
#include "tests/sim/compare.h"
#include "tests/sim/draw.h"
#include "tests/sim/slot.h"

#define COMPARE_EVERY 64  /* batches */
#define CHECK_EVERY   512 /* the same */
#define FIRST_MS      INT64_C(1700000000000)

void sim_fail(struct sim *s, const char *fmt, ...)
{
	static char what[32768];
	va_list args;

	va_start(args, fmt);
	vsnprintf(what, sizeof(what), fmt, args);
	va_end(args);
	s->on_failure(s, what);
	abort();
}

/* ---- opening and closing ---- */

static void open_store(struct sim *s)
{
	struct store_options options = { .dir = s->dir.path, .max_bytes = 1 << 28 };
	struct error_info info = { 0 };
	int rc = store_open(&options, &s->store, &info);

	if (rc == 0)
		rc = blob_store_open(s->dir.path, &s->blobs, &info);
	if (rc == 0)
		rc = engine_new(&s->settings, s->store, &s->engine);
	if (rc < 0)
		sim_fail(s, "the store cannot be opened: %s %s", error_text(rc), info.message);
}

/* What waited is lost with its sessions. */
static void close_store(struct sim *s)
{
	(void)engine_stop(s->engine);
	engine_free(s->engine);
	blob_store_close(s->blobs);
	store_close(s->store);
	s->model->parked_count = s->model->sweeps_count = 0;
}

/* The process ended: whoever had asked something hears no more. */
static void lose_slots(struct sim *s)
{
	for (size_t i = 0; i < SLOTS; i++)
		if (s->slots[i].in_use)
			slot_done(s, &s->slots[i]);
}

void sim_restart(struct sim *s)
{
	lose_slots(s);
	close_store(s);
	open_store(s);
}

/* ---- the whole ---- */

static void report_cb(void *user, const char *line)
{
	fprintf(stderr, "check: %s\n", line);
	(void)user;
}

static void look_at_state(struct sim *s)
{
	int64_t breaches = -1;

	if (s->batch % COMPARE_EVERY == 0 || s->batch >= s->compare_each_from) {
		draw_begin(s, BATCH_MAX);
		compare_state(s);
		s->stats->comparisons++;
	}
	if (s->batch % CHECK_EVERY != 0)
		return;
	if (check_run(s->store, s->blobs, report_cb, s, &breaches) < 0 || breaches != 0)
		sim_fail(s, "the checker finds %lld breaches", (long long)breaches);
	s->stats->checks++;
}

static void *allocate(size_t count, size_t size)
{
	void *p = calloc(count, size);

	if (!p)
		abort();
	return p;
}

/* What the engine wrote into a webhook, in the batch under way; kept until the run is over. */
static struct slice written_body(void *user, const struct uuid *id)
{
	struct sim *s = user;
	struct key key = key_job(id);
	struct job_input input;
	struct slice bytes;
	void *copy;

	if (fault_free_get(s->txn, TABLE_INPUTS, key_slice(&key), &bytes) < 0 || record_read_input(bytes, &input) < 0)
		return slice_of(NULL, 0);
	copy = msgpack_zone_malloc(&s->bodies, input.payload.size);
	if (!copy)
		abort();
	memcpy(copy, input.payload.data, input.payload.size);
	return slice_of(copy, input.payload.size);
}

static void set_up(struct sim *s)
{
	fault_off();
	s->batch = 0;
	s->profile = draw_profile(s);
	s->settings = (struct settings){
		.public_url = "http://example.test",
		.link_secret = { 7 },
		.inline_bytes = 16384,
		.payload_bytes = 1 << 20,
		.artifact_bytes = 1 << 28,
		.answer_bytes = s->profile.answer_bytes,
		.result_ttl_ms = s->profile.result_ttl_ms,
		.record_ttl_ms = s->profile.record_ttl_ms,
		.tombstone_ttl_ms = s->profile.tombstone_ttl_ms,
	};
	s->now_ms = FIRST_MS;
	s->model = allocate(1, sizeof(*s->model));
	s->saved = allocate(1, sizeof(*s->saved));
	s->slots = allocate(SLOTS, sizeof(*s->slots));
	for (size_t i = 0; i < SLOTS; i++)
		buf_init(&s->slots[i].reply.bytes, 16 << 20);
	buf_init(&s->expected, 16 << 20);
	msgpack_zone_init(&s->zone, 65536);
	msgpack_zone_init(&s->bodies, 65536);
	model_init(s->model, &s->settings, written_body, s);
	if (link_signer_new(s->settings.link_secret, &s->links) < 0)
		abort();
	tempdir_make(&s->dir);
	open_store(s);
}

static void tear_down(struct sim *s)
{
	lose_slots(s);
	close_store(s);
	tempdir_remove(&s->dir);
	link_signer_free(s->links);
	msgpack_zone_destroy(&s->zone);
	msgpack_zone_destroy(&s->bodies);
	buf_done(&s->expected);
	for (size_t i = 0; i < SLOTS; i++)
		buf_done(&s->slots[i].reply.bytes);
	free(s->slots);
	free(s->model);
	free(s->saved);
}

void sim_abandon(struct sim *s)
{
	tempdir_remove(&s->dir);
}

void sim_run(struct sim *s)
{
	uint64_t first = s->stats->commands;

	set_up(s);
	if (s->profile.crowd >= CROWD)
		s->last_command /= 4; /* with so many the model is slow */
	for (s->batch = 1; s->batch <= s->last_batch && s->stats->commands - first < s->last_command; s->batch++) {
		if (s->omitted && s->omitted[s->batch] == OMIT_ALL)
			continue;
		batch_run(s);
		look_at_state(s);
	}
	draw_begin(s, BATCH_MAX);
	compare_state(s);
	tear_down(s);
}
