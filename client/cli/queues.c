/* The queues: queue ls, show, set, pause, resume, purge. */
#include "cli.h"
#include "client/raincheck.h"
#include "confirm.h"
#include "proto/base/clean.h"
#include "proto/base/clock.h"
#include "proto/base/units.h"
#include "queue_settings.h"
#include "show.h"
#include "text.h"

static int64_t unfinished(const struct raincheck_queue *q)
{
	return q->counts.scheduled + q->counts.ready + q->counts.running;
}

static bool is_full(const struct raincheck_queue *q)
{
	return (q->has_max_jobs && unfinished(q) >= q->max_jobs) || (q->has_max_bytes && q->bytes >= q->max_bytes);
}

static const char *state_of(const struct raincheck_queue *q)
{
	if (q->paused)
		return "paused";
	return is_full(q) ? "full" : "open";
}

/* ---- JSON ---- */

static json_t *optional(bool has, int64_t number)
{
	return has ? json_integer(number) : json_null();
}

static json_t *backoff_json(const struct raincheck_backoff *b)
{
	return json_pack("{s:I, s:f, s:I, s:f}", "base_ms", (json_int_t)b->base_ms, "factor", b->factor, "max_ms",
			 (json_int_t)b->max_ms, "jitter", b->jitter);
}

static json_t *weights_json(const struct raincheck_queue *q)
{
	json_t *o = json_object();

	for (size_t i = 0; i < q->weight_count; i++)
		json_object_set_new(o, q->weights[i].group, json_integer(q->weights[i].weight));
	return o;
}

static json_t *queue_json(const struct raincheck_queue *q)
{
	json_t *o = json_pack("{s:s, s:s?, s:b}", "queue", q->queue, "title", q->title, "paused", q->paused);

	json_object_set_new(o, "max_jobs", optional(q->has_max_jobs, q->max_jobs));
	json_object_set_new(o, "max_bytes", optional(q->has_max_bytes, q->max_bytes));
	json_object_set_new(o, "max_attempts", json_integer(q->max_attempts));
	json_object_set_new(o, "backoff", backoff_json(&q->backoff));
	json_object_set_new(o, "attempt_timeout_ms", optional(q->attempt_timeout_ms > 0, q->attempt_timeout_ms));
	json_object_set_new(o, "result_ttl_ms", optional(q->has_result_ttl_ms, q->result_ttl_ms));
	json_object_set_new(o, "limit", q->limit ? json_string(q->limit) : json_null());
	json_object_set_new(o, "weight", json_integer(q->weight));
	json_object_set_new(o, "weights", weights_json(q));
	json_object_set_new(o, "admit", json_string(raincheck_admission_name(q->admit)));
	json_object_set_new(o, "counts", show_counts_json(&q->counts));
	json_object_set_new(o, "bytes", json_integer(q->bytes));
	json_object_set_new(o, "put_total", json_integer(q->put_total));
	json_object_set_new(o, "lease_total", json_integer(q->lease_total));
	json_object_set_new(o, "oldest_ready_at_ms", optional(q->oldest_ready_at_ms > 0, q->oldest_ready_at_ms));
	json_object_set_new(o, "run_ms", show_run_json(&q->run));
	return o;
}

/* ---- the table ---- */

static void add_queue(struct table *t, const struct raincheck_queue *q, int64_t now_ms)
{
	table_add(t, q->queue);
	table_add_coloured(t, state_of(q), q->paused || is_full(q) ? "33" : NULL);
	table_add_number(t, q->counts.scheduled);
	table_add_number(t, q->counts.ready);
	table_add_number(t, q->counts.running);
	table_add_number(t, q->counts.succeeded);
	table_add_number(t, q->counts.dead);
	table_add_number(t, q->counts.canceled + q->counts.expired);
	table_add(t, q->oldest_ready_at_ms > 0 ? text_age(now_ms - q->oldest_ready_at_ms).text : NULL);
	table_add(t, q->limit);
	table_add(t, q->title);
}

