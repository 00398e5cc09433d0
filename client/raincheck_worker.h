/* raincheck_worker.h: the part of raincheck.h for workers: leasing jobs, keeping and ending leases, artifacts.
 *
 * Included by raincheck.h, which says what holds for every function here.
 */
#ifndef RAINCHECK_WORKER_H
#define RAINCHECK_WORKER_H

#ifndef RAINCHECK_H
#error "include raincheck.h"
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- working on jobs --------------------------------------------------------------------------------------------- */

struct raincheck_lease {
	const char *const *queues; /* 1 to 256, taken from in weighted turns */
	size_t queue_count;
	int64_t max;	  /* jobs at once, up to 1000; 0: 1 */
	int64_t lease_ms; /* 0: 30 s */
	int64_t wait_ms;  /* stay parked this long for a job to come, at most RAINCHECK_MAX_WAIT_MS */
};

struct raincheck_leased_job {
	char id[RAINCHECK_ID_SIZE];
	char lease[RAINCHECK_TOKEN_SIZE]; /* to be given with every write for this attempt */
	const char *queue;
	int64_t attempt;
	struct raincheck_bytes payload;
	const char *content_type;
	int64_t priority;
	int64_t lease_expires_at_ms;
	int64_t attempt_deadline_at_ms;
	int64_t deadline_at_ms;
	bool has_checkpoint;
	struct raincheck_bytes checkpoint; /* what an earlier attempt left for this one */
	const struct raincheck_pair *metadata;
	size_t metadata_count;
	const char *traceparent;
	const char *hook_url; /* where the external API may report to */
};

struct raincheck_lease_result {
	const struct raincheck_leased_job *jobs; /* none when the wait was over first */
	size_t job_count;
};

int raincheck_lease_async(struct raincheck *rc, const struct raincheck_lease *lease, raincheck_cb cb, void *user);
int raincheck_lease(struct raincheck *rc, const struct raincheck_lease *lease, struct raincheck_lease_result **ret);

/* Ends the waits of this handle's leases: each answers at once, with nothing. After the answer to this call no lease
 * started before it can bring a job any more: for a worker that is to take no more work. */
int raincheck_lease_cancel_async(struct raincheck *rc, raincheck_cb cb, void *user);
int raincheck_lease_cancel(struct raincheck *rc);

struct raincheck_extend_item {
	const char *id;
	const char *lease;
	bool has_progress;
	double progress;  /* 0 to 1 */
	const char *note; /* shown on the job's page */
};

struct raincheck_extend {
	const struct raincheck_extend_item *leases; /* at most 1000 */
	size_t lease_count;
	int64_t lease_ms; /* from now; 0: 30 s */
};

enum raincheck_extend_status {
	RAINCHECK_EXTEND_OK,
	RAINCHECK_EXTEND_LOST,	 /* the lease is gone: stop, write nothing */
	RAINCHECK_EXTEND_CANCEL, /* the job is to be canceled: stop */
};

struct raincheck_extended {
	char id[RAINCHECK_ID_SIZE];
	enum raincheck_extend_status status;
};

struct raincheck_extend_result {
	const struct raincheck_extended *leases; /* as many as were given, in that order */
	size_t lease_count;
};

int raincheck_extend_async(struct raincheck *rc, const struct raincheck_extend *extend, raincheck_cb cb, void *user);
int raincheck_extend(struct raincheck *rc, const struct raincheck_extend *extend, struct raincheck_extend_result **ret);

struct raincheck_checkpoint {
	const char *id;
	const char *lease;
	struct raincheck_bytes data; /* at most 64 KiB */
};

/* The answer means: durable, and handed to whoever leases the job next. */
int raincheck_checkpoint_async(struct raincheck *rc, const struct raincheck_checkpoint *checkpoint, raincheck_cb cb,
			       void *user);
int raincheck_checkpoint(struct raincheck *rc, const struct raincheck_checkpoint *checkpoint);

struct raincheck_complete {
	const char *id;
	const char *lease;
	struct raincheck_media result; /* stored as the artifact "result"; none where it was uploaded before */
	int64_t call_ms;	       /* how long the external call took, for the estimates */
};

struct raincheck_completed {
	const struct raincheck_error *error; /* why this one was refused; else NULL */
	char id[RAINCHECK_ID_SIZE];
	enum raincheck_job_state state;
};

struct raincheck_complete_result {
	enum raincheck_job_state state;		/* of complete */
	const struct raincheck_completed *jobs; /* of complete_many: as many as were given, in that order */
	size_t job_count;
};

int raincheck_complete_async(struct raincheck *rc, const struct raincheck_complete *complete, raincheck_cb cb,
			     void *user);
int raincheck_complete(struct raincheck *rc, const struct raincheck_complete *complete,
		       struct raincheck_complete_result **ret);

