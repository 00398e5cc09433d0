/* check.h: the checks of single words of the configuration, each with its complaint. Used by config and upstream while
 * they start; main thread. Every function returns 0, or ERR_CONFIG with the issue filled, or ERR_NO_MEMORY, and takes a
 * word that is not given (NULL) for "leave the default".
 */
#ifndef RAINCHECK_WORKER_CONFIG_CHECK_H
#define RAINCHECK_WORKER_CONFIG_CHECK_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/slice.h"

struct issue;
struct secrets;
struct yaml_index;

/* Where in the file the checks are at. */
struct check {
	const struct yaml_index *index;
	struct secrets *secrets;
	struct issue *issue;
	char prefix[160]; /* "upstreams.runway", or "" */
};

/* A complaint about prefix.key. */
int check_fail(struct check *c, const char *key, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* At least low_ms. */
int check_duration(struct check *c, const char *key, const char *word, int64_t low_ms, int64_t *ms);
int check_size(struct check *c, const char *key, const char *word, int64_t *bytes);
/* ret_given may be NULL. */
int check_pointer(struct check *c, const char *key, const char *word, struct slice *pointer, bool *ret_given);
int check_range(struct check *c, const char *key, const double *number, double low, double high, double *value);
int check_statuses(struct check *c, const char *key, const unsigned *list, size_t count);

/* The placeholders of a text; known is a set of TEMPLATE_KNOWS_…. Loads its secrets. */
int check_template(struct check *c, const char *key, const char *word, unsigned known);
/* A JSON text whose strings are templates; NULL where word is. The caller owns the reference. */
int check_body(struct check *c, const char *key, const char *word, unsigned known, json_t **ret_body);
/* The method is one of these, with NULL at the end; else sets nothing. */
int check_method(struct check *c, const char *key, const char *word, const char *const *allowed, const char **method);
/* As check_template(), and the path begins with a slash. */
int check_path(struct check *c, const char *key, const char *word, unsigned known);
/* As it stands, without a control character: a line break would begin a line of its own. */
int check_plain(struct check *c, const char *key, const char *word);
/* A header's name, and one that the caller may set. */
int check_header_name(struct check *c, const char *key, const char *name);
/* Expands the secrets in word to a copy, which the caller frees; NULL gives NULL. A literal in place of a secret is
 * remembered, so that it is masked too. */
int check_expand(struct check *c, const char *key, const char *word, bool secret, char **ret_text);

#endif
