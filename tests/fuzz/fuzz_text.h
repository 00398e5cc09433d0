/* fuzz_text.h: inputs that are lines of text with a JSON text at their end. One thread. */
#ifndef RAINCHECK_FUZZ_TEXT_H
#define RAINCHECK_FUZZ_TEXT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/slice.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void must(bool holds)
{
	if (!holds)
		abort();
}

/* Takes the first line off, as a string of its own, so that a byte read beyond it is found; the caller frees it. */
static inline char *take_line(const uint8_t **data, size_t *size, size_t *ret_length)
{
	const uint8_t *end = *size > 0 ? memchr(*data, '\n', *size) : NULL;
	size_t length = end ? (size_t)(end - *data) : *size;
	char *line = malloc(length + 1);

	must(line != NULL);
	if (length > 0)
		memcpy(line, *data, length);
	line[length] = '\0';
	*data += length + (end != NULL);
	*size -= length + (end != NULL);
	*ret_length = length;
	return line;
}

static inline json_t *rest_as_json(const uint8_t *data, size_t size)
{
	return json_loadb(size > 0 ? (const char *)data : "", size, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
}

#endif
