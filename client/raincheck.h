/* raincheck.h: libraincheck, the client of the Raincheck job queue, for producers, workers and tools.
 *
 * This file is for producers, and says what holds everywhere; raincheck_worker.h and raincheck_runner.h are for
 * workers, raincheck_admin.h is for operators; they come with it. A handle (struct raincheck) is one connection to one
 * broker, made and remade as needed. Every method of the broker comes twice:
 *
 *   int raincheck_get(rc, id, &job)              blocking: returns when the answer is there
 *   int raincheck_get_async(rc, id, cb, user)    starts the call; cb tells the answer, from the loop
 *
 * Loops. A handle made without a loop has a private one, which blocking calls and raincheck_run() run. A handle made
 * over the caller's libuv loop knows only the asynchronous calls (a blocking one answers RAINCHECK_EINVALID_STATE) and
 * works while that loop runs.
 *
 * Threads. A handle belongs to one thread at a time: no two functions may be under way for it at once, and one over a
 * caller's loop is used from that loop's thread alone. Different handles are independent. Callbacks come on the thread
 * that runs the loop and may start further calls and, over a caller's loop, close the handle. Functions that take no
 * handle may be called from any thread.
 *
 * Errors. Functions return 0, or a negative RAINCHECK_E… code. raincheck_last_error() then says more. Outputs (ret_…)
 * are set only on success.
 *
 * Callbacks. If starting a call fails, its callback never comes. Else it comes exactly once, never from within the
 * starting function: with the answer, the broker's refusal, or one of
 *   RAINCHECK_ENO_CONNECTION  the connection broke before the answer, or none could be made in time
 *   RAINCHECK_ETIMED_OUT      no answer within the request timeout
 *   RAINCHECK_EUNAUTHENTICATED, _EDENIED, _EUNSUPPORTED_VERSION …  the broker refused the greeting
 *   RAINCHECK_ECANCELED       the handle was closed
 * and raincheck_error.sent tells whether the broker may have carried the request out all the same. A request that was
 * sent is never sent again by itself, but for one case: a blocking read (ping, get, wait, payload, list, artifact_read,
 * queue_list, queue_get, limit_list, limit_get, stats) under which the connection breaks is asked once more over a new
 * one.
 *
 * Order. Requests are pipelined: sent in the order started, answered in any order. At most as many as the broker allows
 * are in flight; later ones, and those started while there is no connection, wait in the handle up to a cap. Beyond it
 * the starting function answers RAINCHECK_ETHROTTLED: wait for some callbacks, then go on.
 *
 * Memory. Parameters are copied before a function returns. What a reply, a notification or an error points at is valid
 * during the callback only. What a blocking call returns is the caller's: raincheck_free() takes back any of them.
 *
 * Values. Text is UTF-8, NUL-terminated. Ids are UUIDs of 36 characters; leases and uploads 32 hexadecimal digits, to
 * be kept as they came. *_ms is a duration in milliseconds, *_at_ms a moment in milliseconds since the Unix epoch.
 * A field that is not given is 0 or NULL, in parameters and in results; where 0 is a value of its own, has_… stands
 * beside it. So a zeroed parameter struct asks for the defaults everywhere.
 */
#ifndef RAINCHECK_H
#define RAINCHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct uv_loop_s;

#define RAINCHECK_ID_SIZE	 37 /* with the NUL */
#define RAINCHECK_TOKEN_SIZE	 33 /* of a lease or an upload, with the NUL */
#define RAINCHECK_SHA256_SIZE	 65 /* lower-case hexadecimal, with the NUL */
#define RAINCHECK_MAX_WAIT_MS	 60000
#define RAINCHECK_DEFAULT_SERVER "127.0.0.1:7246"

struct raincheck;

/* ---- errors ------------------------------------------------------------------------------------------------------ */

