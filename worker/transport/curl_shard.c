/* uv wakes the shard when a socket of its set is ready or libcurl's time has come; the shard tells libcurl, and then
 * those whose transfers have ended by it:
 *
 *   uv ──▶ timer_cb, poll_cb ──▶ act(): curl_multi_socket_action() ──▶ tell_done() ──▶ done_cb of the transfers
 *                                            └──▶ socket_cb, timeout_cb: what to wake it for next
 *
 * What goes wrong: a callback of ours that answers −1 would leave libcurl "dead", which it tells nobody, so that
 * transfers would wait for ever; ours never do, and note instead that the shard is broken. libcurl itself, where it has
 * no memory for what it notes of a socket, says so, sets no further time to be woken at, and keeps the half of the
 * note: when the next transfer comes by that socket, it divides by zero (7.88). So after any such word from it, the
 * shard ends.
 */
#include "worker/transport/curl_shard.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>
#include <uv.h>

#include "proto/base/clean.h"
#include "proto/base/log.h"
#include "proto/error.h"
#include "worker/transport/curl_loop.h"

#define READY_MAX 64 /* sockets that are looked at in one turn of the loop; the others' turn is the next */

struct curl_shard {
	CURLM *multi;
	uv_timer_t timer;
	uv_poll_t poll; /* of the set */
	int set;
	unsigned closing; /* handles that are not closed yet */
	bool broken;	  /* to end when libcurl returns … */
	bool over;	  /* … and then its transfers are being ended */
	TAILQ_HEAD(, transfer) transfers;
	size_t load;			     /* transfers under way … */
	size_t ahead;			     /* … and those of them that only open connections for others */
	struct epoll_event ready[READY_MAX]; /* of this turn, from ready_at on those that libcurl is yet to be told */
	int ready_at, ready_count;
	void (*over_cb)(struct curl_shard *shard, void *user);
	void *user;
};

static void leave(struct transfer *t)
{
	struct curl_shard *shard = TAKE_PTR(t->shard);

	curl_multi_remove_handle(shard->multi, t->easy);
	TAILQ_REMOVE(&shard->transfers, t, entry);
	shard->load--;
	shard->ahead -= t->ahead > 0;
}

/* Tells who waits for a transfer that has ended. What they then do may start and remove others, so every message is
 * read anew. */
static void tell_done(struct curl_shard *shard)
{
	struct CURLMsg *m;
	int left;

	while ((m = curl_multi_info_read(shard->multi, &left))) {
		CURLcode code = m->data.result;
		CURL *easy = m->easy_handle;
		struct transfer *t = NULL;

		if (m->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(easy, CURLINFO_PRIVATE, &t);
		leave(t);
		t->done_cb(t, code);
	}
}

/* What those who are told start goes to other shards. */
static void end(struct curl_shard *shard, const char *why)
{
	struct transfer *t;

	log_warning("libcurl cannot go on with %zu of its transfers (%s): they end", shard->load, why);
	shard->over = true;
	shard->over_cb(shard, shard->user);
	while ((t = TAILQ_FIRST(&shard->transfers))) {
		leave(t);
		t->done_cb(t, CURLE_OUT_OF_MEMORY);
	}
	curl_shard_close(shard);
}

static void act(struct curl_shard *shard, curl_socket_t fd, int events)
{
	int running;
	CURLMcode code = curl_multi_socket_action(shard->multi, fd, events, &running);

	tell_done(shard);
	if (shard->broken)
		end(shard, "a socket cannot be watched");
	else if (code != CURLM_OK)
		end(shard, curl_multi_strerror(code));
}

/* ---- from libuv ---- */

static void timer_cb(uv_timer_t *timer)
{
	act(timer->data, CURL_SOCKET_TIMEOUT, 0);
}

static int flags_of(uint32_t events)
{
	int flags = 0;

	if (events & (EPOLLIN | EPOLLHUP))
		flags |= CURL_CSELECT_IN;
	if (events & (EPOLLOUT | EPOLLHUP))
		flags |= CURL_CSELECT_OUT;
	/* With all three libcurl looks itself what is wrong with the socket, and says so. */
	if (events & EPOLLERR)
		flags |= CURL_CSELECT_ERR | CURL_CSELECT_IN | CURL_CSELECT_OUT;
	return flags;
}

static void poll_cb(uv_poll_t *poll, int status, int events)
{
	struct curl_shard *shard = poll->data;

	(void)status;
	(void)events;
	shard->ready_count = epoll_wait(shard->set, shard->ready, READY_MAX, 0);
	shard->ready_at = 0;
	while (!shard->over && shard->ready_at < shard->ready_count) {
		const struct epoll_event *e = &shard->ready[shard->ready_at++];

		if (e->data.fd >= 0)
			act(shard, e->data.fd, flags_of(e->events));
	}
}

/* ---- from libcurl ---- */

/* The number may be another socket's before this turn has come to it. */
static void unwatch(struct curl_shard *shard, curl_socket_t fd)
{
	epoll_ctl(shard->set, EPOLL_CTL_DEL, fd, NULL);
	for (int i = shard->ready_at; i < shard->ready_count; i++)
		if (shard->ready[i].data.fd == fd)
			shard->ready[i].data.fd = -1;
}

/* Ends it soon, whatever goes on now. */
static void break_off(struct curl_shard *shard)
{
	shard->broken = true;
	uv_timer_start(&shard->timer, timer_cb, 0, 0);
}

/* What to watch a socket for from now on. */
static int socket_cb(CURL *easy, curl_socket_t fd, int what, void *user, void *socket_user)
{
	struct curl_shard *shard = user;
	struct epoll_event event = { .data.fd = fd };

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (socket_user)
			unwatch(shard, fd);
		return 0;
	}
	if (what != CURL_POLL_OUT)
		event.events |= EPOLLIN;
	if (what != CURL_POLL_IN)
		event.events |= EPOLLOUT;
	if (epoll_ctl(shard->set, socket_user ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event) < 0)
		break_off(shard);
	else if (!socket_user)
		curl_multi_assign(shard->multi, fd, shard);
	return 0;
}

