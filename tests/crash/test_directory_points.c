/* What works on a whole data directory is killed, or fails, at every point where it changes the disk: the migration of
 * each old format at a start, a compaction, a restore. Whatever the moment, the directory is whole: of the old format
 * or the new one, as it was or compacted, not there or restored; and the same again comes to its end.
 *
 * Most points of a start and of a restore make or sync one of 256 folders: of those between the
 * first and the last DENSE only every stride-th is tried. STRIDE=N widens that stride, ALL=1 tries each and every
 * point.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/store/layout.h"
#include "tests/harness/fault.h"
#include "tests/harness/good_store.h"

#define FIXTURES       "tests/unit/data"
#define OUTPUT_BYTES   4000
#define DENSE	       15
#define FOLDERS_STRIDE 11
#define WIDE_STRIDE    (5 * FOLDERS_STRIDE) /* for what makes the same folders once more */
#define POINTS_MAX     100000

static struct fault fault;
static char output[OUTPUT_BYTES];

/* What is done at each point. */
struct work {
	const char *name;
	void (*prepare)(void);
	const char *args[3];
	int64_t stride;
	void (*expect_whole)(int64_t point);
};

static int setup(void **state)
{
	fault_open(&fault);
	if (good_setup(state) != 0)
		return -1;
	rig_pause(&good.rig);
	return 0;
}

static int teardown(void **state)
{
	rig_resume(&good.rig);
	fault_close(&fault);
	return good_teardown(state);
}

static void shell(const char *fmt, const char *a, const char *b)
{
	char command[1024];

	snprintf(command, sizeof(command), fmt, a, b); /* NOLINT(clang-diagnostic-format-nonliteral) */
	assert_int_equal(system(command), 0);	       /* NOLINT(cert-env33-c): the test's own words */
}

