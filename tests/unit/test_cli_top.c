/* The picture that raincheck top shows: drawn from samples, and printed once against a broker that plays a script. */
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client/cli/text.h"
#include "client/cli/top_picture.h"
#include "client/cli/top_sample.h"
#include "tests/harness/cli_run.h"

/* ---- pictures ---- */

/* With so many of everything, named and numbered; done: of each queue, ever. */
static void fill(struct top_sample *s, size_t count, int64_t done)
{
	*s = (struct top_sample){ .stats = { .version = "1.2.3", .now_ms = 90000, .put_total = 500 } };
	s->queues = calloc(count + 1, sizeof(*s->queues));
	s->limits = calloc(count + 1, sizeof(*s->limits));
	s->workers = calloc(count + 1, sizeof(*s->workers));
	s->queue_count = s->limit_count = s->worker_count = count;
	for (size_t i = 0; i < count; i++) {
		snprintf(s->queues[i].name, TOP_NAME, "queue-%02zu", i);
		snprintf(s->limits[i].name, TOP_NAME, "limit-%02zu", i);
		snprintf(s->workers[i].name, TOP_NAME, "worker-%02zu", i);
		s->queues[i].done = done;
	}
}

static char *draw(const struct top_picture *p)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_true(top_picture_draw(p, out));
	fclose(out);
	return text;
}

static size_t count_lines(const char *text)
{
	size_t lines = 0;

	for (; *text; text++)
		lines += *text == '\n';
	return lines;
}

static size_t widest_line(char *text)
{
	size_t widest = 0;

	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
		if (text_width(line) > widest)
			widest = text_width(line);
	return widest;
}

/* However much there is: the screen is full, and nothing stands beyond it. */
static void test_a_picture_fills_its_screen(void **state)
{
	static const size_t sizes[][2] = { { 80, 24 }, { 120, 40 }, { 40, 12 }, { 20, 5 }, { 1, 1 }, { 300, 100 } };
	static const size_t counts[] = { 0, 1, 3, 7, 60 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		for (size_t j = 0; j < ARRAY_SIZE(counts); j++) {
			struct top_sample s;
			struct top_picture p = {
				.now = &s, .server = "127.0.0.1:7246", .columns = sizes[i][0], .rows = sizes[i][1]
			};
			char *text;

			fill(&s, counts[j], 0);
			text = draw(&p);
			assert_int_equal(count_lines(text), sizes[i][1]);
			/* A table's first column is not left out. */
			if (sizes[i][0] >= 20)
				assert_true(widest_line(text) <= sizes[i][0]);
			free(text);
			top_sample_done(&s);
		}
	}
}

/* What one table does not need the others get; of what is left out it is said how much. */
static void test_tables_share_the_rows(void **state)
{
	struct top_sample s;
	struct top_picture p = { .now = &s, .server = "s", .columns = 80, .rows = 24 };
	char *text;

	(void)state;
	fill(&s, 20, 0);
	s.limit_count = 1;
	s.worker_count = 3;
	text = draw(&p);
	/* 3 lines at the head, 1 at the foot, 2 around each table, 4 rows: 10 are left for the queues. */
	says(text, "queue-08");
	assert_null(strstr(text, "queue-09"));
	says(text, "and 11 more\n");
	says(text, "limit-00");
	says(text, "worker-02");
	free(text);
	p.rows = 40;
	text = draw(&p);
	says(text, "queue-19");
	assert_null(strstr(text, "more"));
	free(text);
	top_sample_done(&s);
}

static void test_busy_queues_come_first(void **state)
{
	struct top_sample s;
	struct top_picture p = { .now = &s, .server = "s", .columns = 80, .rows = 22 };
	char *text;

	(void)state;
	fill(&s, 9, 0);
	s.queues[5].ready = 1;
	s.queues[7].running = 1;
	text = draw(&p);
	says(text, "queue-00");
	assert_true(strstr(text, "queue-05") < strstr(text, "queue-07"));
	assert_true(strstr(text, "queue-07") < strstr(text, "queue-00"));
	free(text);
	top_sample_done(&s);
}

