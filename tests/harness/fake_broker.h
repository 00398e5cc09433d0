/* fake_broker.h: a broker that plays a script: for tests of the client library and the command.
 *
 * The script runs on a thread of its own, over plain sockets, one peer at a time. It calls the fake_…() functions
 * below; each answers false when the script cannot go on (the peer hung up, sent something else than expected, or
 * nothing for a long time), and what was wrong first is told by fake_broker_stop(). So a script is a chain of
 * "fake_greet(b) && fake_next(…) && …". fake_broker_start(), _address(), _stop(), fake_tell_script() and
 * fake_await_script() are for the test's thread.
 */
#ifndef RAINCHECK_TESTS_FAKE_BROKER_H
#define RAINCHECK_TESTS_FAKE_BROKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/messages.h"

struct fake_broker;

typedef void (*fake_script)(struct fake_broker *b, void *arg);

/* One request, as it was received; valid until the next fake_next(). */
struct fake_request {
	uint64_t id;
	enum method_id method;
	union {
		void *params; /* the struct of the method's params */
		struct msg_hello *hello;
		struct msg_job_put *put;
		struct msg_job_put_many *put_many;
		struct msg_job_id *job_id;
		struct msg_job_wait *wait;
		struct msg_job_list *list;
		struct msg_job_change *change;
		struct msg_job_lease *lease;
		struct msg_job_extend *extend;
		struct msg_job_checkpoint *checkpoint;
		struct msg_job_complete *complete;
		struct msg_job_fail *fail;
		struct msg_job_release *release;
		struct msg_artifact_put *artifact_put;
		struct msg_artifact_begin *artifact_begin;
		struct msg_artifact_write *artifact_write;
		struct msg_artifact_commit *artifact_commit;
		struct msg_artifact_read *artifact_read;
		struct msg_queue_name *queue_name;
		struct msg_queue_set *queue_set;
		struct msg_limit_name *limit_name;
		struct msg_limit_set *limit_set;
		struct msg_worker_name *worker_name;
		struct msg_server_backup *backup;
	};
};

/* ---- the test's thread ---- */

/* Listens on a port of loopback, or at path where one is given, and runs script. NULL where that fails. */
struct fake_broker *fake_broker_start(const char *path, fake_script script, void *arg);
/* As the client wants it: "127.0.0.1:PORT" or "unix:PATH". */
const char *fake_broker_address(const struct fake_broker *b);
/* Waits until the script is over. Returns what went wrong first, "" if nothing; valid until the next start. */
const char *fake_broker_stop(struct fake_broker *b);

/* One step of the one lets one wait of the other return. */
void fake_tell_script(struct fake_broker *b);
void fake_await_script(struct fake_broker *b);

/* ---- the script's thread ---- */

void fake_tell_test(struct fake_broker *b);
bool fake_await_test(struct fake_broker *b);

/* The next connection; the one before is closed. */
bool fake_accept(struct fake_broker *b);
/* Accepts, reads the greeting and answers it as an admin's, allowing in_flight requests. */
bool fake_greet(struct fake_broker *b, int64_t in_flight);
/* The same, and answers a ping: what the command begins with before it starts many requests. */
bool fake_greet_and_ping(struct fake_broker *b, int64_t in_flight);
/* The next request, whatever it is; and one that must be of a certain method. */
bool fake_any(struct fake_broker *b, struct fake_request *ret);
bool fake_next(struct fake_broker *b, enum method_id method, struct fake_request *ret);

bool fake_reply(struct fake_broker *b, const struct fake_request *r, const void *result);
bool fake_refuse(struct fake_broker *b, const struct fake_request *r, int code, const char *field, const char *message);
bool fake_notify(struct fake_broker *b, const char *method, const struct message *m, const void *params);
bool fake_raw(struct fake_broker *b, const void *data, size_t size);

void fake_hang_up(struct fake_broker *b);
/* Reads and drops until the peer hangs up. */
bool fake_until_gone(struct fake_broker *b);
/* Something is wrong: remembers it (the first only) and answers false. */
bool fake_wrong(struct fake_broker *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The answer to a greeting with limits as a broker's defaults. */
struct msg_hello_result fake_hello_result(int64_t in_flight);
/* A job record with every field that has to be there; id is the one given. */
struct msg_job fake_job(const struct uuid *id, enum job_state state);
/* A queue of that name likewise: 1 job is scheduled, 2 are ready, 3 run, 4 succeeded, 5 are dead, 6 canceled, 7
 * expired.
 */
struct msg_queue fake_queue(const char *name);
/* The answer to a purge of that queue, with 3 jobs canceled. */
struct msg_queue_purge_result fake_purged(const char *name);
/* A limit of that name likewise, with no bound and nothing under way. */
struct msg_limit fake_limit(const char *name);
/* A worker of that name, with 3 jobs in hand and 5 slots, that takes jobs of the queues "q" and "r". */
struct msg_worker_session fake_worker(const char *name);
/* A broker's state likewise, with the jobs of that queue. */
struct msg_server_stats_result fake_stats(void);

#endif
