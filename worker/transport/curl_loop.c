/* libcurl goes through every connection to a host whenever a transfer to it begins, and through every connection there
 * is whenever one ends: with ten thousand, that is all that it does. So the transfers are dealt out to shards of at
 * most SHARD_TRANSFERS, each a multi handle with connections of its own. A transfer goes to the first shard with room:
 * few transfers are all in the first, where they find each other's connections, and one that takes the place of another
 * finds that one's. What does not depend on the number, names and TLS sessions, the shards share.
 */
#include "worker/transport/curl_loop.h"

#include <stdbool.h>
#include <stdlib.h>
#include <uv.h>

#include "proto/base/clean.h"
#include "proto/base/log.h"
#include "proto/error.h"
#include "worker/transport/trust.h"

#define SHARD_TRANSFERS 100 /* as many as nearly every HTTP/2 server takes over one connection */
#define IDLE_EASY_MAX	256

struct curl_shard {
	CURLM *multi;
	uv_timer_t timer;
	uv_loop_t *uv;
	size_t load;  /* transfers under way … */
	size_t ahead; /* … and those of them that only open connections for others */
};

struct curl_loop {
	uv_loop_t *uv;
	CURLSH *share;
	const struct trust *given; /* the caller's; NULL: what holds is … */
	struct trust *system;	   /* … this; NULL: there is none */
	struct curl_shard **shards;
	size_t shard_count;
	CURL *idle[IDLE_EASY_MAX];
	size_t idle_count;
};

/* A socket that libcurl wants watched. */
struct watch {
	uv_poll_t poll;
	struct curl_shard *shard;
	curl_socket_t fd;
};

static void leave(struct transfer *t)
{
	struct curl_shard *shard = TAKE_PTR(t->shard);

	curl_multi_remove_handle(shard->multi, t->easy);
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

static void act(struct curl_shard *shard, curl_socket_t fd, int events)
{
	int running;

	curl_multi_socket_action(shard->multi, fd, events, &running);
	tell_done(shard);
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
	act(w->shard, w->fd, flags);
}

static void watch_closed_cb(uv_handle_t *handle)
{
	free(CONTAINER_OF((uv_poll_t *)handle, struct watch, poll));
}

static struct watch *watch_new(struct curl_shard *shard, curl_socket_t fd)
{
	struct watch *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->shard = shard;
	w->fd = fd;
	if (uv_poll_init_socket(shard->uv, &w->poll, fd) < 0) {
		free(w);
		return NULL;
	}
	curl_multi_assign(shard->multi, fd, w);
	return w;
}

/* From libcurl: what to watch a socket for from now on. */
static int socket_cb(CURL *easy, curl_socket_t fd, int what, void *user, void *socket_user)
{
	struct curl_shard *shard = user;
	struct watch *w = socket_user;
	int events = 0;

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (w) {
			curl_multi_assign(shard->multi, fd, NULL);
			uv_close((uv_handle_t *)&w->poll, watch_closed_cb);
		}
		return 0;
	}
	if (!w)
		w = watch_new(shard, fd);
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
	struct curl_shard *shard = user;

	(void)multi;
	if (timeout_ms < 0)
		uv_timer_stop(&shard->timer);
	else
		uv_timer_start(&shard->timer, timer_cb, (uint64_t)timeout_ms, 0);
	return 0;
}

/* ---- shards ---- */

static int shard_new(uv_loop_t *uv, struct curl_shard **ret_shard)
{
	struct curl_shard *shard = calloc(1, sizeof(*shard));

	if (!shard)
		return ERR_NO_MEMORY;
	shard->uv = uv;
	shard->multi = curl_multi_init();
	if (!shard->multi) {
		free(shard);
		return ERR_NO_MEMORY;
	}
	uv_timer_init(uv, &shard->timer);
	shard->timer.data = shard;
	curl_multi_setopt(shard->multi, CURLMOPT_SOCKETFUNCTION, socket_cb);
	curl_multi_setopt(shard->multi, CURLMOPT_SOCKETDATA, shard);
	curl_multi_setopt(shard->multi, CURLMOPT_TIMERFUNCTION, timeout_cb);
	curl_multi_setopt(shard->multi, CURLMOPT_TIMERDATA, shard);
	/* It counts connections in use, too: with fewer than transfers, those that end would close theirs. */
	curl_multi_setopt(shard->multi, CURLMOPT_MAXCONNECTS, (long)SHARD_TRANSFERS);
	curl_multi_setopt(shard->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_MULTIPLEX);
	curl_multi_setopt(shard->multi, CURLMOPT_MAX_CONCURRENT_STREAMS, (long)SHARD_TRANSFERS);
	*ret_shard = shard;
	return 0;
}

static void closed_cb(uv_handle_t *handle)
{
	free(handle->data);
}

static void shard_close(struct curl_shard *shard)
{
	curl_multi_cleanup(shard->multi);
	uv_close((uv_handle_t *)&shard->timer, closed_cb);
}

