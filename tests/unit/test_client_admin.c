/* Every method that changes jobs and every one of operators, over the blocking calls: what is asked for arrives at the
 * broker, what it answers arrives here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/harness/client_play.h"

#define ID "0190a5c4-7d3e-7abc-8def-0123456789ab"

static bool is_the_id(struct fake_broker *b, const struct uuid *id)
{
	struct uuid u;

	uuid_parse(slice_str(ID), &u);
	return EXPECT(b, uuid_equal(id, &u));
}

/* ---- one job ---- */

static bool change_step(struct fake_broker *b, enum method_id method, int64_t count)
{
	struct msg_job_change_result result = { .has_count = true, .count = count };
	struct fake_request r;

	return fake_next(b, method, &r) && EXPECT(b, r.change->has_id && !r.change->has_filter) &&
	       EXPECT(b, !r.change->has_limit && !r.change->has_cursor) && is_the_id(b, &r.change->id) &&
	       fake_reply(b, &r, &result);
}

static void one_script(struct fake_broker *b, void *arg)
{
	struct msg_link_result link = { .has_link = true, .link = slice_str("http://x/r/new") };
	struct msg_empty nothing = { 0 };
	struct fake_request r;

	(void)arg;
	if (fake_greet(b, 100) && change_step(b, METHOD_job_cancel, 0) && change_step(b, METHOD_job_retry, 1) &&
	    change_step(b, METHOD_job_erase, 1) && fake_next(b, METHOD_link_rotate, &r) &&
	    is_the_id(b, &r.job_id->id) && fake_reply(b, &r, &link) && fake_next(b, METHOD_link_revoke, &r) &&
	    is_the_id(b, &r.job_id->id))
		fake_reply(b, &r, &nothing);
}

static void one_call(struct raincheck *rc)
{
	struct raincheck_change_result *changed = NULL;
	struct raincheck_link *link = NULL;

	assert_int_equal(raincheck_cancel(rc, "no id", &changed), RAINCHECK_EBAD_REQUEST);
	assert_string_equal(raincheck_last_error(rc)->field, "id");
	assert_int_equal(raincheck_cancel(rc, ID, &changed), 0);
	assert_int_equal(changed->count, 0);
	assert_null(changed->cursor);
	raincheck_free(changed);
	assert_int_equal(raincheck_retry(rc, ID, &changed), 0);
	assert_int_equal(changed->count, 1);
	raincheck_free(changed);
	assert_int_equal(raincheck_erase(rc, ID, &changed), 0);
	raincheck_free(changed);
	assert_int_equal(raincheck_link_rotate(rc, ID, &link), 0);
	assert_string_equal(link->link, "http://x/r/new");
	raincheck_free(link);
	assert_int_equal(raincheck_link_revoke(rc, ID), 0);
}

static void test_one_job(void **state)
{
	(void)state;
	client_play(one_script, one_call);
}

/* ---- many ---- */

static void many_script(struct fake_broker *b, void *arg)
{
	struct msg_job_change_result result = { .has_count = true, .count = 7, .has_cursor = true };
	struct fake_request r;
	const struct msg_job_filter *f;

	(void)arg;
	result.cursor = slice_str("next");
	if (!fake_greet(b, 100) || !fake_next(b, METHOD_job_cancel, &r))
		return;
	f = &r.change->filter;
	if (!EXPECT(b, !r.change->has_id && r.change->has_filter && !f->has_all) || !IS(b, f->queue, "q") ||
	    !IS(b, f->group, "g") || !EXPECT(b, f->has_state && f->state == JOB_SCHEDULED) ||
	    !EXPECT(b, f->before_at_ms == 99 && r.change->limit == 5) || !IS(b, r.change->cursor, "before") ||
	    !fake_reply(b, &r, &result) || !fake_next(b, METHOD_job_retry, &r))
		return;
	f = &r.change->filter;
	result.has_cursor = false;
	if (EXPECT(b, f->all && !f->has_queue && !f->has_state && !f->has_group && !f->has_before_at_ms) &&
	    EXPECT(b, !r.change->has_limit && !r.change->has_cursor) && fake_reply(b, &r, &result) &&
	    fake_next(b, METHOD_job_erase, &r))
		fake_refuse(b, &r, ERR_DENIED, "filter", "admins only");
}

