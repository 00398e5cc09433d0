/* messages_fields.h: the fields of a message, one after the other: for whoever describes messages to others. Constant
 * data: any thread.
 */
#ifndef RAINCHECK_MESSAGES_FIELDS_H
#define RAINCHECK_MESSAGES_FIELDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "messages.h"

/* What stands in a field. */
enum field_kind {
	FIELD_TEXT,	/* UTF-8 of low to high bytes */
	FIELD_NAME,	/* [A-Za-z0-9._:-]{1,128} */
	FIELD_BYTES,	/* anything */
	FIELD_INT,	/* low to high */
	FIELD_FLOAT,	/* low to high */
	FIELD_BOOL,	/* true or false */
	FIELD_UUID,	/* an id */
	FIELD_TOKEN,	/* 32 hexadecimal digits */
	FIELD_RAW,	/* whatever the method says */
	FIELD_WORD,	/* one of words */
	FIELD_MESSAGE,	/* sub */
	FIELD_MESSAGES, /* low to high of sub */
	FIELD_NAMES,	/* low to high names */
	FIELD_PAIRS,	/* low to high texts by text */
	FIELD_WEIGHTS,	/* low to high weights by name */
};

struct field_info {
	const char *name;
	enum field_kind kind;
	bool required;
	bool nullable; /* nil where there is none; else such a field is left out */
	int64_t low, high;
	const char *const *words; /* NULL at the end */
	const struct message *sub;
};

/* The name under which MESSAGE_TABLE has it. */
const char *message_name(const struct message *m);
/* The i-th field; false past the last. */
bool message_field(const struct message *m, size_t i, struct field_info *ret);

#endif
