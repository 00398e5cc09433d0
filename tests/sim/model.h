/* model.h: what the engine promises, said as plainly as C allows: arrays, and a look at every job there is.
 *
 * Written from PROTOCOL.md and the engine's headers. It has no store, no index, no counter that could be wrong, and
 * shares no code with the engine: only its interface (command.h, engine.h, settings.h). One thread.
 *
 * The driver runs each command in the engine first and then here. What the engine may choose (a lease's token, a drawn
 * delay, a link's text, which of several queues a lease begins with) is taken from its reply where it is one of those
 * allowed; everything else the model says by itself. Texts are not copied: they must outlive the model.
 */
#ifndef RAINCHECK_SIM_MODEL_H
#define RAINCHECK_SIM_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/messages.h"
#include "server/engine/command.h"
#include "server/engine/engine.h"
#include "server/engine/settings.h"
#include "tests/sim/reply.h"

#define MODEL_JOBS	4096 /* records and tombstones together */
#define MODEL_QUEUES	16
#define MODEL_ARTIFACTS 8192
#define MODEL_KEPT	256   /* leases that wait and changes by filter */
#define MODEL_EVENTS	16384 /* of one batch */
#define MODEL_LINK	128
#define MODEL_GROUPS	8
#define MODEL_LIMITS	8
#define MODEL_SPELLS	4

/* −1 in a member: whoever comes after says. */
struct model_backoff {
	int64_t base_ms, max_ms;
	double factor, jitter;
};

/* A group's jobs of one priority in a queue. */
struct model_group {
	struct slice name; /* empty: the jobs without a group */
	uint64_t finish;   /* where its next place would be */
};

struct model_line {
	uint64_t now; /* the furthest place that was served */
	uint64_t last;
	bool grouped;
	struct model_group groups[MODEL_GROUPS];
	size_t groups_count;
};

struct model_weight {
	struct slice group;
	uint32_t weight;
};

struct model_limit {
	struct slice name;
	int64_t concurrency; /* −1: no bound */
	double rate;	     /* a second; −1: no bound */
	double burst;
	bool burst_set; /* else it follows from the rate */
	struct msg_limit_spell schedule[MODEL_SPELLS];
	size_t schedule_count;
	bool used; /* the bucket: it was full before */
	double tokens;
	int64_t tokens_at_ms;
	int64_t held_until_ms;
	int64_t started, succeeded, failed, throttled;
};

enum model_outcome { MODEL_SUCCEEDED, MODEL_FAILED, MODEL_THROTTLED };

struct model_queue {
	struct slice name, title;
	bool paused;
	int64_t max_jobs, max_bytes; /* −1: no bound */
	int64_t max_attempts;	     /* 0: the default */
	struct model_backoff backoff;
	int64_t attempt_timeout_ms; /* 0: none */
	int64_t result_ttl_ms;	    /* −1: the server's */
	int64_t put_total;
	int64_t lease_total;
	int limit; /* its number; −1: none */
	int64_t weight;
	int admit;
	struct model_weight weights[MODEL_GROUPS];
	size_t weights_count;
	struct model_line lines[10];
	/* Its pace; see estimate.h. */
	double fast, slow, run_ms, spread_ms;
	int64_t rate_at_ms, rate_since_ms;
};

/* Moments are 0 for "none". */
struct model_job {
	struct uuid id;
	bool gone; /* only the tombstone is left, and of the rest nothing counts */
	int64_t gone_until_ms;

	int state, queue, priority;
	uint64_t place;		       /* in line; 0: never had one */
	int64_t attempt, max_attempts; /* max_attempts 0: the queue's */
	int64_t created_at_ms, run_at_ms, start_deadline_at_ms, deadline_at_ms;
	int64_t started_at_ms, finished_at_ms, lease_expires_at_ms, attempt_deadline_at_ms, expires_at_ms;
	int64_t error_at_ms;
	int error_kind;
	struct slice error_message; /* data NULL: the engine's own words */
	bool has_progress;
	double progress;
	struct slice note;
	int64_t call_ms;
	int64_t result_ttl_ms;	    /* −1: the queue's */
	int64_t attempt_timeout_ms; /* 0: the queue's */
	struct model_backoff backoff;
	int64_t bytes;
	uint64_t holder;
	struct token lease;	   /* the present or last one */
	struct token former_lease; /* the one before it */
	bool lease_called_back;	   /* a cancel took it while it held */
	bool artifacts_gone;
	bool has_checkpoint;
	struct slice checkpoint;

	bool link_revoked;
	bool link_known; /* its text has been seen */
	int64_t links;	 /* made so far, less the first */
	char link[MODEL_LINK];
	char old_link[MODEL_LINK]; /* the one before, "" for none */

	struct slice payload, content_type, group, title, idempotency_key, callback_url, traceparent;
	const struct pair *metadata;
	size_t metadata_count;

	bool taken; /* while a lease is tried out */
};

struct model_artifact {
	struct uuid job;
	struct slice name, content_type, data;
	int64_t size, created_at_ms;
	uint8_t sha256[32];
	bool has_blob;
	struct uuid blob;
};

/* A lease that waits, or a change by filter that is not at its end. */
struct model_kept {
	struct asked *asked;
	int64_t wait_until_ms;
	/* Of a change: */
	bool begun, has_after;
	struct uuid after; /* looked at so far */
	struct uuid until; /* the youngest there was when it began */
	int64_t count;
};

/* Hands out what the engine wrote into the webhook with that id, to be kept for as long as the model; empty where there
 * is none. */