static void many_call(struct raincheck *rc)
{
	struct raincheck_change all = { .filter = { .all = true } };
	struct raincheck_change some = {
		.filter = { .queue = "q", .has_state = true, .group = "g", .before_at_ms = 99 },
		.limit = 5,
		.cursor = "before",
	};
	struct raincheck_change_result *changed = NULL;

	assert_int_equal(raincheck_cancel_many(rc, &some, &changed), 0);
	assert_int_equal(changed->count, 7);
	assert_string_equal(changed->cursor, "next");
	raincheck_free(changed);
	assert_int_equal(raincheck_retry_many(rc, &all, &changed), 0);
	assert_null(changed->cursor);
	raincheck_free(changed);
	assert_int_equal(raincheck_erase_many(rc, &all, &changed), RAINCHECK_EDENIED);
	assert_string_equal(raincheck_last_error(rc)->field, "filter");
	all.filter.has_state = true;
	all.filter.state = (enum raincheck_job_state)99;
	assert_int_equal(raincheck_cancel_many(rc, &all, &changed), RAINCHECK_EBAD_REQUEST);
	assert_string_equal(raincheck_last_error(rc)->field, "filter.state");
}

static void test_many_jobs(void **state)
{
	(void)state;
	client_play(many_script, many_call);
}

/* ---- queues ---- */

static void queue_script(struct fake_broker *b, void *arg)
{
	struct msg_queue queue = fake_queue("q");
	struct msg_queue_list_result queues = { .has_queues = true, .queues = &queue, .queues_count = 1 };
	struct msg_queue_purge_result purged = fake_purged("q");
	struct fake_request r;

	(void)arg;
	if (!fake_greet(b, 100) || !fake_next(b, METHOD_queue_list, &r) || !fake_reply(b, &r, &queues))
		return;
	queue.has_max_jobs = true;
	queue.has_max_bytes = true;
	queue.max_bytes = 4096;
	queue.paused = true;
	if (fake_next(b, METHOD_queue_get, &r) && IS(b, r.queue_name->queue, "q") && fake_reply(b, &r, &queue) &&
	    fake_next(b, METHOD_queue_pause, &r) && IS(b, r.queue_name->queue, "q") && fake_reply(b, &r, &queue) &&
	    fake_next(b, METHOD_queue_resume, &r) && IS(b, r.queue_name->queue, "q") && fake_reply(b, &r, &queue) &&
	    fake_next(b, METHOD_queue_purge, &r) && IS(b, r.queue_name->queue, "q"))
		fake_reply(b, &r, &purged);
}

static void queue_call(struct raincheck *rc)
{
	struct raincheck_purge_result *purged = NULL;
	struct raincheck_queue_list *queues = NULL;
	struct raincheck_queue *q = NULL;

	assert_int_equal(raincheck_queue_list(rc, &queues), 0);
	assert_string_equal(queues->queues[0].queue, "q");
	assert_false(queues->queues[0].has_max_jobs || queues->queues[0].has_max_bytes);
	assert_true(queues->queues[0].backoff.has_base_ms && queues->queues[0].backoff.base_ms == 1000);
	assert_true(queues->queues[0].backoff.jitter > 0.24 && queues->queues[0].backoff.jitter < 0.26);
	assert_int_equal(queues->queues[0].counts.expired, 7);
	assert_int_equal(queues->queues[0].bytes, 2048);
	raincheck_free(queues);
	assert_int_equal(raincheck_queue_get(rc, NULL, &q), RAINCHECK_EBAD_REQUEST);
	assert_int_equal(raincheck_queue_get(rc, "q", &q), 0);
	assert_true(q->has_max_jobs && q->max_jobs == 0);
	assert_true(q->has_max_bytes && q->max_bytes == 4096);
	raincheck_free(q);
	assert_int_equal(raincheck_queue_pause(rc, "q", &q), 0);
	assert_true(q->paused);
	raincheck_free(q);
	assert_int_equal(raincheck_queue_resume(rc, "q", &q), 0);
	raincheck_free(q);
	assert_int_equal(raincheck_queue_purge(rc, "q", &purged), 0);
	assert_int_equal(purged->count, 3);
	assert_string_equal(purged->queue.queue, "q");
	assert_int_equal(purged->queue.put_total, 28);
	raincheck_free(purged);
}

