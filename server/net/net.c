/* Start: the mailbox and the turn of the loop, then the listeners; a failure goes the way of a stop.
 * Stop: listeners close, sessions end; what they hold comes back; when nothing is held any more the net's own handles
 * close, and the last of them says that all is done.
 */
#include "server/net/net_priv.h"

#include <assert.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdlib.h>

#include "proto/base/clean.h"
#include "proto/base/clock.h"
#include "server/engine/link.h"
#include "server/engine/settings.h"
#include "server/net/listener.h"
#include "server/net/notices.h"
#include "server/net/prescale.h"
#include "server/net/registry.h"
#include "server/net/session.h"
#include "server/net/upkeep.h"
#include "server/net/uploads.h"
#include "server/net/waits.h"
#include "server/net/wakes.h"

#define MESSAGE	    (4u << 20)
#define DEPTH	    16
#define ELEMENTS    65536
#define PAYLOAD	    (1 << 20)
#define CONNECTIONS 10000
#define UPLOADS	    10000
#define IN_FLIGHT   1024
#define UNSENT	    (16u << 20)
#define HELLO_MS    10000
#define UPLOAD_MS   600000

/* ---- what is still open ---- */

static void over(struct net *net)
{
	if (--net->own_handles == 0)
		net->done(net->done_user);
}

static void mailbox_closed_cb(struct mailbox *box)
{
	over(CONTAINER_OF(box, struct net, mailbox));
}

static void prepare_closed_cb(uv_handle_t *handle)
{
	over(handle->data);
}

static void close_if_over(struct net *net)
{
	if (!net->stopping || net->held > 0 || net->closing)
		return;
	net->closing = true;
	net->own_handles = 2;
	mailbox_close(&net->mailbox, mailbox_closed_cb);
	uv_close((uv_handle_t *)&net->prepare, prepare_closed_cb);
}

void net__hold(struct net *net)
{
	net->held++;
}

void net__drop(struct net *net)
{
	assert(net->held > 0);
	net->held--;
	close_if_over(net);
}

/* ---- randomness ---- */

int net__random(void *ret, size_t size)
{
	return gnutls_rnd(GNUTLS_RND_KEY, ret, size) < 0 ? ERR_INTERNAL : 0;
}

int net__blob_id(struct net *net, struct uuid *ret)
{
	uint8_t random[UUID_RANDOM_SIZE];
	int rc;

	rc = net__random(random, sizeof(random));
	if (rc < 0)
		return rc;
	uuid_v7(&net->blob_ids, clock_wall_ms(), random, ret);
	return 0;
}

/* ---- start ---- */

static void fill_in(struct net_limits *l)
{
	l->message = l->message ? l->message : MESSAGE;
	l->depth = l->depth ? l->depth : DEPTH;
	l->elements = l->elements ? l->elements : ELEMENTS;
	l->payload = l->payload ? l->payload : PAYLOAD;
	l->connections = l->connections ? l->connections : CONNECTIONS;
	l->uploads = l->uploads ? l->uploads : UPLOADS;
	l->in_flight = l->in_flight ? l->in_flight : IN_FLIGHT;
	l->unsent = l->unsent ? l->unsent : UNSENT;
	l->hello_ms = l->hello_ms ? l->hello_ms : HELLO_MS;
	l->upload_ms = l->upload_ms ? l->upload_ms : UPLOAD_MS;
}

void net_free(struct net *net)
{
	if (!net)
		return;
	request_pool_done(&net->pool);
	link_signer_free(net->links);
	waits_free(net->waits);
	wakes_free(net->wakes);
	notices_free(net->notices);
	registry_free(net->registry);
	prescale_free(net->prescale);
	upkeep_free(net->upkeep);
	uploads_free(net->uploads);
	free(net->listeners);
	free(net);
}
DEFINE_CLEANUP(struct net *, net_free)

static void abandoned_cb(void *user)
{
	net_free(user);
}

static void prepare_cb(uv_prepare_t *handle)
{
	session_pump_dirty(handle->data);
}

static int open_own(struct net *net)
{
	int rc;

	rc = mailbox_open(&net->mailbox, net->loop);
	if (rc < 0)
		return rc;
	/* These two cannot fail. */
	uv_prepare_init(net->loop, &net->prepare);
	uv_prepare_start(&net->prepare, prepare_cb);
	net->prepare.data = net;
	return 0;
}

static int open_listeners(struct net *net, struct error_info *info)
{
	for (size_t i = 0; i < net->options.listen_count; i++) {
		int rc = listener_open(net, net->options.listen[i], &net->listeners[i], info);

		if (rc < 0)
			return rc;
		net->listener_count++;
	}
	return 0;
}

