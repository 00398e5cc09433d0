#include "tests/harness/fake_broker.h"

#include <arpa/inet.h>
#include <errno.h>
#include <msgpack.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "proto/base/clean.h"
#include "proto/rpc.h"
#include "proto/skim.h"

/* Not a measure of anything: only so that a broken test ends. */
#define PATIENCE_S 60
#define MAX_BYTES  (80u << 20)

struct fake_broker {
	pthread_t thread;
	fake_script script;
	void *arg;
	int listen_fd;
	int fd;
	char address[160];
	char wrong[256];
	sem_t to_script, to_test;
	struct buf in;
	size_t in_used; /* of the message handed out last */
	struct skim skim;
	msgpack_zone zone;
	void *params;
};

static char last_wrong[256];

bool fake_wrong(struct fake_broker *b, const char *fmt, ...)
{
	va_list args;

	if (b->wrong[0] == '\0') {
		va_start(args, fmt);
		vsnprintf(b->wrong, sizeof(b->wrong), fmt, args);
		va_end(args);
	}
	return false;
}

/* ---- steps ---- */

static bool await(sem_t *s)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += PATIENCE_S;
	while (sem_timedwait(s, &until) < 0)
		if (errno != EINTR)
			return false;
	return true;
}

void fake_tell_script(struct fake_broker *b)
{
	sem_post(&b->to_script);
}

void fake_await_script(struct fake_broker *b)
{
	await(&b->to_test);
}

void fake_tell_test(struct fake_broker *b)
{
	sem_post(&b->to_test);
}

bool fake_await_test(struct fake_broker *b)
{
	return await(&b->to_script) || fake_wrong(b, "the test never told the script to go on");
}

/* ---- sockets ---- */

static bool readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int n;

	do {
		n = poll(&p, 1, PATIENCE_S * 1000);
	} while (n < 0 && errno == EINTR);
	return n == 1;
}

void fake_hang_up(struct fake_broker *b)
{
	if (b->fd >= 0)
		close(b->fd);
	b->fd = -1;
}

bool fake_accept(struct fake_broker *b)
{
	static const struct skim_limits limits = { MAX_BYTES, SKIM_MAX_DEPTH, 1u << 24 };

	fake_hang_up(b);
	if (!readable(b->listen_fd))
		return fake_wrong(b, "nobody connected");
	b->fd = accept(b->listen_fd, NULL, NULL);
	buf_reset(&b->in);
	b->in_used = 0;
	skim_init(&b->skim, &limits);
	return b->fd >= 0 || fake_wrong(b, "accept: %s", strerror(errno));
}

/* False at the end of the stream. */
static bool receive(struct fake_broker *b)
{
	uint8_t *room;
	ssize_t n;

	if (!readable(b->fd))
		return fake_wrong(b, "the client sends nothing");
	if (buf_reserve(&b->in, 65536, &room) < 0)
		return fake_wrong(b, "the client sends too much");
	n = recv(b->fd, room, 65536, 0);
	if (n > 0)
		buf_commit(&b->in, (size_t)n);
	return n > 0;
}

bool fake_until_gone(struct fake_broker *b)
{
	do {
		buf_reset(&b->in);
	} while (receive(b));
	return b->wrong[0] == '\0';
}

bool fake_raw(struct fake_broker *b, const void *data, size_t size)
{
	const char *p = data;

	while (size > 0) {
		ssize_t n = send(b->fd, p, size, MSG_NOSIGNAL);

		if (n < 0)
			return false;
		p += n;
		size -= (size_t)n;
	}
	return true;
}

/* ---- messages ---- */

