/* message_rows.h: the table of messages as a test sees it, and a writer of messages in plain MessagePack that shares no
 * line with the encoder under test.
 */
#ifndef RAINCHECK_TESTS_MESSAGE_ROWS_H
#define RAINCHECK_TESTS_MESSAGE_ROWS_H

#include <msgpack.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "proto/base/clean.h"
#include "proto/messages.h"

enum kind {
	KIND_STR,
	KIND_ASCII,
	KIND_NAME,
	KIND_BYTES,
	KIND_INT,
	KIND_FLOAT,
	KIND_BOOL,
	KIND_UUID,
	KIND_TOKEN,
	KIND_RAW,
	KIND_ENUM,
	KIND_STRUCT,
	KIND_LIST,
	KIND_NAMES,
	KIND_PAIRS,
	KIND_WEIGHTS,
	KINDS
};

enum presence { REQUIRED, OPTIONAL, NULLABLE };

struct row {
	const char *name;
	enum kind kind;
	enum presence presence;
	int64_t low, high;
	const struct rows *sub;
	const char *const *words;
};

struct rows {
	const char *name;
	const struct message *message;
	size_t size; /* of the struct */
	size_t count;
	const struct row *row;
};

#define ROW_SPREAD(...)			 ROW_SPREAD_(__VA_ARGS__)
#define ROW_SPREAD_(lo, hi)		 .low = (lo), .high = (hi)
#define ROW_F(type, field, pres, ...)	 { #field, KIND_##type, pres, ROW_SPREAD(__VA_ARGS__) },
#define ROW_E(field, pres, table)	 { #field, KIND_ENUM, pres, .words = (table) },
#define ROW_S(field, pres, message)	 { #field, KIND_STRUCT, pres, .sub = &rows_##message },
#define ROW_L(field, pres, message, ...) { #field, KIND_LIST, pres, ROW_SPREAD(__VA_ARGS__), .sub = &rows_##message },
#define ROW_N(field, pres, ...)		 { #field, KIND_NAMES, pres, ROW_SPREAD(__VA_ARGS__) },
#define ROW_P(field, pres, ...)		 { #field, KIND_PAIRS, pres, ROW_SPREAD(__VA_ARGS__) },
#define ROW_W(field, pres, ...)		 { #field, KIND_WEIGHTS, pres, ROW_SPREAD(__VA_ARGS__) },
#define ROWS_OF(m)                                                                                 \
	static const struct row row_##m[] = { FIELDS_##m(ROW_F, ROW_E, ROW_S, ROW_L, ROW_N, ROW_P, \
							 ROW_W){ .name = NULL } };                 \
	static const struct rows rows_##m = { #m, &MSG_##m, sizeof(struct msg_##m), ARRAY_SIZE(row_##m) - 1, row_##m };
MESSAGE_TABLE(ROWS_OF)

#define ROWS_POINTER(m) &rows_##m,
static const struct rows *const all_rows[] = { MESSAGE_TABLE(ROWS_POINTER) };

/* How much of a message is written: the required fields alone, or all at the low or high end of what is allowed (of
 * lengths and counts as far as SAMPLE_LENGTH and SAMPLE_COUNT). */
enum fill { FILL_LEAST, FILL_LOW, FILL_HIGH };

#define SAMPLE_LENGTH 300
#define SAMPLE_COUNT  3

/* In place of one field's value: nothing at all (size 0), or these bytes. */
struct instead {
	const char *field;
	const void *bytes;
	size_t size;
};

static void write_map(msgpack_packer *pk, const struct rows *rows, enum fill fill, const struct instead *instead);

static inline void write_str(msgpack_packer *pk, const char *s, size_t size)
{
	msgpack_pack_str(pk, size);
	msgpack_pack_str_body(pk, s, size);
}

static inline int64_t sample_size(const struct row *row, enum fill fill, int64_t most)
{
	return fill == FILL_HIGH ? (row->high < most ? row->high : most) : row->low;
}

