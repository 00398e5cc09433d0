#include "server/net/stage.h"

#include <stdlib.h>

#include "proto/base/clean.h"
#include "server/engine/settings.h"
#include "server/net/net_priv.h"
#include "server/store/blob.h"

/* As much is hashed on the loop's thread: what the hand-over to the pool costs. */
#define AT_ONCE 16384

struct stage {
	struct staged **items;
	size_t count;
	int64_t bytes; /* of all */
	bool has_blobs;
	size_t published; /* of items, those before this one are done */
	request_cb then;
};

int stage_begin(struct request *req, size_t count)
{
	struct stage *st = request_alloc(req, sizeof(*st));

	if (!st)
		return ERR_NO_MEMORY;
	st->items = request_alloc(req, count * sizeof(*st->items));
	if (!st->items)
		return ERR_NO_MEMORY;
	req->stage = st;
	return 0;
}

int stage_add(struct request *req, struct slice content_type, struct slice data, struct staged *ret)
{
	const struct net_options *o = &req->net->options;
	struct stage *st = req->stage;

	*ret = (struct staged){ .content_type = content_type, .data = data, .size = (int64_t)data.size };
	if (ret->size > o->settings->inline_bytes) {
		int rc = net__blob_id(req->net, &ret->blob);

		if (rc < 0)
			return rc;
		ret->has_blob = true;
		st->has_blobs = true;
	}
	st->bytes += ret->size;
	st->items[st->count++] = ret;
	return 0;
}

/* ---- on the pool ---- */

static int publish(struct blob_store *blobs, struct staged *item)
{
	_cleanup_(blob_closep) struct blob_writer *w = NULL;
	int rc;

	rc = blob_create(blobs, &item->blob, &w);
	if (rc < 0)
		return rc;
	rc = blob_append(w, item->data);
	if (rc < 0)
		return rc;
	return blob_publish(w, item->sha256);
}

static int fill(struct request *req)
{
	struct stage *st = req->stage;

	for (; st->published < st->count; st->published++) {
		struct staged *item = st->items[st->published];
		int rc = 0;

		if (item->has_blob)
			rc = publish(req->net->options.blobs, item);
		else
			blob_sha256(item->data, item->sha256);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static void run(struct request *req)
{
	req->released = fill(req);
	if (req->released < 0)
		request_encode_code(req, req->released);
}

/* ---- on the loop ---- */

/* The blobs that nothing ever named. */
static void settle(struct request *req)
{
	struct stage *st = req->stage;

	for (size_t i = 0; i < st->published; i++)
		stage_settle(req->net, st->items[i]);
}

static void filled(struct request *req)
{
	if (req->released < 0) {
		settle(req);
		request_done(req);
		return;
	}
	if (req->stage->has_blobs)
		req->settle = settle;
	req->stage->then(req);
}

void stage_run(struct request *req, request_cb then)
{
	struct stage *st = req->stage;

	if (!st || st->count == 0) {
		then(req);
		return;
	}
	st->then = then;
	if (st->has_blobs || st->bytes > AT_ONCE) {
		request_work(req, run, filled);
		return;
	}
	run(req);
	filled(req);
}

/* ---- removing ---- */

struct discard {
	uv_work_t work;
	struct net *net;
	struct uuid blob;
};

static void discard_cb(uv_work_t *work)
{
	struct discard *d = CONTAINER_OF(work, struct discard, work);

	/* A file that stays is swept when the broker starts again. */
	(void)blob_remove(d->net->options.blobs, &d->blob);
}

static void discarded_cb(uv_work_t *work, int status)
{
	struct discard *d = CONTAINER_OF(work, struct discard, work);
	struct net *net = d->net;

	(void)status;
	free(d);
	net__drop(net);
}

void stage_settle(struct net *net, const struct staged *item)
{
	/* A commit that failed may have reached the disk all the same: what it adopted is the writer's to see to. */
	if (item->has_blob && !item->adopted)
		stage_discard(net, &item->blob);
}

void stage_discard(struct net *net, const struct uuid *blob)
{
	struct discard *d = calloc(1, sizeof(*d));

	if (!d)
		return;
	d->net = net;
	d->blob = *blob;
	net__hold(net);
	if (uv_queue_work(net->loop, &d->work, discard_cb, discarded_cb) < 0) {
		free(d);
		net__drop(net);
	}
}
