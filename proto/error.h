/* error.h: the one table of error codes, shared by broker, workers, producers and tools.
 *
 * Every function of the project that can fail answers 0 or one of these negative codes. The wire carries the name
 * (PROTOCOL.md); codes without a place on the wire are local to one process and travel as "internal" if they must.
 * struct error_info goes with a code where a person has to be told what was wrong with which field. Any thread.
 */
#ifndef RAINCHECK_ERROR_H
#define RAINCHECK_ERROR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

/* X(symbol, number, wire name, what a person reads) */
#define ERROR_TABLE(X)                                                                     \
	X(BAD_REQUEST, -1, "bad_request", "the request is malformed")                      \
	X(UNKNOWN_METHOD, -2, "unknown_method", "there is no such method")                 \
	X(UNSUPPORTED_VERSION, -3, "unsupported_version", "the version is not supported")  \
	X(UNAUTHENTICATED, -4, "unauthenticated", "a valid token is needed")               \
	X(DENIED, -5, "denied", "the token does not allow this")                           \
	X(NOT_FOUND, -6, "not_found", "there is no such thing")                            \
	X(GONE, -7, "gone", "it was there and is no more")                                 \
	X(CONFLICT, -8, "conflict", "it contradicts what is there already")                \
	X(LEASE_LOST, -9, "lease_lost", "the lease has ended or passed to another worker") \
	X(INVALID_STATE, -10, "invalid_state", "the job's state does not allow this")      \
	X(QUEUE_FULL, -11, "queue_full", "the queue is full")                              \
	X(TOO_LARGE, -12, "too_large", "it is larger than allowed")                        \
	X(THROTTLED, -13, "throttled", "too many requests at once")                        \
	X(STORE_FULL, -14, "store_full", "the store is full")                              \
	X(STORE_ERROR, -15, "store_error", "the store failed")                             \
	X(SHUTTING_DOWN, -16, "shutting_down", "the server is shutting down")              \
	X(INTERNAL, -17, "internal", "an internal error")                                  \
	/* local to one process */                                                         \
	X(NO_MEMORY, -32, "no_memory", "out of memory")                                    \
	X(NO_CONNECTION, -33, "no_connection", "no connection to the broker")              \
	X(TIMED_OUT, -34, "timed_out", "it took too long")                                 \
	X(PROTOCOL, -35, "protocol", "the peer does not speak the protocol")               \
	X(CORRUPT, -36, "corrupt", "what is stored of it is damaged")                      \
	X(IO, -37, "io", "an input or output operation failed")                            \
	X(CONFIG, -38, "config", "the configuration is not valid")                         \
	X(CANCELED, -39, "canceled", "it was canceled")                                    \
	X(DAMAGED, -40, "damaged", "a page of the store that this needs is damaged; the broker's log says which")

#define ERROR_ENUM(symbol, number, name, text) ERR_##symbol = (number),
enum error_code { ERROR_TABLE(ERROR_ENUM) };
#undef ERROR_ENUM

/* What a person and a program are told about one refusal. All zero means "no error". */
struct error_info {
	int code;
	char field[96];		/* path of the field at fault, "" where none is: "backoff.base_ms", "leases[2].id" */
	char message[224];	/* a sentence without a full stop */
	int64_t retry_after_ms; /* when to come back; 0 where that would not help */
};

/* The wire name of a code; never NULL. */
const char *error_name(int code);
/* A general sentence for a code; never NULL. */
const char *error_text(int code);
/* The code of a wire name; ERR_INTERNAL for one that this version does not know and for those of local codes. */
int error_from_name(struct slice name);
/* The code as it goes on the wire: local ones become ERR_STORE_ERROR or ERR_INTERNAL. */
int error_on_wire(int code);

/* Fills info (which may be NULL) and returns code, so that callers can "return error_set(…)". field may be NULL. What
 * is longer than its room is cut, bytes that are not UTF-8 become question marks. */
int error_set(struct error_info *info, int code, const char *field, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* Puts "prefix." or "prefix" + "[…" before the field of info, on the way out of a nested structure. */
void error_prefix(struct error_info *info, const char *prefix);

#endif
