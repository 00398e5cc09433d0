/* test_net_rig.h: the net on a real store and writer, its loop on a thread of its own, and peers that speak to it over
 * sockets from the test's thread. Everything that waits fails the test after a time limit instead of hanging. */
#ifndef RAINCHECK_TESTS_NET_RIG_H
#define RAINCHECK_TESTS_NET_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <ftw.h>
#include <msgpack.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "proto/base/clean.h"
#include "proto/base/clock.h"
#include "proto/rpc.h"
#include "proto/skim.h"
#include "server/engine/settings.h"
#include "server/engine/view.h"
#include "server/net/net.h"
#include "server/store/blob.h"
#include "server/store/store.h"
#include "server/writer/writer.h"
#include "tests/harness/tempdir.h"

#define PATIENCE_SECONDS 60

struct net_rig {
	struct tempdir dir;
	struct settings settings;
	struct store *store;
	struct blob_store *blobs;
	struct writer *writer;
	struct net_options options;
	uv_loop_t loop;
	struct net *net;
	char address[256];

	uv_thread_t thread;
	uv_sem_t started;
	uv_async_t order;
	bool kill;	       /* what order stands for, besides stop */
	void (*on_loop)(void); /* called once at the thread's begin; may be NULL */
	bool done;
	bool joined;
};

static inline void rig_done_cb(void *user)
{
	struct net_rig *r = user;

	r->done = true;
	uv_close((uv_handle_t *)&r->order, NULL);
}

static inline void rig_order_cb(uv_async_t *order)
{
	struct net_rig *r = order->data;

	net_stop(r->net, rig_done_cb, r);
	if (r->done)
		abort(); /* cmocka's asserts are the main thread's */
	if (r->kill)
		net_kill(r->net);
}

static inline void rig_loop(void *arg)
{
	struct net_rig *r = arg;

	if (r->on_loop)
		r->on_loop();
	uv_sem_post(&r->started);
	uv_run(&r->loop, UV_RUN_DEFAULT);
}

/* Store, blobs and writer; the writer does not run yet. */
static inline void rig_open_sized(struct net_rig *r, int64_t max_bytes)
{
	struct store_options options = { .max_bytes = max_bytes };
	struct error_info info;

	signal(SIGPIPE, SIG_IGN);
	*r = (struct net_rig){ .settings = { .public_url = "http://example.test",
					     .inline_bytes = 1024,
					     .payload_bytes = 1 << 20,
					     .artifact_bytes = 1 << 20,
					     .result_ttl_ms = 604800000,
					     .record_ttl_ms = 2592000000,
					     .tombstone_ttl_ms = 7776000000 } };
	tempdir_make(&r->dir);
	options.dir = r->dir.path;
	assert_int_equal(store_open(&options, &r->store, &info), 0);
	assert_int_equal(blob_store_open(r->dir.path, &r->blobs, &info), 0);
	assert_int_equal(writer_new(&r->settings, r->store, r->blobs, &r->writer), 0);
	assert_int_equal(uv_loop_init(&r->loop), 0);
	r->options = (struct net_options){ .settings = &r->settings,
					   .store = r->store,
					   .blobs = r->blobs,
					   .writer = r->writer,
					   .version = "1.2.3",
					   .started_at_ms = 1 };
}

static inline void rig_open(struct net_rig *r)
{
	rig_open_sized(r, 1 << 28);
}

/* Listens on the addresses and serves; rig.address is the first. r->options.limits as set before. */
static inline void rig_serve_all(struct net_rig *r, const char *const *listen, size_t count)
{
	struct error_info info;

	r->options.listen = listen;
	r->options.listen_count = count;
	assert_int_equal(net_new(&r->loop, &r->options, &r->net, &info), 0);
	snprintf(r->address, sizeof(r->address), "%s", net_address(r->net, 0));
	assert_int_equal(uv_async_init(&r->loop, &r->order, rig_order_cb), 0);
	r->order.data = r;
	assert_int_equal(writer_start(r->writer), 0);
	uv_sem_init(&r->started, 0);
	assert_int_equal(uv_thread_create(&r->thread, rig_loop, r), 0);
	uv_sem_wait(&r->started);
	uv_sem_destroy(&r->started);
}

/* The same on one address, or on a port of loopback where it is NULL. */
static inline void rig_serve(struct net_rig *r, const char *address)
{
	const char *listen = address ? address : "127.0.0.1:0";

	rig_serve_all(r, &listen, 1);
}

/* Orders the stop and returns at once. */
static inline void rig_order_stop(struct net_rig *r, bool kill_too)
{
	r->kill = kill_too;
	uv_async_send(&r->order);
}

