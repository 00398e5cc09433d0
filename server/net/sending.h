/* sending.h: a session's replies on their way out: gathered, written together, ended when they are out.
 * For session.c, and session_send() and session_notify() for the rest. Loop's thread only. */
#ifndef RAINCHECK_NET_SENDING_H
#define RAINCHECK_NET_SENDING_H

struct session;

/* Writes what is ready, unless a write is under way already. May close the session. */
void sending_flush(struct session *s);
/* The session is closed: ends what is not in a write under way. */
void sending_drop(struct session *s);

#endif
