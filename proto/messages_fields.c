#include "messages_fields.h"

#include "messages_priv.h"

static const enum field_kind kinds[] = {
	[TYPE_STR] = FIELD_TEXT,	[TYPE_ASCII] = FIELD_TEXT,  [TYPE_NAME] = FIELD_NAME,
	[TYPE_BYTES] = FIELD_BYTES,	[TYPE_INT] = FIELD_INT,	    [TYPE_FLOAT] = FIELD_FLOAT,
	[TYPE_BOOL] = FIELD_BOOL,	[TYPE_UUID] = FIELD_UUID,   [TYPE_TOKEN] = FIELD_TOKEN,
	[TYPE_RAW] = FIELD_RAW,		[TYPE_ENUM] = FIELD_WORD,   [TYPE_STRUCT] = FIELD_MESSAGE,
	[TYPE_LIST] = FIELD_MESSAGES,	[TYPE_NAMES] = FIELD_NAMES, [TYPE_PAIRS] = FIELD_PAIRS,
	[TYPE_WEIGHTS] = FIELD_WEIGHTS,
};

const char *message_name(const struct message *m)
{
	return m->name;
}

bool message_field(const struct message *m, size_t i, struct field_info *ret)
{
	const struct field *fields, *f;

	if (i >= m->fields(&fields))
		return false;
	f = &fields[i];
	*ret = (struct field_info){
		.name = f->name,
		.kind = kinds[f->type],
		.required = f->presence == REQUIRED,
		.nullable = f->presence == NULLABLE,
		.low = f->low,
		.high = f->high,
		.words = f->words,
		.sub = f->sub,
	};
	return true;
}
