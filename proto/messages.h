/* messages.h: every method and message of the wire, as C structs with their encoder and decoder.
 *
 * The fields stand in one table, message_table.h; the structs below, the field descriptors in messages.c and so the
 * encoder and decoder follow from it. A decoded message points into the bytes it was decoded from and into the arena
 * it was decoded with, and lives as long as both. Any thread; no state.
 */
#ifndef RAINCHECK_MESSAGES_H
#define RAINCHECK_MESSAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"
#include "base/uuid.h"
#include "error.h"
#include "message_table.h"

struct msgpack_object;
struct msgpack_zone;

/* An unguessable 128-bit value: a lease or an upload. 32 hexadecimal digits on the wire. */
struct token {
	uint8_t bytes[16];
};

/* An entry of a str → str map. */
struct pair {
	struct slice key;
	struct slice value;
};

/* An entry of a name → weight map. */
struct group_weight {
	struct slice group;
	uint32_t weight;
};

enum job_state {
	JOB_SCHEDULED,
	JOB_READY,
	JOB_RUNNING,
	JOB_SUCCEEDED,
	JOB_DEAD,
	JOB_CANCELED,
	JOB_EXPIRED,
	JOB_STATES
};

enum failure_kind {
	FAIL_TIMEOUT,
	FAIL_THROTTLED,
	FAIL_UNAVAILABLE,
	FAIL_INVALID,
	FAIL_INTERNAL,
	FAIL_REJECTED,
	FAIL_KINDS
};

enum role { ROLE_NONE, ROLE_PRODUCER, ROLE_WORKER, ROLE_ADMIN, ROLES };

enum extend_status { EXTEND_OK, EXTEND_LOST, EXTEND_CANCEL, EXTEND_STATUSES };

/* What becomes of a put that cannot be done by its deadline. */
enum admission { ADMIT_ALWAYS, ADMIT_DEADLINE, ADMISSIONS };

/* Why no more calls of a limit begin, or that they may: the first that holds, in this order. */
enum limit_state {
	LIMIT_HELD,    /* the API asked to wait (Retry-After) */
	LIMIT_BROKEN,  /* the breaker is open */
	LIMIT_PROBING, /* the breaker is half open: one call at a time */
	LIMIT_FULL,    /* as many under way as may be */
	LIMIT_PACED,   /* the rate is used up for the moment */
	LIMIT_FREE,
	LIMIT_STATES
};

enum breaker_phase { BREAKER_CLOSED, BREAKER_OPEN, BREAKER_HALF_OPEN, BREAKER_PHASES };

/* What a job in line waits for besides its turn. */
enum wait_reason {
	WAIT_PAUSED,  /* an operator has paused its queue */
	WAIT_HELD,    /* the API asked its limit to wait (Retry-After) */
	WAIT_BREAKER, /* the breaker of its limit is not closed */
	WAIT_REASONS
};

/* What an operator has asked a worker for. */
enum worker_state { WORKER_ACTIVE, WORKER_QUIET, WORKER_STOPPING, WORKER_STATES };

/* Words on the wire, indexed by the enums above; never NULL within their range. */
extern const char *const job_state_names[JOB_STATES + 1];
extern const char *const failure_kind_names[FAIL_KINDS + 1];
extern const char *const role_names[ROLES + 1];
extern const char *const extend_status_names[EXTEND_STATUSES + 1];
extern const char *const admission_names[ADMISSIONS + 1];
extern const char *const limit_state_names[LIMIT_STATES + 1];
extern const char *const breaker_phase_names[BREAKER_PHASES + 1];
extern const char *const wait_reason_names[WAIT_REASONS + 1];
extern const char *const worker_state_names[WORKER_STATES + 1];

/* True for the four states that nothing but an operator leaves. Takes an enum job_state, and a message's int without a
 * cast: every value of either is one of an int64_t. */
static inline bool job_state_final(int64_t s)
{
	return s >= JOB_SUCCEEDED;
}

/* The structs. Every field has its has_…: always true for a required one of a decoded message. Lists and maps have
 * their …_count. nils has a bit for each of the first 64 fields: see message_was_nil(). */
#define MESSAGE_CTYPE_STR   struct slice
#define MESSAGE_CTYPE_ASCII struct slice
#define MESSAGE_CTYPE_NAME  struct slice
#define MESSAGE_CTYPE_BYTES struct slice
#define MESSAGE_CTYPE_INT   int64_t
#define MESSAGE_CTYPE_FLOAT double
#define MESSAGE_CTYPE_BOOL  bool
#define MESSAGE_CTYPE_UUID  struct uuid
#define MESSAGE_CTYPE_TOKEN struct token
#define MESSAGE_CTYPE_RAW   const struct msgpack_object *