static void warm_cb(uv_work_t *work)
{
	(void)work;
}

static void warmed_cb(uv_work_t *work, int status)
{
	(void)status;
	net__drop(CONTAINER_OF(work, struct net, warm));
}

/* The pool makes its threads with its first work, and ends the process where it cannot: better now than when a peer
 * first asks for something. */
static void warm_pool(struct net *net)
{
	net__hold(net);
	if (uv_queue_work(net->loop, &net->warm, warm_cb, warmed_cb) < 0)
		net__drop(net);
}

static int create(uv_loop_t *loop, const struct net_options *options, struct net **ret)
{
	_cleanup_(net_freep) struct net *net = calloc(1, sizeof(*net));
	int rc;

	if (!net)
		return ERR_NO_MEMORY;
	net->loop = loop;
	net->options = *options;
	fill_in(&net->options.limits);
	net->listeners = calloc(options->listen_count + 1, sizeof(*net->listeners));
	if (!net->listeners)
		return ERR_NO_MEMORY;
	/* The store knows by its number which session holds a job: after a restart no new one may have that. */
	rc = net__random(&net->last_session, sizeof(net->last_session));
	if (rc < 0)
		return rc;
	rc = link_signer_new(options->settings->link_secret, &net->links);
	if (rc < 0)
		return rc;
	rc = uploads_new(net, &net->uploads);
	if (rc < 0)
		return rc;
	rc = waits_new(net, &net->waits);
	if (rc < 0)
		return rc;
	rc = notices_new(net, &net->notices);
	if (rc < 0)
		return rc;
	rc = wakes_new(net, &net->wakes);
	if (rc < 0)
		return rc;
	rc = registry_new(net, &net->registry);
	if (rc < 0)
		return rc;
	rc = prescale_new(net, &net->prescale);
	if (rc < 0)
		return rc;
	rc = upkeep_new(net, &net->upkeep);
	if (rc < 0)
		return rc;
	rc = open_own(net);
	if (rc < 0)
		return rc;
	*ret = TAKE_PTR(net);
	return 0;
}

int net_check_address(const char *address, struct error_info *info)
{
	return listener_check(address, info);
}

int net_new(uv_loop_t *loop, const struct net_options *options, struct net **ret, struct error_info *info)
{
	struct net *net;
	int rc;

	rc = create(loop, options, &net);
	if (rc < 0)
		return error_set(info, rc, NULL, "%s", error_text(rc));
	rc = open_listeners(net, info);
	if (rc < 0) {
		net_stop(net, abandoned_cb, net);
		return rc;
	}
	warm_pool(net);
	/* Last, for there is no way back: the writer calls until it is stopped. */
	waits_subscribe(net->waits);
	notices_subscribe(net->notices);
	registry_subscribe(net->registry);
	prescale_start(net->prescale);
	net->options.listen = NULL;
	*ret = net;
	return 0;
}

const char *net_address(const struct net *net, size_t i)
{
	return i < net->listener_count ? listener_address(net->listeners[i]) : NULL;
}

void net_stats(const struct net *net, struct net_stats *ret)
{
	const struct net_counters *c = &net->counters;
	struct registry_totals totals = registry_totals(net->registry);

	*ret = (struct net_stats){
		.connections = atomic_load(&c->connections),
		.accepted = atomic_load(&c->accepted),
		.refused = atomic_load(&c->refused),
		.workers = totals.workers,
		.slots = totals.slots,
		.slots_free = totals.slots_free,
		.in_hand = totals.in_hand,
	};
	for (size_t i = 0; i < METHODS; i++)
		ret->requests[i] = atomic_load(&c->requests[i]);
}

/* ---- stop ---- */

void net_stop(struct net *net, net_done_cb done, void *user)
{
	const struct msg_empty nothing = { 0 };

	assert(!net->stopping);
	net->stopping = true;
	net->done = done;
	net->done_user = user;
	/* Held until the end of this call, so that it is not over within it. */
	net__hold(net);
	for (size_t i = 0; i < net->listener_count; i++)
		listener_close(TAKE_PTR(net->listeners[i]));
	net->listener_count = 0;
	prescale_stop(net->prescale);
	for (struct session *s = net->sessions; s; s = s->next) {
		(void)session_notify(s, "server.shutdown", &MSG_empty, &nothing);
		session_end(s);
	}
	net__drop(net);
}

void net_kill(struct net *net)
{
	assert(net->stopping);
	for (struct session *s = net->sessions; s; s = s->next)
		session_close(s);
}