static void test_rates_come_from_two_samples(void **state)
{
	struct top_sample before, now;
	struct top_picture p = { .now = &now, .before = &before, .server = "s" };
	char *text;

	(void)state;
	fill(&before, 2, 100);
	fill(&now, 3, 150);
	before.at_ms = 1000;
	now.at_ms = 3000;
	now.queues[1].done = 90;
	now.stats.put_total = 500 + 7;
	now.limits[0].now.started = 9;
	text = draw(&p);
	says(text, "put 3.5/s   done 3.5/s");
	/* One that went down did not go faster than light. */
	says(text, "queue-00  -          0      0        0    0.0    25.0");
	says(text, "queue-01  -          0      0        0    0.0     0.0");
	/* One that was not there has none yet. */
	says(text, "queue-02  -          0      0        0      -       -");
	says(text, "limit-00  held       0        0      4.5     0.0");
	free(text);
	p.before = NULL;
	text = draw(&p);
	says(text, "put -/s   done -/s");
	free(text);
	top_sample_done(&before);
	top_sample_done(&now);
}

static void test_trouble_stands_at_the_foot(void **state)
{
	struct top_sample s;
	struct top_picture p = { .now = &s, .server = "s", .columns = 80, .rows = 24, .colour = true };
	char *text;

	(void)state;
	fill(&s, 1, 0);
	text = draw(&p);
	says(text, "\033[2mq ends\033[0m\n");
	free(text);
	p.trouble = "the broker has gone";
	text = draw(&p);
	says(text, "\033[31mthe broker has gone\033[0m\n");
	free(text);
	top_sample_done(&s);
}

/* ---- once ---- */

static bool answer(struct fake_broker *b, int64_t done)
{
	struct msg_server_stats_result stats = fake_stats();
	struct msg_queue queues[2] = { fake_queue("renders"), fake_queue("evil\033[2J") };
	struct msg_queue_list_result queue_list = { .has_queues = true, .queues = queues, .queues_count = 1 };
	struct msg_limit limit = fake_limit("api");
	struct msg_limit_list_result limit_list = { .has_limits = true, .limits = &limit, .limits_count = 1 };
	struct msg_worker_session worker = fake_worker("w\033[31m1");
	struct msg_worker_list_result worker_list = { .has_workers = true, .workers = &worker, .workers_count = 1 };
	struct fake_request r;

	queues[0].put_total += done;
	queues[0].has_limit = true;
	queues[0].limit = slice_str("api");
	queues[0].has_oldest_ready_at_ms = true;
	queues[0].oldest_ready_at_ms = 90000 - 61000;
	limit.now.state = LIMIT_HELD;
	limit.now.has_concurrency = limit.now.has_held_until_at_ms = limit.has_adaptive = true;
	limit.now.in_flight = 4;
	limit.now.concurrency = 50;
	limit.now.held_until_at_ms = 90000 + 125000;
	queues[0].has_run_ms = limit.now.has_run_ms = true;
	queues[0].run_ms = (struct msg_run_time){ .has_mean = true, .mean = 9567, .has_spread = true, .spread = 300 };
	limit.now.run_ms = (struct msg_run_time){ .has_mean = true, .mean = 12999, .has_spread = true };
	return fake_next(b, METHOD_server_stats, &r) && fake_reply(b, &r, &stats) &&
	       fake_next(b, METHOD_queue_list, &r) && fake_reply(b, &r, &queue_list) &&
	       fake_next(b, METHOD_limit_list, &r) && fake_reply(b, &r, &limit_list) &&
	       fake_next(b, METHOD_worker_list, &r) && fake_reply(b, &r, &worker_list);
}

static void once_script(struct fake_broker *b, void *arg)
{
	if (fake_greet_and_ping(b, 10) && answer(b, 0) && arg)
		answer(b, 1000000);
}