/* When to wake it, whatever the sockets do. */
static int timeout_cb(CURLM *multi, long timeout_ms, void *user)
{
	struct curl_shard *shard = user;

	(void)multi;
	if (shard->broken || shard->over)
		return 0;
	if (timeout_ms < 0)
		uv_timer_stop(&shard->timer);
	else
		uv_timer_start(&shard->timer, timer_cb, (uint64_t)timeout_ms, 0);
	return 0;
}

/* ---- beginning and end ---- */

static void set_options(struct curl_shard *shard)
{
	curl_multi_setopt(shard->multi, CURLMOPT_SOCKETFUNCTION, socket_cb);
	curl_multi_setopt(shard->multi, CURLMOPT_SOCKETDATA, shard);
	curl_multi_setopt(shard->multi, CURLMOPT_TIMERFUNCTION, timeout_cb);
	curl_multi_setopt(shard->multi, CURLMOPT_TIMERDATA, shard);
	/* It counts connections in use, too: with fewer than transfers, those that end would close theirs. */
	curl_multi_setopt(shard->multi, CURLMOPT_MAXCONNECTS, (long)CURL_SHARD_TRANSFERS);
	curl_multi_setopt(shard->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_MULTIPLEX);
	curl_multi_setopt(shard->multi, CURLMOPT_MAX_CONCURRENT_STREAMS, (long)CURL_SHARD_TRANSFERS);
}

/* What has no handle of libuv's yet. */
static void discard(struct curl_shard *shard)
{
	curl_multi_cleanup(shard->multi);
	if (shard->set >= 0)
		close(shard->set);
	free(shard);
}

int curl_shard_new(struct uv_loop_s *uv, void (*over_cb)(struct curl_shard *shard, void *user), void *user,
		   struct curl_shard **ret_shard)
{
	struct curl_shard *shard = calloc(1, sizeof(*shard));

	if (!shard)
		return ERR_NO_MEMORY;
	TAILQ_INIT(&shard->transfers);
	shard->over_cb = over_cb;
	shard->user = user;
	shard->multi = curl_multi_init();
	shard->set = epoll_create1(EPOLL_CLOEXEC);
	if (!shard->multi || shard->set < 0 || uv_poll_init(uv, &shard->poll, shard->set) < 0) {
		int rc = shard->multi ? ERR_IO : ERR_NO_MEMORY;

		discard(shard);
		return rc;
	}
	uv_timer_init(uv, &shard->timer);
	shard->timer.data = shard->poll.data = shard;
	set_options(shard);
	uv_poll_start(&shard->poll, UV_READABLE, poll_cb);
	*ret_shard = shard;
	return 0;
}

static void closed_cb(uv_handle_t *handle)
{
	struct curl_shard *shard = handle->data;

	if (--shard->closing > 0)
		return;
	close(shard->set);
	free(shard);
}

void curl_shard_close(struct curl_shard *shard)
{
	curl_multi_cleanup(shard->multi);
	shard->closing = 2;
	uv_close((uv_handle_t *)&shard->timer, closed_cb);
	uv_close((uv_handle_t *)&shard->poll, closed_cb);
}

/* ---- transfers ---- */

size_t curl_shard_room(const struct curl_shard *shard, bool ahead)
{
	size_t taken = ahead ? shard->load - shard->ahead : shard->load;

	/* Whatever began in it would end with it. */
	if (shard->broken)
		return 0;
	return taken < CURL_SHARD_TRANSFERS ? CURL_SHARD_TRANSFERS - taken : 0;
}

int curl_shard_add(struct curl_shard *shard, struct transfer *t)
{
	CURLMcode code;

	curl_easy_setopt(t->easy, CURLOPT_PRIVATE, t);
	code = curl_multi_add_handle(shard->multi, t->easy);
	if (code != CURLM_OK)
		return code == CURLM_OUT_OF_MEMORY ? ERR_NO_MEMORY : ERR_INTERNAL;
	TAILQ_INSERT_TAIL(&shard->transfers, t, entry);
	t->shard = shard;
	shard->load++;
	shard->ahead += t->ahead > 0;
	return 0;
}

void curl_shard_remove(struct transfer *t)
{
	leave(t);
}
