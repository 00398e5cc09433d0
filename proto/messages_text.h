/* messages_text.h: a message from names and values that are all text, as a URL's query or headers bring them. What it
 * may hold is checked by the same table as on the wire, with the same errors. Any thread; no state.
 */
#ifndef RAINCHECK_MESSAGES_TEXT_H
#define RAINCHECK_MESSAGES_TEXT_H

#include <stddef.h>

#include "base/slice.h"
#include "messages.h"

#define MESSAGE_TEXTS_MAX 128 /* fields of one message, metadata counted one by one */

/* "priority" is "3"; of a field with fields of its own, "backoff.base_ms" is "500"; of a map from text to text,
 * "metadata.KEY" is its value, whatever the key has in it. Integers and numbers are decimal, booleans "true" or
 * "false", bytes and words as they are. */
struct field_text {
	struct slice path;
	struct slice value;
};

/* Reads count of them into *ret, which is the struct of m and is zeroed first; it points into the texts and the arena.
 * Unlike on the wire an unknown name is refused, because nobody but a person writes these. ERR_BAD_REQUEST,
 * ERR_TOO_LARGE and ERR_NO_MEMORY as message_decode(); info (may be NULL) names the field. */
int message_decode_texts(const struct message *m, const struct field_text *texts, size_t count,
			 struct msgpack_zone *arena, void *ret, struct error_info *info);

#endif
