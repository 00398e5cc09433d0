/* The limit commands: their settings, and the whole of them against a broker that plays a script. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <jansson.h>

#include "client/cli/limit_settings.h"
#include "proto/base/clock.h"
#include "tests/harness/cli_run.h"

#define NOW 1717763400000 /* 2024-06-07 12:30 UTC */
#define H   3600000LL

/* What was typed is the same number, but for the last bits of it. */
#define NEARLY(a, b) assert_float_equal(a, b, 1e-9)

static void test_usage(void **state)
{
	(void)state;
	wrong(RUN("limit"), "limit needs one of: ls show set rm");
	wrong(RUN("limit", "shwo", "api"), "did you mean \"limit show\"?");
	wrong(RUN("limit", "show"), "limit show needs LIMIT");
	wrong(RUN("limit", "set", "api"), "limit set needs LIMIT KEY=VALUE");
	wrong(RUN("limit", "set", "api", "concurency=1"), "did you mean concurrency?");
	wrong(RUN("limit", "set", "api", "rate=fast"), "rate must be");
	wrong(RUN("limit", "rm"), "limit rm needs LIMIT");
	wrong(RUN("limit", "rm", "a", "b"), "does not take \"b\"");
	wrong(RUN("limit", "ls", "x"), "does not take \"x\"");
}

/* ---- settings ---- */

