/* call_priv.h: what the files of a call share. For call.c and call_….c only.
 *
 *            ┌──────────── taken up from a checkpoint ───────────┐
 *            │                                                    ▼
 *   NEW ──▶ INTENT ──▶ SUBMITTING ──▶ SAVING ──▶ WAITING ──▶ POLLING ──▶ LOCATING ──▶ FETCHING ──▶ COMPLETING ──▶ OVER
 *            (only with  │   │          │          ▲            │ └──────────────────▲  │             ▲
 *             on_unknown │   │          └──────────┼────────────┼────────────────────┘  │             │
 *             fail)      │   │ (sync)              └────────────┴───────────────────────┘             │
 *                        │   └──────────────────── the answer is the result ──────────────────────────┘
 *                        │
 *   any but the end ─────┴──▶ FORGETTING ──▶ FAILING ──▶ OVER      (FORGETTING where the checkpoint is void)
 *   any but the end ──▶ RELEASING ──▶ OVER
 *   any but COMPLETING ──▶ CANCELING ──▶ OVER      (the job is over for good, and the API is told to stop)
 *   any ──▶ OVER                                                    (lease lost, job canceled)
 *
 *   on_unknown lookup: NEW and SUBMITTING ──▶ SETTLING ◀──▶ ASKING ──found──▶ SAVING
 *                                                             └──not there──▶ SUBMITTING
 *
 * What must stay true:
 *   1. The provider's id is durable (SAVING has been answered) before anything waits on it.
 *   2. A call that has an id, from a checkpoint or its own submit, never submits.
 *   3. At most one of: an exchange, a result fetch, a broker op. The preview's fetch may run beside them.
 *   4. Every state but OVER has something under way that ends it: an exchange, a fetch, an op or the timer.
 */
#ifndef RAINCHECK_WORKER_CALL_CALL_PRIV_H
#define RAINCHECK_WORKER_CALL_CALL_PRIV_H

#include <jansson.h>
#include <uv.h>

#include "worker/call/broker_link.h"
#include "worker/call/call.h"
#include "worker/call/checkpoint.h"
#include "worker/call/classify.h"
#include "worker/call/fetch.h"
#include "worker/call/keyset.h"
#include "worker/config/template.h"
#include "worker/transport/traffic.h"

#define PREVIEW_TRIES_MAX 3

/* What has to be told the broker is tried for so long: leases may live on over a restart of the broker, and being
 * refused costs nothing. */
#define TELL_FOR_MS 600000

struct exchange;
struct held_hook;
struct http_request;

enum call_state {
	CALL_NEW,
	CALL_INTENT,
	CALL_SUBMITTING,
	CALL_SETTLING,
	CALL_ASKING,
	CALL_SAVING,
	CALL_WAITING,
	CALL_POLLING,
	CALL_LOCATING,
	CALL_FETCHING,
	CALL_COMPLETING,
	CALL_FORGETTING,
	CALL_FAILING,
	CALL_RELEASING,
	CALL_CANCELING,
	CALL_OVER,
	CALL_STATES,
};

/* See call_hook.c. Hooks are known by their numbers, 0 is none. */
struct call_hooks {
	TAILQ_HEAD(, held_hook) held; /* by their numbers */
	size_t held_count;
	int64_t seen;	      /* the highest that was taken in */
	int64_t given;	      /* the last that the broker gave */
	bool missed;	      /* one could not be taken in, or was let go: no later one is, until all are given again */
	int64_t due;	      /* the highest that a poll is to follow */
	int64_t polled;	      /* the highest that one has followed */
	int64_t polled_at_ms; /* when a poll last began; clock_mono_ms() */
	int64_t done;	      /* the highest that the broker was told is done with */
	bool warned;
	struct keyset_wait keys;
};

struct call {
	struct call_spec spec;
	struct call_place place;
	struct leased *job;
	const struct upstream *upstream;
	struct template_values values;
	char key[RAINCHECK_ID_SIZE + 24]; /* of idempotency */
	enum call_state state;

	struct checkpoint checkpoint; /* as it should be at the broker … */
	char *stored;		      /* … and as it is; NULL: none */
	char *writing;		      /* under way */

	uv_timer_t timer;	/* the sooner of the two */
	int64_t deadline_at_ms; /* clock_mono_ms(), as all of these */
	int64_t wake_at_ms;	/* of WAITING and SETTLING */
	int64_t began_at_ms;
	int64_t ended_at_ms; /* when the result was stored */
	bool started;	     /* the provider works */

	unsigned polls;
	unsigned failed_polls; /* in a row */
	unsigned gone_polls;   /* of those, that did not know the id */
	unsigned refetches;
	bool warned_state;
	bool has_progress;
	double progress;
	bool has_news;
	bool has_note;
	char note[64];

	bool unsettled;	       /* whether the API has the call is being looked up */
	unsigned absences;     /* lookups that did not find it */
	unsigned lookup_fails; /* in a row */
	bool resubmitted;      /* once, after it was not found */
	bool doomed;	       /* the job is over for good: the answer to the submit is awaited for its id only … */
	enum call_outcome end; /* … and this is how it ended */

	struct exchange *exchange;
	struct fetch *result;
	struct fetch *preview;
	char *media;	 /* the result's URL */
	json_t *outputs; /* URLs by name, fetched one after the other … */
	void *output_at; /* … and where that is; NULL: all are there */
	unsigned preview_tries;
	bool preview_stored;
	bool storing;	    /* the result is whole, and gets more time for the broker to take it */
	bool result_stored; /* or handed over: */
	const char *inline_type;
	struct slice inline_data;
	struct http_request *request; /* made, and not yet sent */

	struct call_hooks hooks;

