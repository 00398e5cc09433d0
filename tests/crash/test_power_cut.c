/* The power is cut. Lives run side by side while everything that they do to the disk is recorded; the broker is killed
 * and started again in between. Then the disk is made up as a cut at many moments may have left it (fault_image.h):
 * what no sync covers lost, torn or reordered. On each such disk the checker finds nothing, a broker starts, has
 * everything that was acknowledged before the cut, and goes on with it.
 *
 * CUTS: how many (200). SEED: which; printed, so that a run can be had again as far as the lives repeat themselves.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include <cmocka.h>

#include "tests/harness/fault_image.h"
#include "tests/harness/fault_life.h"

#define THREADS	     3
#define ROUNDS	     3
#define LIVES	     (THREADS * ROUNDS)
#define AFTER	     6 /* entries behind a failed sync */
#define OUTPUT_BYTES 2000

static struct fault fault;
static struct life lives[LIVES];
static uint64_t ready_at; /* where the log was when the broker was ready for the first time */

/* ---- recording ---- */

static void *live(void *life)
{
	life_run(life);
	return NULL;
}

static void live_together(struct life *some)
{
	pthread_t threads[THREADS];

	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, live, &some[i]), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < THREADS; i++)
		if (some[i].wrong[0])
			fail_msg("%s\n%s", some[i].wrong, fault_words(&fault));
}

static void start_recorded(const char *const *extra)
{
	if (!fault_start(&fault, extra, true))
		fail_msg("the broker does not start: %s\n%s", fault_status_text(fault.status), fault_words(&fault));
}

/* Rounds of lives; in the second the broker is killed. */
static void record(const char *const *extra, unsigned seed)
{
	const struct fault_plan kill = { .kinds = FAULT_CHANGES, .action = FAULT_KILL_AFTER, .at = 50 + seed % 200 };

	start_recorded(extra);
	ready_at = atomic_load(&fault.control->log_bytes);
	live_together(&lives[0]);
	fault_arm(&fault, &kill);
	live_together(&lives[THREADS]);
	if (fault_met(&fault) == 0)
		fault_end(&fault, SIGKILL);
	else
		fault_end(&fault, 0);
	fault_disarm(&fault);
	start_recorded(extra);
	live_together(&lives[2 * THREADS]);
	process_stop(&fault.broker);
}

/* ---- cutting ---- */

struct cut {
	uint64_t at;
	enum fault_luck luck;
	uint32_t seed;
};

static const char *describe(const struct cut *c)
{
	static char text[100];

	snprintf(text, sizeof(text), "cut at %llu, luck %d, seed %u", (unsigned long long)c->at, (int)c->luck, c->seed);
	return text;
}

static int compare(const void *a, const void *b)
{
	const struct cut *x = a, *y = b;

	return x->at < y->at ? -1 : x->at > y->at;
}

/* Half of them right after an entry, half while it is under way. */
static void choose_cuts(const struct fault_image *im, struct cut *cuts, size_t count, unsigned seed)
{
	for (size_t i = 0; i < count; i++) {
		uint64_t entry;

		do
			entry = (uint64_t)rand_r(&seed) % fault_image_entries(im);
		while (!fault_image_is_of_note(im, entry));
		cuts[i].at = fault_image_end(im, entry) - (rand_r(&seed) % 2 ? 1 : 0);
		cuts[i].luck = (enum fault_luck)(i % LUCK_KINDS);
		cuts[i].seed = (uint32_t)rand_r(&seed);
	}
	qsort(cuts, count, sizeof(*cuts), compare);
}

static void check_clean(const struct cut *c, const char *when)
{
	char output[OUTPUT_BYTES];
	int status = fault_check(&fault, fault.data, output, sizeof(output));

	if (status != 0)
		fail_msg("%s, %s: check: %s\n%s", describe(c), when, fault_status_text(status), output);
}

static void verify_lives(const struct cut *c)
{
	for (int i = 0; i < LIVES; i++) {
		/* Verifying goes on with the jobs: each image has its own. */
		struct life life = lives[i];

		life_verify(&life, c->at);
		if (life.wrong[0])
			fail_msg("%s: %s\n%s", describe(c), life.wrong, fault_words(&fault));
	}
}

