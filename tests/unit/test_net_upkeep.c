/* server.backup and server.check at the edge: one at a time, beside everything else, given up with whoever asked. The
 * works themselves are stood in for here by ones that end when the test says; the real ones are in test_backup.c,
 * test_check.c and the broker's own tests. */
#include <stdatomic.h>

#include "server/store/store_priv.h"
#include "server/upkeep/backup.h"
#include "server/upkeep/check.h"
#include "tests/unit/test_net_rig.h"

static struct net_rig rig;
static struct peer p;
static bool stopping;

/* ---- the stand-ins ---- */

static uv_sem_t begun, go_on;
static _Atomic bool waits_for_cancel; /* else for go_on */
static int outcome;		      /* what the work ends with */
static struct error_info why;
static char path_seen[256];
static int lines;	       /* that a check finds */
static const char *line_found; /* each of them */

/* As long as the test says, or until it is canceled. */
static int work(bool (*canceled)(void *user), void *user)
{
	uv_sem_post(&begun);
	if (waits_for_cancel) {
		while (!canceled(user))
			poll(NULL, 0, 1);
		return ERR_CANCELED;
	}
	uv_sem_wait(&go_on);
	return canceled(user) ? ERR_CANCELED : outcome;
}

/* As a backup asks while it reads the store. */
static bool reading_canceled_cb(void *user)
{
	const struct backup_options *options = user;

	return options->canceled(options->user) || options->in_the_way(options->user);
}

int backup_run(const struct backup_options *options, struct backup_result *ret, struct error_info *info)
{
	struct backup_options asked = *options;
	int rc;

	snprintf(path_seen, sizeof(path_seen), "%s", options->path);
	if (options->store != rig.store || options->blobs != rig.blobs)
		abort();
	rc = work(reading_canceled_cb, &asked);
	*info = why;
	info->code = rc;
	if (rc == 0)
		*ret = (struct backup_result){ .jobs = 1, .artifacts = 2, .bytes = 3, .set_aside = 4, .took_ms = 5 };
	return rc;
}

int check_store(const struct check_options *options, struct check_result *ret)
{
	int rc = work(options->canceled, options->user);

	if (options->store != rig.store || options->blobs != rig.blobs)
		abort();
	options->report(options->user, CHECK_NOTICE, "nobody needs to know");
	for (int i = 0; i < lines; i++)
		options->report(options->user, i % 2 ? CHECK_SET_ASIDE : CHECK_BREACH, line_found);
	*ret = (struct check_result){ .jobs = 6, .artifacts = 7, .breaches = lines };
	return rc;
}

static int setup(void **state)
{
	(void)state;
	uv_sem_init(&begun, 0);
	uv_sem_init(&go_on, 0);
	waits_for_cancel = false;
	outcome = 0;
	why = (struct error_info){ .code = 0 };
	lines = 0;
	stopping = false;
	rig_open(&rig);
	return 0;
}

static void order_stop(bool kill_too)
{
	stopping = true;
	rig_order_stop(&rig, kill_too);
}

static int teardown(void **state)
{
	(void)state;
	/* a test that failed has left a work going */
	if (!stopping) {
		waits_for_cancel = true;
		uv_sem_post(&go_on);
		order_stop(true);
	}
	rig_close(&rig);
	uv_sem_destroy(&begun);
	uv_sem_destroy(&go_on);
	return 0;
}

static void serve(void)
{
	rig_serve(&rig, NULL);
	peer_open(&p, &rig);
}

static void stop(void)
{
	peer_close(&p);
	order_stop(false);
}

static struct msg_server_backup backup_to(const char *path)
{
	return (struct msg_server_backup){ .has_path = true, .path = slice_str(path) };
}

static uint64_t begin_backup(struct peer *at)
{
	struct msg_server_backup params = backup_to("/somewhere");
	uint64_t id = peer_request(at, METHOD_server_backup, &params);

	uv_sem_wait(&begun);
	return id;
}

static uint64_t begin_check(void)
{
	struct msg_empty nothing = { 0 };
	uint64_t id = peer_request(&p, METHOD_server_check, &nothing);

	uv_sem_wait(&begun);
	return id;
}

/* ---- answers ---- */

