/* config_lines.h: on which line each key of a YAML text stands, so that an error can say it.
 *
 * The schema library tells only where a value ended, and that of the key before. So the text is read a second time,
 * for lines alone; that reading also finds what is no YAML, and keys that stand there twice. Any thread; no state.
 */
#ifndef RAINCHECK_SERVER_CONFIG_LINES_H
#define RAINCHECK_SERVER_CONFIG_LINES_H

#include <stdbool.h>
#include <stddef.h>

#include "proto/base/clean.h"

struct config_lines;

/* Where and why a text is no usable YAML. */
struct config_lines_error {
	size_t line;
	char key[128]; /* "" where no key is at fault */
	char message[200];
};

/* ERR_CONFIG with the place, ERR_NO_MEMORY. */
int config_lines_new(const char *text, size_t size, struct config_lines **ret, struct config_lines_error *error);
/* NULL is taken. */
void config_lines_free(struct config_lines *l);
DEFINE_CLEANUP(struct config_lines *, config_lines_free)

/* True where there is nothing but comments. */
bool config_lines_empty(const struct config_lines *l);

/* The line of a key by its path: "limits.message", "listen.1". 0 where it does not stand there. */
size_t config_lines_find(const struct config_lines *l, const char *path);

#endif