typedef struct slice (*model_body_cb)(void *user, const struct uuid *id);

struct model {
	const struct settings *settings;
	int64_t now_ms;

	struct model_queue queues[MODEL_QUEUES];
	size_t queues_count;
	struct model_limit limits[MODEL_LIMITS]; /* in no order */
	size_t limits_count;
	struct model_job jobs[MODEL_JOBS]; /* by id */
	size_t jobs_count;
	struct model_artifact artifacts[MODEL_ARTIFACTS]; /* in no order */
	size_t artifacts_count;

	/* What lives outside the store. */
	struct model_kept parked[MODEL_KEPT], sweeps[MODEL_KEPT];
	size_t parked_count, sweeps_count;

	/* Of the batch under way. */
	struct job_event events[MODEL_EVENTS];
	size_t events_count;
	struct uuid garbage[MODEL_ARTIFACTS];
	size_t garbage_count;
	struct uuid ended[MODEL_EVENTS]; /* by the command under way, and somebody is to be told */
	size_t ended_count;

	model_body_cb body;
	void *body_user;
};

/* What a command should be answered. */
struct expectation {
	bool kept;	   /* the engine keeps it: nothing is answered yet */
	int code;	   /* < 0: refused so */
	const char *field; /* of a refusal; NULL: whatever it says */
	bool retry_after;  /* the refusal says when to come back, in 1,000 to 60,000 ms */
	const struct message *message;
	const void *result; /* message's struct; good until the model's next call */
};

/* Hands out the delay that was drawn for a job in this batch, from what the store says of it. */
typedef int64_t (*model_run_at_cb)(void *user, const struct uuid *id);

void model_init(struct model *m, const struct settings *settings, model_body_cb body, void *body_user);
/* Everything that a transaction can take back; what is kept outside the store stays as it is in ret. */
void model_copy_store(struct model *ret, const struct model *m);

/* A batch begins: first what time it is, then what is due happens. False where some of it has to wait for the next
 * batch. */
void model_clock(struct model *m, int64_t now_ms);
bool model_time(struct model *m, model_run_at_cb run_at, void *user);
/* The next parked lease whose wait is over, to be answered with ret; NULL when there is no more. */
struct asked *model_next_over(struct model *m, struct expectation *ret);
/* One command, after the engine has had it. */
void model_apply(struct model *m, struct asked *asked, struct expectation *ret);
/* After a COMMAND_LEASE_CANCEL or COMMAND_FORGET: the next of those kept that it ends, to be answered with ret; NULL
 * when there is no more. */
struct asked *model_next_ended(struct model *m, const struct asked *by, struct expectation *ret);

/* How far the engine went on with its first change by filter. */
struct model_went {
	bool answered;
	bool all; /* there is nothing left to look at; else it stopped at */
	struct uuid after;
};

/* The end of a batch, in this order. The change that is answered, or NULL. */
struct asked *model_sweep(struct model *m, const struct model_went *went, struct expectation *ret);
/* The next parked lease that is granted something; NULL when there is no more. */
struct asked *model_next_served(struct model *m, struct expectation *ret);

/* The engine gave one back unanswered, since its batch failed. False where it was not kept. */
bool model_unkeep(struct model *m, const struct asked *asked);

/* When time alone changes something next; INT64_MAX for never. */
int64_t model_next_ms(const struct model *m);

/* ---- looking at it ---- */

/* NULL where there is neither record nor tombstone. */
const struct model_job *model_find(const struct model *m, const struct uuid *id);
/* The webhook that tells of the job's end; NULL where there is none. */
struct model_job *model_delivery(struct model *m, const struct model_job *job);
/* −1 where there is none. */
int model_find_queue(const struct model *m, struct slice name);
/* When time alone changes something about the job; 0 for never. */
int64_t model_due(const struct model_job *job);
int64_t model_max_attempts(const struct model *m, const struct model_job *job);
/* The jobs of a queue in a state. */
int64_t model_count(const struct model *m, int queue, int state);
/* What the unfinished jobs of a queue weigh. */
int64_t model_bytes(const struct model *m, int queue);
/* The place of a ready job, itself counted. */
int64_t model_position(const struct model *m, const struct model_job *job);
/* The same as if it were the last of its priority. */
int64_t model_last_position(const struct model *m, const struct model_job *job);
/* When the job may be done; position counts where it is ready, fresh: it was put just now. False while there is nothing
 * to guess from. Of each end got is taken over where it is the expected one but for what arithmetic leaves open. */
bool model_eta(const struct model *m, const struct model_job *job, int64_t position, bool fresh,
	       const struct msg_eta *got, struct msg_eta *ret);
/* What keeps a job from beginning besides its turn; false for nothing. */
bool model_waiting_for(const struct model *m, const struct model_job *job, struct msg_waiting *ret);
/* −1 where there is none. */
int model_find_limit(const struct model *m, struct slice name);
/* Everything about a limit, as limit.get tells it; good until the next call. */
void model_describe_limit(const struct model *m, int limit, struct msg_limit *ret);
/* Everything about a queue, as queue.get tells it. */
void model_describe_queue(const struct model *m, int queue, struct msg_queue *ret);
/* The job's artifacts by name; how many, at most cap. */
size_t model_artifacts(const struct model *m, const struct uuid *job, const struct model_artifact **ret, size_t cap);
bool model_matches(const struct model *m, const struct model_job *job, const struct msg_job_filter *filter);

#endif
