/* streams.h: the sockets of those who follow an event stream, and the thread that writes to them.
 *
 * A visitor who follows a stream asks for nothing more: the library has no work with the connection, but would keep its
 * whole memory for it, room for the largest head. So the socket is taken over from the library, and what a visitor
 * costs from then on is a few hundred bytes: see struct stream.
 *
 *   taken over ──▶ SENDING ──all is sent──▶ ASLEEP ── news, or time for a comment ──▶ SENDING
 *                     ├── the socket is full ──▶ BLOCKED ── there is room ──▶ SENDING
 *                     └── the last event is sent, the visitor is gone or takes nothing for 30 s ──▶ closed
 *
 * Whoever reads slowly keeps the event that is on its way and nothing else: what came meanwhile is skipped, the newest
 * is next.
 */
#ifndef RAINCHECK_HTTP_STREAMS_H
#define RAINCHECK_HTTP_STREAMS_H

#include <microhttpd.h>
#include <stdbool.h>

struct guests;
struct posting;
struct streams;
struct watch;

/* Starts a thread. What is given must outlive it. ERR_NO_MEMORY, ERR_IO. */
int streams_new(struct watch *watch, struct guests *guests, struct streams **ret);
/* Ends every stream and the thread. After watch_end(). NULL is taken. */
void streams_free(struct streams *all);

/* Takes the connection's socket over: sends head, then the events of the link's job, beginning with posting unless
 * known says that the visitor has it. To be followed by MHD_NO, which makes the library forget the connection.
 * ERR_THROTTLED where there are as many as there may be, ERR_NO_MEMORY, ERR_IO: then nothing happened. */
int streams_take(struct streams *all, struct MHD_Connection *c, const char *token, struct posting *posting, bool known,
		 const char *head);

#endif
