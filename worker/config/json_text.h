/* json_text.h: JSON read from text and written as text, where memory may fail. Loop's thread only.
 *
 * What comes from elsewhere is read so that "it is none" and "there is no memory to read it" are told apart: the one is
 * said of the sender and for good, the other is ours and over in a moment. What is written is whole or an error.
 */
#ifndef RAINCHECK_WORKER_CONFIG_JSON_TEXT_H
#define RAINCHECK_WORKER_CONFIG_JSON_TEXT_H

#include <jansson.h>

#include "proto/base/slice.h"

/* flags are json_loadb()'s. The caller drops the reference. ERR_BAD_REQUEST where it is no JSON; ERR_NO_MEMORY. */
int json_text_read(struct slice text, size_t flags, json_t **ret);

/* flags are json_dumps()'s. The caller frees *ret. ERR_NO_MEMORY. */
int json_text_write(const json_t *value, size_t flags, char **ret);

#endif
