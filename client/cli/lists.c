/* Tables: ls, queue ls. */
#include <string.h>

#include "cli.h"
#include "client/raincheck.h"
#include "proto/base/clean.h"
#include "proto/base/clock.h"
#include "show.h"
#include "suggest.h"
#include "table.h"
#include "text.h"

#define DEFAULT_LIMIT 50
#define MAX_LIMIT     1000000
#define PAGE	      1000

static int read_state(struct cli *c, struct raincheck_list *list)
{
	const char *word = cli_value(c, "state");
	struct suggest s = { .word = word };

	if (!word)
		return CLI_DONE;
	for (int i = RAINCHECK_JOB_SCHEDULED; i <= RAINCHECK_JOB_EXPIRED; i++) {
		const char *name = raincheck_job_state_name((enum raincheck_job_state)i);

		if (strcmp(word, name) == 0) {
			list->has_state = true;
			list->state = (enum raincheck_job_state)i;
			return CLI_DONE;
		}
		suggest_offer(&s, name);
	}
	if (s.best)
		return cli_usage(c, "unknown state \"%s\"; did you mean %s?", word, s.best);
	return cli_usage(c, "unknown state \"%s\"", word);
}

static void add_job(struct table *t, const struct raincheck_job *job, int64_t now_ms)
{
	char text[64];

	table_add(t, job->id);
	table_add_coloured(t, raincheck_job_state_name(job->state), show_state_colour(job->state));
	table_add(t, job->queue);
	table_add_number(t, job->priority);
	snprintf(text, sizeof(text), "%lld/%lld", (long long)job->attempt, (long long)job->max_attempts);
	table_add(t, text);
	table_add(t, text_age(now_ms - job->created_at_ms).text);
	table_add(t, job->group);
	table_add(t, job->error && job->state != RAINCHECK_JOB_SUCCEEDED ? job->error->message : job->title);
}

/* One page into whichever of the two is there. */
static void add_page(struct table *t, json_t *array, const struct raincheck_list_result *page)
{
	int64_t now_ms = clock_wall_ms();

	for (size_t i = 0; i < page->job_count; i++) {
		if (array)
			json_array_append_new(array, show_job_json(&page->jobs[i]));
		else
			add_job(t, &page->jobs[i], now_ms);
	}
}

/* Pages until there are limit jobs or no more. */
static int collect(struct cli *c, struct raincheck_list *list, long long limit, struct table *t, json_t *array)
{
	struct raincheck_list_result *page = NULL;
	struct raincheck_list_result *before = NULL;
	int exit = CLI_DONE;

	do {
		list->limit = limit < PAGE ? limit : PAGE;
		list->cursor = before ? before->cursor : NULL;
		if (raincheck_list(c->rc, list, &page) < 0) {
			exit = cli_last_refused(c);
			break;
		}
		add_page(t, array, page);
		limit -= (long long)page->job_count;
		/* Its cursor is needed for the next one. */
		raincheck_free(before);
		before = TAKE_PTR(page);
	} while (before->cursor && limit > 0);
	raincheck_free(before);
	return exit;
}

/* whole: as in table_fit(). */
static int print_table(struct cli *c, struct table *t, uint32_t whole)
{
	table_fit(t, c->width, whole);
	if (!table_print(t, c->out))
		return cli_failed(c, "out of memory");
	return CLI_DONE;
}

int cli_ls(struct cli *c)
{
	static const char *const titles[] = { "ID", "STATE", "QUEUE", "PRIO", "TRY", "AGE", "GROUP", "TITLE OR ERROR" };
	_cleanup_(table_done) struct table t;
	struct raincheck_list list = { .queue = cli_value(c, "queue"), .group = cli_value(c, "group") };
	json_t *array = c->json ? json_array() : NULL;
	long long limit = DEFAULT_LIMIT;
	int exit = read_state(c, &list);

	table_init(&t, titles, ARRAY_SIZE(titles), 1u << 3 | 1u << 4 | 1u << 5, c->colour);
	if (exit == CLI_DONE)
		exit = cli_number(c, "limit", 1, MAX_LIMIT, &limit);
	if (exit == CLI_DONE && cli_connect(c, &exit))
		exit = collect(c, &list, limit, &t, array);
	if (exit == CLI_DONE && c->json)
		return show_json(c, array);
	json_decref(array);
	return exit == CLI_DONE ? print_table(c, &t, 1u << 0) : exit;
}

/* ---- queues ---- */

static json_t *queue_json(const struct raincheck_queue *q)
{
	json_t *o = json_pack("{s:s, s:s?, s:b, s:I, s:o, s:I}", "queue", q->queue, "title", q->title, "paused",
			      q->paused, "max_attempts", (json_int_t)q->max_attempts, "counts",
			      show_counts_json(&q->counts), "put_total", (json_int_t)q->put_total);

	json_object_set_new(o, "attempt_timeout_ms",
			    q->attempt_timeout_ms > 0 ? json_integer(q->attempt_timeout_ms) : json_null());
	json_object_set_new(o, "result_ttl_ms", q->has_result_ttl_ms ? json_integer(q->result_ttl_ms) : json_null());
	json_object_set_new(o, "oldest_ready_at_ms",
			    q->oldest_ready_at_ms > 0 ? json_integer(q->oldest_ready_at_ms) : json_null());
	return o;
}

static void add_queue(struct table *t, const struct raincheck_queue *q, int64_t now_ms)
{
	table_add(t, q->queue);
	table_add_coloured(t, q->paused ? "paused" : "open", q->paused ? "33" : NULL);
	table_add_number(t, q->counts.scheduled);
	table_add_number(t, q->counts.ready);
	table_add_number(t, q->counts.running);
	table_add_number(t, q->counts.succeeded);
	table_add_number(t, q->counts.dead);
	table_add_number(t, q->counts.canceled + q->counts.expired);
	table_add(t, q->oldest_ready_at_ms > 0 ? text_age(now_ms - q->oldest_ready_at_ms).text : NULL);
	table_add(t, q->title);
}

int cli_queue_ls(struct cli *c)
{
	static const char *const titles[] = { "QUEUE", "STATE", "SCHED",   "READY", "RUNNING",
					      "DONE",  "DEAD",	"DROPPED", "WAITS", "TITLE" };
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
	return c->json ? show_json(c, array) : print_table(c, &t, 0);
}
