#include "curl_loop.h"

#include <stdlib.h>
#include <uv.h>

#include "proto/base/clean.h"
#include "proto/error.h"

struct curl_loop {
	CURLM *multi;
	uv_loop_t *uv;
	uv_timer_t timer;
};

/* A socket that libcurl wants watched. */
struct watch {
	uv_poll_t poll;
	struct curl_loop *loop;
	curl_socket_t fd;
};

/* Tells who waits for a transfer that has ended. What they then do may start and remove others, so every message is
 * read anew. */
static void tell_done(struct curl_loop *loop)
{
	struct CURLMsg *m;
	int left;

	while ((m = curl_multi_info_read(loop->multi, &left))) {
		CURLcode code = m->data.result;
		CURL *easy = m->easy_handle;
		struct transfer *t = NULL;

		if (m->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(easy, CURLINFO_PRIVATE, &t);
		curl_multi_remove_handle(loop->multi, easy);
		t->done_cb(t, code);
	}
}

static void act(struct curl_loop *loop, curl_socket_t fd, int events)
{
	int running;

	curl_multi_socket_action(loop->multi, fd, events, &running);
	tell_done(loop);
}

static void timer_cb(uv_timer_t *timer)
{
	act(timer->data, CURL_SOCKET_TIMEOUT, 0);
}

static void poll_cb(uv_poll_t *poll, int status, int events)
{
	struct watch *w = CONTAINER_OF(poll, struct watch, poll);
	/* With all three libcurl looks itself what is wrong with the socket, and says so. */
	int flags = status < 0 ? CURL_CSELECT_ERR | CURL_CSELECT_IN | CURL_CSELECT_OUT : 0;

	if (events & UV_READABLE)
		flags |= CURL_CSELECT_IN;
	if (events & UV_WRITABLE)
		flags |= CURL_CSELECT_OUT;
	/* May close the watch. */
	act(w->loop, w->fd, flags);
}

static void watch_closed_cb(uv_handle_t *handle)
{
	free(CONTAINER_OF((uv_poll_t *)handle, struct watch, poll));
}

static struct watch *watch_new(struct curl_loop *loop, curl_socket_t fd)
{
	struct watch *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->loop = loop;
	w->fd = fd;
	if (uv_poll_init_socket(loop->uv, &w->poll, fd) < 0) {
		free(w);
		return NULL;
	}
	curl_multi_assign(loop->multi, fd, w);
	return w;
}

/* From libcurl: what to watch a socket for from now on. */
static int socket_cb(CURL *easy, curl_socket_t fd, int what, void *user, void *socket_user)
{
	struct curl_loop *loop = user;
	struct watch *w = socket_user;
	int events = 0;

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (w) {
			curl_multi_assign(loop->multi, fd, NULL);
			uv_close((uv_handle_t *)&w->poll, watch_closed_cb);
		}
		return 0;
	}
	if (!w)
		w = watch_new(loop, fd);
	if (!w)
		return -1;
	if (what != CURL_POLL_OUT)
		events |= UV_READABLE;
	if (what != CURL_POLL_IN)
		events |= UV_WRITABLE;
	return uv_poll_start(&w->poll, events, poll_cb) < 0 ? -1 : 0;
}

/* From libcurl: when to wake it, whatever the sockets do. */
static int timeout_cb(CURLM *multi, long timeout_ms, void *user)
{
	struct curl_loop *loop = user;

	(void)multi;
	if (timeout_ms < 0)
		uv_timer_stop(&loop->timer);
	else
		uv_timer_start(&loop->timer, timer_cb, (uint64_t)timeout_ms, 0);
	return 0;
}

int curl_loop_new(struct uv_loop_s *uv, long connections, struct curl_loop **ret_loop)
{
	struct curl_loop *loop = calloc(1, sizeof(*loop));

	if (!loop)
		return ERR_NO_MEMORY;
	loop->uv = uv;
	loop->multi = curl_multi_init();
	if (!loop->multi) {
		free(loop);
		return ERR_INTERNAL;
	}
	uv_timer_init(uv, &loop->timer);
	loop->timer.data = loop;
	curl_multi_setopt(loop->multi, CURLMOPT_SOCKETFUNCTION, socket_cb);
	curl_multi_setopt(loop->multi, CURLMOPT_SOCKETDATA, loop);
	curl_multi_setopt(loop->multi, CURLMOPT_TIMERFUNCTION, timeout_cb);
	curl_multi_setopt(loop->multi, CURLMOPT_TIMERDATA, loop);
	curl_multi_setopt(loop->multi, CURLMOPT_MAXCONNECTS, connections);
	*ret_loop = loop;
	return 0;
}

static void closed_cb(uv_handle_t *handle)
{
	free(handle->data);
}

void curl_loop_close(struct curl_loop *loop)
{
	if (!loop)
		return;
	curl_multi_cleanup(loop->multi);
	uv_close((uv_handle_t *)&loop->timer, closed_cb);
}

int curl_loop_add(struct curl_loop *loop, struct transfer *t)
{
	CURLMcode rc;

	curl_easy_setopt(t->easy, CURLOPT_PRIVATE, t);
	rc = curl_multi_add_handle(loop->multi, t->easy);
	if (rc == CURLM_OK)
		return 0;
	return rc == CURLM_OUT_OF_MEMORY ? ERR_NO_MEMORY : ERR_INTERNAL;
}

void curl_loop_remove(struct curl_loop *loop, struct transfer *t)
{
	curl_multi_remove_handle(loop->multi, t->easy);
}