enum raincheck_error_code {
	/* said by the broker */
	RAINCHECK_EBAD_REQUEST = -1,
	RAINCHECK_EUNKNOWN_METHOD = -2,
	RAINCHECK_EUNSUPPORTED_VERSION = -3,
	RAINCHECK_EUNAUTHENTICATED = -4,
	RAINCHECK_EDENIED = -5,
	RAINCHECK_ENOT_FOUND = -6,
	RAINCHECK_EGONE = -7,
	RAINCHECK_ECONFLICT = -8,
	RAINCHECK_ELEASE_LOST = -9,
	RAINCHECK_EINVALID_STATE = -10, /* also: a blocking call over a caller's loop or from within a callback */
	RAINCHECK_EQUEUE_FULL = -11,
	RAINCHECK_ETOO_LARGE = -12, /* also: larger than the broker's limit for a message, found before sending */
	RAINCHECK_ETHROTTLED = -13, /* also: too much waits in this handle already */
	RAINCHECK_ESTORE_FULL = -14,
	RAINCHECK_ESTORE_ERROR = -15,
	RAINCHECK_ESHUTTING_DOWN = -16,
	RAINCHECK_EINTERNAL = -17,
	/* found here */
	RAINCHECK_ENO_MEMORY = -32,
	RAINCHECK_ENO_CONNECTION = -33,
	RAINCHECK_ETIMED_OUT = -34,
	RAINCHECK_EPROTOCOL = -35, /* what came is not what a broker sends */
	RAINCHECK_EIO = -37,
	RAINCHECK_ECANCELED = -39,
};

struct raincheck_error {
	int code;		/* 0: no error */
	char field[96];		/* the parameter at fault, "" where none is: "backoff.base_ms", "jobs[2].queue" */
	char message[224];	/* a sentence without a full stop */
	int64_t retry_after_ms; /* when coming back makes sense; 0 where it is not known */
	bool sent;		/* the request was sent and its fate is not known (lost connection, timeout, close) */
};

/* The code's name on the wire ("queue_full") and a general sentence. Never NULL; static. */
const char *raincheck_error_name(int code);
const char *raincheck_error_text(int code);

/* What the last function that failed for this handle found. Never NULL; valid until the next call for the handle. */
const struct raincheck_error *raincheck_last_error(const struct raincheck *rc);

/* ---- common values ----------------------------------------------------------------------------------------------- */

struct raincheck_bytes {
	const void *data;
	size_t size;
};

struct raincheck_pair {
	const char *key;
	const char *value;
};

/* Bytes with their media type. Not given where content_type is NULL. */
struct raincheck_media {
	const char *content_type;
	struct raincheck_bytes data;
};

enum raincheck_job_state {
	RAINCHECK_JOB_SCHEDULED,
	RAINCHECK_JOB_READY,
	RAINCHECK_JOB_RUNNING,
	/* from here on final */
	RAINCHECK_JOB_SUCCEEDED,
	RAINCHECK_JOB_DEAD,
	RAINCHECK_JOB_CANCELED,
	RAINCHECK_JOB_EXPIRED,
};

/* Why an attempt failed. All but REJECTED are retried while attempts last. */
enum raincheck_failure {
	RAINCHECK_FAIL_TIMEOUT,
	RAINCHECK_FAIL_THROTTLED, /* the API asked to slow down: does not use up an attempt when retry_after_ms is given
				   */
	RAINCHECK_FAIL_UNAVAILABLE,
	RAINCHECK_FAIL_INVALID, /* the API answered what makes no sense */
	RAINCHECK_FAIL_INTERNAL,
	RAINCHECK_FAIL_REJECTED, /* the API will never do this */
};

enum raincheck_role { RAINCHECK_ROLE_NONE, RAINCHECK_ROLE_PRODUCER, RAINCHECK_ROLE_WORKER, RAINCHECK_ROLE_ADMIN };

/* The words used on the wire; "unknown" outside the enum. Static. */
const char *raincheck_job_state_name(enum raincheck_job_state state);
const char *raincheck_failure_name(enum raincheck_failure kind);
const char *raincheck_role_name(enum raincheck_role role);

/* ---- the handle -------------------------------------------------------------------------------------------------- */

/* What the broker said of itself when it accepted the greeting. */
struct raincheck_server {
	const char *server; /* its name */
	const char *version;
	int64_t protocol;
	enum raincheck_role role; /* what this connection may do */
	int64_t now_ms;		  /* its clock at the greeting, Unix epoch */
	int64_t max_message_bytes;
	int64_t max_payload_bytes;
	int64_t max_depth;
	int64_t max_elements;
	int64_t max_batch;	  /* jobs in one put_many, completions in one complete_many */
	int64_t max_in_flight;	  /* requests unanswered on one connection */
	int64_t max_unsent_bytes; /* of replies that this side does not read */
};

