/* test_engine_crowd.h: the places of the crowd simulation, the APIs it draws, and the store as it looks from outside.
 */
#ifndef RAINCHECK_TEST_ENGINE_CROWD_H
#define RAINCHECK_TEST_ENGINE_CROWD_H

#include <math.h>
#include <string.h>

#include "proto/base/clean.h"
#include "server/flow/limit.h"
#include "server/store/keys.h"
#include "tests/harness/api_model.h"
#include "tests/harness/engine_rig.h"
#include "tests/unit/test_flow_draw.h"

enum { API, OTHER, NONE, APIS }; /* NONE: of the queue without a limit, and always well */

static const char *const queue_names[] = { "a", "b", "c", "d" };
static const int api_of_queue[] = { API, API, OTHER, NONE };
static const char *const limit_names[] = { "api", "other" };
#define QUEUES ARRAY_SIZE(queue_names)
#define LIMITS ARRAY_SIZE(limit_names)

/* ---- the store, looked at ---- */

struct look {
	int64_t ready[QUEUES], running[QUEUES], unfinished, dead;
	struct limit_record limits[LIMITS];
	int64_t room[LIMITS + 1];
};

static inline int queue_index(struct store_txn *t, uint32_t number)
{
	struct key key = key_queue(number);
	struct queue_record q;
	struct slice bytes;

	assert_int_equal(store_get(t, TABLE_QUEUES, key_slice(&key), &bytes), 0);
	assert_int_equal(record_read_queue(bytes, &q), 0);
	for (size_t i = 0; i < QUEUES; i++)
		if (slice_is(q.name, queue_names[i]))
			return (int)i;
	fail_msg("there is a queue that nobody made");
	return -1;
}

static inline void look_at_jobs(struct store_txn *t, struct look *ret)
{
	int index[QUEUES + 8]; /* by number */
	struct slice key, value;
	struct job job;
	int rc;

	memset(index, -1, sizeof(index));
	for (rc = store_seek(t, TABLE_JOBS, slice_of(NULL, 0), &key, &value); rc == 0;
	     rc = store_next(t, TABLE_JOBS, &key, &value)) {
		assert_int_equal(record_read_job(value, &job), 0);
		assert_true(job.queue < ARRAY_SIZE(index));
		if (index[job.queue] < 0)
			index[job.queue] = queue_index(t, job.queue);
		ret->ready[index[job.queue]] += job.state == JOB_READY;
		ret->running[index[job.queue]] += job.state == JOB_RUNNING;
		ret->unfinished += !job_state_final(job.state);
		ret->dead += job.state == JOB_DEAD;
	}
	assert_int_equal(rc, ERR_NOT_FOUND);
}

static inline int64_t in_flight(const struct look *look, size_t limit)
{
	int64_t n = 0;

	for (size_t q = 0; q < QUEUES; q++)
		n += api_of_queue[q] == (int)limit ? look->running[q] : 0;
	return n;
}

static inline struct look look_at_store(struct rig *rig)
{
	_cleanup_(store_abortp) struct store_txn *t = NULL;
	struct look look = { .room = { [NONE] = INT64_MAX } };

	assert_int_equal(store_begin_read(rig->store, &t), 0);
	look_at_jobs(t, &look);
	for (size_t i = 0; i < LIMITS; i++) {
		struct key key = key_name(slice_str(limit_names[i]));
		struct slice bytes;
		int64_t again;

		assert_int_equal(store_get(t, TABLE_LIMITS, key_slice(&key), &bytes), 0);
		assert_int_equal(record_read_limit(bytes, &look.limits[i]), 0);
		look.room[i] = limit_room(&look.limits[i], in_flight(&look, i), rig->now_ms, &again);
	}
	return look;
}

/* ---- APIs ---- */

#define WELL_SLOTS 50 /* more than any limit is set to: one that is not adaptive overruns its API for ever */

/* Up and down and slow until well_ms, then well. *ret_lies: its Retry-After is nonsense. */
static inline struct api_model *draw_api(double well_ms, bool *ret_lies)
{
	struct api_shape shape = {
		.work_ms = (double)draw(500, 4000),
		.cv = (double)draw(0, 10) / 10,
		.growth = draw_once_in(2),
		.collapse = draw_once_in(2),
		.timeout_ms = (double)draw(8000, 40000),
		.hard = draw_once_in(2),
		.refused_kind = draw_once_in(3) ? FAIL_UNAVAILABLE : FAIL_THROTTLED,
		.answer_ms = (double)draw(1, 500),
		.hangs = draw_once_in(2),
		.bad_ratio = draw_once_in(2) ? 0.05 : 0,
	};
	double slots = (double)draw(2, 20), at_ms = 0;
	bool flaps = draw_once_in(4);

	*ret_lies = shape.hard && draw_once_in(2);
	while (at_ms < well_ms && shape.phase_count < API_PHASES_MAX - 1) {
		struct api_phase *p = &shape.phases[shape.phase_count++];

		*p = (struct api_phase){ at_ms, slots, 1 };
		if (flaps)
			p->slots = shape.phase_count % 2 ? slots : 0;
		else if (shape.phase_count > 1 && draw_once_in(2))
			p->slow = (double)draw(2, 10);
		else if (shape.phase_count > 1)
			p->slots = draw_once_in(3) ? 0 : (double)draw(1, 40);
		at_ms += (double)draw(flaps ? 15000 : 30000, flaps ? 40000 : 200000);
	}
	shape.phases[shape.phase_count++] = (struct api_phase){ fmax(at_ms, well_ms), WELL_SLOTS, 1 };
	return api_model_new(&shape, (uint64_t)draw(1, INT64_C(1) << 40));
}

#endif
