/* engine_rig.h: the real engine on a real store, driven by hand: the test says what time it is.
 *
 * Every call below is one batch of one command: begin, apply, finish, commit, release; and after each the checker
 * proves every invariant from the store. The answer stays in rig->answer, decoded, until the next call.
 */
#ifndef RAINCHECK_TEST_ENGINE_RIG_H
#define RAINCHECK_TEST_ENGINE_RIG_H

#include <msgpack.h>

#include "server/engine/engine.h"
#include "server/engine/view.h"
#include "server/engine/view_limits.h"
#include "tests/harness/tempdir.h"

struct rig {
	struct tempdir dir;
	struct settings settings;
	struct store *store;
	struct blob_store *blobs;
	struct engine *engine;
	struct uuid_gen ids;
	int64_t now_ms;
	uint32_t drawn;
	bool unchecked; /* the checker is not asked after each batch: the test does it, or has damaged the store */
	bool damaged;	/* the store may fail: a batch in which it does is taken back, and code says why */
	bool take_back; /* the next batch is aborted after it was applied, as if the disk had failed */

	/* Of the last command: */
	int code;		/* 0, or why it was refused */
	struct error_info info; /* then */
	bool parked;
	const struct command *answered_by; /* whose answer bytes will hold */
	void *kept;			   /* of it, until it is released */
	int batches;			   /* of the last rig_change() */
	int released;			   /* how often release was called for any command */
	struct msgpack_zone zone;
	struct buf bytes;
	union {
		struct msg_job_put_result put;
		struct msg_job_put_many_result put_many;
		struct msg_job_lease_result lease;
		struct msg_job_extend_result extend;
		struct msg_job_complete_result complete;
		struct msg_job_fail_result fail;
		struct msg_job_release_result release;
		struct msg_artifact_stored stored;
		struct msg_job_change_result change;
		struct msg_queue_purge_result purge;
		struct msg_queue queue;
		struct msg_limit limit;
		struct msg_link_result link;
	} answer;
	struct job_view view;
	struct store_txn *view_txn;
	struct limits_view limits;

	/* Hears every answer, within the batch that gives it; NULL: nobody does. */
	void (*told)(struct command *cmd, const void *result);
};

void rig_open(struct rig *r);
/* After rig_pause(), of a store that may be damaged: why it cannot be opened, and nothing is open then. */
int rig_try_resume(struct rig *r, struct error_info *info);
void rig_close(struct rig *r);
/* Closes store and engine, so that another process can look at them, and opens them again. */
void rig_pause(struct rig *r);
void rig_resume(struct rig *r);
/* Both, as after a crash. */
void rig_restart(struct rig *r);

/* Runs one command; the answer is in r->answer, or r->code says why not. */
void rig_run(struct rig *r, enum command_kind kind, const void *params);
/* The same for a command of the caller's own, which may be parked. */
void rig_submit(struct rig *r, struct command *cmd, enum command_kind kind, const void *params);
/* Both in one batch, in this order. */
void rig_submit_two(struct rig *r, struct command *a, enum command_kind a_kind, const void *a_params, struct command *b,
		    enum command_kind b_kind, const void *b_params);
/* A change of jobs, with as many batches as it takes; r->batches says how many that were. */
void rig_change(struct rig *r, struct command_change *change);
/* A batch without a command at a later moment: time passes. */
void rig_pass(struct rig *r, int64_t ms);

/* A put that says no more than this, to be added to. */
struct msg_job_put rig_put_of(const char *queue, const char *payload);
struct uuid rig_put(struct rig *r, const char *queue, const char *payload);
struct uuid rig_put_params(struct rig *r, const struct msg_job_put *put);
/* Of one job; r->code says whether it was refused. */
void rig_cancel(struct rig *r, const struct uuid *id);
void rig_retry(struct rig *r, const struct uuid *id);
void rig_erase(struct rig *r, const struct uuid *id);
/* Sets what is there in set, whose queue is filled in. */
void rig_queue_set(struct rig *r, const char *queue, struct msg_queue_set set);
/* Leases one; false when there is none. */
bool rig_lease(struct rig *r, const char *queue, struct msg_leased_job *ret);
void rig_complete(struct rig *r, const struct uuid *id, const struct token *lease, const char *result);
void rig_fail(struct rig *r, const struct uuid *id, const struct token *lease, int kind, int64_t retry_after_ms);

/* The job as it is now; valid until the next call. ERR_… in r->code where it is not there. */
const struct msg_job *rig_job(struct rig *r, const struct uuid *id);
/* Its state, or ERR_… where it is not there. */
int rig_state(struct rig *r, const struct uuid *id);
/* The queue as it is now; valid until the next call. */
struct msg_queue rig_queue(struct rig *r, const char *name);
/* Fails the test unless the checker finds nothing. */
void rig_check(struct rig *r);

/* ---- flow control ---- */

/* Sets what is there in set, whose limit is filled in. */
void rig_limit_set(struct rig *r, const char *limit, struct msg_limit_set set);
void rig_limit_delete(struct rig *r, const char *limit);
/* The limit as it is now; valid until the next call. ERR_… in r->code where it is not there. */
const struct msg_limit *rig_limit(struct rig *r, const char *limit);
/* The queue's jobs count for this limit from now on; NULL: for none. */
void rig_queue_limit(struct rig *r, const char *queue, const char *limit);
/* Leases up to max from these queues; how many there were. */
size_t rig_lease_many(struct rig *r, const char *const *queues, size_t count, int64_t max);
/* Puts so many jobs, MAX_BATCH at most, in one batch; group: NULL for none, else the payload too. Ids follow one
 * another from the returned one, see uuid_next(). */
struct uuid rig_put_many(struct rig *r, const char *queue, const char *group, size_t count);
/* Commands with a kind and params, in one batch, in this order. */
void rig_submit_all(struct rig *r, struct command *cmds, size_t count);

#endif
