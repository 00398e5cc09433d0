/* convert_priv.h: what the files that turn public structs into messages and back share; nobody else includes it. */
#ifndef RAINCHECK_CLIENT_CONVERT_PRIV_H
#define RAINCHECK_CLIENT_CONVERT_PRIV_H

#include "convert.h"

/* ---- parameters ---- */

/* From in to ret, both of which the function at hand has. */
#define GIVE_IF(condition, member) (ret->has_##member = (condition), ret->member = in->member)
#define GIVE(member)		   GIVE_IF(true, member)
#define GIVE_INT(member)	   GIVE_IF(in->member != 0, member)
#define GIVE_TEXT(member)	   (ret->has_##member = in->member != NULL, ret->member = slice_str(in->member))
#define GIVE_BYTES(member)	   (ret->has_##member = true, ret->member = slice_of(in->member.data, in->member.size))

/* A setting that is taken back goes out as nil, unless it is given too. */
#define TAKE_BACK(bit, message, out, member)                        \
	do {                                                        \
		if ((in->defaults & (bit)) && !(out)->has_##member) \
			MESSAGE_SET_NIL(message, out, member);      \
	} while (0)

/* Each fills info and returns its code. */
int convert__no_memory(struct error_info *info);
int convert__too_many(struct error_info *info, const char *field, size_t count, size_t most);

/* ---- results ---- */

struct converter {
	msgpack_zone *arena;
	bool copy;   /* bytes too */
	bool failed; /* out of memory */
};

/* Zeroed memory from the arena. NULL: the converter has failed. */
void *convert__take(struct converter *c, size_t count, size_t size);
/* A copy that ends in a NUL; NULL also where has is false. */
const char *convert__text(struct converter *c, bool has, struct slice s);

/* convert_admin.c: from the message of the method to the zeroed public struct. */
void convert__queue(struct converter *c, const void *message, void *result);
void convert__queue_list(struct converter *c, const void *message, void *result);
struct raincheck_run_time convert__run_time(const struct msg_run_time *in);
void convert__purge(struct converter *c, const void *message, void *result);
/* convert_limits.c, likewise */
void convert__limit(struct converter *c, const void *message, void *result);
void convert__limit_list(struct converter *c, const void *message, void *result);
const char *const *convert__names(struct converter *c, const struct slice *in, size_t count);
/* convert_admin.c again */
void convert__worker_list(struct converter *c, const void *message, void *result);
void convert__worker_told(struct converter *c, const void *message, void *result);
void convert__stats(struct converter *c, const void *message, void *result);
void convert__backup(struct converter *c, const void *message, void *result);
void convert__check(struct converter *c, const void *message, void *result);

#endif
