#include "error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clean.h"

struct error_row {
	int code;
	const char *name;
	const char *text;
};

#define ERROR_ROW(symbol, number, name, text) { ERR_##symbol, name, text },
static const struct error_row table[] = { ERROR_TABLE(ERROR_ROW) };

static const struct error_row *find(int code)
{
	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		if (table[i].code == code)
			return &table[i];
	return NULL;
}

const char *error_name(int code)
{
	const struct error_row *row = find(code);

	return row ? row->name : "internal";
}

const char *error_text(int code)
{
	const struct error_row *row = find(code);

	return row ? row->text : "an unknown error";
}

int error_from_name(struct slice name)
{
	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		if (slice_is(name, table[i].name))
			return table[i].code;
	return ERR_INTERNAL;
}

int error_on_wire(int code)
{
	if (code >= ERR_INTERNAL)
		return code;
	return code == ERR_CORRUPT || code == ERR_IO ? ERR_STORE_ERROR : ERR_INTERNAL;
}

int error_set(struct error_info *info, int code, const char *field, const char *fmt, ...)
{
	va_list args;

	if (!info)
		return code;
	info->code = code;
	info->retry_after_ms = 0;
	snprintf(info->field, sizeof(info->field), "%s", field ? field : "");
	va_start(args, fmt);
	vsnprintf(info->message, sizeof(info->message), fmt, args);
	va_end(args);
	return code;
}

void error_prefix(struct error_info *info, const char *prefix)
{
	char rest[sizeof(info->field)];

	if (!info)
		return;
	memcpy(rest, info->field, sizeof(rest));
	/* A path longer than the field is cut at its inner end: the outer names are what leads to the place. */
	if (rest[0] == '\0' || rest[0] == '[')
		snprintf(info->field, sizeof(info->field), "%.40s%.50s", prefix, rest);
	else
		snprintf(info->field, sizeof(info->field), "%.40s.%.50s", prefix, rest);
}