enum raincheck_notice {
	RAINCHECK_NOTICE_JOB_CANCEL,	  /* stop working on id: its lease is over */
	RAINCHECK_NOTICE_JOB_WAKE,	  /* a hook arrived for id: content_type and data are its body */
	RAINCHECK_NOTICE_WORKER_QUIET,	  /* lease no more jobs, finish those under way */
	RAINCHECK_NOTICE_WORKER_STOP,	  /* finish or release, then end */
	RAINCHECK_NOTICE_SERVER_SHUTDOWN, /* the broker is going; the connection will break and be remade */
	RAINCHECK_NOTICE_WORKER_WARM,	  /* soon more calls begin at once: open connections for them */
};

/* A message that the broker sent without being asked. Fields that do not apply are "" or NULL. */
struct raincheck_notification {
	enum raincheck_notice notice;
	char id[RAINCHECK_ID_SIZE];
	char lease[RAINCHECK_TOKEN_SIZE];
	const char *content_type;
	struct raincheck_bytes data;
	/* WORKER_WARM: from at_ms by the broker's clock on this worker may have so many calls of these queues at once,
	 * as limit lets it. */
	const char *limit;
	const char *const *queues;
	size_t queue_count;
	int64_t concurrency;
	int64_t at_ms;
};

typedef void (*raincheck_notification_cb)(struct raincheck *rc, const struct raincheck_notification *n, void *user);

/* Tells that the connection came up (greeting accepted; why is NULL) or went down or could not be made (why says what
 * happened, why->retry_after_ms when the next attempt begins). Not told: the end by raincheck_close(). */
typedef void (*raincheck_connection_cb)(struct raincheck *rc, bool connected, const struct raincheck_error *why,
					void *user);

/* What a worker says of itself, shown to operators. */
struct raincheck_worker {
	const char *name;
	const char *const *queues;
	size_t queue_count;
	int64_t slots; /* calls it can do at once */
};

/* All may be zero. */
struct raincheck_options {
	const char *server; /* "HOST:PORT", "[::1]:7246" or "unix:PATH"; NULL: RAINCHECK_DEFAULT_SERVER */
	const char *token;  /* NULL: none */
	const char *client; /* the program's name and version, for the broker's log and lists; NULL: "libraincheck" */
	const struct raincheck_worker *worker;	   /* NULL: not a worker */
	raincheck_notification_cb on_notification; /* not NULL: subscribe to notifications */
	raincheck_connection_cb on_connection;	   /* NULL: not told */
	void *user;				   /* for these two callbacks */
	int64_t connect_timeout_ms;		   /* one attempt, name lookup to greeting; 0: 5 s */
	int64_t request_timeout_ms; /* from start to answer, beyond wait_ms where there is one; 0: 30 s */
	int64_t backoff_min_ms;	    /* pause after the first failed attempt, doubled each time; 0: 100 ms */
	int64_t backoff_max_ms;	    /* never longer; 0: 10 s. Each pause is drawn between half of it and all of it */
	size_t max_queued;	    /* calls not yet sent; 0: 10,000 */
	size_t max_unsent_bytes;    /* bytes of requests not yet sent; 0: 64 MiB */
	int64_t max_in_flight;	    /* unanswered requests, if fewer than the broker allows; 0: what it allows */
	struct uv_loop_s *loop;	    /* NULL: a private loop */
};

/* Makes a handle and begins to connect; does not wait for the connection. Over a caller's loop the handle keeps the
 * loop alive until it is closed. RAINCHECK_EBAD_REQUEST: server is not an address, or worker lacks a name (ret_error,
 * which may be NULL, says more). RAINCHECK_ENO_MEMORY, RAINCHECK_EIO. */
int raincheck_new(const struct raincheck_options *options, struct raincheck **ret, struct raincheck_error *ret_error);

/* Closes the handle; NULL is taken. Calls under way end with RAINCHECK_ECANCELED, then closed_cb (may be NULL) comes,
 * and the handle is gone. With a private loop all that happens before this returns, and it must not be called from
 * within a callback. Over a caller's loop it happens while the loop runs on; until closed_cb the handle's memory lives,
 * but no function may be called for it. */
void raincheck_close(struct raincheck *rc, void (*closed_cb)(void *user), void *user);

/* Runs the private loop until no call is under way, raincheck_stop() is called, or timeout_ms is over (negative: no
 * limit). RAINCHECK_ETIMED_OUT in the last case; RAINCHECK_EINVALID_STATE over a caller's loop or within a callback. */
