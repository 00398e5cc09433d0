/* The workers that are connected: worker ls, quiet, stop. */
#include <string.h>

#include "cli.h"
#include "client/raincheck.h"
#include "confirm.h"
#include "proto/base/clean.h"
#include "proto/base/clock.h"
#include "show.h"
#include "text.h"

static json_t *text_json(const char *text)
{
	return text ? json_string(text) : json_null();
}

static json_t *worker_json(const struct raincheck_worker_session *w)
{
	json_t *o = json_pack("{s:s, s:s, s:s}", "name", w->name, "state", raincheck_worker_state_name(w->state),
			      "address", w->address);
	json_t *queues = json_array();

	for (size_t i = 0; i < w->queue_count; i++)
		json_array_append_new(queues, json_string(w->queues[i]));
	json_object_set_new(o, "client", text_json(w->client));
	json_object_set_new(o, "version", text_json(w->version));
	json_object_set_new(o, "queues", queues);
	json_object_set_new(o, "slots", w->has_slots ? json_integer(w->slots) : json_null());
	json_object_set_new(o, "in_hand", json_integer(w->in_hand));
	json_object_set_new(o, "waiting", json_integer(w->waiting));
	json_object_set_new(o, "connected_at_ms", json_integer(w->connected_at_ms));
	return o;
}

/* As many as a cell may hold; a table cuts what is left. */
static void add_queues(struct table *t, const struct raincheck_worker_session *w)
{
	char text[256] = "";
	size_t used = 0;

	for (size_t i = 0; i < w->queue_count && used < sizeof(text); i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s", i > 0 ? " " : "", w->queues[i]);
	table_add(t, used > 0 ? text : NULL);
}

static void add_worker(struct table *t, const struct raincheck_worker_session *w, int64_t now_ms)
{
	table_add(t, w->name);
	table_add_coloured(t, raincheck_worker_state_name(w->state), w->state == RAINCHECK_WORKER_ACTIVE ? NULL : "33");
	if (w->has_slots)
		table_add_number(t, w->slots);
	else
		table_add(t, NULL);
	table_add_number(t, w->in_hand);
	table_add_number(t, w->waiting);
	table_add(t, text_age(now_ms - w->connected_at_ms).text);
	table_add(t, w->address);
	table_add(t, w->client);
	table_add(t, w->version);
	add_queues(t, w);
}

int cli_worker_ls(struct cli *c)
{
	static const char *const titles[] = { "WORKER", "STATE", "SLOTS",  "IN HAND", "WAITING",
					      "UP FOR", "FROM",	 "CLIENT", "VERSION", "QUEUES" };
	_cleanup_(table_done) struct table t;
	struct raincheck_worker_list *list;
	json_t *array;
	int exit = CLI_DONE;

	table_init(&t, titles, ARRAY_SIZE(titles), 0x3c, c->colour);
	if (!cli_connect(c, &exit))
		return exit;
	if (raincheck_worker_list(c->rc, &list) < 0)
		return cli_last_refused(c);
	array = c->json ? json_array() : NULL;
	for (size_t i = 0; i < list->worker_count; i++) {
		if (c->json)
			json_array_append_new(array, worker_json(&list->workers[i]));
		else
			add_worker(&t, &list->workers[i], clock_wall_ms());
	}
	raincheck_free(list);
	return c->json ? show_json(c, array) : show_table(c, &t, 0);
}

/* ---- orders ---- */

/* Releases told. */
static int print_told(struct cli *c, struct raincheck_worker_told *told, const char *what)
{
	int exit = CLI_DONE;

	if (c->json) {
		exit = show_json(c, json_pack("{s:I}", "count", (json_int_t)told->count));
	} else {
		text_print(c->out, c->args[0]);
		fprintf(c->out, " is told to %s", what);
		if (told->count > 1)
			fprintf(c->out, ", on %lld connections", (long long)told->count);
		fputc('\n', c->out);
	}
	raincheck_free(told);
	return exit;
}

int cli_worker_quiet(struct cli *c)
{
	struct raincheck_worker_told *told;
	int exit = CLI_DONE;

	if (!cli_connect(c, &exit))
		return exit;
	if (raincheck_worker_quiet(c->rc, c->args[0], &told) < 0)
		return cli_last_refused(c);
	return print_told(c, told, "lease no more and finish what it has");
}

/* Says what is at stake. */
static int ask(struct cli *c, const char *name)
{
	struct raincheck_worker_list *list;
	int64_t connections = 0, jobs = 0;

	if (raincheck_worker_list(c->rc, &list) < 0)
		return cli_last_refused(c);
	for (size_t i = 0; i < list->worker_count; i++) {
		if (strcmp(list->workers[i].name, name) != 0)
			continue;
		connections++;
		jobs += list->workers[i].in_hand;
	}
	raincheck_free(list);
	fputs("Worker ", c->err);
	text_print(c->err, name);
	fprintf(c->err,
		", on %lld connection%s, will end: it may finish the %lld job%s it has, as far as its time of\n"
		"grace goes, and nobody starts it again. ",
		(long long)connections, connections == 1 ? "" : "s", (long long)jobs, jobs == 1 ? "" : "s");
	return confirm_ask(c);
}

int cli_worker_stop(struct cli *c)
{
	struct raincheck_worker_told *told;
	int exit = confirm_possible(c);

	if (exit != CLI_DONE || !cli_connect(c, &exit))
		return exit;
	if (!confirm_given(c))
		exit = ask(c, c->args[0]);
	if (exit != CLI_DONE)
		return exit;
	if (raincheck_worker_stop(c->rc, c->args[0], &told) < 0)
		return cli_last_refused(c);
	return print_told(c, told, "stop");
}
