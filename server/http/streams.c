/* All streams belong to the thread. Others only ring: they put a stream into the list of those to be looked at, under
 * the lock. The watch's lock is taken before that one, by whoever wakes a stream; the thread takes one at a time. */
#include "streams.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/base/clean.h"
#include "proto/base/clock.h"
#include "proto/error.h"
#include "server/http/board.h"
#include "server/http/guests.h"
#include "server/http/watch.h"

#define BEAT_MS	    15000 /* without an event */
#define BEAT	    ":\n\n"
#define PATIENCE_MS 30000 /* with a visitor who takes nothing */
#define READY_MAX   512
#define ROOM_BYTES  32768 /* of the socket, in the system's memory: all that a visitor who reads nothing can take */

struct stream {
	struct watcher watcher;
	struct streams *all;
	struct stream *next, **link; /* of all */
	struct stream *next_rung;
	bool rung;
	bool closed;  /* it is only still in the list of those rung for */
	bool heard;   /* its socket is in the epoll set … */
	bool blocked; /* … also for room */
	bool behind;  /* there was news while it was blocked */
	bool final;   /* nothing comes after the present event */
	int fd;
	int64_t moved_ms;	    /* when bytes went out last, by the monotonic clock */
	char seen[BOARD_TAG_BYTES]; /* the tag of the last event */
	/* What is on its way: text, where there is some, then the posting's event. */
	char *text; /* owned */
	struct posting *posting;
	size_t sent; /* of the first of them */
};

struct streams {
	struct watch *watch;
	struct guests *guests;
	int epoll, bell;
	pthread_t thread;
	struct stream *first; /* the thread's */

	pthread_mutex_t lock; /* guards what follows */
	struct stream *rung, **last_rung;
	bool stopping;
};

/* ---- from other threads ---- */

static void ring(struct stream *s)
{
	static const uint64_t one = 1;
	struct streams *all = s->all;
	bool asleep;

	pthread_mutex_lock(&all->lock);
	asleep = !all->rung;
	if (!s->rung) {
		s->rung = true;
		s->next_rung = NULL;
		*all->last_rung = s;
		all->last_rung = &s->next_rung;
	}
	pthread_mutex_unlock(&all->lock);
	if (asleep && write(all->bell, &one, sizeof(one)) < 0)
		assert(errno == EAGAIN);
}

static void wake_cb(struct watcher *me)
{
	ring(CONTAINER_OF(me, struct stream, watcher));
}

static void stream_free(struct stream *s)
{
	watch_leave(&s->watcher);
	posting_release(s->posting);
	free(s->text);
	if (s->fd >= 0)
		close(s->fd);
	free(s);
}

static struct stream *stream_new(struct streams *all, int fd, struct posting *posting, bool known, const char *head)
{
	struct stream *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->all = all;
	s->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (s->fd >= 0)
		setsockopt(s->fd, SOL_SOCKET, SO_SNDBUF, &(int){ ROOM_BYTES }, sizeof(int));
	s->text = strdup(head);
	s->final = posting->final;
	s->moved_ms = clock_mono_ms();
	memcpy(s->seen, posting->tag, sizeof(s->seen));
	if (!known)
		s->posting = posting_hold(posting);
	return s;
}

int streams_take(struct streams *all, struct MHD_Connection *c, const char *token, struct posting *posting, bool known,
		 const char *head)
{
	int fd = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
	struct stream *s = stream_new(all, fd, posting, known, head);
	int rc = 0;

	if (!s)
		return ERR_NO_MEMORY;
	s->watcher.wake = wake_cb;
	if (!s->text)
		rc = ERR_NO_MEMORY;
	else if (s->fd < 0)
		rc = ERR_IO;
	else if (!watch_join_link(all->watch, &s->watcher, token, posting))
		rc = ERR_THROTTLED;
	if (rc < 0) {
		stream_free(s);
		return rc;
	}
	guests_move_out(c);
	ring(s);
	return 0;
}

/* ---- the thread: one stream ---- */