static void test_takes_every_setting(void **state)
{
	static const char *const all[] = {
		"concurrency=50",
		"rate=600/min",
		"burst=20.5",
		"adaptive=4..200",
		"adaptive.latency_target=2s",
		"breaker=on",
		"breaker.window=30s",
		"breaker.min_calls=10",
		"breaker.failure_ratio=0.25",
		"breaker.open_ms=15000",
		"schedule=now..+2h,concurrency=100",
		"schedule=2024-06-07T18:00:00Z..2024-06-07T20:00:00+00:00,rate=1200/min,burst=40,concurrency=7",
	};
	struct limit_draft d = { .now_ms = NOW };
	struct settings_error error = { "" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		assert_int_equal(limit_settings_assign(&d, all[i], &error), 0);
	assert_int_equal(d.set.concurrency, 50);
	NEARLY(d.set.rate, 10);
	NEARLY(d.set.burst, 20.5);
	assert_true(d.set.has_adaptive && d.set.adaptive.min == 4 && d.set.adaptive.max == 200);
	assert_int_equal(d.set.adaptive.latency_target_ms, 2000);
	assert_true(d.set.has_breaker && d.set.breaker.window_ms == 30000 && d.set.breaker.min_calls == 10);
	NEARLY(d.set.breaker.failure_ratio, 0.25);
	assert_int_equal(d.set.breaker.open_ms, 15000);
	assert_int_equal(d.set.schedule_count, 2);
	assert_true(d.set.schedule[0].from_at_ms == NOW && d.set.schedule[0].until_at_ms == NOW + 2 * H);
	assert_int_equal(d.set.schedule[0].concurrency, 100);
	NEARLY(d.set.schedule[0].rate, 0);
	assert_int_equal(d.set.schedule[1].from_at_ms, NOW + 5 * H + H / 2);
	assert_int_equal(d.set.schedule[1].until_at_ms, NOW + 7 * H + H / 2);
	NEARLY(d.set.schedule[1].rate, 20);
	NEARLY(d.set.schedule[1].burst, 40);
	assert_int_equal(d.set.defaults, 0);
}

static void test_the_last_of_a_key_holds(void **state)
{
	static const char *const all[] = {
		"concurrency=5",
		"concurrency=default",
		"rate=default",
		"rate=3",
		"adaptive.min=4",
		"adaptive=off",
		"breaker=off",
		"breaker=on",
		"breaker.open=3s",
		"breaker.open=default",
		"schedule=now..+1h,rate=1",
		"schedule=default",
		"schedule=now..+3h,rate=2",
	};
	struct limit_draft d = { .now_ms = NOW };
	struct settings_error error = { "" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		assert_int_equal(limit_settings_assign(&d, all[i], &error), 0);
	assert_int_equal(d.set.concurrency, 0);
	NEARLY(d.set.rate, 3);
	assert_true(!d.set.has_adaptive && d.set.adaptive.min == 0);
	assert_true(d.set.has_breaker && d.set.breaker.open_ms == 0);
	assert_int_equal(d.set.schedule_count, 1);
	NEARLY(d.set.schedule[0].rate, 2);
	assert_int_equal(d.set.defaults,
			 RAINCHECK_LIMIT_CONCURRENCY | RAINCHECK_LIMIT_ADAPTIVE | RAINCHECK_LIMIT_BREAKER_OPEN);
}

static void test_refuses_what_is_no_setting(void **state)
{
	static const char *const bad[][2] = {
		{ "nonsense", "KEY=VALUE" },
		{ "=1", "KEY=VALUE" },
		{ "colour=red", "\"colour\"" },
		{ "breaker.windw=3s", "did you mean breaker.window?" },
		{ "concurrency=0", "concurrency must be more than 0" },
		{ "concurrency=-3", "concurrency must be more than 0" },
		{ "concurrency=2.5", "concurrency must be a whole number" },
		{ "concurrency=", "concurrency" },
		{ "concurrency=99999999999999999999", "concurrency" },
		{ "rate=0", "rate must be" },
		{ "rate=-1", "rate must be" },
		{ "rate=10/day", "\"10/day\"" },
		{ "burst=0", "burst must be more than 0" },
		{ "burst=inf", "burst must be a number" },
		{ "adaptive=5", "4..200" },
		{ "adaptive=..", "4..200" },
		{ "adaptive=4..x", "4..200" },
		{ "adaptive=0..4", "\"0..4\"" },
		{ "adaptive=9..3", "\"9..3\"" },
		{ "adaptive.min=0", "adaptive.min must be more than 0" },
		{ "adaptive.latency_target=soon", "adaptive.latency_target" },
		{ "breaker=maybe", "breaker must be on or off" },
		{ "breaker.failure_ratio=0", "breaker.failure_ratio must be more than 0" },
		{ "breaker.failure_ratio=half", "breaker.failure_ratio" },
		{ "breaker.window=0", "breaker.window must be more than 0" },
		{ "schedule=", "FROM..UNTIL" },
		{ "schedule=now,rate=1", "FROM..UNTIL" },
		{ "schedule=now..+1h", "neither concurrency nor rate nor burst" },
		{ "schedule=now..+1h,", "\"\" is not concurrency=N" },
		{ "schedule=2h..+3h,rate=1", "\"2h\" is no moment" },
		{ "schedule=now..3h,rate=1", "\"3h\" is no moment" },
		{ "schedule=+2h..+1h,rate=1", "+1h is not after +2h" },
		{ "schedule=now..now,rate=1", "not after" },
		{ "schedule=2024-06-07T18:00:00Z..+9h,rate=1", "counts from now" },
		{ "schedule=now..+1h,concurrency=0", "schedule: concurrency" },
		{ "schedule=now..+1h,rate=0", "schedule: rate" },
		{ "schedule=now..+1h,burst=-1", "schedule: burst" },
		{ "schedule=now..+1h,rat=1", "\"rat\" is not" },
		{ "schedule=now..+1h,rate", "\"rate\" is not" },
	};
	static const struct raincheck_limit_set none;
	char text[400];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct limit_draft d = { .now_ms = NOW };
		struct settings_error error = { "" };

		if (limit_settings_assign(&d, bad[i][0], &error) != RAINCHECK_EBAD_REQUEST)
			fail_msg("%s is taken", bad[i][0]);
		if (!strstr(error.message, bad[i][1]))
			fail_msg("\"%s\" is not in \"%s\"", bad[i][1], error.message);
		assert_memory_equal(&d.set, &none, sizeof(none));
	}
	snprintf(text, sizeof(text), "schedule=now..+1h,rate=1%0300d", 0);
	wrong(RUN("limit", "set", "api", text), "too long");
}

static void test_a_schedule_has_its_bound(void **state)
{
	struct limit_draft d = { .now_ms = NOW };
	struct settings_error error = { "" };

	(void)state;
	for (int i = 0; i < RAINCHECK_MAX_SCHEDULE; i++)
		assert_int_equal(limit_settings_assign(&d, "schedule=now..+1h,rate=1", &error), 0);
	assert_int_equal(limit_settings_assign(&d, "schedule=now..+1h,rate=1", &error), RAINCHECK_EBAD_REQUEST);
	assert_non_null(strstr(error.message, "more than 64"));
	assert_int_equal(d.set.schedule_count, RAINCHECK_MAX_SCHEDULE);
}

/* ---- looking ---- */

static struct msg_limit_spell some_spells[2];
static struct slice some_queues[30];

static void give_parts(struct msg_limit *l)
{
	l->has_concurrency = l->has_rate = l->has_burst = l->has_adaptive = l->has_breaker = true;
	l->concurrency = 50;
	l->rate = 10;
	l->burst = 20;
	l->adaptive = (struct msg_limit_adaptive){ .has_min = true, .min = 4, .has_max = true, .max = 200 };
	l->breaker = (struct msg_limit_breaker){ .has_window_ms = true,
						 .window_ms = 30000,
						 .has_min_calls = true,
						 .min_calls = 10,
						 .has_failure_ratio = true,
						 .failure_ratio = 0.5,
						 .has_open_ms = true,
						 .open_ms = 90000 };
}

/* From 18:00 on in central Europe. */
static void give_schedule(struct msg_limit *l)
{
	some_spells[0] = (struct msg_limit_spell){ .has_from_at_ms = true,
						   .from_at_ms = NOW + 3 * H + H / 2,
						   .has_until_at_ms = true,
						   .until_at_ms = NOW + 5 * H + H / 2,
						   .has_concurrency = true,
						   .concurrency = 100 };
	some_spells[1] = some_spells[0];
	some_spells[1].until_at_ms += 24 * H;
	some_spells[1].concurrency = 1000000;
	some_spells[1].has_rate = some_spells[1].has_burst = true;
	some_spells[1].rate = 100 / 60.0;
	some_spells[1].burst = 1000000;
	l->schedule = some_spells;
	l->schedule_count = 2;
}

/* With everything that one can have. */
static struct msg_limit whole_limit(void)
{
	struct msg_limit l = fake_limit("api");

	give_parts(&l);
	give_schedule(&l);
	some_queues[0] = slice_str("renders");
	some_queues[1] = slice_str("stills");
	l.queues = some_queues;
	l.queues_count = 2;
	l.now.state = LIMIT_FULL;
	l.now.in_flight = l.now.concurrency = 43;
	l.now.waiting = 318;
	l.now.has_concurrency = l.now.has_rate = l.now.has_breaker = true;
	l.now.rate = 10;
	l.now.breaker = BREAKER_HALF_OPEN;
	l.now.started = 16;
	l.now.succeeded = 17;
	l.now.failed = 18;
	l.now.throttled = 19;
	l.now.opened = 1;
	return l;
}

static void list_script(struct fake_broker *b, void *arg)
{
	struct msg_limit limits[] = { whole_limit(), fake_limit("bare"), fake_limit("held") };
	struct msg_limit_list_result list = { .has_limits = true, .limits = limits, .limits_count = 3 };
	struct fake_request r;

	(void)arg;
	limits[2].now.state = LIMIT_HELD;
	limits[2].now.has_held_until_at_ms = true;
	/* As far off as a moment can be for which the test may take as long as it likes. */
	limits[2].now.held_until_at_ms = clock_wall_ms() + 3 * 24 * H - 1;
	if (fake_greet(b, 10) && fake_next(b, METHOD_limit_list, &r))
		fake_reply(b, &r, &list);
}

static void test_list(void **state)
{
	struct ran r = run_with(list_script, NULL, "", WORDS("limit", "ls"));

	(void)state;
	assert_int_equal(r.exit, CLI_DONE);
	assert_string_equal(r.out, "LIMIT  STATE  CALLS  WAITING  RATE  HELD  BREAKER    QUEUES\n"
				   "api    full   43/43      318  10/s     -  half open  renders stills\n"
				   "bare   free       0        0     -     -  -          -\n"
				   "held   held       0        0     -    2d  -          -\n");
	ran_done(&r);
	r = run_with(list_script, NULL, "", WORDS("limit", "ls", "--json"));
	says(r.out, "\"limit\": \"bare\"");
	assert_int_equal(r.out[0], '[');
	ran_done(&r);
}

static void show_script(struct fake_broker *b, void *arg)
{
	const struct msg_limit *l = arg;
	struct fake_request r;

	if (fake_greet(b, 10) && fake_next(b, METHOD_limit_get, &r) &&
	    (slice_equal(r.limit_name->limit, l->limit) || fake_wrong(b, "another limit")))
		fake_reply(b, &r, l);
}

static void central_europe(void)
{
	setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
	tzset();
}

static void no_zone(void)
{
	unsetenv("TZ");
	tzset();
}

static void test_show(void **state)
{
	struct msg_limit l = whole_limit();
	struct ran r;

	(void)state;
	central_europe();
	r = run_with(show_script, &l, "", WORDS("limit", "show", "api"));
	assert_int_equal(r.exit, CLI_DONE);
	assert_string_equal(r.out, "limit:          api\n"
				   "state:          full\n"
				   "in flight:      43 of 43\n"
				   "waiting:        318\n"
				   "rate now:       10/s\n"
				   "breaker:        half open, has opened 1 time\n"
				   "calls begun:    16\n"
				   "succeeded:      17\n"
				   "failed:         18\n"
				   "throttled:      19\n"
				   "set to:         50 at once, 10/s, burst 20\n"
				   "adaptive:       4 to 200 at once\n"
				   "breaks at:      50 % failed of 10 or more in 30 s, for 1 min 30 s\n"
				   "schedule:       2024-06-07 18:00:00 to 20:00:00, 100 at once\n"
				   "schedule:       2024-06-07 18:00:00 to 2024-06-08 20:00:00, 1000000 at once,\n"
				   "                100/min, burst 1000000\n"
				   "queues:         renders, stills\n");
	ran_done(&r);
	no_zone();
}

static void test_show_with_nothing_set(void **state)
{
	struct msg_limit l = fake_limit("bare");
	struct ran r = run_with(show_script, &l, "", WORDS("limit", "show", "bare"));

	(void)state;
	assert_string_equal(r.out, "limit:          bare\n"
				   "state:          free\n"
				   "in flight:      0, no bound\n"
				   "waiting:        0\n"
				   "rate now:       no bound\n"
				   "calls begun:    0\n"
				   "succeeded:      0\n"
				   "failed:         0\n"
				   "throttled:      0\n"
				   "set to:         no bound\n"
				   "adaptive:       off\n"
				   "breaks at:      off\n"
				   "queues:         none\n");
	ran_done(&r);
}

static void test_show_until_when(void **state)
{
	struct msg_limit l = fake_limit("api");
	struct ran r;

	(void)state;
	central_europe();
	l.now.state = LIMIT_BROKEN;
	l.now.has_held_until_at_ms = true;
	/* Over by now: the broker's clock is not ours. */
	l.now.held_until_at_ms = NOW;
	l.has_adaptive = true;
	l.adaptive = (struct msg_limit_adaptive){ .has_min = true,
						  .min = 1,
						  .has_max = true,
						  .max = 9,
						  .has_latency_target_ms = true,
						  .latency_target_ms = 2000 };
	r = run_with(show_script, &l, "", WORDS("limit", "show", "api"));
	says(r.out, "state:          broken until 2024-06-07 14:30:00, 0 ms from now\n");
	says(r.out, "adaptive:       1 to 9 at once, a call to take at most 2 s\n");
	ran_done(&r);
	no_zone();
}

static void fits(struct msg_limit *l, const char *part)
{
	struct ran r = run_with(show_script, l, "", WORDS("limit", "show", "api"));

	for (const char *line = r.out; *line; line += strcspn(line, "\n") + 1)
		if (strcspn(line, "\n") > 80)
			fail_msg("wider than 80 columns: %.*s", (int)strcspn(line, "\n"), line);
	says(r.out, part);
	ran_done(&r);
}

static void test_show_fits_a_terminal(void **state)
{
	struct msg_limit l = whole_limit();
	char names[ARRAY_SIZE(some_queues)][16];

	(void)state;
	l.queues_count = ARRAY_SIZE(some_queues);
	l.breaker.failure_ratio = 1 / 3.0;
	l.breaker.min_calls = 100000;
	l.breaker.window_ms = l.breaker.open_ms = H - 1000;
	l.now.in_flight = l.now.concurrency = 1000000;
	/* Lines end at every column that they may. */
	for (int width = 2; width < 15; width++) {
		for (size_t i = 0; i < ARRAY_SIZE(some_queues); i++) {
			snprintf(names[i], sizeof(names[i]), "%0*zu", width, i);
			some_queues[i] = slice_str(names[i]);
		}
		fits(&l, names[ARRAY_SIZE(some_queues) - 1]);
	}
}

static json_int_t whole_at(json_t *o, const char *part, const char *key)
{
	return json_integer_value(json_object_get(json_object_get(o, part), key));
}

static void test_show_as_json(void **state)
{
	struct msg_limit l = whole_limit();
	struct ran r = run_with(show_script, &l, "", WORDS("limit", "show", "api", "--json"));
	json_t *o = json_loads(r.out, 0, NULL);
	json_t *spell = json_array_get(json_object_get(o, "schedule"), 1);

	(void)state;
	assert_int_equal(json_integer_value(json_object_get(o, "concurrency")), 50);
	NEARLY(json_real_value(json_object_get(o, "rate")), 10);
	assert_int_equal(whole_at(o, "adaptive", "max"), 200);
	assert_true(json_is_null(json_object_get(json_object_get(o, "adaptive"), "latency_target_ms")));
	assert_int_equal(whole_at(o, "breaker", "open_ms"), 90000);
	assert_int_equal(json_integer_value(json_object_get(spell, "concurrency")), 1000000);
	assert_int_equal(json_integer_value(json_object_get(spell, "from_at_ms")), NOW + 3 * H + H / 2);
	assert_true(json_is_null(json_object_get(json_array_get(json_object_get(o, "schedule"), 0), "rate")));
	assert_string_equal(json_string_value(json_array_get(json_object_get(o, "queues"), 1)), "stills");
	assert_string_equal(json_string_value(json_object_get(json_object_get(o, "now"), "state")), "full");
	assert_string_equal(json_string_value(json_object_get(json_object_get(o, "now"), "breaker")), "half_open");
	assert_int_equal(whole_at(o, "now", "waiting"), 318);
	assert_int_equal(whole_at(o, "now", "throttled"), 19);
	json_decref(o);
	ran_done(&r);
	l = fake_limit("bare");
	r = run_with(show_script, &l, "", WORDS("limit", "show", "bare", "--json"));
	o = json_loads(r.out, 0, NULL);
	assert_true(json_is_null(json_object_get(o, "concurrency")) && json_is_null(json_object_get(o, "rate")));
	assert_true(json_is_null(json_object_get(o, "adaptive")) && json_is_null(json_object_get(o, "breaker")));
	assert_true(json_is_null(json_object_get(json_object_get(o, "now"), "held_until_at_ms")));
	json_decref(o);
	ran_done(&r);
}

/* ---- changing ---- */

static void set_script(struct fake_broker *b, void *arg)
{
	struct msg_limit limit = fake_limit("api");
	const struct msg_limit_set *s;
	struct fake_request r;

	(void)arg;
	if (!fake_greet(b, 10) || !fake_next(b, METHOD_limit_set, &r))
		return;
	s = r.limit_set;
	if (!slice_is(s->limit, "api") || s->concurrency != 50 || s->rate < 9.9 || s->rate > 10.1 ||
	    !MESSAGE_WAS_NIL(limit_set, s, burst) || s->adaptive.min != 4 || s->adaptive.max != 200 ||
	    !MESSAGE_WAS_NIL(limit_set, s, breaker) || s->schedule_count != 1 || s->schedule[0].concurrency != 100 ||
	    s->schedule[0].until_at_ms - s->schedule[0].from_at_ms != 2 * H)
		fake_wrong(b, "the settings did not arrive");
	else
		fake_reply(b, &r, &limit);
}

static void test_set(void **state)
{
	(void)state;
	right(run_with(set_script, NULL, "",
		       WORDS("limit", "set", "api", "concurrency=50", "rate=600/min", "burst=default",
			     "adaptive=4..200", "breaker=off", "schedule=now..+2h,concurrency=100")),
	      "limit:          api\n");
}

static void remove_script(struct fake_broker *b, void *arg)
{
	struct msg_empty nothing = { 0 };
	struct fake_request r;

	if (!fake_greet(b, 10) || !fake_next(b, METHOD_limit_delete, &r))
		return;
	if (!slice_is(r.limit_name->limit, "api"))
		fake_wrong(b, "another limit");
	else if (arg)
		fake_refuse(b, &r, ERR_CONFLICT, "limit", "queue renders and 2 more use it");
	else
		fake_reply(b, &r, &nothing);
}

static void test_remove(void **state)
{
	bool in_use;
	struct ran r = run_with(remove_script, &in_use, "", WORDS("limit", "rm", "api"));

	(void)state;
	assert_int_equal(r.exit, CLI_FAILED);
	assert_string_equal(r.err, "raincheck: limit: queue renders and 2 more use it (conflict)\n");
	assert_string_equal(r.out, "");
	ran_done(&r);
	right(run_with(remove_script, NULL, "", WORDS("limit", "rm", "api")), "api is removed\n");
	right(run_with(remove_script, NULL, "", WORDS("limit", "rm", "api", "--json")), "\"limit\": \"api\"");
}

static void refusing_script(struct fake_broker *b, void *arg)
{
	const int *code = arg;
	struct fake_request r;

	if (fake_greet(b, 10) && fake_any(b, &r))
		fake_refuse(b, &r, *code, "limit", "no");
}

static void test_what_the_broker_refuses(void **state)
{
	int not_found = ERR_NOT_FOUND, bad = ERR_BAD_REQUEST, denied = ERR_DENIED;
	struct ran r;

	(void)state;
	r = run_with(refusing_script, &not_found, "", WORDS("limit", "show", "api"));
	assert_int_equal(r.exit, CLI_NOT_FOUND);
	ran_done(&r);
	r = run_with(refusing_script, &not_found, "", WORDS("limit", "rm", "api"));
	assert_int_equal(r.exit, CLI_NOT_FOUND);
	ran_done(&r);
	r = run_with(refusing_script, &bad, "", WORDS("limit", "set", "api", "burst=3"));
	assert_int_equal(r.exit, CLI_FAILED);
	assert_string_equal(r.err, "raincheck: limit: no (bad_request)\n");
	ran_done(&r);
	r = run_with(refusing_script, &denied, "", WORDS("limit", "ls"));
	assert_int_equal(r.exit, CLI_NOT_ALLOWED);
	ran_done(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_usage),
		cmocka_unit_test(test_takes_every_setting),
		cmocka_unit_test(test_the_last_of_a_key_holds),
		cmocka_unit_test(test_refuses_what_is_no_setting),
		cmocka_unit_test(test_a_schedule_has_its_bound),
		cmocka_unit_test(test_list),
		cmocka_unit_test(test_show),
		cmocka_unit_test(test_show_with_nothing_set),
		cmocka_unit_test(test_show_until_when),
		cmocka_unit_test(test_show_fits_a_terminal),
		cmocka_unit_test(test_show_as_json),
		cmocka_unit_test(test_set),
		cmocka_unit_test(test_remove),
		cmocka_unit_test(test_what_the_broker_refuses),
	};

	cli_run_clean_environment();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