int raincheck_run(struct raincheck *rc, int64_t timeout_ms);
/* From within a callback: makes raincheck_run() return soon. */
void raincheck_stop(struct raincheck *rc);

/* The greeting of the connection that is up, or of the last one; NULL before the first. Valid until the next one. */
const struct raincheck_server *raincheck_server(const struct raincheck *rc);
bool raincheck_connected(const struct raincheck *rc);

/* Calls started and not yet called back. */
size_t raincheck_pending(const struct raincheck *rc);

/* Frees what a blocking call returned, with all it points at; NULL is taken. Any thread. */
void raincheck_free(void *result);

/* ---- replies ----------------------------------------------------------------------------------------------------- */

/* The answer to one call. code is 0 and the member named after the call set (none for checkpoint, lease_cancel and
 * link_revoke), or code is negative and error set. */
struct raincheck_reply {
	int code;
	const struct raincheck_error *error;
	union {
		const void *any;
		const struct raincheck_ping_result *ping;
		const struct raincheck_put_result *put;
		const struct raincheck_put_many_result *put_many;
		const struct raincheck_lease_result *lease;
		const struct raincheck_extend_result *extend;
		const struct raincheck_complete_result *complete; /* complete, complete_many */
		const struct raincheck_fail_result *fail;
		const struct raincheck_release_result *release;
		const struct raincheck_job *job; /* get, wait */
		const struct raincheck_payload *payload;
		const struct raincheck_list_result *list;
		const struct raincheck_stored *stored; /* artifact_put, artifact_commit */
		const struct raincheck_upload *upload; /* artifact_begin */
		const struct raincheck_written *written;
		const struct raincheck_artifact_data *artifact_data;
		const struct raincheck_queue_list *queue_list;
		const struct raincheck_change_result *change; /* cancel, retry, erase; cancel_many … */
		const struct raincheck_link *link;	      /* link_rotate */
		const struct raincheck_queue *queue;	      /* queue_get, queue_set, queue_pause, queue_resume */
		const struct raincheck_purge_result *purge;
		const struct raincheck_limit_list *limit_list;
		const struct raincheck_limit *limit; /* limit_get, limit_set */
		const struct raincheck_worker_list *worker_list;
		const struct raincheck_worker_told *worker_told; /* worker_quiet, worker_stop */
		const struct raincheck_stats *stats;
		const struct raincheck_backup_result *backup;
		const struct raincheck_check_result *check;
	};
};

/* cb may be NULL where the outcome is of no interest. */
typedef void (*raincheck_cb)(struct raincheck *rc, const struct raincheck_reply *reply, void *user);

/* ---- session ----------------------------------------------------------------------------------------------------- */

struct raincheck_ping_result {
	int64_t now_ms; /* the broker's clock, Unix epoch */
};

int raincheck_ping_async(struct raincheck *rc, raincheck_cb cb, void *user);
int raincheck_ping(struct raincheck *rc, struct raincheck_ping_result **ret);

/* ---- putting jobs ------------------------------------------------------------------------------------------------ */

/* Pauses between attempts: base, base × factor, …, never above max; each shortened at random by up to jitter. */
struct raincheck_backoff {
	bool has_base_ms;
	int64_t base_ms;
	double factor; /* at least 1; 0: default */
	int64_t max_ms;
	bool has_jitter;
	double jitter; /* 0 to 1 */
};

struct raincheck_put {
	const char *queue; /* required: 1 to 128 of A-Z a-z 0-9 . _ : - */
	struct raincheck_bytes payload;
	const char *content_type;
	bool has_priority;
	int64_t priority;	   /* 0 first … 9 last; default 5 */
	int64_t delay_ms;	   /* not before this much from now; or: */
	int64_t run_at_ms;	   /* not before this moment */
	int64_t start_deadline_ms; /* expire unless begun within this */
	int64_t deadline_ms;	   /* expire unless finished within this */
	int64_t attempt_timeout_ms;
	int64_t max_attempts; /* 1 to 1000 */
	struct raincheck_backoff backoff;
	const char *idempotency_key; /* putting again with the same key answers the first job */
	const char *group;	     /* who it is for: groups get their turn fairly */
	const char *title;
	struct raincheck_media preview; /* the still, shown until the result is there */
	const char *callback_url;
	bool has_result_ttl_ms;
	int64_t result_ttl_ms; /* how long the result is kept */
	const struct raincheck_pair *metadata;
	size_t metadata_count; /* at most 64 */
	const char *traceparent;
};