static void survive_cut(struct fault_image *im, const struct cut *c, const char *const *extra)
{
	const char *image = tempdir_file(&fault.dir, "image");
	char dir[160];

	snprintf(dir, sizeof(dir), "%s", image);
	fault_new_folder(dir);
	fault_image_advance(im, c->at);
	fault_image_write(im, c->luck, c->seed, dir);
	/* Before it was ready there may be no store yet. */
	if (c->at >= ready_at)
		check_clean(c, "before the start");
	if (!fault_start_plain(&fault, extra))
		fail_msg("%s: the broker does not start: %s\n%s", describe(c), fault_status_text(fault.status),
			 fault_words(&fault));
	verify_lives(c);
	if (c->at < ready_at && !life_try(&fault, LIVES))
		fail_msg("%s: the broker cannot be used\n%s", describe(c), fault_words(&fault));
	fault_end(&fault, SIGKILL);
	check_clean(c, "after it went on");
}

/* From now on brokers look at the images. */
static void use_image(void)
{
	snprintf(fault.data, sizeof(fault.data), "%s", tempdir_file(&fault.dir, "image/data"));
}

static void cut_often(const char *const *extra, size_t count, unsigned seed)
{
	struct cut *cuts = calloc(count, sizeof(*cuts));
	struct fault_image *im;
	struct stat root;

	assert_non_null(cuts);
	assert_int_equal(stat(fault.disk, &root), 0);
	im = fault_image_new(fault.log, root.st_ino);
	choose_cuts(im, cuts, count, seed);
	use_image();
	for (size_t i = 0; i < count; i++)
		survive_cut(im, &cuts[i], extra);
	print_message("# %zu cuts of %llu writes, syncs and names\n", count,
		      (unsigned long long)fault_image_entries(im));
	fault_image_free(im);
	free(cuts);
}

/* A broker that never was: every moment of the first start, with half of all luck. There is nothing yet to be lost, but
 * what is left must be no obstacle. */
static void the_first_start_may_be_cut_anywhere(void **state)
{
	unsigned seed = (unsigned)fault_setting("SEED", (unsigned long)time(NULL));
	struct fault_image *im;
	struct stat root;
	unsigned count = 0;

	(void)state;
	start_recorded(NULL);
	ready_at = atomic_load(&fault.control->log_bytes);
	fault_end(&fault, SIGKILL);
	assert_int_equal(stat(fault.disk, &root), 0);
	im = fault_image_new(fault.log, root.st_ino);
	use_image();
	for (uint64_t i = 0; i < fault_image_entries(im); i++)
		for (unsigned k = (unsigned)(i + seed) % 2; fault_image_is_of_note(im, i) && k < LUCK_KINDS; k += 2) {
			const struct cut c = { .at = fault_image_end(im, i) - (i / 2) % 2,
					       .luck = (enum fault_luck)k,
					       .seed = seed + k };

			survive_cut(im, &c, NULL);
			count++;
		}
	print_message("# SEED=%u: %u cuts of a first start\n", seed, count);
	fault_image_free(im);
}

static void what_was_acknowledged_outlives_the_power(void **state)
{
	size_t count = fault_setting("CUTS", 200);
	unsigned seed = (unsigned)fault_setting("SEED", (unsigned long)time(NULL));

	(void)state;
	print_message("# CUTS=%zu SEED=%u\n", count, seed);
	record(NULL, seed);
	cut_often(NULL, count, seed);
}

/* Until retention has taken the record of a job that ended in the life. */
static void await_forgotten(const struct life *l)
{
	const char *nowhere = "nowhere";
	struct raincheck_lease wait = { .queues = &nowhere, .queue_count = 1, .wait_ms = 100 };
	struct raincheck *rc = fault_connect(&fault);
	struct raincheck_lease_result *nothing;
	struct raincheck_job *job;

	while (raincheck_get(rc, l->jobs[0].id, &job) == 0) {
		raincheck_free(job);
		assert_int_equal(raincheck_lease(rc, &wait, &nothing), 0);
		raincheck_free(nothing);
	}
	assert_int_equal(raincheck_last_error(rc)->code, RAINCHECK_ENOT_FOUND);
	raincheck_close(rc, NULL, NULL);
}