static void end(struct stream *s)
{
	struct streams *all = s->all;
	bool rung;

	if (s->closed)
		return;
	*s->link = s->next;
	if (s->next)
		s->next->link = s->link;
	s->closed = true;
	/* From here on nobody rings for it. */
	watch_leave(&s->watcher);
	pthread_mutex_lock(&all->lock);
	rung = s->rung;
	pthread_mutex_unlock(&all->lock);
	/* Closing alone would not take it out: the library may have its own descriptor of the socket still. */
	if (s->heard)
		epoll_ctl(all->epoll, EPOLL_CTL_DEL, s->fd, NULL);
	close(s->fd);
	s->fd = -1;
	guests_moved_away(all->guests);
	if (!rung)
		stream_free(s);
}

/* Of what is on its way. Drops what is sent. False at its end. */
static bool next_piece(struct stream *s, const char **ret, size_t *ret_size)
{
	size_t size = s->text ? strlen(s->text) : s->posting ? s->posting->event.size : 0;

	if (size > 0 && s->sent == size) {
		s->sent = 0;
		if (s->text)
			free(TAKE_PTR(s->text));
		else
			posting_release(TAKE_PTR(s->posting));
		return next_piece(s, ret, ret_size);
	}
	*ret = s->text ? s->text : s->posting ? (const char *)s->posting->event.data : NULL;
	*ret_size = size;
	return size > 0;
}

enum flushed { FLUSHED, FULL, BROKEN };

static enum flushed flush(struct stream *s)
{
	const char *piece;
	size_t size;

	while (next_piece(s, &piece, &size)) {
		int more = s->text && s->posting ? MSG_MORE : 0;
		ssize_t n = send(s->fd, piece + s->sent, size - s->sent, MSG_NOSIGNAL | MSG_DONTWAIT | more);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? FULL : BROKEN;
		s->sent += (size_t)n;
		s->moved_ms = clock_mono_ms();
	}
	return FLUSHED;
}

/* For its end, and for room in the socket or not. */
static bool listen_for(struct stream *s, bool room)
{
	struct epoll_event event = { .events = EPOLLRDHUP | (room ? EPOLLOUT : 0u), .data.ptr = s };

	if (s->heard && s->blocked == room)
		return true;
	if (epoll_ctl(s->all->epoll, s->heard ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, s->fd, &event) < 0)
		return false;
	s->heard = true;
	s->blocked = room;
	return true;
}

/* Takes what is posted now, if the visitor does not know it. False where the link is none any more. */
static bool look(struct stream *s)
{
	struct posting *p = watch_posting(&s->watcher);

	s->behind = false;
	if (!p)
		return false;
	if (strcmp(p->tag, s->seen) == 0) {
		posting_release(p);
		return true;
	}
	s->final = p->final;
	memcpy(s->seen, p->tag, sizeof(s->seen));
	s->posting = p;
	return true;
}

enum next { GO_ON, WAIT, CLOSE };

/* All is sent. */
static enum next rest(struct stream *s)
{
	if (s->final || !listen_for(s, false))
		return CLOSE;
	if (s->behind)
		return look(s) ? GO_ON : CLOSE;
	switch (watch_wait(&s->watcher, s->moved_ms + BEAT_MS)) {
	case WATCH_ASLEEP:
		return WAIT;
	case WATCH_NEWS:
		return look(s) ? GO_ON : CLOSE;
	case WATCH_TIME:
		s->text = strdup(BEAT);
		return s->text ? GO_ON : CLOSE;
	default:
		return CLOSE;
	}
}

/* The socket is full; news have to wait, too. */
static enum next wait_for_room(struct stream *s)
{
	enum watch_verdict verdict;

	if (!listen_for(s, true))
		return CLOSE;
	do {
		verdict = watch_wait(&s->watcher, s->moved_ms + PATIENCE_MS);
		s->behind |= verdict == WATCH_NEWS;
	} while (verdict == WATCH_NEWS);
	return verdict == WATCH_ASLEEP ? WAIT : CLOSE;
}

