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

/* Something is reported of the job. */
void good_hook(const struct uuid *id, const char *body);

/* A job, first in line, whose every field holds a mark of its own, with another in its note, checkpoint, artifacts and
 * result; it has succeeded. */
struct uuid good_put_marked(void);
/* Erases it, and its file as the writer would. */
void good_erase_marked(const struct uuid *id);
/* How many of the GOOD_MARKS marks are in any byte of any file below path. */
int good_marks_in(const char *path);

/* Flips a bit of a value. */
void good_flip(enum store_table table, struct key key);

/* Where the key of an entry stands in the records file, in every page that ever held it. The value tells the tables
 * apart: it must stand in the page with its key. */
struct good_spot {
	uint8_t needle[2 + KEY_MAX + 8];
	size_t size;	 /* of needle */
	size_t key_size; /* of the key, which begins at needle + 2 */
};
/* Fails the test where there is no such entry. */
struct good_spot good_spot(enum store_table table, struct key key);
/* Flips one bit of the key, as a bad disk would: it stays where it stands. The rig must be paused. */
void good_flip_key(const struct good_spot *spot, size_t bit);
/* The records file of the paused rig, to be put back after it was damaged. */
void good_save_file(void);
void good_restore_file(void);

/* The place of a copy, below good.dir. */
const char *good_target(void);
/* How many entries a folder has; −1: it is not there. */
int good_entries_of(const char *path);

/* Opens a copy, which is moved for that, with an engine on it, as if it were the rig's own directory. */
void good_open_copy(struct rig *copy, const char *path);

/* Runs f in a process of its own, which is killed at its n-th call of good_step_cb(). True where it came to its end,
 * without an error, before that. LMDB's handles may not be taken through a fork: the rig must be paused. */
bool good_survives(int n, int (*f)(void));
void good_step_cb(void *user, const char *what, int64_t done, int64_t total);

#endif