/* 1 to max_batch completions in one commit, each on its own merits. */
int raincheck_complete_many_async(struct raincheck *rc, const struct raincheck_complete *completes, size_t count,
				  raincheck_cb cb, void *user);
int raincheck_complete_many(struct raincheck *rc, const struct raincheck_complete *completes, size_t count,
			    struct raincheck_complete_result **ret);

struct raincheck_fail {
	const char *id;
	const char *lease;
	enum raincheck_failure kind;
	const char *message;
	int64_t retry_after_ms; /* what the API asked for */
	int64_t call_ms;
};

struct raincheck_fail_result {
	enum raincheck_job_state state;
	int64_t next_attempt_at_ms; /* 0: there will be none */
};

int raincheck_fail_async(struct raincheck *rc, const struct raincheck_fail *fail, raincheck_cb cb, void *user);
int raincheck_fail(struct raincheck *rc, const struct raincheck_fail *fail, struct raincheck_fail_result **ret);

struct raincheck_release {
	const char *id;
	const char *lease;
	int64_t delay_ms;
};

struct raincheck_release_result {
	enum raincheck_job_state state;
};

/* Gives a job back; the attempt is not counted, its checkpoint kept. */
int raincheck_release_async(struct raincheck *rc, const struct raincheck_release *release, raincheck_cb cb, void *user);
int raincheck_release(struct raincheck *rc, const struct raincheck_release *release,
		      struct raincheck_release_result **ret);

/* ---- artifacts --------------------------------------------------------------------------------------------------- */

struct raincheck_artifact_put {
	const char *id;
	const char *lease; /* a producer gives none and may do this before the first lease only */
	const char *name;  /* as a queue's: 1 to 128 of A-Z a-z 0-9 . _ : - */
	const char *content_type;
	struct raincheck_bytes data;
};

struct raincheck_stored {
	int64_t size; /* bytes */
	char sha256[RAINCHECK_SHA256_SIZE];
};

/* Whole, in one message. */
int raincheck_artifact_put_async(struct raincheck *rc, const struct raincheck_artifact_put *put, raincheck_cb cb,
				 void *user);
int raincheck_artifact_put(struct raincheck *rc, const struct raincheck_artifact_put *put,
			   struct raincheck_stored **ret);

struct raincheck_artifact_begin {
	const char *id;
	const char *lease;
	const char *name;
	const char *content_type;
	bool has_size;
	int64_t size; /* of the whole, where it is known beforehand */
};

struct raincheck_upload {
	char upload[RAINCHECK_TOKEN_SIZE];
};

/* In pieces: begin, write from offset 0 on, commit. Nobody sees it before the commit. */
int raincheck_artifact_begin_async(struct raincheck *rc, const struct raincheck_artifact_begin *begin, raincheck_cb cb,
				   void *user);
int raincheck_artifact_begin(struct raincheck *rc, const struct raincheck_artifact_begin *begin,
			     struct raincheck_upload **ret);

struct raincheck_artifact_write {
	const char *upload;
	int64_t offset;
	struct raincheck_bytes data;
};

struct raincheck_written {
	int64_t offset; /* where the next piece goes */
};

int raincheck_artifact_write_async(struct raincheck *rc, const struct raincheck_artifact_write *write, raincheck_cb cb,
				   void *user);
int raincheck_artifact_write(struct raincheck *rc, const struct raincheck_artifact_write *write,
			     struct raincheck_written **ret);

struct raincheck_artifact_commit {
	const char *upload;
	const char *sha256; /* lower-case hexadecimal; NULL: not checked */
};

int raincheck_artifact_commit_async(struct raincheck *rc, const struct raincheck_artifact_commit *commit,
				    raincheck_cb cb, void *user);
int raincheck_artifact_commit(struct raincheck *rc, const struct raincheck_artifact_commit *commit,
			      struct raincheck_stored **ret);

/* What the greeting of the next connection, and of those after it, says: that this worker was told to lease no more, as
 * RAINCHECK_NOTICE_WORKER_QUIET does. The broker shows it to operators. */
void raincheck_set_worker_quiet(struct raincheck *rc, bool quiet);

/* Greets with this token (NULL: none) and as this worker (NULL: not a worker) from now on: once every request that was
 * sent is answered, the connection is ended and made anew; those started meanwhile wait for the new one. A lease that
 * waits is waited for: see raincheck_lease_cancel_async(). Uploads that were begun are lost. RAINCHECK_EBAD_REQUEST (a
 * worker needs a name), RAINCHECK_ENO_MEMORY: then nothing has changed. */
int raincheck_reconnect(struct raincheck *rc, const char *token, const struct raincheck_worker *worker);

#ifdef __cplusplus
}
#endif

#endif