static int add_shard(struct curl_loop *loop)
{
	struct curl_shard **shards = realloc(loop->shards, (loop->shard_count + 1) * sizeof(*shards));
	int rc;

	if (!shards)
		return ERR_NO_MEMORY;
	loop->shards = shards;
	rc = shard_new(loop->uv, &shards[loop->shard_count]);
	if (rc == 0)
		loop->shard_count++;
	return rc;
}

/* For how many transfers the i-th has room. Those that are to be opened ahead do not look at one another: of two
 * upstreams' there may be more than are dealt out to one shard. */
static size_t room_in(const struct curl_loop *loop, size_t i, bool ahead)
{
	const struct curl_shard *shard = i < loop->shard_count ? loop->shards[i] : NULL;
	size_t taken = !shard ? 0 : ahead ? shard->load - shard->ahead : shard->load;

	return taken < SHARD_TRANSFERS ? SHARD_TRANSFERS - taken : 0;
}

size_t curl_loop_next_apart(const struct curl_loop *loop, size_t n)
{
	size_t after = 0;

	for (size_t i = 0; after < n; i++)
		after += room_in(loop, i, true);
	return after + 1;
}

/* The first with room; of a connection that is opened ahead, the one that its call will find. */
static int find_shard(struct curl_loop *loop, size_t ahead, struct curl_shard **ret_shard)
{
	for (size_t i = 0;; i++) {
		size_t room;

		if (i == loop->shard_count) {
			int rc = add_shard(loop);

			if (rc < 0)
				return rc;
		}
		room = room_in(loop, i, ahead > 0);
		if (room > 0 && ahead <= room) {
			*ret_shard = loop->shards[i];
			return 0;
		}
		ahead -= ahead > 0 ? room : 0;
	}
}

/* ---- easy handles ---- */

CURL *curl_loop_take_easy(struct curl_loop *loop)
{
	CURL *easy = loop->idle_count > 0 ? loop->idle[--loop->idle_count] : curl_easy_init();

	if (easy)
		curl_easy_setopt(easy, CURLOPT_SHARE, loop->share);
	return easy;
}

void curl_loop_give_easy(struct curl_loop *loop, CURL *easy)
{
	if (!easy)
		return;
	if (loop->idle_count == IDLE_EASY_MAX) {
		curl_easy_cleanup(easy);
		return;
	}
	curl_easy_reset(easy);
	loop->idle[loop->idle_count++] = easy;
}

/* ---- the loop ---- */

const struct trust *curl_loop_trust(const struct curl_loop *loop)
{
	return loop->given ? loop->given : loop->system;
}

void curl_loop_trust_by(struct curl_loop *loop, const struct trust *given)
{
	struct trust *system = NULL;

	loop->given = given;
	if (given)
		return;
	if (trust_new(NULL, &system) == 0) {
		trust_free(loop->system);
		loop->system = system;
	} else if (loop->system) {
		log_warning("the system's certificates cannot be read: those that were read before stay in force");
	} else {
		log_warning("the system has no certificates: only servers that a ca_file is for can be called over "
			    "TLS");
	}
}

int curl_loop_new(struct uv_loop_s *uv, struct curl_loop **ret_loop)
{
	struct curl_loop *loop = calloc(1, sizeof(*loop));

	if (!loop)
		return ERR_NO_MEMORY;
	loop->uv = uv;
	loop->share = curl_share_init();
	if (!loop->share) {
		free(loop);
		return ERR_NO_MEMORY;
	}
	/* One thread: nothing has to be locked. */
	curl_share_setopt(loop->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS);
	curl_share_setopt(loop->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
	*ret_loop = loop;
	return 0;
}

void curl_loop_close(struct curl_loop *loop)
{
	if (!loop)
		return;
	while (loop->idle_count > 0)
		curl_easy_cleanup(loop->idle[--loop->idle_count]);
	for (size_t i = 0; i < loop->shard_count; i++)
		shard_close(loop->shards[i]);
	curl_share_cleanup(loop->share);
	trust_free(loop->system);
	free(loop->shards);
	free(loop);
}

int curl_loop_add(struct curl_loop *loop, struct transfer *t)
{
	struct curl_shard *shard = NULL;
	int rc = find_shard(loop, t->ahead, &shard);
	CURLMcode code;

	if (rc < 0)
		return rc;
	curl_easy_setopt(t->easy, CURLOPT_PRIVATE, t);
	code = curl_multi_add_handle(shard->multi, t->easy);
	if (code != CURLM_OK)
		return code == CURLM_OUT_OF_MEMORY ? ERR_NO_MEMORY : ERR_INTERNAL;
	t->shard = shard;
	shard->load++;
	shard->ahead += t->ahead > 0;
	return 0;
}

void curl_loop_remove(struct transfer *t)
{
	leave(t);
}