/* Waits until it is over. */
static inline void rig_join(struct net_rig *r)
{
	if (!r->net || r->joined)
		return;
	uv_thread_join(&r->thread);
	assert_true(r->done);
	r->joined = true;
}

/* Waits until it is over and takes everything down. */
static inline void rig_close(struct net_rig *r)
{
	rig_join(r);
	writer_stop(r->writer);
	assert_int_equal(uv_loop_close(&r->loop), 0);
	net_free(r->net);
	writer_free(r->writer);
	blob_store_close(r->blobs);
	store_close(r->store);
	tempdir_remove(&r->dir);
}

static inline void rig_stop(struct net_rig *r)
{
	rig_order_stop(r, false);
	rig_close(r);
}

static size_t rig_files;

static inline int rig_count_cb(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)path;
	(void)st;
	(void)ftw;
	rig_files += type == FTW_F;
	return 0;
}

/* Blob files, temporary ones included. */
static inline size_t rig_blobs(struct net_rig *r)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/blobs", r->dir.path);
	rig_files = 0;
	assert_int_equal(nftw(path, rig_count_cb, 8, FTW_PHYS), 0);
	return rig_files;
}

/* Until there are that many: what nobody names is removed behind the peer's back. */
static inline void rig_await_blobs(struct net_rig *r, size_t wanted)
{
	int64_t until = clock_mono_ms() + PATIENCE_SECONDS * 1000;

	while (rig_blobs(r) != wanted) {
		assert_true(clock_mono_ms() < until);
		poll(NULL, 0, 1);
	}
}

/* ---- peers ---- */

struct peer {
	int fd;
	struct buf in;
	size_t taken; /* of in, by the message last read */
	struct skim skim;
	msgpack_zone zone;
	struct error_info info; /* of the last refused call */
	uint64_t last_id;
};

static inline void peer_attach(struct peer *p, int fd)
{
	struct skim_limits limits = { 64 << 20, SKIM_MAX_DEPTH, 1 << 20 };
	struct timeval patience = { .tv_sec = PATIENCE_SECONDS };

	*p = (struct peer){ .fd = fd };
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	buf_init(&p->in, 64 << 20);
	skim_init(&p->skim, &limits);
	assert_true(msgpack_zone_init(&p->zone, 8192));
}

static inline int dial(const char *address)
{
	struct sockaddr_storage at = { 0 };
	socklen_t size;
	int fd;

	if (strncmp(address, "unix:", 5) == 0) {
		struct sockaddr_un *un = (struct sockaddr_un *)&at;

		un->sun_family = AF_UNIX;
		assert_true(strlen(address + 5) < sizeof(un->sun_path));
		strcpy(un->sun_path, address + 5);
		size = sizeof(*un);
	} else if (address[0] == '[') {
		struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&at;

		in6->sin6_family = AF_INET6;
		in6->sin6_addr = in6addr_loopback;
		in6->sin6_port = htons((uint16_t)atoi(strrchr(address, ':') + 1));
		size = sizeof(*in6);
	} else {
		struct sockaddr_in *in = (struct sockaddr_in *)&at;

		in->sin_family = AF_INET;
		in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		in->sin_port = htons((uint16_t)atoi(strrchr(address, ':') + 1));
		size = sizeof(*in);
	}
	fd = socket(at.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&at, size), 0);
	return fd;
}

/* Without a hello. */
static inline void peer_connect(struct peer *p, struct net_rig *r)
{
	peer_attach(p, dial(r->address));
}

static inline void peer_close(struct peer *p)
{
	close(p->fd);
	buf_done(&p->in);
	msgpack_zone_destroy(&p->zone);
}

/* False where the connection is gone. */
static inline bool peer_try_send(struct peer *p, const void *data, size_t size)
{
	const char *at = data;

	while (size > 0) {
		ssize_t n = send(p->fd, at, size, MSG_NOSIGNAL);

		if (n < 0)
			assert_true(errno == EPIPE || errno == ECONNRESET);
		if (n < 0)
			return false;
		at += n;
		size -= (size_t)n;
	}
	return true;
}

static inline void peer_send(struct peer *p, const void *data, size_t size)
{
	assert_true(peer_try_send(p, data, size));
}