static bool read_request(struct fake_broker *b, size_t size, struct fake_request *ret)
{
	struct rpc_envelope e = { 0 };
	struct error_info info = { 0 };
	const struct method *m;

	if (rpc_unpack(b->in.data, size, &b->zone, &e, &info) < 0 || e.type != RPC_REQUEST)
		return fake_wrong(b, "not a request: %s", info.message);
	m = method_find(e.method);
	if (!m)
		return fake_wrong(b, "unknown method %.*s", SLICE_FMT(e.method));
	free(b->params);
	b->params = calloc(1, message_size(m->params));
	if (!b->params || message_decode(m->params, e.params, &b->zone, b->params, &info) < 0)
		return fake_wrong(b, "%s: %s %s", m->name, info.field, info.message);
	ret->id = e.id;
	ret->method = m->id;
	ret->params = b->params;
	return true;
}

bool fake_any(struct fake_broker *b, struct fake_request *ret)
{
	size_t size = 0;

	buf_consume(&b->in, b->in_used);
	b->in_used = 0;
	msgpack_zone_clear(&b->zone);
	for (;;) {
		if (b->in.size > 0 && skim_feed(&b->skim, b->in.data, b->in.size, &size) < 0)
			return fake_wrong(b, "the client sends what is not a message");
		if (size > 0)
			break;
		if (!receive(b))
			return false;
	}
	b->in_used = size;
	return read_request(b, size, ret);
}

bool fake_next(struct fake_broker *b, enum method_id method, struct fake_request *ret)
{
	if (!fake_any(b, ret))
		return fake_wrong(b, "no %s came", method_get(method)->name);
	return ret->method == method ||
	       fake_wrong(b, "%s came, not %s", method_get(ret->method)->name, method_get(method)->name);
}

static bool send_buf(struct fake_broker *b, struct buf *out)
{
	if (buf_error(out) < 0)
		return fake_wrong(b, "the answer is too large");
	return fake_raw(b, out->data, out->size);
}

bool fake_reply(struct fake_broker *b, const struct fake_request *r, const void *result)
{
	_cleanup_(buf_done) struct buf out;

	buf_init(&out, MAX_BYTES);
	rpc_write_response(&out, r->id, method_get(r->method)->result, result);
	return send_buf(b, &out);
}

bool fake_refuse(struct fake_broker *b, const struct fake_request *r, int code, const char *field, const char *message)
{
	_cleanup_(buf_done) struct buf out;
	struct error_info info;

	error_set(&info, code, field, "%s", message);
	info.retry_after_ms = code == ERR_QUEUE_FULL ? 1500 : 0;
	buf_init(&out, MAX_BYTES);
	rpc_write_error(&out, r->id, &info);
	return send_buf(b, &out);
}

bool fake_notify(struct fake_broker *b, const char *method, const struct message *m, const void *params)
{
	_cleanup_(buf_done) struct buf out;

	buf_init(&out, MAX_BYTES);
	rpc_write_notification(&out, method, m, params);
	return send_buf(b, &out);
}

struct msg_hello_result fake_hello_result(int64_t in_flight)
{
	return (struct msg_hello_result){
		.has_server = true,
		.server = slice_str("fake"),
		.has_version = true,
		.version = slice_str("1.2.3"),
		.has_protocol = true,
		.protocol = 1,
		.has_role = true,
		.role = ROLE_ADMIN,
		.has_limits = true,
		.limits = { .has_message = true,
			    .message = 4 << 20,
			    .has_payload = true,
			    .payload = 1 << 20,
			    .has_depth = true,
			    .depth = 16,
			    .has_elements = true,
			    .elements = 65536,
			    .has_batch = true,
			    .batch = 1000,
			    .has_in_flight = true,
			    .in_flight = in_flight,
			    .has_unsent = true,
			    .unsent = 64 << 20 },
		.has_now_ms = true,
		.now_ms = 1700000000000,
	};
}

bool fake_greet(struct fake_broker *b, int64_t in_flight)
{
	struct msg_hello_result result = fake_hello_result(in_flight);
	struct fake_request hello = { 0 };

	return fake_accept(b) && fake_next(b, METHOD_session_hello, &hello) && fake_reply(b, &hello, &result);
}

