/* model_priv.h: what the files of the model share. Included in them alone. */
#ifndef RAINCHECK_SIM_MODEL_PRIV_H
#define RAINCHECK_SIM_MODEL_PRIV_H

#include "tests/sim/model.h"

#define MODEL_MOMENT_MAX	   INT64_C(253402300799999)
#define MODEL_DEFAULT_LEASE_MS	   30000
#define MODEL_DEFAULT_MAX_ATTEMPTS 5
#define MODEL_DUE_PER_BATCH	   1000 /* what more is due is done in the next batch */
#define MODEL_ARTIFACTS_OF_JOB	   16
#define MODEL_TURN		   16777216 /* what a turn takes of a group of weight 1 */

struct model_job *model_find_job(struct model *m, const struct uuid *id);
/* Puts the job into a state, with all that follows from it but the event. */
void model_enter(struct model *m, struct model_job *job, int state);
/* Tells the fronts that the job changed. */
void model_event(struct model *m, const struct model_job *job, bool final);
/* Something of the job is another that whoever looks at it shows. */
void model_news(struct model *m, const struct uuid *job);
/* An attempt failed: back in line after a while, or dead. run_at: what the engine says was drawn, −1 where it is not
 * known; used where the documents allow it. */
void model_failed(struct model *m, struct model_job *job, int kind, struct slice message, int64_t retry_after_ms,
		  model_run_at_cb run_at, void *user);
/* A new one, in its place by id; pointers to others are void. */
struct model_job *model_insert(struct model *m, const struct uuid *id);
/* The job has just ended: whoever wants to know is told when the command is through. */
void model_outbox_tell(struct model *m, const struct model_job *job);
/* The command is through; pointers to jobs are void. */
void model_outbox_flush(struct model *m);
/* Whether something was to be done, and could be: 0, 1 or ERR_INVALID_STATE. */
int model_redeliver(struct model *m, struct model_job *job);
/* Only the tombstone stays. */
void model_forget(struct model *m, struct model_job *job);
void model_drop_artifacts(struct model *m, struct model_job *job);
/* Names bytes as the job's. False where it has too many. */
bool model_attach(struct model *m, struct model_job *job, struct slice name, const struct staged *staged);

/* Gives a job that has none its place in line; takes one out of it. Before its state changes. */
void model_join_line(struct model *m, struct model_job *job);
void model_leave_line(struct model *m, const struct model_job *job, bool served);
/* How many of a queue's jobs its limit lets begin, besides those that are taken. */
int64_t model_room(const struct model *m, int queue);
int64_t model_in_flight(const struct model *m, int limit);
int64_t model_concurrency(const struct model *m, const struct model_limit *l);
double model_tokens(const struct model *m, const struct model_limit *l);
void model_call_begins(struct model *m, int queue);
void model_call_ended(struct model *m, int queue, enum model_outcome outcome);
/* False where the queue has no limit. */
bool model_hold(struct model *m, int queue, int64_t retry_after_ms);
int64_t model_held_until(const struct model *m, int queue);
void model_limits_clock(struct model *m);
/* The moment at which time alone lets somebody who waits have a job; until, where there is none before. */
int64_t model_limits_next_ms(struct model *m, int64_t until);
void model_limit_command(struct model *m, const struct asked *asked, struct expectation *ret);

/* Who is next in a queue, of those not taken; NULL where there is none. */
struct model_job *model_first_ready(struct model *m, int queue);
int64_t model_attempt_timeout_ms(const struct model *m, const struct model_job *job);
struct model_backoff model_backoff_of(const struct model *m, const struct model_job *job, int queue);
/* What a queue's attempts count where several queues are told of; and what is told of sums of what counts. False where
 * nothing is known. */
double model_weight(const struct model *m, int queue);
bool model_run_time(double weight, double run, double spread, struct msg_run_time *ret);
void model_pace_began(struct model *m, int queue);
void model_pace_done(struct model *m, int queue);
void model_pace_succeeded(struct model *m, int queue, int64_t run_ms);

void model_refuse(struct expectation *ret, int code, const char *field);
void model_answer(struct expectation *ret, const struct message *message, const void *result);

int model_add_queue(struct model *m, struct slice name);

void model_put(struct model *m, const struct asked *asked, struct expectation *ret);
void model_queue_command(struct model *m, const struct asked *asked, struct expectation *ret);
void model_link(struct model *m, const struct asked *asked, struct expectation *ret);
/* Whether a lease that waits names the queue. */
bool model_is_awaited(const struct model *m, struct slice queue);
/* Whether a lease that names the queue would be granted something. */
bool model_can_give(struct model *m, struct slice queue);
/* False where nothing could be granted; the expectation is then untouched. */
bool model_lease(struct model *m, const struct asked *asked, struct expectation *ret);
void model_extend(struct model *m, const struct asked *asked, struct expectation *ret);
void model_checkpoint(struct model *m, const struct asked *asked, struct expectation *ret);
void model_complete(struct model *m, const struct asked *asked, struct expectation *ret);
void model_fail(struct model *m, const struct asked *asked, struct expectation *ret);
void model_release(struct model *m, const struct asked *asked, struct expectation *ret);
void model_attach_command(struct model *m, const struct asked *asked, struct expectation *ret);
void model_hook_command(struct model *m, const struct asked *asked, struct expectation *ret);
void model_woken(struct model *m, const struct asked *asked, struct expectation *ret);
/* The holder of the lease is given those that wait. */
void model_wake(struct model *m, const struct model_job *job);
void model_hooks_taken(struct model *m, const struct uuid *job, int64_t up_to);
void model_hooks_forget(struct model *m, const struct uuid *job);
/* Of one job. */
void model_change_named(struct model *m, const struct asked *asked, struct expectation *ret);
/* Of those among the jobs behind after that the filter names, up to and including until. How many were changed. */
int64_t model_change_many(struct model *m, const struct command_change *c, const struct uuid *after,
			  const struct uuid *until);

#endif
