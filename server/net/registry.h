/* registry.h: the workers that are connected: who, from where, for which queues, with how many jobs in hand; and the
 * orders that operators give them.
 *
 * A session is a worker from a session.hello that says so until it ends. Its jobs in hand are counted from what the
 * writer says was committed, before the answers go out: whoever has an answer finds it counted, and a batch that failed
 * was never counted. What an operator asks for is a notification, which the worker obeys by itself: the registry only
 * remembers that it was told.
 *
 * Loop's thread, but for the writer's call and the totals. Handlers as dispatch.h describes them.
 */
#ifndef RAINCHECK_NET_REGISTRY_H
#define RAINCHECK_NET_REGISTRY_H

#include <stdint.h>

struct error_info;
struct msg_hello;
struct msg_worker_session;
struct net;
struct registry;
struct request;
struct session;

/* ERR_NO_MEMORY. */
int registry_new(struct net *net, struct registry **ret);
/* No worker may be left. NULL is taken. */
void registry_free(struct registry *r);
/* Listens to the writer from now on. */
void registry_subscribe(struct registry *r);

/* The session is the worker that its greeting tells of, from now on; ERR_NO_MEMORY. And no more, which may be said of
 * any. */
int registry_add(struct registry *r, struct session *s, const struct msg_hello *hello);
void registry_remove(struct registry *r, struct session *s);
/* One more or one less of its leases waits for jobs; of any session. */
void registry_waits(struct session *s, int by);

/* Goes through all workers. cb must not add or remove any; told is good during it. */
typedef void (*registry_visit_cb)(struct session *s, const struct msg_worker_session *told, void *user);
void registry_visit(struct registry *r, registry_visit_cb cb, void *user);

/* Over all workers. */
struct registry_totals {
	int64_t workers;
	int64_t slots;	    /* that they said they have */
	int64_t slots_free; /* of those of workers that take jobs, without one in hand */
	int64_t in_hand;    /* jobs that they have leased */
};

/* Any thread. */
struct registry_totals registry_totals(struct registry *r);

int registry_list(struct request *req, struct error_info *info);
int registry_quiet(struct request *req, struct error_info *info);
int registry_stop(struct request *req, struct error_info *info);

#endif