/* The next message; false at the end of the connection. Valid until the next call. */
static inline bool peer_try_read(struct peer *p, struct rpc_envelope *ret)
{
	size_t length;

	buf_consume(&p->in, p->taken);
	p->taken = 0;
	msgpack_zone_clear(&p->zone);
	for (;;) {
		uint8_t *room;
		ssize_t n;

		assert_int_equal(skim_feed(&p->skim, p->in.data, p->in.size, &length), 0);
		if (length > 0)
			break;
		assert_int_equal(buf_reserve(&p->in, 65536, &room), 0);
		n = recv(p->fd, room, 65536, 0);
		assert_true(n >= 0 || errno == ECONNRESET);
		if (n <= 0)
			return false;
		buf_commit(&p->in, (size_t)n);
	}
	p->taken = length;
	assert_int_equal(rpc_unpack(p->in.data, length, &p->zone, ret, NULL), 0);
	return true;
}

static inline void peer_read(struct peer *p, struct rpc_envelope *ret)
{
	assert_true(peer_try_read(p, ret));
}

/* Nothing but the end of the connection comes. */
static inline void assert_closed(struct peer *p)
{
	struct rpc_envelope e;

	assert_false(peer_try_read(p, &e));
}

/* Appends a request to out. */
static inline void add_request(struct buf *out, uint64_t id, enum method_id m, const void *params)
{
	const struct method *method = method_get(m);

	assert_int_equal(rpc_write_request(out, id, method->name, method->params, params), 0);
}

/* Sends and tells the id. */
static inline uint64_t peer_request(struct peer *p, enum method_id m, const void *params)
{
	struct buf out;

	buf_init(&out, 64 << 20);
	add_request(&out, ++p->last_id, m, params);
	peer_send(p, out.data, out.size);
	buf_done(&out);
	return p->last_id;
}

/* The outcome of a response: 0 and ret (which may be NULL) filled, or the error's code and p->info. */
static inline int peer_outcome(struct peer *p, const struct rpc_envelope *e, enum method_id m, void *ret)
{
	if (e->error) {
		rpc_read_error(e->error, &p->zone, &p->info);
		return p->info.code;
	}
	if (ret)
		assert_int_equal(message_decode(method_get(m)->result, e->result, &p->zone, ret, &p->info), 0);
	return 0;
}

/* The response to the oldest request is expected next. */
static inline int peer_answer(struct peer *p, uint64_t id, enum method_id m, void *ret)
{
	struct rpc_envelope e;

	peer_read(p, &e);
	assert_int_equal(e.type, RPC_RESPONSE);
	assert_int_equal(e.id, id);
	return peer_outcome(p, &e, m, ret);
}

static inline int peer_call(struct peer *p, enum method_id m, const void *params, void *ret)
{
	return peer_answer(p, peer_request(p, m, params), m, ret);
}

/* A connection that has said hello. */
static inline void peer_open(struct peer *p, struct net_rig *r)
{
	struct msg_hello hello = { 0 };

	peer_connect(p, r);
	assert_int_equal(peer_call(p, METHOD_session_hello, &hello, NULL), 0);
}

static inline int peer_ping(struct peer *p)
{
	struct msg_empty nothing = { 0 };

	return peer_call(p, METHOD_session_ping, &nothing, NULL);
}

/* ---- what most tests need ---- */

static inline struct msg_job_put put_of(const char *queue, const void *payload, size_t size)
{
	return (struct msg_job_put){
		.has_queue = true,
		.queue = slice_str(queue),
		.has_payload = true,
		.payload = slice_of(payload, size),
	};
}

static inline struct uuid peer_put(struct peer *p, const char *queue)
{
	struct msg_job_put put = put_of(queue, "x", 1);
	struct msg_job_put_result result;

	assert_int_equal(peer_call(p, METHOD_job_put, &put, &result), 0);
	return result.id;
}

static inline struct msg_job_lease lease_of(struct slice *queue, int64_t wait_ms)
{
	return (struct msg_job_lease){
		.has_queues = true,
		.queues = queue,
		.queues_count = 1,
		.has_wait_ms = wait_ms > 0,
		.wait_ms = wait_ms,
	};
}

/* Puts a job and leases it. */
static inline struct token peer_take(struct peer *p, const char *queue, struct uuid *ret_id)
{
	struct slice name = slice_str(queue);
	struct msg_job_lease lease = lease_of(&name, 0);
	struct msg_job_lease_result result;

	*ret_id = peer_put(p, queue);
	assert_int_equal(peer_call(p, METHOD_job_lease, &lease, &result), 0);
	assert_int_equal(result.jobs_count, 1);
	assert_true(uuid_equal(&result.jobs[0].id, ret_id));
	return result.jobs[0].lease;
}

static inline struct msg_server_stats_result peer_stats(struct peer *p)
{
	struct msg_server_stats_result result;
	struct msg_empty nothing = { 0 };

	assert_int_equal(peer_call(p, METHOD_server_stats, &nothing, &result), 0);
	return result;
}

#endif
