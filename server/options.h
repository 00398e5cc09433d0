/* options.h: the broker's command line. For the main thread at the start. */
#ifndef RAINCHECK_SERVER_OPTIONS_H
#define RAINCHECK_SERVER_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "server/config.h"

/* The strings are of argv; NULL where a flag was not given. */
struct options {
	const char *config;
	const char *data;
	const char *listen[CONFIG_LISTEN_MAX];
	size_t listen_count;
	const char *http;
	const char *public_url;
	const char *log_level;
	const char *log_format;
	bool insecure;
	/* Instead of serving; one of them at most. */
	bool check;
	bool compact;
	const char *restore; /* the backup */
	bool version;
	bool help;
};

/* ERR_BAD_REQUEST, with the sentence in error, for what is no flag of ours. */
int options_parse(int argc, char **argv, struct options *ret, struct config_error *error);
/* Sets what the flags say, over what c had. ERR_CONFIG with the sentence, ERR_NO_MEMORY. */
int options_apply(const struct options *o, struct config *c, struct config_error *error);

void options_print_usage(FILE *out);

#endif
