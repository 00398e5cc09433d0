/* handle_priv.h: what struct raincheck holds, for the files that implement libraincheck; nobody else includes it.
 *
 * handle.c makes, runs and closes handles; dialog.c is the conversation: requests, replies, timeouts,
 * notifications; greeting.c its beginning; methods.c, methods_admin.c and blocking.c are the calls. All on the handle's
 * thread.
 */
#ifndef RAINCHECK_CLIENT_HANDLE_PRIV_H
#define RAINCHECK_CLIENT_HANDLE_PRIV_H

#include <msgpack.h>
#include <uv.h>

#include "connection.h"
#include "proto/messages.h"
#include "raincheck.h"
#include "pending.h"

#define HANDLE_MAGIC	  0x7261696eu
#define DIALOG_FILL_BYTES (1u << 20) /* requests handed to the connection at a time */

/* Where a blocking call waits for its reply. */
struct waiter {
	bool done;
	int code;
	void *result; /* owned; see raincheck_free() */
	struct raincheck_error error;
};

/* Copies of what the options pointed at. */
struct settings {
	char *token;
	char *client;
	char *worker_name; /* NULL: not a worker */
	char **worker_queues;
	size_t worker_queue_count;
	int64_t worker_slots;
	bool worker_quiet;
	raincheck_notification_cb on_notification;
	raincheck_connection_cb on_connection;
	void *user;
	int64_t request_timeout_ms;
	size_t max_queued;
	size_t max_unsent_bytes;
	int64_t max_in_flight;
};

struct raincheck {
	unsigned magic;
	struct settings settings;
	uv_loop_t *loop;
	uv_loop_t private_loop;
	bool owns_loop;
	bool running; /* the private loop is, so no blocking call may begin */
	bool stopping;
	bool closing;
	unsigned open_handles; /* of those below, the connection counting as one */
	void (*closed_cb)(void *user);
	void *closed_user;

	struct connection connection;
	uv_timer_t deadline_timer;
	uv_timer_t run_timer;
	uint64_t timer_due; /* loop time when deadline_timer fires; 0: it does not */

	struct pending_table requests;
	uint64_t last_id;
	uint64_t hello_id;
	size_t pending;		    /* calls started and not yet called back */
	struct waiter *next_waiter; /* the call that is started next is this one's */
	bool accepted;		    /* the greeting of the present connection was */
	bool greet_again;	    /* another connection is to be made once nothing is in flight on this one */
	bool refused;		    /* it was refused for a reason that trying again does not mend */

	msgpack_zone *zone;    /* of the message being handled */
	msgpack_zone *scratch; /* of the parameters being encoded */
	struct buf encoded;    /* the request being encoded */

	bool has_server;
	struct raincheck_server server;
	char server_name[256];
	char server_version[256];
	struct raincheck_error last_error;
};

/* ---- handle.c ---- */

/* Keeps it for raincheck_last_error() and returns its code. */
int handle_fail(struct raincheck *rc, const struct error_info *info);
/* The connection or a timer is gone. */
void handle_closed(struct raincheck *rc);
/* Fills ret from info; sent: see raincheck_error. */
void handle_export_error(const struct error_info *info, bool sent, struct raincheck_error *ret);

/* Begins a blocking call: what is started next belongs to w. */
int handle_block(struct raincheck *rc, struct waiter *w);
/* Ends it: waits for w, unless err says that nothing was started, and puts the result at ret, which is the address of a
 * pointer (NULL: the result is dropped). Returns err or w's code. */
int handle_unblock(struct raincheck *rc, struct waiter *w, int err, void *ret);

/* ---- dialog.c ---- */

extern const struct connection_ops dialog_ops;

struct dialog_call {
	enum method_id method;
	const void *params; /* the method's message, or what encode takes */
	/* NULL: rpc_write_request() with the method's message. */
	int (*encode)(struct buf *out, uint64_t id, const void *params);
	int64_t wait_ms; /* to be waited for the answer beyond the usual time */
	size_t items;	 /* sent, where the answer must have as many */
	raincheck_cb cb;
	void *user;
};

/* Starts a call. ERR_THROTTLED, ERR_TOO_LARGE, ERR_CANCELED (closing), ERR_NO_MEMORY. */
int dialog_start(struct raincheck *rc, const struct dialog_call *call);

/* Calls back everything that is under way with ERR_CANCELED. */
void dialog_cancel_all(struct raincheck *rc);

void dialog_deadline_cb(uv_timer_t *timer);

/* ---- greeting.c ---- */

struct rpc_envelope;

/* Appends the greeting of a new connection to out; the connection's "opened". */
int greeting_say(void *owner, struct buf *out, struct error_info *info);
/* The broker's answer to it: the connection is ready, or info says why it is of no use. */
int greeting_answered(struct raincheck *rc, const struct rpc_envelope *e, struct error_info *info);

/* ---- methods.c ---- */

/* What every call ends with: starts it, unless err, which is the conversion's, says why not. */
int handle_start(struct raincheck *rc, int err, const struct error_info *info, const struct dialog_call *call);

#endif
