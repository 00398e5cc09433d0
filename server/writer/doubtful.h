/* doubtful.h: the files of commits of which nobody knows whether the disk has them.
 *
 * A commit that fails in its last write may be on the disk all the same, and its records name files then. Such files
 * are kept until the store has been read again; then those that no record came to name are removed, like every file
 * that is left over, without waiting for the sweep of the next start. The writer's thread only.
 */
#ifndef RAINCHECK_WRITER_DOUBTFUL_H
#define RAINCHECK_WRITER_DOUBTFUL_H

#include <stddef.h>

struct blob_store;
struct store;
struct uuid;

/* Zeroed to begin with. */
struct doubtful {
	struct uuid *blobs;
	size_t count;
};

/* What cannot be remembered is left for the sweep of the next start. */
void doubtful_add(struct doubtful *d, const struct uuid *blobs, size_t count);
/* After a commit that succeeded. No command may be under way that could still make a record name one of them. remove is
 * called for each that no record names. Where the store cannot be read they wait for the next time. */
void doubtful_settle(struct doubtful *d, struct store *s, void (*remove)(void *user, const struct uuid *blob),
		     void *user);
void doubtful_done(struct doubtful *d);

#endif