static void test_queues(void **state)
{
	(void)state;
	client_play(queue_script, queue_call);
}

/* There, not there, or there as nil. */
#define ABSENT(b, m, params, field) EXPECT(b, !(params)->has_##field && !MESSAGE_WAS_NIL(m, params, field))
#define NIL(b, m, params, field)    EXPECT(b, !(params)->has_##field && MESSAGE_WAS_NIL(m, params, field))

static bool given_step(struct fake_broker *b, const struct msg_queue *answer)
{
	struct fake_request r;
	const struct msg_queue_set *s;

	if (!fake_next(b, METHOD_queue_set, &r))
		return false;
	s = r.queue_set;
	return IS(b, s->queue, "q") && IS(b, s->title, "T") && EXPECT(b, s->has_paused && !s->paused) &&
	       EXPECT(b, s->has_max_jobs && s->max_jobs == 0) && NIL(b, queue_set, s, max_bytes) &&
	       ABSENT(b, queue_set, s, max_attempts) && EXPECT(b, s->attempt_timeout_ms == 5) &&
	       NIL(b, queue_set, s, result_ttl_ms) && EXPECT(b, s->has_backoff && s->backoff.base_ms == 2000) &&
	       NIL(b, backoff, &s->backoff, jitter) && ABSENT(b, backoff, &s->backoff, factor) &&
	       ABSENT(b, backoff, &s->backoff, max_ms) && fake_reply(b, &r, answer);
}

static bool defaults_step(struct fake_broker *b, const struct msg_queue *answer)
{
	struct fake_request r;
	const struct msg_queue_set *s;

	if (!fake_next(b, METHOD_queue_set, &r))
		return false;
	s = r.queue_set;
	return NIL(b, queue_set, s, title) && NIL(b, queue_set, s, paused) && NIL(b, queue_set, s, max_jobs) &&
	       NIL(b, queue_set, s, max_attempts) && NIL(b, queue_set, s, backoff) &&
	       NIL(b, queue_set, s, attempt_timeout_ms) && ABSENT(b, queue_set, s, result_ttl_ms) &&
	       fake_reply(b, &r, answer);
}

static void set_script(struct fake_broker *b, void *arg)
{
	struct msg_queue queue = fake_queue("q");
	struct fake_request r;

	(void)arg;
	if (!fake_greet(b, 100) || !given_step(b, &queue) || !defaults_step(b, &queue) ||
	    !fake_next(b, METHOD_queue_set, &r))
		return;
	if (ABSENT(b, queue_set, r.queue_set, title) && ABSENT(b, queue_set, r.queue_set, paused) &&
	    ABSENT(b, queue_set, r.queue_set, backoff))
		fake_reply(b, &r, &queue);
}

