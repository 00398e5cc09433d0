/* The command line, checked into a struct.
 *
 * Main thread, at the start. */
#ifndef RENDER_API_OPTIONS_H
#define RENDER_API_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "behave.h"

struct options {
	const char *listen;
	const char *dir;
	const char *public_url; /* NULL: http://ADDR:PORT */
	bool fake;
	bool no_ffmpeg;
	bool degrade;
	bool degrade_hangs;
	bool help;
	int slots;
	int capacity;
	int max_in_flight;
	int keep;
	int names_cap;
	struct behave behave;
};

/* Strings point into argv or the environment. -EINVAL with a text. */
int options_parse(int argc, char *argv[], struct options *ret_options, struct fault *f);

/* Prints every switch. */
void options_help(FILE *out);

#endif
