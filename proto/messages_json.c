#include "messages_json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "messages_priv.h"

static void write_map(const struct message *m, const char *in, struct buf *out);

/* One that must not stand in a string as it is. */
static void write_escape(struct buf *out, uint8_t c)
{
	if (c == '"' || c == '\\')
		buf_printf(out, "\\%c", c);
	else
		buf_printf(out, "\\u%04x", c);
}

static void write_text(struct buf *out, struct slice text)
{
	const uint8_t *p = text.data;

	buf_append_str(out, "\"");
	for (size_t i = 0; i < text.size;) {
		size_t n = utf8_sequence(p + i, text.size - i);

		if (n == 0)
			buf_append_str(out, "\\ufffd");
		else if (p[i] < 0x20 || p[i] == '"' || p[i] == '\\' || p[i] == 0x7f)
			write_escape(out, p[i]);
		else
			buf_append(out, p + i, n);
		i += n ? n : 1;
	}
	buf_append_str(out, "\"");
}

/* The shortest form that reads back as the same number. */
static void write_float(struct buf *out, double value)
{
	char text[40];

	if (!isfinite(value)) {
		buf_append_str(out, "null");
		return;
	}
	snprintf(text, sizeof(text), "%.15g", value);
	if (strtod(text, NULL) != value)
		snprintf(text, sizeof(text), "%.17g", value);
	buf_append_str(out, text);
}

static void write_id(struct buf *out, const struct field *f, const void *value)
{
	char hex[32];

	if (f->type == TYPE_UUID) {
		write_text(out, slice_str(uuid_format(value).text));
		return;
	}
	hex_encode(((const struct token *)value)->bytes, sizeof(struct token), hex);
	write_text(out, slice_of(hex, sizeof(hex)));
}

static void write_list(struct buf *out, const struct field *f, const char *items, size_t count)
{
	buf_append_str(out, "[");
	for (size_t i = 0; i < count; i++) {
		if (i > 0)
			buf_append_str(out, ",");
		if (f->type == TYPE_NAMES)
			write_text(out, ((const struct slice *)(const void *)items)[i]);
		else
			write_map(f->sub, items + i * f->sub->size, out);
	}
	buf_append_str(out, "]");
}

static void write_pairs(struct buf *out, const struct field *f, const void *items, size_t count)
{
	const struct group_weight *weights = items;
	const struct pair *pairs = items;

	buf_append_str(out, "{");
	for (size_t i = 0; i < count; i++) {
		if (i > 0)
			buf_append_str(out, ",");
		write_text(out, f->type == TYPE_PAIRS ? pairs[i].key : weights[i].group);
		buf_append_str(out, ":");
		if (f->type == TYPE_PAIRS)
			write_text(out, pairs[i].value);
		else
			buf_printf(out, "%u", weights[i].weight);
	}
	buf_append_str(out, "}");
}

static void write_counted(struct buf *out, const struct field *f, const char *in)
{
	const void *items;
	size_t count;

	memcpy(&items, in + f->offset, sizeof(items));
	memcpy(&count, in + f->count_offset, sizeof(count));
	if (f->type == TYPE_LIST || f->type == TYPE_NAMES)
		write_list(out, f, items, count);
	else
		write_pairs(out, f, items, count);
}

static void write_value(struct buf *out, const struct field *f, const char *in)
{
	const void *value = in + f->offset;

	switch (f->type) {
	case TYPE_STR:
	case TYPE_ASCII:
	case TYPE_NAME:
		write_text(out, *(const struct slice *)value);
		break;
	case TYPE_INT:
		buf_printf(out, "%lld", (long long)*(const int64_t *)value);
		break;
	case TYPE_FLOAT:
		write_float(out, *(const double *)value);
		break;
	case TYPE_BOOL:
		buf_append_str(out, *(const bool *)value ? "true" : "false");
		break;
	case TYPE_UUID:
	case TYPE_TOKEN:
		write_id(out, f, value);
		break;
	case TYPE_ENUM:
		write_text(out, slice_str(f->words[*(const int *)value]));
		break;
	case TYPE_STRUCT:
		write_map(f->sub, value, out);
		break;
	case TYPE_LIST:
	case TYPE_NAMES:
	case TYPE_PAIRS:
	case TYPE_WEIGHTS:
		write_counted(out, f, in);
		break;
	case TYPE_BYTES:
	case TYPE_RAW:
		break;
	}
}

/* As on the wire, but for what JSON cannot hold. */
static bool is_shown(const struct field *f, bool has, bool was_nil)
{
	if (f->type == TYPE_BYTES || f->type == TYPE_RAW)
		return false;
	return f->presence == NULLABLE || has || was_nil;
}

static void write_map(const struct message *m, const char *in, struct buf *out)
{
	const struct field *fields;
	size_t count = m->fields(&fields);
	uint64_t nils = *(const uint64_t *)(const void *)in;
	const char *comma = "";

	buf_append_str(out, "{");
	for (size_t i = 0; i < count; i++) {
		const struct field *f = &fields[i];
		bool has = *(const bool *)(in + f->has_offset);

		if (!is_shown(f, has, (nils & nil_bit((ptrdiff_t)i)) != 0))
			continue;
		buf_printf(out, "%s\"%s\":", comma, f->name);
		comma = ",";
		if (has)
			write_value(out, f, in);
		else
			buf_append_str(out, "null");
	}
	buf_append_str(out, "}");
}

int message_to_json(const struct message *m, const void *in, struct buf *out)
{
	write_map(m, in, out);
	return buf_error(out);
}
