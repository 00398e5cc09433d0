/* messages_priv.h: what the descriptors of messages.c look like. For the decoder and the encoder that walk them;
 * included in proto/messages*.c alone. Constant data: any thread. */
#ifndef RAINCHECK_MESSAGES_PRIV_H
#define RAINCHECK_MESSAGES_PRIV_H

#include <stddef.h>
#include <stdint.h>

#include "messages.h"

enum field_type {
	TYPE_STR,
	TYPE_ASCII,
	TYPE_NAME,
	TYPE_BYTES,
	TYPE_INT,
	TYPE_FLOAT,
	TYPE_BOOL,
	TYPE_UUID,
	TYPE_TOKEN,
	TYPE_RAW,
	TYPE_ENUM,
	TYPE_STRUCT,
	TYPE_LIST,
	TYPE_NAMES,
	TYPE_PAIRS,
	TYPE_WEIGHTS,
};

enum presence { REQUIRED, OPTIONAL, NULLABLE };

/* Where a field stands in its message's struct, and what may stand there. */
struct field {
	const char *name;
	size_t name_size;
	enum field_type type;
	enum presence presence;
	size_t offset;	     /* of the value; for lists, of the pointer */
	size_t has_offset;   /* of has_… */
	size_t count_offset; /* of …_count; 0 where there is none */
	int64_t low, high;
	const struct message *sub;
	const char *const *words;
};

/* Behind a function, because the offsets of the rows need the struct's name in scope under one word, "self". */
struct message {
	const char *name;
	size_t size;
	size_t (*fields)(const struct field **ret); /* how many there are; they live as long as the program */
};

/* In nils, the first member of every message's struct. */
static inline uint64_t nil_bit(ptrdiff_t index)
{
	return index < 64 ? UINT64_C(1) << index : 0;
}

#endif
