/* stills.h: makes the still of a put ready for its command: hashes it, and writes one that is too large for the map
 * into a blob file, on threads of its own, so that no visitor waits for the disk.
 *
 * A blob that no record came to name is removed again by stills_settle(), on the same threads. One whose record was in
 * a commit of which nobody knows whether it is on the disk stays: the writer sees to it.
 */
#ifndef RAINCHECK_HTTP_STILLS_H
#define RAINCHECK_HTTP_STILLS_H

#include <stdbool.h>

#include "proto/base/slice.h"
#include "server/engine/command.h"

struct blob_store;
struct settings;
struct stills;

struct still {
	struct staged staged; /* for the command */
	bool published;	      /* the file is there */

	/* Whoever has it: */
	struct still *next;
	void (*done)(struct still *still, int rc);
};

/* What it is given must outlive it. ERR_NO_MEMORY. */
int stills_new(const struct settings *settings, struct blob_store *blobs, struct stills **ret);
/* Writes and removes what there is, and refuses what is to be written from here on. NULL is taken. */
void stills_stop(struct stills *s);
/* After that, or before anything was prepared. NULL is taken. */
void stills_free(struct stills *s);

/* Any thread. content_type and data must live until done() is called, which may be on this thread, before it returns,
 * or on another: with 0, ERR_STORE_FULL, ERR_IO, ERR_INTERNAL, ERR_SHUTTING_DOWN or ERR_NO_MEMORY. */
void stills_prepare(struct stills *s, struct still *still, struct slice content_type, struct slice data,
		    void (*done)(struct still *still, int rc));

/* Its command came back: removes the file if it may, then calls done(), always with 0: on this thread where there is no
 * file to remove, or after stills_stop(). Any thread; a still of zeroes is taken, then s may be NULL. */
void stills_settle(struct stills *s, struct still *still, void (*done)(struct still *still, int rc));

#endif
