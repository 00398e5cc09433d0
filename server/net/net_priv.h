/* net_priv.h: what the files of server/net share: the net itself and its count of what is open.
 *
 * The net ends when nothing is left that could call back: every listener, session, waiting timer and work of the pool
 * is counted by net__hold() and net__drop().
 */
#ifndef RAINCHECK_NET_PRIV_H
#define RAINCHECK_NET_PRIV_H

#include <stdatomic.h>

#include "proto/base/log.h"
#include "proto/base/uuid.h"
#include "server/net/mailbox.h"
#include "server/net/net.h"
#include "server/net/request.h"

struct link_signer;
struct listener;
struct notices;
struct prescale;
struct registry;
struct session;
struct upkeep;
struct uploads;
struct waits;
struct wakes;

/* One read takes at most this much. */
#define NET_ROOM 65536

/* Changed on the loop's thread, read on any. */
struct net_counters {
	atomic_int_fast64_t connections, accepted, refused;
	atomic_int_fast64_t requests[METHODS];
};

struct net {
	uv_loop_t *loop;
	struct net_options options; /* with the defaults filled in */
	struct listener **listeners;
	size_t listener_count;
	struct session *sessions;
	struct session *dirty; /* those to be pumped before the loop waits again */
	uint64_t last_session; /* the id; the first is a random one */
	struct net_counters counters;
	struct log_pause refusals; /* of connections */
	struct log_pause failures; /* of the store */

	struct request_pool pool;
	struct link_signer *links; /* of the answers */
	struct uuid_gen blob_ids;
	struct waits *waits;
	struct notices *notices;
	struct wakes *wakes;
	struct registry *registry;
	struct prescale *prescale;
	struct uploads *uploads;
	struct upkeep *upkeep;
	uint8_t room[NET_ROOM]; /* what a read fills; empty between callbacks */

	struct mailbox mailbox; /* what the writer gives back */
	uv_prepare_t prepare;

	uv_work_t warm; /* makes the pool start its threads */
	size_t held;	/* see net__hold() */
	bool stopping;
	bool closing;
	unsigned own_handles;
	net_done_cb done;
	void *done_user;
};

/* One more or one less thing that will call back. Loop's thread. */
void net__hold(struct net *net);
void net__drop(struct net *net);

/* A new UUID for a blob. ERR_INTERNAL when there is no randomness. Loop's thread. */
int net__blob_id(struct net *net, struct uuid *ret);
/* Unguessable bytes. ERR_INTERNAL. Any thread. */
int net__random(void *ret, size_t size);

#endif