bool fake_greet_and_ping(struct fake_broker *b, int64_t in_flight)
{
	struct msg_ping_result pong = { .has_now_ms = true };
	struct fake_request r = { 0 };

	return fake_greet(b, in_flight) && fake_next(b, METHOD_session_ping, &r) && fake_reply(b, &r, &pong);
}

struct msg_job fake_job(const struct uuid *id, enum job_state state)
{
	return (struct msg_job){
		.has_id = true,
		.id = *id,
		.has_queue = true,
		.queue = slice_str("q"),
		.has_state = true,
		.state = (int)state,
		.has_attempt = true,
		.attempt = 1,
		.has_max_attempts = true,
		.max_attempts = 3,
		.has_priority = true,
		.priority = 5,
		.has_created_at_ms = true,
		.created_at_ms = 1700000000000,
		.has_artifacts = true,
		.has_metadata = true,
		.has_payload_size = true,
		.payload_size = 7,
	};
}

static const struct msg_counts some_counts = { .has_scheduled = true,
					       .scheduled = 1,
					       .has_ready = true,
					       .ready = 2,
					       .has_running = true,
					       .running = 3,
					       .has_succeeded = true,
					       .succeeded = 4,
					       .has_dead = true,
					       .dead = 5,
					       .has_canceled = true,
					       .canceled = 6,
					       .has_expired = true,
					       .expired = 7 };

struct msg_queue fake_queue(const char *name)
{
	return (struct msg_queue){
		.has_queue = true,
		.queue = slice_str(name),
		.has_paused = true,
		.has_max_attempts = true,
		.max_attempts = 5,
		.has_backoff = true,
		.backoff = { .has_base_ms = true,
			     .base_ms = 1000,
			     .has_factor = true,
			     .factor = 2,
			     .has_max_ms = true,
			     .max_ms = 60000,
			     .has_jitter = true,
			     .jitter = 0.25 },
		.has_weight = true,
		.weight = 1,
		.has_weights = true,
		.has_admit = true,
		.has_counts = true,
		.counts = some_counts,
		.has_bytes = true,
		.bytes = 2048,
		.has_put_total = true,
		.put_total = 28,
		.has_lease_total = true,
		.lease_total = 17,
	};
}

struct msg_queue_purge_result fake_purged(const char *name)
{
	struct msg_queue q = fake_queue(name);

	return (struct msg_queue_purge_result){
		.has_count = true,
		.count = 3,
		.has_queue = true,
		.queue = q.queue,
		.has_paused = true,
		.has_max_attempts = true,
		.has_backoff = true,
		.has_weight = true,
		.weight = q.weight,
		.has_weights = true,
		.has_admit = true,
		.has_counts = true,
		.counts = q.counts,
		.has_bytes = true,
		.has_put_total = true,
		.put_total = q.put_total,
		.has_lease_total = true,
	};
}

struct msg_limit fake_limit(const char *name)
{
	return (struct msg_limit){
		.has_limit = true,
		.limit = slice_str(name),
		.has_schedule = true,
		.has_queues = true,
		.has_now = true,
		.now = { .has_state = true,
			 .state = LIMIT_FREE,
			 .has_in_flight = true,
			 .has_waiting = true,
			 .has_started = true,
			 .has_succeeded = true,
			 .has_failed = true,
			 .has_throttled = true,
			 .has_opened = true },
	};
}

struct msg_worker_session fake_worker(const char *name)
{
	static struct slice queues[2];

	queues[0] = slice_str("q");
	queues[1] = slice_str("r");
	return (struct msg_worker_session){
		.has_name = true,
		.name = slice_str(name),
		.has_state = true,
		.state = WORKER_ACTIVE,
		.has_address = true,
		.address = slice_str("192.0.2.7:41312"),
		.has_queues = true,
		.queues = queues,
		.queues_count = ARRAY_SIZE(queues),
		.has_slots = true,
		.slots = 5,
		.has_in_hand = true,
		.in_hand = 3,
		.has_waiting = true,
		.waiting = 1,
		.has_connected_at_ms = true,
		.connected_at_ms = 1700000000000,
	};
}

