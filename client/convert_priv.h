/* convert_priv.h: what the files that turn results into public structs share; nobody else includes it. */
#ifndef RAINCHECK_CLIENT_CONVERT_PRIV_H
#define RAINCHECK_CLIENT_CONVERT_PRIV_H

#include "convert.h"

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
void convert__purge(struct converter *c, const void *message, void *result);
void convert__stats(struct converter *c, const void *message, void *result);
void convert__backup(struct converter *c, const void *message, void *result);
void convert__check(struct converter *c, const void *message, void *result);

#endif
