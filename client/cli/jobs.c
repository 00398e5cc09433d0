/* One job: get, wait, link. */
#include <unistd.h>

#include "cli.h"
#include "client/raincheck.h"
#include "proto/base/clock.h"
#include "proto/base/units.h"
#include "show.h"
#include "text.h"

#define PAUSE_MS 300 /* before a broker that is away is asked again */

static int show(struct cli *c, const struct raincheck_job *job)
{
	if (c->json)
		return show_json(c, show_job_json(job));
	show_job(c, job);
	return CLI_DONE;
}

int cli_get(struct cli *c)
{
	const char *id = cli_job_id(c, c->args[0]);
	struct raincheck_job *job;
	int exit = CLI_USAGE;

	if (!id || !cli_connect(c, &exit))
		return exit;
	if (raincheck_get(c->rc, id, &job) < 0)
		return cli_last_refused(c);
	exit = show(c, job);
	raincheck_free(job);
	return exit;
}

static int print_link(struct cli *c, const char *id, const char *link)
{
	if (c->json)
		return show_json(c, json_pack("{s:s, s:s?}", "id", id, "link", link));
	text_print(c->out, link ? link : "the link is revoked");
	fputc('\n', c->out);
	return CLI_DONE;
}

static int rotate_link(struct cli *c, const char *id)
{
	struct raincheck_link *link;
	int exit;

	if (raincheck_link_rotate(c->rc, id, &link) < 0)
		return cli_last_refused(c);
	exit = print_link(c, id, link->link);
	raincheck_free(link);
	return exit;
}

static int fetch_link(struct cli *c, const char *id)
{
	struct raincheck_job *job;
	int exit;

	if (raincheck_get(c->rc, id, &job) < 0)
		return cli_last_refused(c);
	exit = job->link || c->json ? print_link(c, id, job->link) : cli_failed(c, "the job has no link");
	raincheck_free(job);
	return exit;
}

int cli_link(struct cli *c)
{
	const char *id = cli_job_id(c, c->args[0]);
	bool rotate = cli_value(c, "rotate"), revoke = cli_value(c, "revoke");
	int exit = CLI_USAGE;

	if (!id)
		return exit;
	if (rotate && revoke)
		return cli_usage(c, "--rotate makes a new link, --revoke leaves none: which?");
	if (!cli_connect(c, &exit))
		return exit;
	if (rotate)
		return rotate_link(c, id);
	if (!revoke)
		return fetch_link(c, id);
	return raincheck_link_revoke(c->rc, id) < 0 ? cli_last_refused(c) : print_link(c, id, NULL);
}

/* "90" is seconds, as the flag's name in help says; with a unit it is what it says. */
static int read_timeout(struct cli *c, int64_t *ret_ms)
{
	const char *text = cli_value(c, "timeout");
	char with_unit[40];

	*ret_ms = -1;
	if (!text)
		return CLI_DONE;
	snprintf(with_unit, sizeof(with_unit), "%ss", text);
	if (units_parse_duration(slice_str(with_unit), ret_ms) == 0 ||
	    units_parse_duration(slice_str(text), ret_ms) == 0)
		return CLI_DONE;
	return cli_usage(c, "--timeout must be seconds or a duration such as 5m, not \"%s\"", text);
}

static bool is_outage(int code)
{
	return code == RAINCHECK_ENO_CONNECTION || code == RAINCHECK_ETIMED_OUT || code == RAINCHECK_ESHUTTING_DOWN;
}

/* A broker that was there once may come back, after a restart for instance: it is asked again until the time is over.
 * One that never was there is an error at once. */
static int wait_through_outages(struct cli *c, const char *id, int64_t timeout_ms, struct raincheck_job **ret)
{
	int64_t end = timeout_ms < 0 ? INT64_MAX : clock_mono_ms() + timeout_ms;
	bool told = false;
	int rc;

	while ((rc = raincheck_wait(c->rc, id, timeout_ms, ret)) < 0) {
		int64_t left = end - clock_mono_ms();

		if (!is_outage(rc) || !raincheck_server(c->rc) || left <= 0)
			return rc;
		if (!told && !c->json)
			fputs("raincheck: the connection is lost; waiting for the broker to come back\n", c->err);
		told = true;
		usleep((useconds_t)(left < PAUSE_MS ? left : PAUSE_MS) * 1000);
		left = end - clock_mono_ms();
		if (timeout_ms >= 0)
			timeout_ms = left > 0 ? left : 0;
	}
	return 0;
}

int cli_wait(struct cli *c)
{
	const char *id = cli_job_id(c, c->args[0]);
	struct raincheck_job *job = NULL;
	int64_t timeout_ms;
	int exit = CLI_USAGE;

	if (!id || read_timeout(c, &timeout_ms) != CLI_DONE || !cli_connect(c, &exit))
		return exit;
	if (wait_through_outages(c, id, timeout_ms, &job) < 0)
		return cli_last_refused(c);
	exit = show(c, job);
	if (exit == CLI_DONE && job->state < RAINCHECK_JOB_SUCCEEDED)
		exit = cli_failed(c, "the time is over and the job is still %s", raincheck_job_state_name(job->state));
	else if (exit == CLI_DONE && job->state != RAINCHECK_JOB_SUCCEEDED)
		exit = CLI_FAILED;
	raincheck_free(job);
	return exit;
}
