/* upload.h: stores bytes as an artifact of a leased job while they come, never holding more than a few pieces of them.
 *
 * The first bytes are judged (media.h) before anything is sent. A small artifact goes in one message, or is handed to
 * the caller to go with the job's completion; a large one in pieces, of which four may be unanswered, and the feeder is
 * told to wait when they are. The broker forgets an upload when the connection breaks: then one that keeps its bytes
 * (in a nameless file) starts again by itself, another fails with ERR_GONE and is to be fed anew. That may happen as
 * often as connections break or the broker is full or busy, until its time is over; what the broker does not know for
 * no such reason is tried a few times only. Loop's thread only.
 */
#ifndef RAINCHECK_WORKER_CALL_UPLOAD_H
#define RAINCHECK_WORKER_CALL_UPLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/slice.h"

struct broker_link;
struct upload;
struct words;

struct upload_spec {
	struct broker_link *link;
	const char *job; /* these three live as long as the upload */
	const char *lease;
	const char *name;
	const struct words *types; /* wanted */
	int64_t max_bytes;
	bool keep;	       /* what is fed cannot be had again */
	bool hand_over;	       /* a small one is not stored but handed over, see upload_inline() */
	int64_t give_up_at_ms; /* of clock_mono_ms() */
	/* Stored, or handed over (0), or not: ERR_LEASE_LOST, ERR_GONE, another refusal of the broker's, ERR_IO. Once,
	 * after upload_finish() or, for a failure, before; never from within a function of this module. */
	void (*done_cb)(struct upload *up, int code, const char *why, void *user);
	/* There is room again after upload_feed() said UPLOAD_WAIT. */
	void (*room_cb)(struct upload *up, void *user);
	void *user;
};

enum { UPLOAD_TOOK, UPLOAD_WAIT };

/* ERR_NO_MEMORY, ERR_INTERNAL. */
int upload_new(const struct upload_spec *spec, struct upload **ret_upload);

/* Takes a piece whole, or says UPLOAD_WAIT and takes nothing. content_type as declared (NULL: not), total −1 where it
 * is not known. ERR_BAD_REQUEST: it is not of a type wanted; ERR_TOO_LARGE; ERR_IO; ERR_NO_MEMORY: upload_why() then
 * says more and there will be no callback. */
int upload_feed(struct upload *up, const char *content_type, int64_t total, struct slice piece);

/* That was all. Errors as upload_feed(); 0: done_cb will come. */
int upload_finish(struct upload *up, const char *content_type);

/* Lets go of it: no callback comes any more. What was not committed is dropped by the broker. NULL is taken. */
void upload_free(struct upload *up);

const char *upload_why(const struct upload *up);
int64_t upload_bytes(const struct upload *up);

/* Of one that failed with ERR_GONE: whether it is for nothing but its connection, which is over. */
bool upload_was_cut_off(const struct upload *up);
/* Likewise: whether the broker was full or busy, which passes. */
bool upload_was_excused(const struct upload *up);
/* Whether upload_finish() has been called: nothing is missing but that the broker takes it. */
bool upload_is_fed(const struct upload *up);

/* The bytes and type of one that was handed over; size 0 and NULL where it was stored. As long as the upload. */
struct slice upload_inline(const struct upload *up, const char **ret_content_type);

#endif
