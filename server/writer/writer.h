/* writer.h: the one thread that writes: group commit of commands from every front.
 *
 * It takes all commands that wait, applies them in one transaction, commits once, then releases them. While it syncs,
 * the next batch gathers, so load makes batches larger and a lone command commits at once. It also wakes by itself for
 * due work. This is where the clock is read and randomness is drawn for the engine.
 *
 * While commits fail it tries one by itself a few times a second, so that a broker to which nobody sends anything while
 * it is not ready finds out when the disk is well again. After a commit of which it is not known whether the disk has
 * it, the first one that succeeds tells, and the files that no record came to name are removed.
 */
#ifndef RAINCHECK_WRITER_H
#define RAINCHECK_WRITER_H

#include <stddef.h>
#include <stdint.h>

#include "server/engine/command.h"
#include "server/engine/engine.h"
#include "server/engine/settings.h"
#include "server/store/blob.h"
#include "server/store/store.h"

struct writer;

struct writer_stats {
	int64_t commits;
	int64_t failed_commits;
	int64_t commands;
	int64_t largest_batch;
	int64_t parked; /* leases that wait for a job */
	/* Why the last batch was taken back, if no other has been committed since; else "". A batch that met a damaged
	 * page says nothing of the others. */
	char failure[96];
};

/* Told on the writer thread after a commit, before the batch's commands are released: copy and return at once. */
typedef void (*writer_event_cb)(void *user, const struct job_event *events, size_t count);

/* store, blobs and settings must outlive the writer. ERR_NO_MEMORY and what engine_new() says. */
int writer_new(const struct settings *settings, struct store *s, struct blob_store *blobs, struct writer **ret);
/* Before writer_start(); at most eight. */
void writer_subscribe(struct writer *w, writer_event_cb cb, void *user);
int writer_start(struct writer *w);

/* Any thread. The command is the writer's until its release. After writer_stop() has begun it is refused with
 * ERR_SHUTTING_DOWN and released, on the caller's thread. */
void writer_submit(struct writer *w, struct command *cmd);

/* Any thread. */
void writer_stats(struct writer *w, struct writer_stats *ret);

/* What was committed since the start. Any thread. */
struct writer_totals;
void writer_totals(struct writer *w, struct writer_totals *ret);

/* Finishes what was submitted, releases what is parked with ERR_SHUTTING_DOWN, ends the thread. Not on the writer
 * thread. */
void writer_stop(struct writer *w);
/* After writer_stop(). NULL is taken. */
void writer_free(struct writer *w);

#endif
