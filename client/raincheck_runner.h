/* raincheck_runner.h: the part of raincheck.h for workers of your own: a handler in C, and a runner that brings it
 * jobs.
 *
 * A runner leases jobs of its queues, hands each to the handler on a thread of its own, keeps the lease alive while the
 * handler works, and tells the broker how it ended. The connection is remade when it breaks: handlers go on meanwhile,
 * and what they have to say waits for it.
 *
 *   raincheck_runner_new() ──▶ raincheck_runner_run() ──stop──▶ returns ──▶ raincheck_runner_free()
 *
 * Threads. raincheck_runner_run() uses the thread that calls it for the connection; handlers run on as many further
 * threads as there are slots, several at once. What takes a struct raincheck_work is for the handler it was given to,
 * until that returns, and for one thread at a time but where said otherwise. All but the three that say so block, at
 * most until the lease is over. A handler must not end its thread or jump out of itself.
 *
 * Included by raincheck.h, which says what holds for values and errors.
 */
#ifndef RAINCHECK_RUNNER_H
#define RAINCHECK_RUNNER_H

#ifndef RAINCHECK_H
#error "include raincheck.h"
#endif

#ifdef __cplusplus
extern "C" {
#endif

struct raincheck_runner;
struct raincheck_work;

#define RAINCHECK_MAX_THREADS 1000

/* Does one job. What it returns is how the attempt ended:
 *   0                    done: the job succeeds, with the result that was given
 *   RAINCHECK_ECANCELED  not done, and nobody's fault: the job is given back with its checkpoint; no attempt is counted
 *   another              failed, as raincheck_work_fail() was told, else "internal" with the code's text
 * Where the lease is over (raincheck_work_canceled()) nothing is written, whatever it returns. */
typedef int (*raincheck_handler)(struct raincheck_work *work, void *user);

/* All but name, queues and handler may be zero. */
struct raincheck_runner_options {
	const char *server; /* as in raincheck_options */
	const char *token;
	const char *name;   /* shown to operators */
	const char *client; /* the program's name and version; NULL: "libraincheck" */
	const char *const *queues;
	size_t queue_count;
	int64_t threads;      /* handlers at once, up to RAINCHECK_MAX_THREADS; 0: 1 */
	int64_t lease_ms;     /* how long a job waits for another worker when this one is gone; 0: 30 s */
	int64_t grace_ms;     /* handlers may go on for so long after a stop; 0: 30 s */
	bool once;	      /* ends when nothing is ready and no handler runs */
	bool stop_on_signals; /* SIGTERM and SIGINT are raincheck_runner_stop(): no other handler of them is called */
	raincheck_handler handler;
	/* Called on the runner's thread as raincheck_connection_cb; NULL: not told. */
	void (*on_connection)(bool connected, const struct raincheck_error *why, void *user);
	void *user; /* of both */
};

/* Copies the options and starts the threads. RAINCHECK_EBAD_REQUEST (ret_error, which may be NULL, says what of),
 * RAINCHECK_ENO_MEMORY, RAINCHECK_EIO. */
int raincheck_runner_new(const struct raincheck_runner_options *options, struct raincheck_runner **ret,
			 struct raincheck_error *ret_error);

/* Works until it is stopped: by raincheck_runner_stop(), a signal, the operator's "raincheck worker stop", or the end
 * of the work where once is set. Every handler has returned by then. Once a runner. 0, or why it never worked: the
 * broker refused it, or (with once) RAINCHECK_ENO_CONNECTION. */
int raincheck_runner_run(struct raincheck_runner *r, struct raincheck_error *ret_error);

/* Takes no more jobs, lets handlers end within the grace time, then asks them to give up (raincheck_work_canceled()). A
 * second time: asks at once. Any thread, handlers, and signal handlers. */
void raincheck_runner_stop(struct raincheck_runner *r);

/* Before run() or after it has returned. NULL is taken. */
void raincheck_runner_free(struct raincheck_runner *r);

/* ---- for handlers ------------------------------------------------------------------------------------------------ */

/* The job: payload, checkpoint of an earlier attempt, deadlines. Valid until the handler returns. Never blocks. */
const struct raincheck_leased_job *raincheck_work_job(const struct raincheck_work *w);

/* Whether to give up soon: the job was canceled, the lease is another's, or the runner ends. Look now and then; return
 * RAINCHECK_ECANCELED. Never blocks; any thread. */
bool raincheck_work_canceled(const struct raincheck_work *w);

/* Waits for so long, or until raincheck_work_canceled(), which it answers. */
bool raincheck_work_sleep(struct raincheck_work *w, int64_t ms);

/* How far it is, 0 to 1, and a note (NULL: none) for the job's page; goes out within a second, the last one told. Never
 * blocks. */
void raincheck_work_progress(struct raincheck_work *w, double progress, const char *note);

/* Stores what the next attempt is to begin with, at most 64 KiB. 0: it is durable. RAINCHECK_ELEASE_LOST, _ECANCELED:
 * give up. */
int raincheck_work_checkpoint(struct raincheck_work *w, const void *data, size_t size);

/* Stores an artifact ("preview", or a name of your own), of whatever size. Again: in its place. Errors as above, and
 * what the broker says of its limits. */
int raincheck_work_artifact(struct raincheck_work *w, const char *name, const char *content_type, const void *data,
			    size_t size);
/* The same from a file, from where it stands to its end; RAINCHECK_EIO. It is read again from there where the
 * connection breaks, so one that cannot seek is stored only if none does. */
int raincheck_work_artifact_file(struct raincheck_work *w, const char *name, const char *content_type, int fd);

/* The result: kept here and sent with the end of the job while it is small, else stored at once. Errors likewise. */
int raincheck_work_result(struct raincheck_work *w, const char *content_type, const void *data, size_t size);
int raincheck_work_result_file(struct raincheck_work *w, const char *content_type, int fd);

/* Says how the attempt failed, and returns a code for the handler to return. retry_after_ms: what the API asked for;
 * 0: nothing. */
int raincheck_work_fail(struct raincheck_work *w, enum raincheck_failure kind, int64_t retry_after_ms, const char *fmt,
			...) __attribute__((format(printf, 4, 5)));

#ifdef __cplusplus
}
#endif

#endif