/* In how many milliseconds from the answer a job is done, most likely: low to high, the broker's guess. Good only where
 * has_eta beside it is true: else there is nothing to guess from, or nothing to wait for, and both are 0. */
struct raincheck_eta {
	int64_t low_ms;
	int64_t high_ms;
};

struct raincheck_put_result {
	const struct raincheck_error *error; /* in put_many: why this one was refused; else NULL */
	char id[RAINCHECK_ID_SIZE];
	bool created; /* false: the idempotency key was known and this is the first job */
	enum raincheck_job_state state;
	const char *link; /* the capability URL of the job's page; NULL where the broker serves none */
	bool has_position;
	int64_t position; /* in the queue */
	bool has_eta;
	struct raincheck_eta eta;
};

/* Acknowledged means on disk. */
int raincheck_put_async(struct raincheck *rc, const struct raincheck_put *put, raincheck_cb cb, void *user);
int raincheck_put(struct raincheck *rc, const struct raincheck_put *put, struct raincheck_put_result **ret);

struct raincheck_put_many_result {
	const struct raincheck_put_result *jobs; /* as many as were given, in that order */
	size_t job_count;
};

/* 1 to max_batch jobs in one commit, each accepted or refused on its own. */
int raincheck_put_many_async(struct raincheck *rc, const struct raincheck_put *puts, size_t count, raincheck_cb cb,
			     void *user);
int raincheck_put_many(struct raincheck *rc, const struct raincheck_put *puts, size_t count,
		       struct raincheck_put_many_result **ret);

/* ---- looking at jobs --------------------------------------------------------------------------------------------- */

struct raincheck_job_error {
	enum raincheck_failure kind;
	const char *message;
	int64_t at_ms;
};

struct raincheck_artifact {
	const char *name; /* "preview", "result", or what the worker called it */
	const char *content_type;
	int64_t size; /* bytes */
	const char *sha256;
};

/* Who is told when the job has ended: a webhook, which is a job of the queue "_webhooks". */
struct raincheck_callback {
	const char *url;
	bool has_delivery;	    /* the job has ended, and what is below holds */
	char id[RAINCHECK_ID_SIZE]; /* of the delivery, the webhook's id too */
	enum raincheck_job_state state;
	int64_t attempts;
};

/* What keeps a job from beginning, however few are before it. */
enum raincheck_wait_reason {
	RAINCHECK_WAIT_PAUSED, /* an operator has paused its queue */
	RAINCHECK_WAIT_HELD,   /* the API asked to be left alone for a while */
	RAINCHECK_WAIT_BREAKER /* the API fails: it is let alone, then tried with one call at a time */
};

/* "paused", "held", "breaker"; "unknown" for what is none. */
const char *raincheck_wait_reason_name(enum raincheck_wait_reason reason);

struct raincheck_job {
	char id[RAINCHECK_ID_SIZE];
	const char *queue;
	enum raincheck_job_state state;
	int64_t attempt; /* counted so far */
	int64_t max_attempts;
	int64_t priority;
	const char *group;
	const char *title;
	int64_t created_at_ms;
	int64_t run_at_ms;
	int64_t started_at_ms;
	int64_t finished_at_ms;
	int64_t deadline_at_ms;
	bool has_progress;
	double progress; /* 0 to 1 */
	const char *note;
	bool has_position;
	int64_t position;
	bool has_eta;
	struct raincheck_eta eta;
	/* What keeps it from beginning besides its turn, of one that is scheduled or ready. */
	bool has_waiting_for;
	enum raincheck_wait_reason waiting_for;
	int64_t waiting_until_at_ms;		 /* 0: nobody knows */
	const struct raincheck_job_error *error; /* of the last failed attempt; NULL where there is none */
	const struct raincheck_artifact *artifacts;
	size_t artifact_count;
	const char *link;
	const struct raincheck_pair *metadata;
	size_t metadata_count;
	int64_t payload_size; /* bytes */
	const char *content_type;
	const struct raincheck_callback *callback; /* NULL where none was asked for */
};

int raincheck_get_async(struct raincheck *rc, const char *id, raincheck_cb cb, void *user);
int raincheck_get(struct raincheck *rc, const char *id, struct raincheck_job **ret);

