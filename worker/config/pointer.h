/* pointer.h: JSON Pointers (RFC 6901) into Jansson trees, with one addition: the token `*` takes the first member or
 * element from which the rest of the pointer leads anywhere. Any thread; no state.
 */
#ifndef RAINCHECK_WORKER_CONFIG_POINTER_H
#define RAINCHECK_WORKER_CONFIG_POINTER_H

#include <jansson.h>

#include "proto/base/slice.h"

/* ERR_BAD_REQUEST unless text is UTF-8, is "" or begins with '/', escapes only ~0 and ~1, and has at most 32 tokens. */
int pointer_check(struct slice text);

/* The value at a pointer that passed the check; NULL where there is none. Belongs to the tree of root. */
json_t *pointer_find(json_t *root, struct slice text);

/* Puts value (whose reference it takes, also on failure) at a pointer that passed the check, making the objects on the
 * way that are not there. ERR_BAD_REQUEST where the way leads through something else than objects and arrays, or to an
 * element that does not exist; ERR_NO_MEMORY. */
int pointer_set(json_t *root, struct slice text, json_t *value);

#endif