static void test_once(void **state)
{
	struct ran r = run_with(once_script, NULL, "", WORDS("top", "--once"));

	(void)state;
	assert_int_equal(r.exit, CLI_DONE);
	assert_string_equal(r.err, "");
	says(r.out, "raincheckd 1.2.3 at 127.0.0.1:");
	says(r.out, "up 1 min 30 s   store 1.0 MiB of 1.0 GiB\n");
	says(r.out, "jobs: 2 waiting, 1 scheduled, 3 running   put -/s   done -/s   dead 5\n");
	says(r.out, "slots: 10, 4 free, 12 wanted   backlog 2 min 5 s   oldest waits 1 min 1 s\n");
	says(r.out, "QUEUE    STATE  SCHED  READY  RUNNING  PUT/S  DONE/S  TAKES  OLDEST  LIMIT\n"
		    "renders  -          1      2        3      -       -   9.5s      1m  api\n");
	says(r.out, "LIMIT  STATE  CALLS  WAITING  CALLS/S  FAIL/S  TAKES  RATE  HELD\n"
		    "api    held   4/50~        0        -       -    12s     -    2m\n");
	says(r.out, "5        3  yes    192.0.2.7:41312  q r\n");
	/* Nothing that moves a terminal, be it the broker's own. */
	assert_null(strchr(r.out, '\033'));
	ran_done(&r);
}

static void test_once_with_rates(void **state)
{
	bool twice;
	struct ran r = run_with(once_script, &twice, "", WORDS("top", "--once", "--interval", "0.1"));

	char *row = strstr(r.out, "renders");

	(void)state;
	assert_int_equal(r.exit, CLI_DONE);
	assert_null(strstr(r.out, "put -/s"));
	assert_non_null(row);
	row[strcspn(row, "\n")] = '\0';
	/* So many that it is not 0.0, however long it took. */
	says(row, "3 ");
	assert_null(strstr(row, " 0.0"));
	assert_null(strstr(row, "3      -"));
	ran_done(&r);
}

static void refused_script(struct fake_broker *b, void *arg)
{
	struct fake_request r;

	(void)arg;
	if (fake_greet_and_ping(b, 10) && fake_next(b, METHOD_server_stats, &r) &&
	    fake_refuse(b, &r, ERR_DENIED, NULL, "server.stats is not for the role worker") &&
	    fake_next(b, METHOD_queue_list, &r) && fake_refuse(b, &r, ERR_DENIED, NULL, "nor is queue.list") &&
	    fake_next(b, METHOD_limit_list, &r) && fake_refuse(b, &r, ERR_DENIED, NULL, "nor is limit.list") &&
	    fake_next(b, METHOD_worker_list, &r) && fake_refuse(b, &r, ERR_DENIED, NULL, "nor is worker.list"))
		fake_until_gone(b);
}

static void test_usage(void **state)
{
	struct ran r;

	(void)state;
	wrong(RUN("top"), "top needs a terminal; raincheck top --once");
	wrong(RUN("top", "x"), "does not take \"x\"");
	wrong(RUN("top", "--once", "--json"), "top has no JSON");
	wrong(RUN("top", "--once", "--interval", "0"), "--interval must be");
	wrong(RUN("top", "--once", "--interval", "2h"), "--interval must be");
	wrong(RUN("top", "--once", "--interval", "soon"), "not \"soon\"");
	r = run_with(refused_script, NULL, "", WORDS("top", "--once"));
	assert_int_equal(r.exit, CLI_NOT_ALLOWED);
	says(r.err, "not for the role worker");
	ran_done(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_picture_fills_its_screen),
		cmocka_unit_test(test_tables_share_the_rows),
		cmocka_unit_test(test_busy_queues_come_first),
		cmocka_unit_test(test_rates_come_from_two_samples),
		cmocka_unit_test(test_trouble_stands_at_the_foot),
		cmocka_unit_test(test_once),
		cmocka_unit_test(test_once_with_rates),
		cmocka_unit_test(test_usage),
	};

	cli_run_clean_environment();
	setlocale(LC_CTYPE, "C.UTF-8");
	return cmocka_run_group_tests_name("cli top", tests, NULL, NULL);
}
