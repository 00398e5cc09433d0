/* broker_link.h: the worker's one connection to the broker, and writes that outlast its interruptions.
 *
 * What a worker has to say of a job (complete, fail, checkpoint, …) must not get lost because the broker was restarted
 * in that moment. A broker_op is such a write: it is sent again, after a pause or when the connection is back, until
 * the broker has answered it for good or its time is over. All of these writes may be repeated: a lease that has ended
 * refuses the second one. Loop's thread only.
 */
#ifndef RAINCHECK_WORKER_CALL_BROKER_LINK_H
#define RAINCHECK_WORKER_CALL_BROKER_LINK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "client/raincheck.h"

struct broker_link;
struct broker_ticket;
struct uv_loop_s;

struct broker_op {
	/* Starts the call for op with the given callback; what the starting function answers. The parameters must
	 * live until done_cb. */
	int (*send)(struct broker_op *op, struct raincheck *rc, raincheck_cb cb, void *user);
	/* The answer for good. Once, never from within broker_op_start(). */
	void (*done_cb)(struct broker_op *op, const struct raincheck_reply *reply);
	int64_t give_up_at_ms; /* of clock_mono_ms(); then done_cb gets the last refusal */
	bool once;	       /* whatever is answered is for good: tried again is only what could not be sent */

	/* the link's */
	struct broker_link *link;
	struct broker_ticket *ticket; /* sent and not answered */
	bool waiting;		      /* to be sent again, or its failure to be told */
	int code;		      /* of the last refusal */
	TAILQ_ENTRY(broker_op) entry;
};

struct broker_link_handlers {
	void (*connected_cb)(void *user);
	/* code is why it broke or could not be made. */
	void (*disconnected_cb)(const struct raincheck_error *why, void *user);
	void (*notice_cb)(const struct raincheck_notification *n, void *user);
	void *user;
};

struct broker_link_options {
	struct uv_loop_s *uv;
	const char *server; /* NULL: the default */
	const char *token;  /* NULL: none */
	const struct raincheck_worker *worker;
	struct broker_link_handlers handlers;
};

/* Begins to connect. ERR_BAD_REQUEST, with ret_error filled, for an address that is none; ERR_NO_MEMORY, ERR_IO. */
int broker_link_new(const struct broker_link_options *options, struct broker_link **ret_link,
		    struct raincheck_error *ret_error);
/* Closes the connection; the link is freed while the loop runs on. Every op must have ended. NULL is taken. */
void broker_link_close(struct broker_link *link);

/* Greets the broker anew, over another connection once this one has nothing in flight; see raincheck_reconnect(). */
int broker_link_greet_as(struct broker_link *link, const char *token, const struct raincheck_worker *worker);

/* The handle, for calls that are not to be repeated. */
struct raincheck *broker_link_handle(struct broker_link *link);
/* Grows whenever a connection is made or ends: what belonged to one is lost when this is not what it was. */
unsigned broker_link_turns(const struct broker_link *link);
/* The broker's clock as the last greeting told it, Unix epoch: behind by as long as that was on its way. */
int64_t broker_link_wall_ms(const struct broker_link *link);

/* op must stay where it is until its callback or broker_op_cancel(). */
void broker_op_start(struct broker_link *link, struct broker_op *op);
/* No callback comes any more; what was sent may still be carried out. For one that is not under way: nothing. */
void broker_op_cancel(struct broker_op *op);
bool broker_op_under_way(const struct broker_op *op);

/* Whether asking again may help: the connection broke, or the broker is busy, full or going down. */
bool broker_retryable(int code);

#endif