static void a_backup_is_answered_when_it_is_done(void **state)
{
	struct msg_server_backup_result result;
	uint64_t id;

	(void)state;
	serve();
	id = begin_backup(&p);
	/* everything else goes on */
	peer_put(&p, "q");
	assert_int_equal(peer_stats(&p).put_total, 1);
	uv_sem_post(&go_on);
	assert_int_equal(peer_answer(&p, id, METHOD_server_backup, &result), 0);
	assert_string_equal(path_seen, "/somewhere");
	assert_true(slice_is(result.path, "/somewhere"));
	assert_true(result.jobs == 1 && result.artifacts == 2 && result.bytes == 3 && result.took_ms == 5);
	stop();
}

static void a_backup_that_fails_says_why(void **state)
{
	uint64_t id;

	(void)state;
	serve();
	outcome = ERR_STORE_FULL;
	error_set(&why, outcome, NULL, "5 MiB more are needed");
	id = begin_backup(&p);
	uv_sem_post(&go_on);
	assert_int_equal(peer_answer(&p, id, METHOD_server_backup, NULL), ERR_STORE_FULL);
	assert_string_equal(p.info.message, "5 MiB more are needed");
	outcome = ERR_IO;
	error_set(&why, outcome, "path", "/somewhere is not writable");
	id = begin_backup(&p);
	uv_sem_post(&go_on);
	assert_int_equal(peer_answer(&p, id, METHOD_server_backup, NULL), ERR_STORE_ERROR);
	assert_string_equal(p.info.message, "/somewhere is not writable");
	stop();
}

static void a_backups_path_is_checked(void **state)
{
	static const char with_nul[] = "/a\0b";
	struct msg_server_backup params = { .has_path = true, .path = slice_of(with_nul, 4) };

	(void)state;
	serve();
	assert_int_equal(peer_call(&p, METHOD_server_backup, &params, NULL), ERR_BAD_REQUEST);
	assert_string_equal(p.info.field, "path");
	params = backup_to("here/and/there");
	assert_int_equal(peer_call(&p, METHOD_server_backup, &params, NULL), ERR_BAD_REQUEST);
	assert_string_equal(p.info.field, "path");
	stop();
}

static void a_check_tells_what_it_found(void **state)
{
	struct msg_server_check_result result;
	uint64_t id;

	(void)state;
	serve();
	lines = 3;
	line_found = "job 7: is \xff";
	id = begin_check();
	uv_sem_post(&go_on);
	assert_int_equal(peer_answer(&p, id, METHOD_server_check, &result), 0);
	assert_true(result.jobs == 6 && result.artifacts == 7 && result.breaches == 3);
	assert_int_equal(result.lines_count, 3);
	for (size_t i = 0; i < result.lines_count; i++)
		assert_true(slice_is(result.lines[i].text, "job 7: is ?"));
	stop();
}

/* However much there is to tell: the answer fits a message, and the number is the whole. */
static void a_check_tells_no_more_than_fits(void **state)
{
	static char line[512];
	struct msg_server_check_result result;
	uint64_t id;

	(void)state;
	memset(line, 'x', sizeof(line) - 1);
	rig.options.limits.message = 65536;
	serve();
	lines = 5000;
	line_found = line;
	id = begin_check();
	uv_sem_post(&go_on);
	assert_int_equal(peer_answer(&p, id, METHOD_server_check, &result), 0);
	assert_int_equal(result.breaches, 5000);
	assert_int_equal(result.lines_count, 32768 / 511);
	line_found = "short";
	id = begin_check();
	uv_sem_post(&go_on);
	assert_int_equal(peer_answer(&p, id, METHOD_server_check, &result), 0);
	assert_int_equal(result.lines_count, 1000);
	stop();
}

static void a_check_that_fails_says_why(void **state)
{
	uint64_t id;

	(void)state;
	serve();
	outcome = ERR_NO_MEMORY;
	id = begin_check();
	uv_sem_post(&go_on);
	assert_int_equal(peer_answer(&p, id, METHOD_server_check, NULL), ERR_INTERNAL);
	assert_string_equal(p.info.message, "out of memory");
	stop();
}

/* ---- one at a time ---- */

