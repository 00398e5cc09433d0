/* test_net_rig.h: the net on a real store and writer, its loop on a thread of its own, and peers that speak to it over
 * sockets from the test's thread. Everything that waits fails the test after a time limit instead of hanging. */
#ifndef RAINCHECK_TESTS_NET_RIG_H
#define RAINCHECK_TESTS_NET_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include <ftw.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "proto/base/clean.h"
#include "proto/base/clock.h"
#include "server/engine/settings.h"
#include "server/engine/view.h"
#include "server/net/net.h"
#include "server/store/blob.h"
#include "server/store/store.h"
#include "server/writer/writer.h"
#include "tests/harness/tempdir.h"
#include "tests/unit/test_net_peer.h"

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
	pthread_mutex_t order_lock;	 /* guards kill and task; all zero is a mutex here */
	bool kill;			 /* what order stands for, besides stop */
	void (*task)(struct net_rig *r); /* what order stands for instead, see rig_run() */
	uv_sem_t task_done;
	bool late_writer;      /* the test starts the writer itself, with writer_start() */
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
	void (*task)(struct net_rig * r);
	bool kill_too;

	/* libuv's own hand-over is not one that a sanitizer sees. */
	pthread_mutex_lock(&r->order_lock);
	task = r->task;
	r->task = NULL;
	kill_too = r->kill;
	pthread_mutex_unlock(&r->order_lock);
	if (task) {
		task(r);
		uv_sem_post(&r->task_done);
		return;
	}
	net_stop(r->net, rig_done_cb, r);
	if (r->done)
		abort(); /* cmocka's asserts are the main thread's */
	if (kill_too)
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

/* Store, blobs and writer on the directory. */
static inline void rig_open_dir(struct net_rig *r, int64_t max_bytes)
{
	struct store_options options = { .dir = r->dir.path, .max_bytes = max_bytes };
	struct error_info info;

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
	uv_sem_init(&r->task_done, 0);
}

/* Everything new; the writer does not run yet. */
static inline void rig_open_sized(struct net_rig *r, int64_t max_bytes)
{
	signal(SIGPIPE, SIG_IGN);
	*r = (struct net_rig){ .settings = { .public_url = "http://example.test",
					     .inline_bytes = 1024,
					     .payload_bytes = 1 << 20,
					     .artifact_bytes = 1 << 20,
					     .result_ttl_ms = 604800000,
					     .record_ttl_ms = 2592000000,
					     .tombstone_ttl_ms = 7776000000 } };
	tempdir_make(&r->dir);
	rig_open_dir(r, max_bytes);
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
	if (!r->late_writer)
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
	pthread_mutex_lock(&r->order_lock);
	r->kill = kill_too;
	pthread_mutex_unlock(&r->order_lock);
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

/* Does the task on the loop's thread, and waits until it is done. */
static inline void rig_run(struct net_rig *r, void (*task)(struct net_rig *r))
{
	pthread_mutex_lock(&r->order_lock);
	r->task = task;
	pthread_mutex_unlock(&r->order_lock);
	uv_async_send(&r->order);
	uv_sem_wait(&r->task_done);
}

/* Waits until it is over and takes everything down but the directory. */
static inline void rig_shut(struct net_rig *r)
{
	rig_join(r);
	writer_stop(r->writer);
	assert_int_equal(uv_loop_close(&r->loop), 0);
	net_free(r->net);
	writer_free(r->writer);
	blob_store_close(r->blobs);
	store_close(r->store);
	uv_sem_destroy(&r->task_done);
}

static inline void rig_close(struct net_rig *r)
{
	rig_shut(r);
	tempdir_remove(&r->dir);
}

/* Stops, and opens the directory again, as another start of the broker does. rig_serve() is the test's. */
static inline void rig_restart(struct net_rig *r)
{
	struct net_rig before;

	rig_order_stop(r, false);
	rig_shut(r);
	before = *r;
	*r = (struct net_rig){ .dir = before.dir, .settings = before.settings };
	rig_open_dir(r, 1 << 28);
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

/* ---- its peers ---- */

/* Without a hello. */
static inline void peer_connect(struct peer *p, struct net_rig *r)
{
	peer_attach(p, dial(r->address));
}

/* One that has said hello. */
static inline void peer_open(struct peer *p, struct net_rig *r)
{
	peer_connect(p, r);
	peer_hello(p, false);
}

/* The same, and subscribed. */
static inline void peer_subscribe(struct peer *p, struct net_rig *r)
{
	peer_connect(p, r);
	peer_hello(p, true);
}

#endif
