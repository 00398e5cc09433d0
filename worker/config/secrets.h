/* secrets.h: what {env.NAME}, {env.NAME:-TEXT} and {file.PATH} stand for, read once at start. TEXT is what stands there
 * where the environment has no such variable; it is no secret.
 *
 * Main thread. Values never leave through a log, an error or a dry run: whoever prints what may hold one masks it
 * first. A value taken for something that is no secret (the address of an API) is remembered as plain and not masked.
 */
#ifndef RAINCHECK_WORKER_CONFIG_SECRETS_H
#define RAINCHECK_WORKER_CONFIG_SECRETS_H

#include <stdbool.h>
#include <stddef.h>

#include "proto/base/clean.h"
#include "proto/base/slice.h"

#define SECRET_MASK "***"

struct buf;
struct secrets;

/* ERR_NO_MEMORY. */
int secrets_new(struct secrets **ret_secrets);
void secrets_free(struct secrets *s);
DEFINE_CLEANUP(struct secrets *, secrets_free)

/* True for "env.NAME", also with ":-TEXT" behind it, and "file.PATH". */
bool secrets_names(struct slice name);

/* Reads and remembers "env.NAME" or "file.PATH"; an ending newline of a file is not part of it. ERR_NOT_FOUND,
 * ERR_TOO_LARGE (more than 64 KiB), ERR_BAD_REQUEST (empty, or with a NUL in it), ERR_IO, ERR_NO_MEMORY. */
int secrets_load(struct secrets *s, struct slice name, bool secret);

/* Remembers a value that stands in the file itself, so that it is masked like the others. ERR_NO_MEMORY. */
int secrets_add_literal(struct secrets *s, const char *value);

/* Remembers a value that replaces earlier ones of the same owner, of which the last two stay masked. ERR_NO_MEMORY. */
int secrets_add_passing(struct secrets *s, const char *owner, const char *value);

/* What a person is told of an error of secrets_load(): "is not there". */
const char *secrets_problem(int code);

/* The value of a name that was loaded; NULL for another. Valid as long as s. */
const char *secrets_get(const struct secrets *s, struct slice name);

/* Replaces every {env.NAME} and {file.PATH} in text, loading them. Other braces stay. As secrets_load(); then
 * ret_name (which may be NULL) is the one at fault, inside text. The caller frees *ret_text. */
int secrets_expand(struct secrets *s, const char *text, bool secret, char **ret_text, struct slice *ret_name);

/* Appends text with every secret value in it masked. The error of out. */
int secrets_mask(const struct secrets *s, struct slice text, struct buf *out);

#endif
