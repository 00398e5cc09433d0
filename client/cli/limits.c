/* The limits: limit ls, show, set, rm. */
#include <string.h>

#include "cli.h"
#include "client/raincheck.h"
#include "limit_settings.h"
#include "proto/base/clean.h"
#include "proto/base/clock.h"
#include "proto/base/units.h"
#include "show.h"
#include "text.h"

/* ---- JSON: the keys of the wire ---- */

static json_t *whole_json(bool has, int64_t number)
{
	return has ? json_integer(number) : json_null();
}

static json_t *number_json(double number)
{
	return number > 0 ? json_real(number) : json_null();
}

static json_t *caps_json(json_t *o, int64_t concurrency, double rate, double burst)
{
	json_object_set_new(o, "concurrency", whole_json(concurrency > 0, concurrency));
	json_object_set_new(o, "rate", number_json(rate));
	json_object_set_new(o, "burst", number_json(burst));
	return o;
}

static json_t *adaptive_json(const struct raincheck_limit_adaptive *a)
{
	if (!a)
		return json_null();
	return json_pack("{s:I, s:I, s:o}", "min", (json_int_t)a->min, "max", (json_int_t)a->max, "latency_target_ms",
			 whole_json(a->latency_target_ms > 0, a->latency_target_ms));
}

static json_t *breaker_json(const struct raincheck_limit_breaker *b)
{
	if (!b)
		return json_null();
	return json_pack("{s:I, s:I, s:f, s:I}", "window_ms", (json_int_t)b->window_ms, "min_calls",
			 (json_int_t)b->min_calls, "failure_ratio", b->failure_ratio, "open_ms",
			 (json_int_t)b->open_ms);
}

static json_t *schedule_json(const struct raincheck_limit *l)
{
	json_t *array = json_array();

	for (size_t i = 0; i < l->schedule_count; i++) {
		const struct raincheck_limit_spell *s = &l->schedule[i];

		json_array_append_new(array, caps_json(json_pack("{s:I, s:I}", "from_at_ms", (json_int_t)s->from_at_ms,
								 "until_at_ms", (json_int_t)s->until_at_ms),
						       s->concurrency, s->rate, s->burst));
	}
	return array;
}

static json_t *now_json(const struct raincheck_limit_now *n)
{
	const char *breaker = n->has_breaker ? raincheck_breaker_phase_name(n->breaker) : NULL;
	json_t *o = json_pack("{s:s, s:I, s:I}", "state", raincheck_limit_state_name(n->state), "in_flight",
			      (json_int_t)n->in_flight, "waiting", (json_int_t)n->waiting);

	json_object_set_new(o, "concurrency", whole_json(n->concurrency > 0, n->concurrency));
	json_object_set_new(o, "rate", number_json(n->rate));
	json_object_set_new(o, "breaker", breaker ? json_string(breaker) : json_null());
	json_object_set_new(o, "held_until_at_ms", whole_json(n->held_until_at_ms > 0, n->held_until_at_ms));
	json_object_set_new(o, "started", json_integer(n->started));
	json_object_set_new(o, "succeeded", json_integer(n->succeeded));
	json_object_set_new(o, "failed", json_integer(n->failed));
	json_object_set_new(o, "throttled", json_integer(n->throttled));
	json_object_set_new(o, "opened", json_integer(n->opened));
	json_object_set_new(o, "run_ms", show_run_json(&n->run));
	return o;
}

static json_t *limit_json(const struct raincheck_limit *l)
{
	json_t *o = caps_json(json_pack("{s:s}", "limit", l->limit), l->concurrency, l->rate, l->burst);
	json_t *queues = json_array();

	for (size_t i = 0; i < l->queue_count; i++)
		json_array_append_new(queues, json_string(l->queues[i]));
	json_object_set_new(o, "adaptive", adaptive_json(l->adaptive));
	json_object_set_new(o, "breaker", breaker_json(l->breaker));
	json_object_set_new(o, "schedule", schedule_json(l));
	json_object_set_new(o, "queues", queues);
	json_object_set_new(o, "now", now_json(&l->now));
	return o;
}

/* ---- the table ---- */

static const char *colour_of(enum raincheck_limit_state state)
{
	switch (state) {
	case RAINCHECK_LIMIT_BROKEN:
		return "31";
	case RAINCHECK_LIMIT_HELD:
	case RAINCHECK_LIMIT_PROBING:
		return "33";
	case RAINCHECK_LIMIT_FULL:
	case RAINCHECK_LIMIT_PACED:
		return "36";
	default:
		return NULL;
	}
}