#define MESSAGE_MEMBER(type, name, presence, ...) \
	bool has_##name;                          \
	MESSAGE_CTYPE_##type name;
#define MESSAGE_MEMBER_ENUM(name, presence, words) \
	bool has_##name;                           \
	int name;
#define MESSAGE_MEMBER_STRUCT(name, presence, sub) \
	bool has_##name;                           \
	struct msg_##sub name;
#define MESSAGE_MEMBER_LIST(name, presence, sub, ...) \
	bool has_##name;                              \
	size_t name##_count;                          \
	struct msg_##sub *name;
#define MESSAGE_MEMBER_NAMES(name, presence, ...) \
	bool has_##name;                          \
	size_t name##_count;                      \
	struct slice *name;
#define MESSAGE_MEMBER_PAIRS(name, presence, ...) \
	bool has_##name;                          \
	size_t name##_count;                      \
	struct pair *name;
#define MESSAGE_MEMBER_WEIGHTS(name, presence, ...) \
	bool has_##name;                            \
	size_t name##_count;                        \
	struct group_weight *name;
#define MESSAGE_STRUCT(message)                                                                                   \
	struct msg_##message {                                                                                    \
		uint64_t nils;                                                                                    \
		FIELDS_##message(MESSAGE_MEMBER, MESSAGE_MEMBER_ENUM, MESSAGE_MEMBER_STRUCT, MESSAGE_MEMBER_LIST, \
				 MESSAGE_MEMBER_NAMES, MESSAGE_MEMBER_PAIRS, MESSAGE_MEMBER_WEIGHTS)              \
	};
MESSAGE_TABLE(MESSAGE_STRUCT)

/* MSG_job_put … */
struct message;
#define MESSAGE_EXTERN(m) extern const struct message MSG_##m;
MESSAGE_TABLE(MESSAGE_EXTERN)
#undef MESSAGE_EXTERN

/* The methods: METHOD_job_put … */
#define METHOD_ENUM(symbol, name, roles, params, result) METHOD_##symbol,
enum method_id { METHOD_TABLE(METHOD_ENUM) METHODS };
#undef METHOD_ENUM

#define ROLE_BIT(role) (1u << (role))

struct method {
	enum method_id id;
	const char *name;
	unsigned roles; /* ROLE_BIT()s that may call it; an admin may call all */
	const struct message *params;
	const struct message *result;
};

/* NULL for an unknown one. */
const struct method *method_find(struct slice name);
const struct method *method_get(enum method_id id);

/* Bytes of the struct that m describes. */
size_t message_size(const struct message *m);

/* Reads the map at object (NULL or nil: an empty one) into *ret, which is the struct of m and is zeroed first. Lists
 * are taken from arena; slices point into the bytes that object was unpacked from. Unknown keys are ignored.
 * ERR_BAD_REQUEST for a missing, mistyped, doubled or out-of-range field, ERR_TOO_LARGE for a string, list or map that
 * is too long, ERR_NO_MEMORY; info (may be NULL) then names the field. */
int message_decode(const struct message *m, const struct msgpack_object *object, struct msgpack_zone *arena, void *ret,
		   struct error_info *info);

/* Appends the struct at in as a map: optional fields that are not there are left out, nullable ones are nil.
 * The error of out (ERR_TOO_LARGE, ERR_NO_MEMORY). */
int message_encode(const struct message *m, const void *in, struct buf *out);

/* *ret: the struct at in with all that it points to, taken from arena; it lives as long as that. Only a RAW field goes
 * on pointing to where it did. ERR_NO_MEMORY. */
int message_copy(const struct message *m, const void *in, struct msgpack_zone *arena, void **ret);

/* Whether the field whose value or pointer stands at offset was there, as nil; and makes an optional field that has no
 * value go out as nil instead of being left out. */
bool message_was_nil(const struct message *m, const void *in, size_t offset);
void message_set_nil(const struct message *m, void *out, size_t offset);
#define MESSAGE_WAS_NIL(message, in, field)  message_was_nil(&MSG_##message, in, offsetof(struct msg_##message, field))
#define MESSAGE_SET_NIL(message, out, field) message_set_nil(&MSG_##message, out, offsetof(struct msg_##message, field))

/* The message's struct as a wire error map: code, message, and field and retry_after_ms where they say something.
 * The slices point into info. */
struct msg_error error_message(const struct error_info *info);

#endif
