/* cancel, retry, erase. */
#include "change.h"

#include <string.h>

#include "confirm.h"

#define STATE(name) (1u << RAINCHECK_JOB_##name)

static const struct verb cancel = {
	.done = "canceled",
	.states = STATE(SCHEDULED) | STATE(READY) | STATE(RUNNING),
	.refusal = "only scheduled, ready and running jobs can be canceled",
	.one = raincheck_cancel_async,
	.many = raincheck_cancel_many_async,
};

static const struct verb retry = {
	.done = "retried",
	.states = STATE(DEAD),
	.refusal = "only dead jobs can be retried",
	.one = raincheck_retry_async,
	.many = raincheck_retry_many_async,
};

static const struct verb redeliver = {
	.done = "told of",
	.states = STATE(SUCCEEDED) | STATE(DEAD) | STATE(CANCELED) | STATE(EXPIRED),
	.refusal = "only the end of a job is told of",
	.one = raincheck_redeliver_async,
	.many = raincheck_redeliver_many_async,
};

static const struct verb erase = {
	.done = "erased",
	.warning = "Their payloads, results and all else of them go for good.",
	.always_asks = true,
	.states = STATE(SCHEDULED) | STATE(READY) | STATE(RUNNING) | STATE(SUCCEEDED) | STATE(DEAD) | STATE(CANCELED) |
		  STATE(EXPIRED),
	.one = raincheck_erase_async,
	.many = raincheck_erase_many_async,
};

static int check_ids(struct cli *c)
{
	if (c->arg_count == 1 && strcmp(c->args[0], "-") == 0)
		return CLI_DONE;
	for (int i = 0; i < c->arg_count; i++)
		if (!cli_job_id(c, c->args[i]))
			return CLI_USAGE;
	return CLI_DONE;
}

static int ask_of_ids(struct cli *c, const struct verb *v)
{
	if (confirm_given(c) || !v->always_asks)
		return CLI_DONE;
	if (strcmp(c->args[0], "-") == 0)
		fprintf(c->err, "Every job that is named on standard input will be %s.", v->done);
	else if (c->arg_count == 1)
		fprintf(c->err, "Job %s will be %s.", c->args[0], v->done);
	else
		fprintf(c->err, "%d jobs will be %s.", c->arg_count, v->done);
	if (v->warning)
		fprintf(c->err, " %s", v->warning);
	fputc('\n', c->err);
	return confirm_ask(c);
}

static int change(struct cli *c, const struct verb *v)
{
	bool filtered = cli_value(c, "filter") || cli_value(c, "all");
	int exit;

	if (c->arg_count == 0)
		return change_many(c, v);
	if (filtered)
		return cli_usage(c, "name jobs, or say which with --filter or --all, not both");
	exit = check_ids(c);
	if (exit == CLI_DONE && v->always_asks)
		exit = confirm_possible(c);
	if (exit == CLI_DONE)
		exit = ask_of_ids(c, v);
	return exit == CLI_DONE ? change_ids(c, v) : exit;
}

int cli_cancel(struct cli *c)
{
	return change(c, &cancel);
}

int cli_retry(struct cli *c)
{
	return change(c, &retry);
}

int cli_redeliver(struct cli *c)
{
	return change(c, &redeliver);
}

int cli_erase(struct cli *c)
{
	return change(c, &erase);
}
