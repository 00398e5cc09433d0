/* stage.h: makes the bytes of artifacts ready for a command: hashes them, and writes those that are too large for the
 * map into blob files, before the writer sees the command.
 *
 * A blob that no record named is removed again: because the command was refused, or was a repetition. One whose record
 * was in a commit of which nobody knows whether it is on the disk stays: the writer sees to it as soon as the records
 * can be asked. Loop's thread only.
 */
#ifndef RAINCHECK_NET_STAGE_H
#define RAINCHECK_NET_STAGE_H

#include <stddef.h>

#include "proto/base/slice.h"
#include "server/net/request.h"

struct staged;

/* Prepares for up to count additions. ERR_NO_MEMORY. */
int stage_begin(struct request *req, size_t count);
/* ret is to be filled from bytes that live as long as the request; it must live so as well. ERR_INTERNAL. */
int stage_add(struct request *req, struct slice content_type, struct slice data, struct staged *ret);
/* Fills all that was added, on this thread where it is little and on the pool where not, then calls then. The request
 * is refused instead where the disk is full or fails. Without stage_begin() it calls then at once. */
void stage_run(struct request *req, request_cb then);

/* The command that was to adopt the item's blob came back, or was never sent: removes the file if it may. */
void stage_settle(struct net *net, const struct staged *item);
/* Removes a blob that no command was sent for, on the pool. */
void stage_discard(struct net *net, const struct uuid *blob);

#endif