static inline void write_text(msgpack_packer *pk, const struct row *row, enum fill fill)
{
	size_t size = (size_t)sample_size(row, fill, SAMPLE_LENGTH);
	char text[SAMPLE_LENGTH];

	memset(text, 'n', sizeof(text));
	if (row->kind == KIND_BYTES) {
		memset(text, 0xc1, sizeof(text));
		msgpack_pack_bin(pk, size);
		msgpack_pack_bin_body(pk, text, size);
	} else {
		write_str(pk, text, size);
	}
}

static inline void write_items(msgpack_packer *pk, const struct row *row, enum fill fill)
{
	size_t count = (size_t)sample_size(row, fill, SAMPLE_COUNT);

	if (row->kind == KIND_PAIRS || row->kind == KIND_WEIGHTS)
		msgpack_pack_map(pk, count);
	else
		msgpack_pack_array(pk, count);
	for (size_t i = 0; i < count; i++) {
		char key[2] = { 'k', (char)('0' + i) };

		if (row->kind == KIND_LIST) {
			write_map(pk, row->sub, fill, NULL);
			continue;
		}
		write_str(pk, key, 2);
		if (row->kind == KIND_PAIRS)
			write_str(pk, "value", 5);
		if (row->kind == KIND_WEIGHTS)
			msgpack_pack_int64(pk, fill == FILL_HIGH ? MAX_WEIGHT : 1);
	}
}

static inline void write_value(msgpack_packer *pk, const struct row *row, enum fill fill)
{
	bool high = fill == FILL_HIGH;
	size_t last = 0;

	switch (row->kind) {
	case KIND_INT:
		msgpack_pack_int64(pk, high ? row->high : row->low);
		break;
	case KIND_FLOAT:
		msgpack_pack_double(pk, (double)(high ? row->high : row->low));
		break;
	case KIND_BOOL:
		high ? msgpack_pack_true(pk) : msgpack_pack_false(pk);
		break;
	case KIND_UUID:
		write_str(pk, high ? "ffffffff-ffff-ffff-ffff-ffffffffffff" : "01977420-a4ab-7cde-8f01-23456789abff",
			  36);
		break;
	case KIND_TOKEN:
		write_str(pk, "00112233445566778899aabbccddeeff", 32);
		break;
	case KIND_ENUM:
		while (high && row->words[last + 1])
			last++;
		write_str(pk, row->words[last], strlen(row->words[last]));
		break;
	case KIND_RAW:
		msgpack_pack_array(pk, 2);
		msgpack_pack_double(pk, 0.5);
		msgpack_pack_nil(pk);
		break;
	case KIND_STRUCT:
		write_map(pk, row->sub, fill, NULL);
		break;
	case KIND_LIST:
	case KIND_NAMES:
	case KIND_PAIRS:
	case KIND_WEIGHTS:
		write_items(pk, row, fill);
		break;
	default:
		write_text(pk, row, fill);
	}
}

/* As the encoder is to write it: the fields in the order of the table, absent ones left out or nil. */
static void write_map(msgpack_packer *pk, const struct rows *rows, enum fill fill, const struct instead *instead)
{
	size_t present = 0;

	for (size_t pass = 0; pass < 2; pass++) {
		if (pass == 1)
			msgpack_pack_map(pk, present);
		for (size_t i = 0; i < rows->count; i++) {
			const struct row *row = &rows->row[i];
			bool replaced = instead && strcmp(instead->field, row->name) == 0;

			if (replaced ? instead->size == 0 : fill == FILL_LEAST && row->presence == OPTIONAL)
				continue;
			if (pass == 0) {
				present++;
				continue;
			}
			write_str(pk, row->name, strlen(row->name));
			if (replaced)
				pk->callback(pk->data, instead->bytes, instead->size);
			else if (fill == FILL_LEAST && row->presence == NULLABLE)
				msgpack_pack_nil(pk);
			else
				write_value(pk, row, fill);
		}
	}
}

#endif