int cli_queue_ls(struct cli *c)
{
	static const char *const titles[] = { "QUEUE", "STATE",	  "SCHED", "READY", "RUNNING", "DONE",
					      "DEAD",  "DROPPED", "WAITS", "LIMIT", "TITLE" };
	_cleanup_(table_done) struct table t;
	struct raincheck_queue_list *list;
	json_t *array;
	int exit = CLI_DONE;

	table_init(&t, titles, ARRAY_SIZE(titles), 0x1fc, c->colour);
	if (!cli_connect(c, &exit))
		return exit;
	if (raincheck_queue_list(c->rc, &list) < 0)
		return cli_last_refused(c);
	array = c->json ? json_array() : NULL;
	for (size_t i = 0; i < list->queue_count; i++) {
		if (c->json)
			json_array_append_new(array, queue_json(&list->queues[i]));
		else
			add_queue(&t, &list->queues[i], clock_wall_ms());
	}
	raincheck_free(list);
	return c->json ? show_json(c, array) : show_table(c, &t, 0);
}

/* ---- one queue ---- */

static void show_bounds(struct cli *c, const struct raincheck_queue *q)
{
	char text[96];

	if (q->has_max_jobs)
		snprintf(text, sizeof(text), "%lld of %lld", (long long)unfinished(q), (long long)q->max_jobs);
	else
		snprintf(text, sizeof(text), "%lld, no bound", (long long)unfinished(q));
	show_line(c, "unfinished", text);
	if (q->has_max_bytes)
		snprintf(text, sizeof(text), "%s of %s", units_format_size(q->bytes).text,
			 units_format_size(q->max_bytes).text);
	else
		snprintf(text, sizeof(text), "%s, no bound", units_format_size(q->bytes).text);
	show_line(c, "their bytes", text);
}

static void show_terms(struct cli *c, const struct raincheck_queue *q)
{
	const struct raincheck_backoff *b = &q->backoff;
	char text[160];

	show_line_number(c, "max attempts", q->max_attempts);
	snprintf(text, sizeof(text), "%s, times %g each time, at most %s, jitter %g %%",
		 units_format_duration(b->base_ms).text, b->factor, units_format_duration(b->max_ms).text,
		 b->jitter * 100);
	show_line(c, "backoff", text);
	show_line(c, "attempt takes",
		  q->attempt_timeout_ms > 0 ? units_format_duration(q->attempt_timeout_ms).text : "no limit");
	show_line(c, "result is kept",
		  q->has_result_ttl_ms ? units_format_duration(q->result_ttl_ms).text : "as the broker has it");
}

/* Whose turn it is, and who gets in. */
static void show_flow(struct cli *c, const struct raincheck_queue *q)
{
	struct show_items weights = { c, "group weights", 0 };
	char text[160];

	show_line(c, "limit", q->limit ? q->limit : "none");
	show_line_number(c, "weight", q->weight);
	for (size_t i = 0; i < q->weight_count; i++) {
		snprintf(text, sizeof(text), "%.128s %lld", q->weights[i].group, (long long)q->weights[i].weight);
		show_item(&weights, text);
	}
	show_items_end(&weights);
	show_line(c, "admits",
		  q->admit == RAINCHECK_ADMIT_DEADLINE ? "only what can be done by its deadline" : "always");
}

static void show_queue(struct cli *c, const struct raincheck_queue *q)
{
	show_line(c, "queue", q->queue);
	show_line(c, "title", q->title);
	show_line(c, "state", state_of(q));
	show_bounds(c, q);
	show_terms(c, q);
	show_flow(c, q);
	show_counts(c, &q->counts);
	show_line_number(c, "put in all", q->put_total);
	show_line_number(c, "leased in all", q->lease_total);
	if (q->oldest_ready_at_ms > 0)
		show_line(c, "oldest waits", units_format_duration(clock_wall_ms() - q->oldest_ready_at_ms).text);
	show_run_time(c, &q->run);
}

