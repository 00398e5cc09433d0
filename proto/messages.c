/* The descriptors of all methods and messages, generated from message_table.h; what is asked of a descriptor alone.
 * messages_decode.c reads by them, messages_encode.c writes by them.
 */
#include "messages.h"

#include <assert.h>

#include "base/clean.h"
#include "messages_priv.h"

const char *const job_state_names[] = { "scheduled", "ready",	 "running", "succeeded",
					"dead",	     "canceled", "expired", NULL };
const char *const failure_kind_names[] = { "timeout",  "throttled", "unavailable", "invalid",
					   "internal", "rejected",  NULL };
const char *const role_names[] = { "none", "producer", "worker", "admin", NULL };
const char *const extend_status_names[] = { "ok", "lost", "cancel", NULL };
const char *const admission_names[] = { "always", "deadline", NULL };
const char *const limit_state_names[] = { "held", "broken", "probing", "full", "paced", "free", NULL };
const char *const breaker_phase_names[] = { "closed", "open", "half_open", NULL };
const char *const wait_reason_names[] = { "paused", "held", "breaker", NULL };
const char *const worker_state_names[] = { "active", "quiet", "stopping", NULL };

#define COMMON(field, kind, pres)                                                                 \
	.name = #field, .name_size = sizeof(#field) - 1, .type = TYPE_##kind, .presence = (pres), \
	.offset = offsetof(self, field), .has_offset = offsetof(self, has_##field)
#define COUNTED(field) .count_offset = offsetof(self, field##_count)
/* In a macro of its own, so that a range with a name, such as MOMENT, spreads into its two numbers. */
#define RANGE(...)     RANGE_(__VA_ARGS__)
#define RANGE_(lo, hi) .low = (lo), .high = (hi)

#define ROW_SCALAR(kind, field, pres, ...) { COMMON(field, kind, pres), RANGE(__VA_ARGS__) },
#define ROW_ENUM(field, pres, table)	   { COMMON(field, ENUM, pres), .words = (table) },
#define ROW_STRUCT(field, pres, message)   { COMMON(field, STRUCT, pres), .sub = &MSG_##message },
#define ROW_LIST(field, pres, message, ...) \
	{ COMMON(field, LIST, pres), COUNTED(field), .sub = &MSG_##message, RANGE(__VA_ARGS__) },
#define ROW_NAMES(field, pres, ...)   { COMMON(field, NAMES, pres), COUNTED(field), RANGE(__VA_ARGS__) },
#define ROW_PAIRS(field, pres, ...)   { COMMON(field, PAIRS, pres), COUNTED(field), RANGE(__VA_ARGS__) },
#define ROW_WEIGHTS(field, pres, ...) { COMMON(field, WEIGHTS, pres), COUNTED(field), RANGE(__VA_ARGS__) },

#define DESCRIBE(m)                                                                                                    \
	static size_t fields_##m(const struct field **ret)                                                             \
	{                                                                                                              \
		typedef struct msg_##m self __attribute__((unused));                                                   \
		static const struct field rows[] = { FIELDS_##m(ROW_SCALAR, ROW_ENUM, ROW_STRUCT, ROW_LIST, ROW_NAMES, \
								ROW_PAIRS, ROW_WEIGHTS){ .name = NULL } };             \
		*ret = rows;                                                                                           \
		return ARRAY_SIZE(rows) - 1;                                                                           \
	}                                                                                                              \
	const struct message MSG_##m = { #m, sizeof(struct msg_##m), fields_##m };
MESSAGE_TABLE(DESCRIBE)

#define METHOD_ROW(symbol, name, roles, params, result) \
	[METHOD_##symbol] = { METHOD_##symbol, name, roles, &MSG_##params, &MSG_##result },
static const struct method methods[METHODS] = { METHOD_TABLE(METHOD_ROW) };

const struct method *method_find(struct slice name)
{
	for (size_t i = 0; i < METHODS; i++)
		if (slice_is(name, methods[i].name))
			return &methods[i];
	return NULL;
}

const struct method *method_get(enum method_id id)
{
	assert(id < METHODS);
	return &methods[id];
}

size_t message_size(const struct message *m)
{
	return m->size;
}

static ptrdiff_t field_at(const struct message *m, size_t offset)
{
	const struct field *fields;
	size_t count = m->fields(&fields);
	size_t i = 0;

	while (i < count && fields[i].offset != offset)
		i++;
	assert(i < count);
	return (ptrdiff_t)i;
}

bool message_was_nil(const struct message *m, const void *in, size_t offset)
{
	return (*(const uint64_t *)in & nil_bit(field_at(m, offset))) != 0;
}

void message_set_nil(const struct message *m, void *out, size_t offset)
{
	*(uint64_t *)out |= nil_bit(field_at(m, offset));
}

struct msg_error error_message(const struct error_info *info)
{
	int code = error_on_wire(info->code);
	struct msg_error e = {
		.has_code = true,
		.code = slice_str(error_name(code)),
		.has_message = true,
		.message = slice_str(info->message[0] ? info->message : error_text(code)),
		.has_field = info->field[0] != '\0',
		.field = slice_str(info->field),
		.has_retry_after_ms = info->retry_after_ms > 0,
		.retry_after_ms = info->retry_after_ms,
	};

	return e;
}