static const char *phase_of(const struct raincheck_limit_now *n)
{
	if (!n->has_breaker)
		return NULL;
	return n->breaker == RAINCHECK_BREAKER_HALF_OPEN ? "half open" : raincheck_breaker_phase_name(n->breaker);
}

/* As many as a cell may hold; a table cuts what is left. */
static void add_queues(struct table *t, const struct raincheck_limit *l)
{
	char text[256] = "";
	size_t used = 0;

	for (size_t i = 0; i < l->queue_count && used < sizeof(text); i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s", i > 0 ? " " : "", l->queues[i]);
	table_add(t, used > 0 ? text : NULL);
}

static void add_limit(struct table *t, const struct raincheck_limit *l, int64_t now_ms)
{
	const struct raincheck_limit_now *n = &l->now;
	char calls[64];

	if (n->concurrency > 0)
		snprintf(calls, sizeof(calls), "%lld/%lld", (long long)n->in_flight, (long long)n->concurrency);
	else
		snprintf(calls, sizeof(calls), "%lld", (long long)n->in_flight);
	table_add(t, l->limit);
	table_add_coloured(t, raincheck_limit_state_name(n->state), colour_of(n->state));
	table_add(t, calls);
	table_add_number(t, n->waiting);
	table_add(t, n->rate > 0 ? text_rate(n->rate).text : NULL);
	table_add(t, n->held_until_at_ms > 0 ? text_age(n->held_until_at_ms - now_ms).text : NULL);
	table_add(t, phase_of(n));
	add_queues(t, l);
}

int cli_limit_ls(struct cli *c)
{
	static const char *const titles[] = {
		"LIMIT", "STATE", "CALLS", "WAITING", "RATE", "HELD", "BREAKER", "QUEUES"
	};
	_cleanup_(table_done) struct table t;
	struct raincheck_limit_list *list;
	json_t *array;
	int exit = CLI_DONE;

	table_init(&t, titles, ARRAY_SIZE(titles), 0x3c, c->colour);
	if (!cli_connect(c, &exit))
		return exit;
	if (raincheck_limit_list(c->rc, &list) < 0)
		return cli_last_refused(c);
	array = c->json ? json_array() : NULL;
	for (size_t i = 0; i < list->limit_count; i++) {
		if (c->json)
			json_array_append_new(array, limit_json(&list->limits[i]));
		else
			add_limit(&t, &list->limits[i], clock_wall_ms());
	}
	raincheck_free(list);
	return c->json ? show_json(c, array) : show_table(c, &t, 0);
}

/* ---- one limit ---- */

static void show_state(struct cli *c, const struct raincheck_limit_now *n)
{
	int64_t left_ms = n->held_until_at_ms - clock_wall_ms();
	char text[128];

	if (n->held_until_at_ms > 0)
		snprintf(text, sizeof(text), "%s until %s, %s from now", raincheck_limit_state_name(n->state),
			 text_moment(n->held_until_at_ms).text, units_format_duration(left_ms).text);
	else
		snprintf(text, sizeof(text), "%s", raincheck_limit_state_name(n->state));
	show_line(c, "state", text);
}

static void show_now(struct cli *c, const struct raincheck_limit *l)
{
	const struct raincheck_limit_now *n = &l->now;
	char text[128];

	show_state(c, n);
	if (n->concurrency > 0)
		snprintf(text, sizeof(text), "%lld of %lld", (long long)n->in_flight, (long long)n->concurrency);
	else
		snprintf(text, sizeof(text), "%lld, no bound", (long long)n->in_flight);
	show_line(c, "in flight", text);
	show_line_number(c, "waiting", n->waiting);
	show_line(c, "rate now", n->rate > 0 ? text_rate(n->rate).text : "no bound");
	if (n->has_breaker) {
		snprintf(text, sizeof(text), "%s, has opened %lld time%s", phase_of(n), (long long)n->opened,
			 n->opened == 1 ? "" : "s");
		show_line(c, "breaker", text);
	}
	show_line_number(c, "calls begun", n->started);
	show_line_number(c, "succeeded", n->succeeded);
	show_line_number(c, "failed", n->failed);
	show_line_number(c, "throttled", n->throttled);
	show_run_time(c, &n->run);
}

static void show_parts(struct cli *c, const struct raincheck_limit *l)
{
	const struct raincheck_limit_adaptive *a = l->adaptive;
	const struct raincheck_limit_breaker *b = l->breaker;
	char text[160];

	if (a)
		snprintf(text, sizeof(text), "%lld to %lld at once%s%s", (long long)a->min, (long long)a->max,
			 a->latency_target_ms > 0 ? ", a call to take at most " : "",
			 a->latency_target_ms > 0 ? units_format_duration(a->latency_target_ms).text : "");
	show_line(c, "adaptive", a ? text : "off");
	if (b)
		snprintf(text, sizeof(text), "%.3g %% failed of %lld or more in %s, for %s", b->failure_ratio * 100,
			 (long long)b->min_calls, units_format_duration(b->window_ms).text,
			 units_format_duration(b->open_ms).text);
	show_line(c, "breaks at", b ? text : "off");
}

static void show_caps(struct show_items *s, int64_t concurrency, double rate, double burst)
{
	char text[64];

	if (concurrency > 0) {
		snprintf(text, sizeof(text), "%lld at once", (long long)concurrency);
		show_item(s, text);
	}
	if (rate > 0)
		show_item(s, text_rate(rate).text);
	if (burst > 0) {
		snprintf(text, sizeof(text), "burst %.10g", burst);
		show_item(s, text);
	}
}

/* Of one day it is said once. */
static void show_spell(struct cli *c, const struct raincheck_limit_spell *spell)
{
	struct text_moment from = text_moment(spell->from_at_ms), until = text_moment(spell->until_at_ms);
	struct show_items s = { c, "schedule", 0 };
	const size_t day = strlen("2024-06-07 ");
	char text[80];

	snprintf(text, sizeof(text), "%s to %s", from.text,
		 strncmp(from.text, until.text, day) == 0 ? until.text + day : until.text);
	show_item(&s, text);
	show_caps(&s, spell->concurrency, spell->rate, spell->burst);
	show_items_end(&s);
}

static void show_limit(struct cli *c, const struct raincheck_limit *l)
{
	struct show_items caps = { c, "set to", 0 };
	struct show_items queues = { c, "queues", 0 };

	show_line(c, "limit", l->limit);
	show_now(c, l);
	show_caps(&caps, l->concurrency, l->rate, l->burst);
	if (caps.used == 0)
		show_item(&caps, "no bound");
	show_items_end(&caps);
	show_parts(c, l);
	for (size_t i = 0; i < l->schedule_count; i++)
		show_spell(c, &l->schedule[i]);
	for (size_t i = 0; i < l->queue_count; i++)
		show_item(&queues, l->queues[i]);
	if (l->queue_count == 0)
		show_item(&queues, "none");
	show_items_end(&queues);
}

/* Releases limit. */
static int print_limit(struct cli *c, struct raincheck_limit *limit)
{
	int exit = CLI_DONE;

	if (c->json)
		exit = show_json(c, limit_json(limit));
	else
		show_limit(c, limit);
	raincheck_free(limit);
	return exit;
}

int cli_limit_show(struct cli *c)
{
	struct raincheck_limit *limit;
	int exit = CLI_DONE;

	if (!cli_connect(c, &exit))
		return exit;
	if (raincheck_limit_get(c->rc, c->args[0], &limit) < 0)
		return cli_last_refused(c);
	return print_limit(c, limit);
}

int cli_limit_set(struct cli *c)
{
	struct limit_draft d = { .set = { .limit = c->args[0] }, .now_ms = clock_wall_ms() };
	struct settings_error error;
	struct raincheck_limit *limit;
	int exit = CLI_DONE;

	for (int i = 1; i < c->arg_count; i++)
		if (limit_settings_assign(&d, c->args[i], &error) < 0)
			return cli_usage(c, "%s", error.message);
	if (!cli_connect(c, &exit))
		return exit;
	if (raincheck_limit_set(c->rc, &d.set, &limit) < 0)
		return cli_last_refused(c);
	return print_limit(c, limit);
}

int cli_limit_rm(struct cli *c)
{
	int exit = CLI_DONE;

	if (!cli_connect(c, &exit))
		return exit;
	if (raincheck_limit_delete(c->rc, c->args[0]) < 0)
		return cli_last_refused(c);
	if (c->json)
		return show_json(c, json_pack("{s:s}", "limit", c->args[0]));
	text_print(c->out, c->args[0]);
	fputs(" is removed\n", c->out);
	return CLI_DONE;
}