/* The check's exit status, with what it said in output. */
static int check(void)
{
	int status = fault_check(&fault, fault.data, output, sizeof(output));

	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void expect_clean(int64_t point, const char *counts)
{
	if (check() != 0 || !strstr(output, counts))
		fail_msg("point %lld: the directory is not whole:\n%s\n%s", (long long)point, output,
			 fault_words(&fault));
}

/* ---- one point ---- */

/* Does the work with the plan. Whether the plan was met. */
static bool work_with(const struct work *w, const struct fault_plan *plan)
{
	fault_new_disk(&fault);
	w->prepare();
	fault_arm(&fault, plan);
	if (fault_start(&fault, w->args, false)) {
		fault_disarm(&fault);
		fault_end(&fault, SIGTERM);
	}
	return fault_met(&fault) > 0;
}

static void finish(const struct work *w, int64_t point)
{
	if (fault_start_plain(&fault, w->args))
		fault_end(&fault, SIGTERM);
	if (!WIFEXITED(fault.status) || WEXITSTATUS(fault.status) != 0)
		fail_msg("point %lld: once more: %s\n%s", (long long)point, fault_status_text(fault.status),
			 fault_words(&fault));
	expect_clean(point, ", 0 set aside\n");
}

/* How many points there are where nothing is in the way. */
static int64_t count_points(const struct work *w)
{
	const struct fault_plan none = { .kinds = FAULT_CHANGES, .at = POINTS_MAX };

	assert_false(work_with(w, &none));
	return (int64_t)fault_calls(&fault, FAULT_CHANGES);
}

static int64_t next_point(int64_t point, int64_t stride, int64_t count)
{
	if (point < DENSE || point >= count - DENSE)
		return point + 1;
	return point + stride < count - DENSE ? point + stride : count - DENSE;
}

static void at_every_point(const struct work *w, enum fault_action action, int error)
{
	int64_t stride = fault_setting("ALL", 0) ? 1 : (int64_t)fault_setting("STRIDE", 1) * w->stride;
	int64_t count = count_points(w), points = 0;

	for (int64_t point = 1; point < POINTS_MAX; point = next_point(point, stride, count)) {
		const struct fault_plan plan = {
			.kinds = FAULT_CHANGES, .action = action, .at = point, .error = error
		};
		bool killed = action != FAULT_FAIL;

		if (!work_with(w, &plan))
			break;
		points++;
		if (killed ? !WIFSIGNALED(fault.status) || WTERMSIG(fault.status) != SIGKILL : !WIFEXITED(fault.status))
			fail_msg("point %lld: %s\n%s", (long long)point, fault_status_text(fault.status),
				 fault_words(&fault));
		w->expect_whole(point);
		if (killed)
			finish(w, point);
	}
	assert_true(WIFEXITED(fault.status) && WEXITSTATUS(fault.status) == 0);
	assert_true(points > 3);
	print_message("# %s: %lld of %lld points (STRIDE, ALL)\n", w->name, (long long)points, (long long)count);
}

/* ---- the works ---- */

static char old_format[64]; /* what the check says of the one that was unpacked */

static void unpack(int format)
{
	char fixture[64];

	snprintf(fixture, sizeof(fixture), FIXTURES "/format%d.tar.gz", format);
	snprintf(old_format, sizeof(old_format), "has format %d: a start of raincheckd migrates it", format);
	assert_int_equal(mkdir(fault.data, 0700), 0);
	shell("tar -xzf %s -C %s", fixture, fault.data);
}

static void unpack_format1(void)
{
	unpack(1);
}

static void unpack_format2(void)
{
	unpack(2);
}

static void unpack_format3(void)
{
	unpack(3);
}

/* Its jobs' time has passed: so a broker that got further than the migration has begun to finish them. */
static void expect_old_or_new(int64_t point)
{
	if (check() == 0)
		assert_non_null(strstr(output, ": 0 breaches\n"));
	else if (!strstr(output, old_format))
		fail_msg("point %lld: neither the one nor the other:\n%s", (long long)point, output);
}

static void copy_good(void)
{
	shell("cp -a %s %s", good.rig.dir.path, fault.data);
}

static void expect_good(int64_t point)
{
	expect_clean(point, ": 3 jobs, 2 artifacts, 0 set aside\n");
}

static void nothing(void)
{
}

static void expect_good_or_none(int64_t point)
{
	if (access(fault.data, F_OK) == 0)
		expect_good(point);
	else
		assert_int_equal(errno, ENOENT);
	/* So that the next try finds its place. */
	shell("rm -rf %s%s", fault.data, "");
}

/* An empty directory behind a symbolic link cannot be replaced: it is filled from within. */
static void make_link(void)
{
	shell("mkdir %s/place && ln -s place %s", fault.disk, fault.data);
}

/* Without the secret, which comes last, no broker takes it for a data directory with its links. */
static void expect_sealed_or_none(int64_t point)
{
	char sealed[256], records[256];

	snprintf(sealed, sizeof(sealed), "%s/" LAYOUT_LINK_KEY, fault.data);
	snprintf(records, sizeof(records), "%s/" LAYOUT_RECORDS, fault.data);
	if (access(sealed, F_OK) == 0)
		expect_good(point);
	else if (access(records, F_OK) == 0 &&
		 (fault_start_plain(&fault, NULL) || !strstr(fault_words(&fault), "link.key is missing")))
		fail_msg("point %lld: half of a directory is served", (long long)point);
	shell("rm -rf %s %s/place", fault.data, fault.disk);
}

enum { FORMAT1, FORMAT2, FORMAT3, FORMATS };

static const struct work migrations[FORMATS] = {
	[FORMAT1] = { "migration from format 1", unpack_format1, { NULL }, FOLDERS_STRIDE, expect_old_or_new },
	[FORMAT2] = { "migration from format 2", unpack_format2, { NULL }, WIDE_STRIDE, expect_old_or_new },
	[FORMAT3] = { "migration from format 3", unpack_format3, { NULL }, WIDE_STRIDE, expect_old_or_new },
};
static const struct work compaction = { "compaction", copy_good, { "--compact", NULL }, 1, expect_good };

static struct work restoring(void)
{
	return (struct work){
		"restore", nothing, { "--restore", good.rig.dir.path, NULL }, FOLDERS_STRIDE, expect_good_or_none
	};
}

static struct work filling(void)
{
	return (struct work){ "restore from within",
			      make_link,
			      { "--restore", good.rig.dir.path, NULL },
			      FOLDERS_STRIDE,
			      expect_sealed_or_none };
}

/* ---- tests ---- */

static void a_migration_is_killed(void **state)
{
	(void)state;
	at_every_point(&migrations[FORMAT1], FAULT_KILL_BEFORE, 0);
	at_every_point(&migrations[FORMAT1], FAULT_KILL_AFTER, 0);
	/* What follows the transaction is the same for each. */
	for (int i = 0; i < FORMATS; i++)
		at_every_point(&migrations[i], FAULT_KILL_HALFWAY, 0);
	at_every_point(&migrations[FORMAT3], FAULT_KILL_AFTER, 0);
}

static void a_compaction_is_killed(void **state)
{
	(void)state;
	at_every_point(&compaction, FAULT_KILL_BEFORE, 0);
	at_every_point(&compaction, FAULT_KILL_HALFWAY, 0);
	at_every_point(&compaction, FAULT_KILL_AFTER, 0);
}

static void a_restore_is_killed(void **state)
{
	const struct work w = restoring();

	(void)state;
	at_every_point(&w, FAULT_KILL_BEFORE, 0);
	at_every_point(&w, FAULT_KILL_AFTER, 0);
}

static void a_restore_from_within_is_killed(void **state)
{
	const struct work w = filling();

	(void)state;
	at_every_point(&w, FAULT_KILL_BEFORE, 0);
	at_every_point(&w, FAULT_KILL_AFTER, 0);
}

static void the_disk_fails_under_each(void **state)
{
	const struct work w = restoring();

	(void)state;
	at_every_point(&migrations[FORMAT1], FAULT_FAIL, EIO);
	at_every_point(&migrations[FORMAT3], FAULT_FAIL, EIO);
	at_every_point(&compaction, FAULT_FAIL, EIO);
	at_every_point(&compaction, FAULT_FAIL, ENOSPC);
	at_every_point(&w, FAULT_FAIL, ENOSPC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_migration_is_killed, setup, teardown),
		cmocka_unit_test_setup_teardown(a_compaction_is_killed, setup, teardown),
		cmocka_unit_test_setup_teardown(a_restore_is_killed, setup, teardown),
		cmocka_unit_test_setup_teardown(a_restore_from_within_is_killed, setup, teardown),
		cmocka_unit_test_setup_teardown(the_disk_fails_under_each, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
