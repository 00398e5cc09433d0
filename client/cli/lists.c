/* ls */
#include "cli.h"
#include "client/raincheck.h"
#include "filter.h"
#include "proto/base/clean.h"
#include "proto/base/clock.h"
#include "show.h"
#include "table.h"
#include "text.h"

#define DEFAULT_LIMIT 50
#define MAX_LIMIT     1000000
#define PAGE	      1000

static int read_state(struct cli *c, struct raincheck_list *list)
{
	const char *word = cli_value(c, "state");

	list->has_state = word != NULL;
	return word ? filter_state(c, word, &list->state) : CLI_DONE;
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
	return exit == CLI_DONE ? show_table(c, &t, 1u << 0) : exit;
}