static void set_call(struct raincheck *rc)
{
	struct raincheck_queue_set given = {
		.queue = "q",
		.title = "T",
		.has_paused = true,
		.has_max_jobs = true,
		.backoff = { .has_base_ms = true, .base_ms = 2000 },
		.attempt_timeout_ms = 5,
		/* The title is given and taken back: it is set. */
		.defaults = RAINCHECK_QUEUE_TITLE | RAINCHECK_QUEUE_MAX_BYTES | RAINCHECK_QUEUE_RESULT_TTL |
			    RAINCHECK_QUEUE_BACKOFF_JITTER,
	};
	struct raincheck_queue_set defaults = {
		.queue = "q",
		.defaults = RAINCHECK_QUEUE_TITLE | RAINCHECK_QUEUE_PAUSED | RAINCHECK_QUEUE_MAX_JOBS |
			    RAINCHECK_QUEUE_MAX_ATTEMPTS | RAINCHECK_QUEUE_BACKOFF | RAINCHECK_QUEUE_ATTEMPT_TIMEOUT,
	};
	struct raincheck_queue_set nothing = { .queue = "q" };
	struct raincheck_queue *q = NULL;

	assert_int_equal(raincheck_queue_set(rc, &(struct raincheck_queue_set){ 0 }, &q), RAINCHECK_EBAD_REQUEST);
	assert_int_equal(raincheck_queue_set(rc, &given, &q), 0);
	assert_string_equal(q->queue, "q");
	raincheck_free(q);
	assert_int_equal(raincheck_queue_set(rc, &defaults, &q), 0);
	raincheck_free(q);
	assert_int_equal(raincheck_queue_set(rc, &nothing, &q), 0);
	raincheck_free(q);
}

static void test_queue_settings_are_given_kept_or_taken_back(void **state)
{
	(void)state;
	client_play(set_script, set_call);
}

/* ---- workers ---- */

static bool order_step(struct fake_broker *b, enum method_id method, const char *name)
{
	struct msg_worker_told told = { .has_count = true, .count = 3 };
	struct fake_request r;

	return fake_next(b, method, &r) && IS(b, r.worker_name->name, name) && fake_reply(b, &r, &told);
}

static void workers_script(struct fake_broker *b, void *arg)
{
	struct msg_worker_session workers[2] = { fake_worker("w1"), fake_worker("w2") };
	struct msg_worker_list_result list = { .has_workers = true, .workers = workers, .workers_count = 2 };
	struct fake_request r;

	(void)arg;
	workers[0].has_client = true;
	workers[0].client = slice_str("raincheck-worker 1");
	workers[1].state = WORKER_STOPPING;
	workers[1].has_slots = false;
	workers[1].queues_count = 0;
	if (fake_greet(b, 100) && fake_next(b, METHOD_worker_list, &r) && fake_reply(b, &r, &list) &&
	    order_step(b, METHOD_worker_quiet, "w1") && order_step(b, METHOD_worker_stop, "w2") &&
	    fake_next(b, METHOD_worker_stop, &r))
		fake_refuse(b, &r, ERR_NOT_FOUND, "name", "nobody");
}

static void assert_workers(const struct raincheck_worker_list *list)
{
	const struct raincheck_worker_session *w = list->workers;

	assert_int_equal(list->worker_count, 2);
	assert_string_equal(w[0].name, "w1");
	assert_string_equal(w[0].client, "raincheck-worker 1");
	assert_null(w[0].version);
	assert_string_equal(w[0].address, "192.0.2.7:41312");
	assert_int_equal(w[0].queue_count, 2);
	assert_string_equal(w[0].queues[1], "r");
	assert_true(w[0].state == RAINCHECK_WORKER_ACTIVE && w[0].has_slots && w[0].slots == 5);
	assert_true(w[0].in_hand == 3 && w[0].waiting == 1 && w[0].connected_at_ms == 1700000000000);
	assert_true(w[1].state == RAINCHECK_WORKER_STOPPING && !w[1].has_slots && w[1].queue_count == 0);
	assert_string_equal(raincheck_worker_state_name(w[1].state), "stopping");
	assert_string_equal(raincheck_worker_state_name((enum raincheck_worker_state)7), "unknown");
}

