/* board.h: what is posted of each job at the moment: rendered once, and shared by all who look.
 *
 * A posting is good as long as the job has not changed, which the writer tells, and for a quarter of a second at most:
 * a place in line and an estimate also change by what happens to others. Whoever sees the answer to a command sees its
 * effect: postings of before are void when the answer goes out.
 *
 * Any thread. Each rendering reads in a transaction of its own, which is over before anything is sent.
 */
#ifndef RAINCHECK_HTTP_BOARD_H
#define RAINCHECK_HTTP_BOARD_H

#include <microhttpd.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "proto/base/buf.h"
#include "proto/base/uuid.h"

struct board;
struct job_event;
struct request;

#define BOARD_TAG_BYTES 32

enum board_kind { BOARD_STATUS, BOARD_PAGE, BOARD_KINDS };

/* Never changed once it is posted. */
struct posting {
	atomic_int holders;
	struct uuid job;
	bool final;			/* the job is: nothing new will come under this address */
	unsigned status;		/* of the answer */
	struct MHD_Response *answer;	/* owned */
	struct MHD_Response *unchanged; /* owned: the 304 in its place; NULL for a page */
	char tag[BOARD_TAG_BYTES];	/* W/"…"; "" for a page */
	struct buf event;		/* a status as a message of an event stream; empty for a page */
};

/* ERR_NO_MEMORY. */
int board_new(struct board **ret);
/* NULL is taken. Postings that somebody holds live on. */
void board_free(struct board *b);

/* What is posted of the job that r's token leads to, to be let go of. ERR_NOT_FOUND, ERR_GONE and the errors of
 * rendering, none of which is kept. */
int board_get(const struct request *r, enum board_kind kind, struct posting **ret);

/* A posting with nothing in it, for whoever renders. NULL without memory. */
struct posting *posting_new(void);
struct posting *posting_hold(struct posting *p);
/* NULL is taken. */
void posting_release(struct posting *p);
static inline void posting_releasep(struct posting **p)
{
	posting_release(*p);
}

/* For the writer's thread: makes void what is posted of these jobs. Takes no lock. */
void board_changed(struct board *b, const struct job_event *events, size_t count);

#endif