static void go_on(struct stream *s)
{
	enum next next = GO_ON;

	while (next == GO_ON) {
		enum flushed flushed = flush(s);

		next = flushed == FLUSHED ? rest(s) : flushed == FULL ? wait_for_room(s) : CLOSE;
	}
	if (next == CLOSE)
		end(s);
}

/* ---- the thread: all of them ---- */

/* One that was rung for; NULL: none. */
static struct stream *take_rung(struct streams *all)
{
	struct stream *s;

	pthread_mutex_lock(&all->lock);
	s = all->rung;
	if (s) {
		all->rung = s->next_rung;
		if (!all->rung)
			all->last_rung = &all->rung;
		s->rung = false;
	}
	pthread_mutex_unlock(&all->lock);
	return s;
}

static void enlist(struct streams *all, struct stream *s)
{
	s->next = all->first;
	if (s->next)
		s->next->link = &s->next;
	s->link = &all->first;
	all->first = s;
}

static void answer_rings(struct streams *all)
{
	struct stream *s;
	uint64_t rings;

	if (read(all->bell, &rings, sizeof(rings)) < 0)
		assert(errno == EAGAIN);
	while ((s = take_rung(all))) {
		if (s->closed) {
			stream_free(s);
			continue;
		}
		if (!s->link)
			enlist(all, s);
		go_on(s);
	}
}

static void handle(struct stream *s, uint32_t events)
{
	if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		end(s);
	else
		go_on(s);
}

static bool is_stopping(struct streams *all)
{
	bool stopping;

	pthread_mutex_lock(&all->lock);
	stopping = all->stopping;
	pthread_mutex_unlock(&all->lock);
	return stopping;
}

static void *run(void *user)
{
	struct streams *all = user;
	struct epoll_event ready[READY_MAX];

	while (!is_stopping(all)) {
		int n = epoll_wait(all->epoll, ready, READY_MAX, -1);
		bool rung = false;

		/* The bell last: what it is rung for may be freed there. */
		for (int i = 0; i < n; i++) {
			if (ready[i].data.ptr)
				handle(ready[i].data.ptr, ready[i].events);
			else
				rung = true;
		}
		if (rung)
			answer_rings(all);
	}
	answer_rings(all);
	while (all->first)
		end(all->first);
	answer_rings(all);
	return NULL;
}

/* ---- life ---- */

static void done(struct streams *all)
{
	if (all->epoll >= 0)
		close(all->epoll);
	if (all->bell >= 0)
		close(all->bell);
	pthread_mutex_destroy(&all->lock);
	free(all);
}

static int start(struct streams *all)
{
	struct epoll_event event = { .events = EPOLLIN };

	all->epoll = epoll_create1(EPOLL_CLOEXEC);
	all->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (all->epoll < 0 || all->bell < 0 || epoll_ctl(all->epoll, EPOLL_CTL_ADD, all->bell, &event) < 0)
		return ERR_IO;
	return pthread_create(&all->thread, NULL, run, all) == 0 ? 0 : ERR_NO_MEMORY;
}

int streams_new(struct watch *watch, struct guests *guests, struct streams **ret)
{
	struct streams *all = calloc(1, sizeof(*all));
	int rc;

	if (!all)
		return ERR_NO_MEMORY;
	all->watch = watch;
	all->guests = guests;
	all->last_rung = &all->rung;
	pthread_mutex_init(&all->lock, NULL);
	rc = start(all);
	if (rc < 0)
		done(all);
	else
		*ret = all;
	return rc;
}

void streams_free(struct streams *all)
{
	static const uint64_t one = 1;

	if (!all)
		return;
	pthread_mutex_lock(&all->lock);
	all->stopping = true;
	pthread_mutex_unlock(&all->lock);
	if (write(all->bell, &one, sizeof(one)) < 0)
		assert(errno == EAGAIN);
	pthread_join(all->thread, NULL);
	done(all);
}
