/* session.h: one connection: its bytes in, its messages, its replies out, its end.
 *
 *   OPEN ──▶ ENDING ──▶ LINGERING ──▶ CLOSED      and from each straight to CLOSED
 *
 *   OPEN       messages are read and dispatched; before session.hello there is a deadline
 *   ENDING     nothing more is taken; what is in flight is answered, what is parked is let go
 *   LINGERING  all is sent and our side is shut; what still comes is thrown away until the peer closes too, because
 *              closing on unread bytes would reset the connection and take the last replies with it
 *   CLOSED     handles are closing; replies are dropped; the struct lives until its last request came back
 *
 * Backpressure: a session stops reading while it has limits.in_flight requests open or limits.unsent bytes charged
 * (frames held, replies expected, replies not yet sent). So a peer that never reads costs no more than that.
 * Loop's thread only.
 */
#ifndef RAINCHECK_NET_SESSION_H
#define RAINCHECK_NET_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "proto/base/buf.h"
#include "proto/messages.h"
#include "proto/skim.h"
#include "server/engine/command.h"
#include "server/net/mailbox.h"

struct error_info;
struct net;
struct request;
struct waiter;
struct worker_entry;

enum session_state { SESSION_OPEN, SESSION_ENDING, SESSION_LINGERING, SESSION_CLOSED, SESSION_STATES };

struct session {
	struct net *net;
	struct session *next; /* of net->sessions */
	struct session **link;
	struct session *next_dirty;
	struct session **dirty_link; /* NULL: not dirty */
	uint64_t id;
	union {
		uv_handle_t handle;
		uv_stream_t stream;
		uv_tcp_t tcp;
		uv_pipe_t pipe;
	} peer;
	uv_timer_t deadline;
	unsigned handles; /* not closed yet */
	enum session_state state;
	enum role role;
	bool greeted;
	bool subscribed;
	bool reading;
	bool eof;    /* the peer will send no more */
	bool parked; /* the engine may keep a command of it: a lease that waits, a change by filter */

	struct buf in; /* begins where a message begins */
	struct skim skim;
	unsigned open;	/* requests not yet ended */
	size_t charged; /* bytes, of those */

	struct request *ready; /* replies to send, the first perhaps in part */
	struct request **ready_last;
	unsigned writing; /* of those, handed to the write under way */
	uv_write_t write;
	uv_shutdown_t shutdown;

	struct waiter *waiters;
	unsigned uploads;
	struct session *next_told;   /* see notices.h */
	struct session **told_link;  /* NULL: not to be told */
	struct worker_entry *worker; /* see registry.h; NULL: it is none */

	struct command forget; /* lets parked leases go */
	struct mail forgotten;
	bool forgetting;
};

/* Takes the connection that server has ready. ERR_THROTTLED over the limit of connections, ERR_NO_MEMORY: then it is
 * still there to be taken. */
int session_open(struct net *net, uv_stream_t *server);

/* After session.hello: the deadline is off, messages may have full size. */
void session_greet(struct session *s, enum role role, bool subscribe);

/* A request begins or ends that belongs to the session. */
void session_hold(struct session *s);
void session_drop(struct session *s);

/* Sends req->reply, in the order of calls, and ends req; drops it where the session is closed. An empty reply means
 * that there was no memory for one: the session is closed, because its peer would wait for ever. */
void session_send(struct session *s, struct request *req);

/* Sends a notification, if the session is open and subscribed to them. False where it does not: also where it has its
 * fill of what it does not read, and where there is no memory: a notification is never owed. */
bool session_notify(struct session *s, const char *method, const struct message *m, const void *params);

/* True while it has as many requests open, or as many bytes under way, as it may. */
bool session_has_its_fill(const struct session *s);

/* OPEN → ENDING. */
void session_end(struct session *s);
/* The peer broke the protocol with the message that begins at data: tells it what was wrong where the message is a
 * request whose id can be read, and ends. */
void session_break(struct session *s, const struct error_info *info, const void *data, size_t size);
/* Any state → CLOSED. */
void session_close(struct session *s);

/* Something about it changed: it is to be pumped. */
void session_touch(struct session *s);
/* Sends and reads what can be sent and read, for every session that changed. Before the loop waits. */
void session_pump_dirty(struct net *net);

#endif
