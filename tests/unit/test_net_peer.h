/* test_net_peer.h: a peer that speaks to a broker over a socket, byte by byte if it likes, from the test's thread.
 * Whatever waits fails the test after a time limit instead of hanging. */
#ifndef RAINCHECK_TESTS_NET_PEER_H
#define RAINCHECK_TESTS_NET_PEER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <msgpack.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "proto/base/clean.h"
#include "proto/rpc.h"
#include "proto/skim.h"

#define PATIENCE_SECONDS 60

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

static inline void peer_hello(struct peer *p, bool subscribe)
{
	struct msg_hello hello = { .has_subscribe = subscribe, .subscribe = subscribe };

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