/* A broker that forgets what has ended: cuts while retention takes jobs away, record, artifacts, files and all. */
static void what_is_forgotten_is_forgotten_whole(void **state)
{
	char path[160];
	const char *extra[] = { "--config", path, NULL };
	unsigned seed = (unsigned)fault_setting("SEED", (unsigned long)time(NULL));
	size_t count = fault_setting("CUTS", 200) / 4;
	FILE *f;

	(void)state;
	snprintf(path, sizeof(path), "%s", tempdir_file(&fault.dir, "broker.yaml"));
	f = fopen(path, "we");
	assert_non_null(f);
	fprintf(f, "retention: { result: 1s, record: 1s, tombstone: 0 }\n");
	fclose(f);
	for (int i = 0; i < LIVES; i++)
		lives[i].forgetful = true;
	print_message("# SEED=%u\n", seed);
	start_recorded(extra);
	ready_at = atomic_load(&fault.control->log_bytes);
	live_together(&lives[0]);
	await_forgotten(&lives[0]);
	process_stop(&fault.broker);
	cut_often(extra, count, seed);
}

/* Rounds of lives, each with a sync that fails once: before it did anything, or after all was done, which is when the
 * page that names a commit may be on the disk although the commit was taken back. */
static void record_failing(unsigned seed)
{
	static const uint32_t kinds[] = { FAULT_BIT(FAULT_SYNC), FAULT_BIT(FAULT_WRITE_SYNC) };
	struct fault_plan plan = { .error = EIO };

	start_recorded(NULL);
	ready_at = atomic_load(&fault.control->log_bytes);
	/* Where the power goes before the broker has read the disk again, a commit that was taken back may come back.
	 */
	for (int i = 0; i < LIVES; i++)
		lives[i].doubting = true;
	for (int i = 0; i < ROUNDS; i++) {
		plan.kinds = kinds[i > 0];
		plan.action = i == 0 ? FAULT_FAIL : FAULT_FAIL_LATE;
		plan.at = 10 + (int64_t)(rand_r(&seed) % 50);
		fault_arm(&fault, &plan);
		live_together(&lives[i * THREADS]);
		assert_true(fault_met(&fault) > 0);
	}
	process_stop(&fault.broker);
}

/* Cuts right behind the failures, with every luck. */
static void a_failed_sync_and_then_the_power(void **state)
{
	unsigned seed = (unsigned)fault_setting("SEED", (unsigned long)time(NULL));
	unsigned count = 0;
	uint64_t after = AFTER;
	struct fault_image *im;
	struct stat root;

	(void)state;
	print_message("# SEED=%u\n", seed);
	record_failing(seed);
	assert_int_equal(stat(fault.disk, &root), 0);
	im = fault_image_new(fault.log, root.st_ino);
	use_image();
	for (uint64_t i = 0; i < fault_image_entries(im); i++) {
		after = fault_image_failed(im, i) ? 0 : after + 1;
		for (unsigned k = 0; after < AFTER && k < 2 * LUCK_KINDS; k++, count++) {
			const struct cut c = { .at = fault_image_end(im, i) - (k < LUCK_KINDS ? 1 : 0),
					       .luck = (enum fault_luck)(k % LUCK_KINDS),
					       .seed = seed + (uint32_t)i + k };

			survive_cut(im, &c, NULL);
		}
	}
	print_message("# %u cuts\n", count);
	assert_true(count > 0);
	fault_image_free(im);
}

static int setup(void **state)
{
	(void)state;
	fault_open(&fault);
	for (unsigned i = 0; i < LIVES; i++)
		life_init(&lives[i], &fault, i);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fault_close(&fault);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_first_start_may_be_cut_anywhere, setup, teardown),
		cmocka_unit_test_setup_teardown(what_was_acknowledged_outlives_the_power, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_forgotten_is_forgotten_whole, setup, teardown),
		cmocka_unit_test_setup_teardown(a_failed_sync_and_then_the_power, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
