/* runner_priv.h: what the files of a runner share. For client/runner*.c only.
 *
 * runner.c is the loop's thread: it leases, extends, stops. runner_work.c is what happens on a handler's thread,
 * runner_store.c the artifacts from there. They meet in struct raincheck_runner under its lock: a handler's thread that
 * wants something of the broker leaves an errand, wakes the loop, and waits until it is done.
 */
#ifndef RAINCHECK_CLIENT_RUNNER_PRIV_H
#define RAINCHECK_CLIENT_RUNNER_PRIV_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>
#include <uv.h>

#include "raincheck.h"

/* One call to the broker. Lives on the stack of the thread that waits for it. */
struct errand {
	/* Loop's thread: starts the call. */
	int (*start)(struct raincheck *rc, const void *params, raincheck_cb cb, void *user);
	const void *params;
	/* Loop's thread: keeps of the answer what is wanted; NULL: nothing. */
	void (*keep)(const struct raincheck_reply *reply, void *ret);
	void *ret;
	bool of_upload; /* "not found" is said of the upload, not of the job */
	struct raincheck_work *work;
	int code; /* the answer's */
	bool done;
	STAILQ_ENTRY(errand) entry;
};

struct failure {
	bool told;
	enum raincheck_failure kind;
	int64_t retry_after_ms;
	char message[512];
};

/* A slot: a thread, and the job that it has. */
struct raincheck_work {
	struct raincheck_runner *runner;
	pthread_t thread;
	bool started;
	pthread_cond_t wake; /* a job, an errand's end, or that it is over */

	/* under the lock */
	struct raincheck_leased_job *job; /* ours, freed in one piece; NULL: idle */
	bool has_progress;
	bool has_news;
	double progress;
	char note[256];
	int64_t extended_at_ms;

	atomic_bool over;    /* the lease is: nothing is written any more */
	atomic_bool give_up; /* the runner ends */

	/* the handler's thread */
	struct failure failure;
	char *result_type; /* NULL: none is kept */
	void *result;
	size_t result_size;
};

/* Which lease was to be extended. */
struct extended {
	char id[RAINCHECK_ID_SIZE];
	char lease[RAINCHECK_TOKEN_SIZE];
};

enum runner_state { RUNNER_NEW, RUNNER_WORKING, RUNNER_DRAINING, RUNNER_GIVING_UP, RUNNER_CLOSED };

struct raincheck_runner {
	struct raincheck_runner_options options; /* copies of its words below */
	char *name, *server, *token, *client;
	char **queues;

	pthread_mutex_t lock;
	bool threads_end;
	STAILQ_HEAD(, errand) errands;
	struct raincheck_work *works; /* options.threads */
	int64_t busy;

	atomic_int stops;	    /* asked for, and not seen by the loop */
	atomic_llong give_up_at_ms; /* of clock_mono_ms(): what cannot be told by then is not; 0: not yet */

	/* the loop's thread */
	uv_loop_t loop;
	uv_async_t async;
	uv_timer_t tick;
	uv_signal_t signals[2];
	struct raincheck *rc;
	enum runner_state state;
	bool leasing;
	bool quiet; /* told to lease no more */
	bool dry;   /* the last lease found nothing */
	bool extending;
	bool connected;			   /* was, at least once */
	bool watching;			   /* the signals */
	int64_t lease_at_ms, until_ms;	   /* of clock_mono_ms() */
	struct raincheck_extend_item *due; /* options.threads of these */
	struct extended *extended;	   /* of the extension under way, as many */
	size_t extended_count;
	int code;
	struct raincheck_error error;
};

/* ---- runner.c ---- */

void runner_async_cb(uv_async_t *async);
/* Closes what is on the loop; run it to its end afterwards. */
void runner_close(struct raincheck_runner *r);

/* ---- runner_work.c ---- */

/* Starts the thread. RAINCHECK_EIO. */
int work_start(struct raincheck_work *w);
/* A copy of the job, in one piece; NULL: out of memory. */
struct raincheck_leased_job *work_copy_job(const struct raincheck_leased_job *job);

/* On the handler's thread: does an errand, again and again while the broker cannot be reached, as long as there is a
 * lease. */
int work_ask(struct raincheck_work *w, struct errand *e);
/* The same, once. */
int work_ask_once(struct raincheck_work *w, struct errand *e);

#endif