static void workers_call(struct raincheck *rc)
{
	struct raincheck_worker_list *list = NULL;
	struct raincheck_worker_told *told = NULL;

	assert_int_equal(raincheck_worker_list(rc, &list), 0);
	assert_workers(list);
	raincheck_free(list);
	assert_int_equal(raincheck_worker_quiet(rc, NULL, &told), RAINCHECK_EBAD_REQUEST);
	assert_string_equal(raincheck_last_error(rc)->field, "name");
	assert_int_equal(raincheck_worker_quiet(rc, "w1", &told), 0);
	assert_int_equal(told->count, 3);
	raincheck_free(told);
	assert_int_equal(raincheck_worker_stop(rc, "w2", &told), 0);
	raincheck_free(told);
	assert_int_equal(raincheck_worker_stop(rc, "w3", &told), RAINCHECK_ENOT_FOUND);
}

static void test_workers(void **state)
{
	(void)state;
	client_play(workers_script, workers_call);
}

/* ---- the broker ---- */

static void server_script(struct fake_broker *b, void *arg)
{
	struct msg_server_stats_result stats = fake_stats();
	struct msg_breach lines[2] = { { .has_text = true, .text = slice_str("job a is lost") },
				       { .has_text = true, .text = slice_str("job b too") } };
	struct msg_server_backup_result backup = { .has_path = true,
						   .path = slice_str("/copy"),
						   .has_jobs = true,
						   .jobs = 5,
						   .has_artifacts = true,
						   .artifacts = 6,
						   .has_bytes = true,
						   .bytes = 7,
						   .has_took_ms = true,
						   .took_ms = 8 };
	struct msg_server_check_result check = { .has_jobs = true,
						 .jobs = 5,
						 .has_artifacts = true,
						 .has_breaches = true,
						 .has_set_aside = true,
						 .breaches = 9,
						 .has_lines = true,
						 .lines = lines,
						 .lines_count = 2,
						 .has_took_ms = true,
						 .took_ms = 8 };
	struct fake_request r;

	(void)arg;
	stats.store.full = true;
	stats.store.set_aside = 2;
	if (fake_greet(b, 100) && fake_next(b, METHOD_server_stats, &r) && fake_reply(b, &r, &stats) &&
	    fake_next(b, METHOD_server_backup, &r) && IS(b, r.backup->path, "/copy") && fake_reply(b, &r, &backup) &&
	    fake_next(b, METHOD_server_check, &r))
		fake_reply(b, &r, &check);
}

static void server_call(struct raincheck *rc)
{
	struct raincheck_backup_result *backup = NULL;
	struct raincheck_check_result *check = NULL;
	struct raincheck_stats *stats = NULL;

	assert_int_equal(raincheck_stats(rc, &stats), 0);
	assert_int_equal(stats->connections, 3);
	assert_int_equal(stats->store.commands, 6);
	assert_int_equal(stats->jobs.ready, 2);
	assert_int_equal(stats->store.reserve_bytes, 1 << 24);
	assert_true(stats->store.full);
	assert_int_equal(stats->store.set_aside, 2);
	assert_true(stats->workers == 2 && stats->slots == 10 && stats->slots_free == 4);
	assert_true(stats->has_oldest_ready_age_ms && stats->oldest_ready_age_ms == 61000);
	assert_true(stats->backlog_ms == 125000 && stats->wanted_concurrency == 12);
	raincheck_free(stats);
	assert_int_equal(raincheck_backup(rc, NULL, &backup), RAINCHECK_EBAD_REQUEST);
	assert_int_equal(raincheck_backup(rc, "/copy", &backup), 0);
	assert_string_equal(backup->path, "/copy");
	assert_true(backup->jobs == 5 && backup->artifacts == 6 && backup->bytes == 7 && backup->took_ms == 8);
	raincheck_free(backup);
	assert_int_equal(raincheck_check(rc, &check), 0);
	assert_true(check->jobs == 5 && check->breach_count == 9 && check->line_count == 2);
	assert_string_equal(check->lines[1], "job b too");
	raincheck_free(check);
}

static void test_server(void **state)
{
	(void)state;
	client_play(server_script, server_call);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_job), cmocka_unit_test(test_many_jobs),
		cmocka_unit_test(test_queues),	cmocka_unit_test(test_queue_settings_are_given_kept_or_taken_back),
		cmocka_unit_test(test_workers), cmocka_unit_test(test_server),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
