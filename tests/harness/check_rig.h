/* check_rig.h: a store that the engine made and the checker finds clean, to be damaged in one way, and the line that
 * must then be said. All its jobs are in queue 0, "q".
 */
#ifndef RAINCHECK_TEST_CHECK_RIG_H
#define RAINCHECK_TEST_CHECK_RIG_H

#include "server/upkeep/check.h"
#include "server/store/keys.h"
#include "tests/harness/engine_rig.h"

extern struct checked {
	struct rig rig;
	struct uuid ready;     /* with an idempotency key and a deadline */
	struct uuid scheduled; /* for later */
	struct uuid running;   /* with a checkpoint */
	struct uuid succeeded; /* with an artifact "preview" in the map and one "result" in a file */
	struct uuid gone;      /* a tombstone */
	struct uuid blob;
	struct uuid unknown; /* of nothing */
} checked;

/* What the last checked_run() found: every line of any kind, and the counts. */
extern char checked_said[65536];
extern struct check_result checked_found;

/* Of cmocka's kind. */
int checked_setup(void **state);
int checked_teardown(void **state);

/* How many breaches there are. */
int64_t checked_run(void);

/* Each in a transaction of its own. */
void checked_set(enum store_table table, struct key key, struct slice value);
void checked_drop(enum store_table table, struct key key);
size_t checked_value(enum store_table table, struct key key, uint8_t *ret, size_t cap);
/* One bit of a value. Each bit in turn is flipped by test_records.c; here it matters what is said. */
void checked_flip(enum store_table table, struct key key);
/* Writes a record anew, sound, but saying something else. */
void checked_change_job(const struct uuid *id, void (*change)(struct job *job));
void checked_change_queue(void (*change)(struct queue_record *q));
struct job checked_load(const struct uuid *id);
/* The file of the blob, to be damaged by hand. */
const char *checked_blob_file(void);

/* One breach: the damage, and what must be said of it. */
struct breach_row {
	const char *name;
	void (*damage)(void);
	const struct uuid *job; /* whose id the line names; NULL: none */
	const char *before;	/* of the line, up to the id */
	const char *after;	/* what follows it */
};

/* A cmocka test of a row, which is its state. */
int checked_setup_row(void **state);
void checked_breach_is_named(void **state);

#endif