/* Releases queue. */
static int print_queue(struct cli *c, struct raincheck_queue *queue)
{
	int exit = CLI_DONE;

	if (c->json)
		exit = show_json(c, queue_json(queue));
	else
		show_queue(c, queue);
	raincheck_free(queue);
	return exit;
}

int cli_queue_show(struct cli *c)
{
	struct raincheck_queue *queue;
	int exit = CLI_DONE;

	if (!cli_connect(c, &exit))
		return exit;
	if (raincheck_queue_get(c->rc, c->args[0], &queue) < 0)
		return cli_last_refused(c);
	return print_queue(c, queue);
}

static int set_queue(struct cli *c, struct queue_draft *d)
{
	struct settings_error error;
	struct raincheck_queue *queue;
	int exit = CLI_DONE;

	for (int i = 1; i < c->arg_count; i++)
		if (queue_settings_assign(d, c->args[i], &error) < 0)
			return cli_usage(c, "%s", error.message);
	if (!cli_connect(c, &exit))
		return exit;
	if (raincheck_queue_set(c->rc, &d->set, &queue) < 0)
		return cli_last_refused(c);
	return print_queue(c, queue);
}

int cli_queue_set(struct cli *c)
{
	_cleanup_(queue_draft_done) struct queue_draft d = { .set = { .queue = c->args[0] } };

	return set_queue(c, &d);
}

/* Releases queue. */
static int print_pause(struct cli *c, struct raincheck_queue *queue)
{
	int64_t waiting = queue->counts.scheduled + queue->counts.ready;

	if (c->json)
		return print_queue(c, queue);
	text_print(c->out, queue->queue);
	fprintf(c->out, " is %s; %lld wait\n", queue->paused ? "paused" : "open", (long long)waiting);
	raincheck_free(queue);
	return CLI_DONE;
}

int cli_queue_pause(struct cli *c)
{
	struct raincheck_queue *queue;
	int exit = CLI_DONE;

	if (!cli_connect(c, &exit))
		return exit;
	if (raincheck_queue_pause(c->rc, c->args[0], &queue) < 0)
		return cli_last_refused(c);
	return print_pause(c, queue);
}

int cli_queue_resume(struct cli *c)
{
	struct raincheck_queue *queue;
	int exit = CLI_DONE;

	if (!cli_connect(c, &exit))
		return exit;
	if (raincheck_queue_resume(c->rc, c->args[0], &queue) < 0)
		return cli_last_refused(c);
	return print_pause(c, queue);
}

/* ---- purge ---- */

static int ask(struct cli *c, const char *name)
{
	struct raincheck_queue *queue;

	if (raincheck_queue_get(c->rc, name, &queue) < 0)
		return cli_last_refused(c);
	confirm_print_count(c, "About", queue->counts.scheduled + queue->counts.ready);
	raincheck_free(queue);
	fputs(" will be canceled: all of queue ", c->err);
	text_print(c->err, name);
	fputs(" that wait. What runs goes on.\n", c->err);
	return confirm_ask(c);
}

int cli_queue_purge(struct cli *c)
{
	struct raincheck_purge_result *result;
	int exit = confirm_possible(c);

	if (exit != CLI_DONE || !cli_connect(c, &exit))
		return exit;
	if (!confirm_given(c))
		exit = ask(c, c->args[0]);
	if (exit != CLI_DONE)
		return exit;
	if (raincheck_queue_purge(c->rc, c->args[0], &result) < 0)
		return cli_last_refused(c);
	if (c->json)
		exit = show_json(c, json_pack("{s:I, s:o}", "count", (json_int_t)result->count, "queue",
					      queue_json(&result->queue)));
	else
		fprintf(c->out, "%lld canceled\n", (long long)result->count);
	raincheck_free(result);
	return exit;
}