struct msg_server_stats_result fake_stats(void)
{
	return (struct msg_server_stats_result){
		.has_version = true,
		.version = slice_str("1.2.3"),
		.has_started_at_ms = true,
		.has_now_ms = true,
		.now_ms = 90000,
		.has_connections = true,
		.connections = 3,
		.has_waiting_leases = true,
		.has_queues = true,
		.queues = 1,
		.has_jobs = true,
		.jobs = some_counts,
		.has_put_total = true,
		.put_total = 28,
		.has_workers = true,
		.workers = 2,
		.has_slots = true,
		.slots = 10,
		.has_slots_free = true,
		.slots_free = 4,
		.has_oldest_ready_age_ms = true,
		.oldest_ready_age_ms = 61000,
		.has_backlog_ms = true,
		.backlog_ms = 125000,
		.has_wanted_concurrency = true,
		.wanted_concurrency = 12,
		.has_store = true,
		.store = { .has_used_bytes = true,
			   .used_bytes = 1 << 20,
			   .has_max_bytes = true,
			   .max_bytes = 1 << 30,
			   .has_reserve_bytes = true,
			   .reserve_bytes = 1 << 24,
			   .has_full = true,
			   .has_set_aside = true,
			   .has_commits = true,
			   .has_commands = true,
			   .commands = 6,
			   .has_failed_commits = true,
			   .has_largest_batch = true },
	};
}

/* ---- for the test ---- */

static int listen_at(struct fake_broker *b, const char *path)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	const struct sockaddr *sa = path ? (const struct sockaddr *)&un : (const struct sockaddr *)&in;
	socklen_t size = path ? sizeof(un) : sizeof(in);

	if (path)
		snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
	b->listen_fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (b->listen_fd < 0 || bind(b->listen_fd, sa, size) < 0 || listen(b->listen_fd, 16) < 0)
		return -1;
	size = sizeof(in);
	if (path)
		snprintf(b->address, sizeof(b->address), "unix:%s", path);
	else if (getsockname(b->listen_fd, (struct sockaddr *)&in, &size) == 0)
		snprintf(b->address, sizeof(b->address), "127.0.0.1:%u", ntohs(in.sin_port));
	return 0;
}

static void *run(void *arg)
{
	struct fake_broker *b = arg;

	b->script(b, b->arg);
	fake_hang_up(b);
	return NULL;
}

static void broker_free(struct fake_broker *b)
{
	if (b->listen_fd >= 0)
		close(b->listen_fd);
	sem_destroy(&b->to_script);
	sem_destroy(&b->to_test);
	msgpack_zone_destroy(&b->zone);
	buf_done(&b->in);
	free(b->params);
	free(b);
}

struct fake_broker *fake_broker_start(const char *path, fake_script script, void *arg)
{
	struct fake_broker *b = calloc(1, sizeof(*b));

	if (!b)
		return NULL;
	b->script = script;
	b->arg = arg;
	b->fd = -1;
	b->listen_fd = -1;
	sem_init(&b->to_script, 0, 0);
	sem_init(&b->to_test, 0, 0);
	msgpack_zone_init(&b->zone, MSGPACK_ZONE_CHUNK_SIZE);
	buf_init(&b->in, MAX_BYTES);
	if (listen_at(b, path) < 0 || pthread_create(&b->thread, NULL, run, b) != 0) {
		broker_free(b);
		return NULL;
	}
	return b;
}

const char *fake_broker_address(const struct fake_broker *b)
{
	return b->address;
}

const char *fake_broker_stop(struct fake_broker *b)
{
	pthread_join(b->thread, NULL);
	memcpy(last_wrong, b->wrong, sizeof(last_wrong));
	broker_free(b);
	return last_wrong;
}
