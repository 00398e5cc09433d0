/* worker_options.h: the worker's command line. Main thread. */
#ifndef RAINCHECK_WORKER_WORKER_OPTIONS_H
#define RAINCHECK_WORKER_WORKER_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/base/log.h"

struct worker_options {
	const char *config;
	const char *server; /* NULL: as the file says; so for all that may be NULL */
	const char *name;
	int64_t slots;	     /* 0: as the file says */
	const char *dry_run; /* a job file; NULL: work */
	bool once;
	bool help;
	bool version;
	bool has_log_level;
	enum log_level log_level;
	bool has_log_format;
	enum log_format log_format;
};

/* Says what is wrong on standard error and answers ERR_BAD_REQUEST. Texts point into argv. */
int worker_options_parse(int argc, char **argv, struct worker_options *ret);

extern const char worker_options_help[];

#endif