static void a_second_work_is_refused_and_told_of_the_first(void **state)
{
	struct msg_server_backup params = backup_to("/elsewhere");
	struct msg_empty nothing = { 0 };
	uint64_t id;
	struct peer other;

	(void)state;
	serve();
	peer_open(&other, &rig);
	id = begin_backup(&p);
	assert_int_equal(peer_call(&other, METHOD_server_backup, &params, NULL), ERR_CONFLICT);
	assert_non_null(strstr(other.info.message, "/somewhere"));
	assert_int_equal(peer_call(&other, METHOD_server_check, &nothing, NULL), ERR_CONFLICT);
	assert_non_null(strstr(other.info.message, "backup"));
	uv_sem_post(&go_on);
	assert_int_equal(peer_answer(&p, id, METHOD_server_backup, NULL), 0);
	id = begin_check();
	assert_int_equal(peer_call(&other, METHOD_server_backup, &params, NULL), ERR_CONFLICT);
	assert_non_null(strstr(other.info.message, "check"));
	uv_sem_post(&go_on);
	assert_int_equal(peer_answer(&p, id, METHOD_server_check, NULL), 0);
	peer_close(&other);
	stop();
}

/* ---- given up ---- */

static void a_work_goes_with_its_session(void **state)
{
	struct peer gone;
	uint64_t id;

	(void)state;
	serve();
	waits_for_cancel = true;
	peer_open(&gone, &rig);
	begin_backup(&gone);
	peer_close(&gone);
	/* It is over when the next one is taken. */
	waits_for_cancel = false;
	for (int rc = ERR_CONFLICT; rc == ERR_CONFLICT;) {
		struct msg_server_backup params = backup_to("/somewhere");

		uv_sem_post(&go_on);
		rc = peer_call(&p, METHOD_server_backup, &params, NULL);
		assert_true(rc == 0 || rc == ERR_CONFLICT);
	}
	/* One that another session's end does not concern goes on. */
	while (uv_sem_trywait(&go_on) == 0)
		;
	while (uv_sem_trywait(&begun) == 0)
		;
	id = begin_backup(&p);
	peer_open(&gone, &rig);
	peer_close(&gone);
	while (peer_stats(&p).connections > 1)
		;
	uv_sem_post(&go_on);
	assert_int_equal(peer_answer(&p, id, METHOD_server_backup, NULL), 0);
	stop();
}

/* As store__reopen() does when somebody reads: from then on it waits until nobody does. */
static void set_shut(bool shut)
{
	pthread_mutex_lock(&rig.store->lock);
	rig.store->shut = shut;
	pthread_mutex_unlock(&rig.store->lock);
}

static void a_work_gives_way_to_a_store_that_is_opened_anew(void **state)
{
	struct msg_server_backup_result result;
	uint64_t id;

	(void)state;
	serve();
	waits_for_cancel = true;
	id = begin_backup(&p);
	set_shut(true);
	assert_int_equal(peer_answer(&p, id, METHOD_server_backup, &result), ERR_STORE_ERROR);
	assert_non_null(strstr(p.info.message, "the store is opened anew; try again"));
	set_shut(false);
	stop();
}

static void a_stop_gives_a_work_up(void **state)
{
	uint64_t id;

	(void)state;
	serve();
	waits_for_cancel = true;
	id = begin_check();
	order_stop(false);
	assert_int_equal(peer_answer(&p, id, METHOD_server_check, NULL), ERR_SHUTTING_DOWN);
	assert_closed(&p);
	peer_close(&p);
}

static void a_kill_gives_a_work_up(void **state)
{
	(void)state;
	serve();
	waits_for_cancel = true;
	begin_backup(&p);
	order_stop(true);
	rig_join(&rig);
	peer_close(&p);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_backup_is_answered_when_it_is_done),
		TEST(a_backup_that_fails_says_why),
		TEST(a_backups_path_is_checked),
		TEST(a_check_tells_what_it_found),
		TEST(a_check_tells_no_more_than_fits),
		TEST(a_check_that_fails_says_why),
		TEST(a_second_work_is_refused_and_told_of_the_first),
		TEST(a_work_goes_with_its_session),
		TEST(a_work_gives_way_to_a_store_that_is_opened_anew),
		TEST(a_stop_gives_a_work_up),
		TEST(a_kill_gives_a_work_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
