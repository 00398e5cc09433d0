/* settings.h: the settings of a put, from "KEY=VALUE" or from JSON, into struct raincheck_put.
 *
 * One table of keys serves both. A draft owns what its put points at. One thread.
 */
#ifndef RAINCHECK_CLI_SETTINGS_H
#define RAINCHECK_CLI_SETTINGS_H

#include <jansson.h>
#include <stddef.h>

#include "client/raincheck.h"

#define SETTINGS_MAX_METADATA 64
#define SETTINGS_MAX_FILE     (64u << 20) /* bytes of a payload or preview read from a file */

/* A job to put, under construction. Zeroed: empty. */
struct draft {
	struct raincheck_put put;
	struct raincheck_pair metadata[SETTINGS_MAX_METADATA];
	void **blocks; /* allocations that put points at */
	size_t block_count;
};

/* Why a setting was not taken: a sentence that names it. */
struct settings_error {
	char message[256];
};

/* Says why, and returns RAINCHECK_EBAD_REQUEST. */
int settings_refuse(struct settings_error *error, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

void draft_done(struct draft *d);

/* Each: 0, or RAINCHECK_EBAD_REQUEST with the reason in error, or RAINCHECK_ENO_MEMORY likewise. */
int settings_assign(struct draft *d, const char *assignment, struct settings_error *error); /* "KEY=VALUE" */
/* {"queue": …, "payload": …, settings…} over what d has already. */
int settings_from_json(struct draft *d, const json_t *object, struct settings_error *error);

/* The whole content of a stream, for d to own. */
int settings_read_all(struct draft *d, FILE *f, struct raincheck_bytes *ret, struct settings_error *error);
/* The same for a file, "-" being in. */
int settings_read_file(struct draft *d, const char *path, FILE *in, struct raincheck_bytes *ret,
		       struct settings_error *error);
int settings_set_payload(struct draft *d, const char *data, size_t size, struct settings_error *error);

#endif
