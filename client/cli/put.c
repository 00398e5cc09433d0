/* put: one job, or the same one many times. Many lines of a file: put_batch.c. */
#include <string.h>

#include "cli.h"
#include "client/raincheck.h"
#include "proto/base/clean.h"
#include "put.h"
#include "settings.h"
#include "show.h"
#include "text.h"

#define MAX_COUNT 10000000

static int check_flags(struct cli *c)
{
	bool dash = c->arg_count > 0 && strcmp(c->args[0], "-") == 0;
	int sources = (cli_value(c, "data") != NULL) + (cli_value(c, "file") != NULL) + dash;

	if (c->arg_count > 0 && !dash)
		return cli_usage(c, "put does not take \"%s\"", c->args[0]);
	if (cli_value(c, "batch")) {
		if (sources > 0 || cli_value(c, "count"))
			return cli_usage(c, "--batch goes without --data, --file, - and --count");
		return CLI_DONE;
	}
	if (!cli_value(c, "queue"))
		return cli_usage(c, "which queue? -q QUEUE");
	if (sources == 0)
		return cli_usage(c, "what to put? --data TEXT, --file FILE, or - for standard input");
	if (sources > 1)
		return cli_usage(c, "only one of --data, --file and - can be the payload");
	return CLI_DONE;
}

int put_apply_flags(struct cli *c, struct draft *d)
{
	const char *queue = cli_value(c, "queue");
	struct settings_error error;

	if (queue)
		d->put.queue = queue;
	for (size_t i = 0; i < c->given_count; i++)
		if (strcmp(c->given[i].option->name, "set") == 0 && settings_assign(d, c->given[i].value, &error) < 0)
			return cli_usage(c, "--set %s", error.message);
	return CLI_DONE;
}

static int read_payload(struct cli *c, struct draft *d)
{
	const char *data = cli_value(c, "data");
	const char *file = cli_value(c, "file");
	struct settings_error error;

	if (data) {
		d->put.payload = (struct raincheck_bytes){ data, strlen(data) };
		return CLI_DONE;
	}
	if (settings_read_file(d, file ? file : "-", c->in, &d->put.payload, &error) < 0)
		return cli_failed(c, "%s", error.message);
	return CLI_DONE;
}

void put_print(struct cli *c, const struct raincheck_put_result *r, long long line)
{
	if (!c->json) {
		fprintf(c->out, "%s", r->id);
		if (r->link) {
			fputs("  ", c->out);
			text_print(c->out, r->link);
		}
		if (r->has_eta)
			fprintf(c->out, "  %s", text_eta(r->eta.low_ms, r->eta.high_ms).text);
		fputs(r->created ? "\n" : "  (was there already)\n", c->out);
		return;
	}
	json_t *o = json_object();

	if (line > 0)
		json_object_set_new(o, "line", json_integer(line));
	json_object_set_new(o, "id", json_string(r->id));
	json_object_set_new(o, "created", json_boolean(r->created));
	json_object_set_new(o, "state", json_string(raincheck_job_state_name(r->state)));
	json_object_set_new(o, "link", r->link ? json_string(r->link) : json_null());
	json_object_set_new(o, "position", r->has_position ? json_integer(r->position) : json_null());
	json_object_set_new(o, "eta_ms", show_eta_json(r->has_eta, &r->eta));
	json_dumpf(o, c->out, 0);
	fputc('\n', c->out);
	json_decref(o);
}

static int put_once(struct cli *c, const struct draft *d)
{
	struct raincheck_put_result *result;
	struct raincheck *rc;
	int exit = CLI_DONE;

	rc = cli_connect(c, &exit);
	if (!rc)
		return exit;
	if (raincheck_put(rc, &d->put, &result) < 0)
		return cli_last_refused(c);
	put_print(c, result, 0);
	raincheck_free(result);
	return CLI_DONE;
}

int cli_put(struct cli *c)
{
	_cleanup_(draft_done) struct draft d = { 0 };
	long long count = 1;
	int exit = check_flags(c);

	if (exit == CLI_DONE)
		exit = cli_number(c, "count", 1, MAX_COUNT, &count);
	if (exit == CLI_DONE)
		exit = put_apply_flags(c, &d);
	if (exit != CLI_DONE)
		return exit;
	if (cli_value(c, "batch"))
		return put_batch(c, cli_value(c, "batch"));
	exit = read_payload(c, &d);
	if (exit != CLI_DONE)
		return exit;
	return count == 1 ? put_once(c, &d) : put_repeat(c, &d.put, count);
}
