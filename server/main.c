/* raincheckd: reads flags and file, then becomes the broker. Exit status: 0 done, 1 failed, 2 wrong usage. */
#include <signal.h>
#include <stdio.h>

#include "proto/base/hangup.h"
#include "proto/base/log.h"
#include "proto/base/stdio.h"
#include "proto/error.h"
#include "server/broker.h"
#include "server/broker_offline.h"
#include "server/config.h"
#include "server/options.h"

#define EXIT_FAILED 1
#define EXIT_USAGE  2

/* 0, or the exit status. */
static int configure(const struct options *o, struct config *c, struct config_error *error)
{
	struct config_error why;
	const char *key;
	int rc;

	if (o->config && config_read_file(c, o->config, error) < 0)
		return EXIT_FAILED;
	rc = options_apply(o, c, error);
	if (rc < 0)
		return rc == ERR_NO_MEMORY ? EXIT_FAILED : EXIT_USAGE;
	if (config_check(c, &key, &why) == 0)
		return 0;
	snprintf(error->text, sizeof(error->text), "%s%s%s: %.500s", o->config ? o->config : "", o->config ? ": " : "",
		 key, why.text);
	return EXIT_FAILED;
}

static int run(const struct options *o)
{
	_cleanup_(config_freep) struct config *config = NULL;
	struct config_error error = { .text = "" };
	int rc;

	if (config_new(&config) < 0) {
		fprintf(stderr, "raincheckd: %s\n", error_text(ERR_NO_MEMORY));
		return EXIT_FAILED;
	}
	rc = configure(o, config, &error);
	if (rc != 0) {
		fprintf(stderr, "raincheckd: %s\n", error.text[0] ? error.text : error_text(ERR_NO_MEMORY));
		return rc;
	}
	log_init((enum log_level)config->log_level, (enum log_format)config->log_format);
	/* What works on files alone ends with its terminal. */
	if (o->check || o->restore || o->compact)
		hangup_release();
	if (o->check)
		rc = broker_check(config);
	else if (o->restore)
		rc = broker_restore(config, o->restore);
	else if (o->compact)
		rc = broker_compact(config);
	else
		rc = broker_run(config);
	return rc < 0 ? EXIT_FAILED : 0;
}

int main(int argc, char **argv)
{
	struct config_error error;
	struct options options;

	hangup_hold();
	stdio_ensure();
	/* A limit of the size of files is a full disk, not an end. */
	signal(SIGXFSZ, SIG_IGN);
	if (options_parse(argc, argv, &options, &error) < 0) {
		fprintf(stderr, "raincheckd: %s\n\n", error.text);
		options_print_usage(stderr);
		return EXIT_USAGE;
	}
	if (options.help) {
		options_print_usage(stdout);
		return 0;
	}
	if (options.version) {
		printf("raincheckd %s\n", RAINCHECK_VERSION);
		return 0;
	}
	return run(&options);
}
