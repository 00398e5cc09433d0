#include "error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clean.h"
#include "base/text.h"

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
	/* A peer's "no_memory" is not ours. */
	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		if (table[i].code >= ERR_INTERNAL && slice_is(name, table[i].name))
			return table[i].code;
	return ERR_INTERNAL;
}

int error_on_wire(int code)
{
	if (code >= ERR_INTERNAL)
		return code;
	return code == ERR_CORRUPT || code == ERR_IO || code == ERR_DAMAGED ? ERR_STORE_ERROR : ERR_INTERNAL;
}

/* What goes on the wire is UTF-8, whatever a peer's bytes put into it; a character that its room cut in two is
 * dropped. */
static void make_utf8(char *text)
{
	size_t size = strlen(text);

	for (size_t at = 0; at < size;) {
		size_t n = utf8_sequence(text + at, size - at);

		if (n == 0 && size - at < 4 && (text[at] & 0xc0) == 0xc0) {
			text[at] = '\0';
			return;
		}
		if (n == 0)
			text[at] = '?';
		at += n ? n : 1;
	}
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
	make_utf8(info->field);
	make_utf8(info->message);
	return code;
}

void error_prefix(struct error_info *info, const char *prefix)
{
	struct error_info inner;
	const char *dot;
	int n;

	if (!info)
		return;
	inner = *info;
	dot = inner.field[0] == '\0' || inner.field[0] == '[' ? "" : ".";
	/* A path longer than the field is cut at its inner end: the outer names are what leads to the place. */
	n = snprintf(info->field, sizeof(info->field), "%s%s%s", prefix, dot, inner.field);
	if (n >= (int)sizeof(info->field))
		make_utf8(info->field);
}
