/* good_store.h: an engine's store with a bit of everything, for tests that copy it, rewrite it or kill who does.
 *
 * The rig's store has a job that is ready, one that runs and one that succeeded with a still in the map and a video in
 * a file, all in queue "q", and the links' secret. Copies go below a directory of their own.
 */
#ifndef RAINCHECK_TEST_GOOD_STORE_H
#define RAINCHECK_TEST_GOOD_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/store/keys.h"
#include "tests/harness/engine_rig.h"

#define GOOD_VIDEO_BYTES 40000
#define GOOD_MARKS	 14

extern struct good_store {
	struct rig rig;
	struct tempdir dir; /* for copies */
	struct uuid ready, running, succeeded;
	struct uuid blob; /* of the video */
	uint8_t secret[32];
} good;

/* Of cmocka's kind. */
int good_setup(void **state);
int good_teardown(void **state);

/* Puts a job into "q" with what is said in more. */
struct uuid good_put(struct msg_job_put more);
/* Publishes a blob of these bytes. */
void good_stage(const struct uuid *id, const void *bytes, size_t size, struct staged *ret);

/* A job, first in line, whose every field holds a mark of its own, with another in its note, checkpoint, artifacts and
 * result; it has succeeded. */
struct uuid good_put_marked(void);
/* Erases it, and its file as the writer would. */
void good_erase_marked(const struct uuid *id);
/* How many of the GOOD_MARKS marks are in any byte of any file below path. */
int good_marks_in(const char *path);

/* Flips a bit of a value. */
void good_flip(enum store_table table, struct key key);

/* The place of a copy, below good.dir. */
const char *good_target(void);
/* How many entries a folder has; −1: it is not there. */
int good_entries_of(const char *path);

/* Runs f in a process of its own, which is killed at its n-th call of good_step_cb(). True where it came to its end,
 * without an error, before that. LMDB's handles may not be taken through a fork: the rig must be paused. */
bool good_survives(int n, int (*f)(void));
void good_step_cb(void *user, const char *what, int64_t done, int64_t total);

#endif
