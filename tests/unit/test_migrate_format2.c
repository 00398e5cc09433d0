/* A data directory of format 2 (tests/unit/data/README.md) opens: the queues' records are all that is written anew.
 * What they said is kept, who is in line stays there, and whoever comes stands behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/store/keys.h"
#include "server/upkeep/check.h"
#include "tests/harness/engine_rig.h"

#define FIXTURE	       "tests/unit/data/format2.tar.gz"
#define FIXTURE_NOW_MS INT64_C(1702592000012)

static struct rig rig;
static char said[4096];

static void note_cb(void *user, const char *line)
{
	size_t size = strlen(said);

	(void)user;
	snprintf(said + size, sizeof(said) - size, "%s\n", line);
}

/* The rig on the migrated directory. */
static int setup(void **state)
{
	struct store_options options = { .max_bytes = 1 << 28, .notice = note_cb };
	struct error_info info = { 0 };
	char command[512];
	struct store *s;

	(void)state;
	rig_open(&rig);
	rig_pause(&rig);
	snprintf(command, sizeof(command), "rm -r '%s'/* && tar -xzf " FIXTURE " -C '%s'", rig.dir.path, rig.dir.path);
	assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c): the test's own words */
	rig.now_ms = FIXTURE_NOW_MS;
	rig.ids = (struct uuid_gen){ 0 };
	said[0] = '\0';
	options.dir = rig.dir.path;
	if (store_open(&options, &s, &info) < 0)
		fail_msg("%s", info.message);
	store_close(s);
	rig_resume(&rig);
	rig_pass(&rig, 1);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	rig_close(&rig);
	return 0;
}

static void expect_next(const char *queue, const char *payload)
{
	struct msg_leased_job job;

	assert_true(rig_lease(&rig, queue, &job));
	assert_true(slice_is(job.payload, payload));
}

static void all_comes_over(void **state)
{
	const struct check_options options = { .store = rig.store, .blobs = rig.blobs };
	struct check_result found;
	struct msg_queue q;

	(void)state;
	assert_non_null(strstr(said, "from format 2 to format 4: 4 queues\n"));
	assert_int_equal(check_store(&options, &found), 0);
	assert_int_equal(found.jobs, 12);
	assert_int_equal(found.artifacts, 3);
	assert_int_equal(found.breaches, 0);
	q = rig_queue(&rig, "films");
	assert_true(slice_is(q.title, "The films"));
	assert_int_equal(q.max_jobs, 1000);
	assert_int_equal(q.weight, 1);
	assert_int_equal(q.admit, ADMIT_ALWAYS);
	assert_false(q.has_limit);
	assert_int_equal(q.counts.running, 1);
	assert_int_equal(q.counts.ready, 3);
	q = rig_queue(&rig, "greetings");
	assert_int_equal(q.counts.succeeded, 2);
	assert_int_equal(q.put_total, 6);
}

static void whoever_comes_stands_behind(void **state)
{
	const struct msg_job_put first = { .has_queue = true,
					   .queue = slice_str("films"),
					   .has_payload = true,
					   .payload = slice_str("new of a group"),
					   .has_priority = true,
					   .priority = 0,
					   .has_group = true,
					   .group = slice_str("g") };
	struct msg_job_put second = first;

	(void)state;
	second.has_group = false;
	second.group = slice_of(NULL, 0);
	second.payload = slice_str("new");
	rig_put_params(&rig, &second);
	expect_next("films", "marked");
	expect_next("films", "ready first");
	rig_put_params(&rig, &first);
	/* The jobs without a group are one among others: those of a group wait for one of them at most. */
	expect_next("films", "new of a group");
	expect_next("films", "new");
	expect_next("films", "ready last");
}

static void it_opens_again_as_it_is(void **state)
{
	(void)state;
	rig_restart(&rig);
	expect_next("mark-of-a-queue", "in the marked queue");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(all_comes_over),
		T(whoever_comes_stands_behind),
		T(it_opens_again_as_it_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
