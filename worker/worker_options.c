#include "worker/worker_options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/error.h"

const char worker_options_help[] =
	"Usage: raincheck-worker --config FILE [OPTION]…\n"
	"\n"
	"Leases jobs from the broker and calls the external API that FILE describes.\n"
	"\n"
	"  --config FILE        which queue goes to which API, and how each is called (YAML)\n"
	"  --server ADDRESS     the broker: HOST:PORT or unix:PATH (default: the file's, else 127.0.0.1:7246)\n"
	"  --name NAME          what operators see (default: the file's, else HOST-PID)\n"
	"  --slots N            calls at once (default: the file's, else 50)\n"
	"  --once               take what is ready, see it through, and end\n"
	"  --dry-run JOBFILE    print the request that a job would make, secrets masked, and end; JOBFILE is JSON "
	"with\n"
	"                       queue, payload, metadata\n"
	"  --log-level LEVEL    error, warning, info or debug\n"
	"  --log-format FORMAT  text or json\n"
	"  --help, --version\n"
	"\n"
	"SIGTERM, SIGINT  lease no more, let calls end within the grace time, give the rest back, end; a second one: "
	"give\n"
	"                 back at once; a third: end at once\n"
	"SIGHUP           read FILE and certificates again: new calls are made as it says, those that run end as they "
	"began.\n"
	"                 A file that is not good is refused as a whole, and the log says where it is wrong.\n"
	"\n"
	"Exit status: 0 ended in order (--once: nothing was ready any more and no call ran, however they ended), 1 the "
	"file\n"
	"is not good or the broker refused this worker, 2 usage, 5 --once and no connection to the broker.\n"
	"\n"
	"One line of the log tells of each call that has ended: upstream, job, queue, attempt, outcome (succeeded, "
	"failed,\n"
	"released, lost, canceled, untold), kind and error where it failed, the last HTTP status, ms in all, requests "
	"and the\n"
	"connections made for them with dns_ms, connect_ms and tls_ms, first_byte_ms of the first request, http "
	"(version),\n"
	"bytes_up and bytes_down of all bodies, bytes of the result, traceparent.\n";

enum {
	OPT_CONFIG = 256,
	OPT_SERVER,
	OPT_NAME,
	OPT_SLOTS,
	OPT_ONCE,
	OPT_DRY_RUN,
	OPT_LEVEL,
	OPT_FORMAT,
	OPT_HELP,
	OPT_VERSION
};

static const struct option long_options[] = {
	{ "config", required_argument, NULL, OPT_CONFIG },
	{ "server", required_argument, NULL, OPT_SERVER },
	{ "name", required_argument, NULL, OPT_NAME },
	{ "slots", required_argument, NULL, OPT_SLOTS },
	{ "once", no_argument, NULL, OPT_ONCE },
	{ "dry-run", required_argument, NULL, OPT_DRY_RUN },
	{ "log-level", required_argument, NULL, OPT_LEVEL },
	{ "log-format", required_argument, NULL, OPT_FORMAT },
	{ "help", no_argument, NULL, OPT_HELP },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ NULL, 0, NULL, 0 },
};

static int complain(const char *flag, const char *value, const char *wanted)
{
	fprintf(stderr, "raincheck-worker: --%s: \"%s\" is not %s\n", flag, value, wanted);
	return ERR_BAD_REQUEST;
}

static int parse_slots(const char *text, int64_t *ret)
{
	char *end;
	long long value = strtoll(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || value < 1 || value > 100000)
		return complain("slots", text, "a number from 1 to 100000");
	*ret = value;
	return 0;
}

static int take(int option, const char *value, struct worker_options *o)
{
	switch (option) {
	case OPT_CONFIG:
		o->config = value;
		return 0;
	case OPT_SERVER:
		o->server = value;
		return 0;
	case OPT_NAME:
		o->name = value;
		return 0;
	case OPT_SLOTS:
		return parse_slots(value, &o->slots);
	case OPT_ONCE:
		o->once = true;
		return 0;
	case OPT_DRY_RUN:
		o->dry_run = value;
		return 0;
	case OPT_LEVEL:
		o->has_log_level = true;
		return log_parse_level(value, &o->log_level) < 0
			       ? complain("log-level", value, "error, warning, info or debug")
			       : 0;
	case OPT_FORMAT:
		o->has_log_format = true;
		return log_parse_format(value, &o->log_format) < 0 ? complain("log-format", value, "text or json") : 0;
	case OPT_HELP:
		o->help = true;
		return 0;
	case OPT_VERSION:
		o->version = true;
		return 0;
	default:
		return ERR_BAD_REQUEST; /* getopt has said why */
	}
}

int worker_options_parse(int argc, char **argv, struct worker_options *ret)
{
	struct worker_options o = { .config = NULL };
	int option, rc;

	while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		rc = take(option, optarg, &o);
		if (rc < 0)
			return rc;
	}
	if (optind < argc) {
		fprintf(stderr, "raincheck-worker: \"%s\" is not an option\n", argv[optind]);
		return ERR_BAD_REQUEST;
	}
	if (!o.config && !o.help && !o.version) {
		fprintf(stderr, "raincheck-worker: --config FILE is needed (--help says more)\n");
		return ERR_BAD_REQUEST;
	}
	*ret = o;
	return 0;
}
