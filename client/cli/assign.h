/* assign.h: "KEY=VALUE" into a struct of settings that can be taken back, by a table of its keys: what `queue set` and
 * `limit set` have in common. One thread.
 */
#ifndef RAINCHECK_CLI_ASSIGN_H
#define RAINCHECK_CLI_ASSIGN_H

#include <stddef.h>

#include "settings.h"

/* How a value is written. */
enum assign_kind {
	ASSIGN_TEXT, /* as it is; the struct points into it */
	ASSIGN_YES_NO,
	ASSIGN_COUNT,
	ASSIGN_SIZE,
	ASSIGN_DURATION,
	ASSIGN_NUMBER,
	ASSIGN_OWN /* read() knows */
};

#define ASSIGN_BACK 1 /* what read() answers for a word that takes the setting back */

struct assign_key {
	const char *name;
	enum assign_kind kind;
	size_t offset, size; /* in the struct; zeroed when it is taken back */
	size_t has;   /* offset of has_…, or 0 where there is none: then 0 means "not given", and is no value */
	unsigned bit; /* of `defaults`, that takes it back */
	/* Puts the value into the struct. 0, ASSIGN_BACK, or RAINCHECK_EBAD_REQUEST or _ENO_MEMORY with the reason. */
	int (*read)(void *settings, const char *text, struct settings_error *error);
};

struct assign_table {
	const struct assign_key *keys;
	size_t count;
	size_t defaults; /* offset of the bits of what is taken back */
};

/* "KEY=default" takes a setting back; of several for one key the last holds. A key may be written with "_ms" behind it.
 * 0, or RAINCHECK_EBAD_REQUEST or _ENO_MEMORY with the reason in error, which names the key. */
int assign(const struct assign_table *table, void *settings, const char *assignment, struct settings_error *error);

#endif