/* Answers once the job is in a final state or wait_ms (at most RAINCHECK_MAX_WAIT_MS) is over: look at the state. */
int raincheck_wait_async(struct raincheck *rc, const char *id, int64_t wait_ms, raincheck_cb cb, void *user);
/* The same for any length (asked in stretches); negative: as long as it takes. */
int raincheck_wait(struct raincheck *rc, const char *id, int64_t wait_ms, struct raincheck_job **ret);

struct raincheck_payload {
	const char *content_type;
	struct raincheck_bytes data;
};

int raincheck_payload_async(struct raincheck *rc, const char *id, raincheck_cb cb, void *user);
int raincheck_payload(struct raincheck *rc, const char *id, struct raincheck_payload **ret);

struct raincheck_list {
	const char *queue;
	bool has_state;
	enum raincheck_job_state state;
	const char *group;
	int64_t limit;	    /* of one page, 1 to 1000 */
	const char *cursor; /* of the page before */
};

struct raincheck_list_result {
	const struct raincheck_job *jobs;
	size_t job_count;
	const char *cursor; /* NULL: the list is complete; else there may be more, even after an empty page */
};

int raincheck_list_async(struct raincheck *rc, const struct raincheck_list *list, raincheck_cb cb, void *user);
int raincheck_list(struct raincheck *rc, const struct raincheck_list *list, struct raincheck_list_result **ret);

struct raincheck_artifact_read {
	const char *id;
	const char *name;
	int64_t offset;
	int64_t length; /* at most; 0: as much as the broker gives in one answer */
};

struct raincheck_artifact_data {
	const char *content_type;
	int64_t size; /* of the whole */
	int64_t offset;
	struct raincheck_bytes data; /* empty at the end */
};

int raincheck_artifact_read_async(struct raincheck *rc, const struct raincheck_artifact_read *read, raincheck_cb cb,
				  void *user);
int raincheck_artifact_read(struct raincheck *rc, const struct raincheck_artifact_read *read,
			    struct raincheck_artifact_data **ret);

/* ---- changing jobs ----------------------------------------------------------------------------------------------- */

struct raincheck_change_result {
	int64_t count;	    /* jobs changed */
	const char *cursor; /* of …_many: there may be more, from there on; NULL: every job was looked at */
};

/* A job that waits or runs becomes canceled; whoever works on it is told, and its lease is void. count is 0 where it
 * was canceled already. RAINCHECK_EINVALID_STATE: it has ended otherwise. */
int raincheck_cancel_async(struct raincheck *rc, const char *id, raincheck_cb cb, void *user);
int raincheck_cancel(struct raincheck *rc, const char *id, struct raincheck_change_result **ret);

/* A dead job becomes ready again, its attempts counted from 0. RAINCHECK_EINVALID_STATE: it is not dead. */
int raincheck_retry_async(struct raincheck *rc, const char *id, raincheck_cb cb, void *user);
int raincheck_retry(struct raincheck *rc, const char *id, struct raincheck_change_result **ret);

/* Tells the callback_url of a job that has ended once more, at once; the webhook has the same id as before. count is 0
 * where one is on its way. RAINCHECK_EINVALID_STATE: it has not ended, or it was put without a callback_url. */
int raincheck_redeliver_async(struct raincheck *rc, const char *id, raincheck_cb cb, void *user);
int raincheck_redeliver(struct raincheck *rc, const char *id, struct raincheck_change_result **ret);

/* Takes a job in any state away, with its payload, checkpoint, artifacts, metadata and idempotency key; a running one
 * is canceled first. What remains is that it was there: its link says "gone", and so do the calls by its id. */
int raincheck_erase_async(struct raincheck *rc, const char *id, raincheck_cb cb, void *user);
int raincheck_erase(struct raincheck *rc, const char *id, struct raincheck_change_result **ret);

struct raincheck_link {
	const char *link;
};

/* A new link for the job's page; the present one leads nowhere from then on. */
int raincheck_link_rotate_async(struct raincheck *rc, const char *id, raincheck_cb cb, void *user);
int raincheck_link_rotate(struct raincheck *rc, const char *id, struct raincheck_link **ret);

/* The job's page is reached by no link any more, until one is made by raincheck_link_rotate(). */
int raincheck_link_revoke_async(struct raincheck *rc, const char *id, raincheck_cb cb, void *user);
int raincheck_link_revoke(struct raincheck *rc, const char *id);

#ifdef __cplusplus
}
#endif

#include "raincheck_worker.h"
#include "raincheck_runner.h"
#include "raincheck_admin.h"

#endif
