/* test_engine_damage.h: an engine whose store a test damages, and what it then says of it. Included by one file of a
 * program. */
#ifndef RAINCHECK_TEST_ENGINE_DAMAGE_H
#define RAINCHECK_TEST_ENGINE_DAMAGE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "proto/base/clean.h"
#include "server/store/keys.h"
#include "tests/harness/engine_rig.h"

static struct rig rig;

static inline int setup(void **state)
{
	(void)state;
	rig_open(&rig);
	rig.unchecked = true;
	return 0;
}

static inline int teardown(void **state)
{
	(void)state;
	rig_close(&rig);
	return 0;
}

static inline struct store_txn *begin(void)
{
	struct store_txn *t;

	store_abort(rig.view_txn);
	rig.view_txn = NULL;
	assert_int_equal(store_begin_write(rig.store, &t), 0);
	return t;
}

static inline void expect_leased(const char *payload)
{
	struct msg_leased_job job;

	assert_true(rig_lease(&rig, "q", &job));
	assert_true(slice_is(job.payload, payload));
}

static inline int64_t set_aside(void)
{
	struct store_txn *t = begin();
	int64_t count = -1;

	assert_int_equal(store_count(t, TABLE_SET_ASIDE, &count), 0);
	store_abort(t);
	return count;
}

static inline bool reported(const struct uuid *id)
{
	size_t count;
	const struct job_event *events = engine_events(rig.engine, &count);

	for (size_t i = 0; i < count; i++)
		if (events[i].damage && uuid_equal(&events[i].id, id))
			return true;
	return false;
}

/* Found when its lease ends, and accounted for by what the due entry says. */
static inline struct job job_of(const struct uuid *id)
{
	struct key key = key_job(id);
	struct store_txn *t = begin();
	struct slice bytes;
	struct job job;

	assert_int_equal(store_get(t, TABLE_JOBS, key_slice(&key), &bytes), 0);
	assert_int_equal(record_read_job(bytes, &job), 0);
	store_abort(t);
	return job;
}

#endif