	struct broker_op op;
	void (*saved)(struct call *c);						/* when the checkpoint is durable */
	void (*answered)(struct call *c, const struct answer *a, json_t *body); /* when the exchange is over */
	struct verdict verdict;							/* of FORGETTING and FAILING */

	char header_code[64]; /* error.code of the last answer, where a header has it; "": none */

	/* for the log */
	long status;
	int64_t bytes; /* of the result */
	struct traffic traffic;
};

/* Makes the move and takes care of the timer. */
void call__move(struct call *c, enum call_state state);
bool call__is(const struct call *c, enum call_state state);
/* Of one that waits: when it polls next. */
void call__wake(struct call *c, int64_t at_ms);

/* Writes the checkpoint in c->checkpoint, then calls done: the state is set by the caller. */
void call__save(struct call *c, void (*done)(struct call *c));

/* The attempt failed as c says in v. A checkpoint that is not to be taken up again must have been given up before. */
void call__fail(struct call *c, const struct verdict *v);
void call__fail_code(struct call *c, int code, const char *what);

/* Sends what must go out first; the answer is collected. cap bytes of it are read at most. done gets the body as JSON,
 * NULL where it is none; one that there is no memory to read is as good as no answer. */
int call__exchange(struct call *c, struct http_request *request, int64_t first_byte_ms, size_t cap, bool fresh,
		   void (*done)(struct call *c, const struct answer *a, json_t *body));

void call__classify(struct call *c, const struct answer *a, json_t *body, const char *what, struct verdict *ret);

/* Sets the timer anew, after deadline_at_ms or wake_at_ms was changed; call__move() does it by itself. */
void call__set_timer(struct call *c);
/* Ends what goes on with the API and in the broker's direction but for the op. */
void call__stop(struct call *c);

/* The end. */
void call__over(struct call *c, enum call_outcome outcome);

/* call_cancel.c: the job is over for good: tells the API, if the file says how and it has the call, and ends. */
void call__cancel(struct call *c, enum call_outcome outcome);

/* call_lookup.c: asks the API whether it has the call, after a pause (first_ms) that lets it find out; and asks now. */
void call__look_up(struct call *c, int64_t first_ms);
void call__ask(struct call *c);
/* call_log.c: the line that tells of its end. */
void call__log_end(const struct call *c, enum call_outcome outcome);

/* call_submit.c: begins with the submit; and the attempt's time ran out during it. */
void call__submit(struct call *c);
/* Sends it once more: the API does not have it. */
void call__submit_again(struct call *c);
/* The API has the call under this id: makes it durable, then waits. body is the answer that may hold URLs; or NULL. */
void call__take_id(struct call *c, json_t *body, const char *id);
void call__submit_timed_out(struct call *c);

/* call_poll.c: waits for the next poll; how long before the first one, of a new call and of one that is taken up. */
void call__wait(struct call *c, int64_t pause_ms);
int64_t call__first_pause(struct call *c);
int64_t call__resume_pause(struct call *c);
void call__poll(struct call *c);
/* The API's answer, or none, was of no use: tries again, or gives up when that has happened too often. */
void call__poll_failed(struct call *c, const struct verdict *v, bool gone);
/* The API says that the call failed, with v or in body's words. */
void call__reported(struct call *c, json_t *body, const struct verdict *v);

/* The API reported by itself what a poll would have been answered. True where the call waits on. */
bool call__poll_report(struct call *c, json_t *body);

/* From 0 to 1, to be moved within a jitter by. */
double call__draw(void);

/* call_deliver.c: the whole of a webhook's delivery; its time is over. */
void call__deliver(struct call *c);
void call__deliver_timed_out(struct call *c);

/* call_hook.c: what is there before the first hook, and what goes after the last. */
void call__hooks_begin(struct call *c);
void call__hooks_end(struct call *c);
/* Looks at those that are held: what proves them is known, or is now. */
void call__hooks_settle(struct call *c);
/* When it is to poll, where it would at wake_at_ms. */
int64_t call__hooks_wake_at(const struct call *c, int64_t wake_at_ms);
/* A poll begins; it was answered. */
void call__hooks_polling(struct call *c);
void call__hooks_polled(struct call *c);
/* Takes one that was reported for the answer to a poll, of a call that waits. False where there is none. */
bool call__hooks_take_report(struct call *c);

/* call_result.c */
/* The API is done; body is its answer (NULL where it was no JSON): finds the result and fetches it. */
void call__locate(struct call *c, json_t *body);
/* Fetches the further outputs (URLs by name; NULL: none) and then the result from url. */
void call__fetch_all(struct call *c, const char *url, json_t *outputs);
/* Where body says that the result is; NULL: nowhere. As long as body. */
const char *call__media_url(const struct call *c, json_t *body);
/* Fetches the preview that body names, if it does and it is not there yet. */
void call__preview(struct call *c, json_t *body);
/* The answer to request is the result itself; see fetch_start_request(). */
int call__fetch_request(struct call *c, struct http_request *request, const char *what, bool keep,
			int64_t first_byte_ms, bool (*wants)(const struct upstream *u, long status),
			void (*done)(struct fetch *f, const struct fetch_end *end, void *user));
/* How the fetch of the result f ended. */
void call__fetched(struct call *c, struct fetch *f, const struct fetch_end *end);
/* The attempt's time is over, and the result has come whole: it is stored for a while yet. */
void call__store_on(struct call *c);
/* The API did its part, and nothing came of it, for v: fails, for good where another attempt would buy the same again
 * and the file does not want that. */
void call__wasted(struct call *c, const struct verdict *v);

/* call.c: the result is stored: says so, unless the preview is still on its way. */
void call__complete(struct call *c);

#endif
