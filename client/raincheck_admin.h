/* raincheck_admin.h: the part of raincheck.h for operators: many jobs at once, queues, the broker itself.
 *
 * Included by raincheck.h, which says what holds for every function here. The broker lets admins do these only.
 *
 * Calls that may take long (cancel_many, retry_many, erase_many, queue_purge, backup, check) are waited for up to a
 * day, whatever the request timeout. Closing the handle, or losing the connection, stops a change of many jobs where it
 * is; what it has done by then stays done.
 */
#ifndef RAINCHECK_ADMIN_H
#define RAINCHECK_ADMIN_H

#ifndef RAINCHECK_H
#error "include raincheck.h"
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- many jobs at once ------------------------------------------------------------------------------------------- */

/* The jobs for which all that is given holds. */
struct raincheck_filter {
	const char *queue;
	bool has_state;
	enum raincheck_job_state state;
	const char *group;
	int64_t before_at_ms; /* put before this moment */
	bool all;	      /* every job there is: to be said where nothing else is given */
};

struct raincheck_change {
	struct raincheck_filter filter;
	int64_t limit;	    /* stop after about so many and answer a cursor, 1 to 1,000,000; 0: go on to the end */
	const char *cursor; /* of the answer before, with the same filter */
};

/* As raincheck_cancel(), _retry() and _erase() do to one. Jobs whose state does not allow it are passed over. */
int raincheck_cancel_many_async(struct raincheck *rc, const struct raincheck_change *change, raincheck_cb cb,
				void *user);
int raincheck_cancel_many(struct raincheck *rc, const struct raincheck_change *change,
			  struct raincheck_change_result **ret);
int raincheck_retry_many_async(struct raincheck *rc, const struct raincheck_change *change, raincheck_cb cb,
			       void *user);
int raincheck_retry_many(struct raincheck *rc, const struct raincheck_change *change,
			 struct raincheck_change_result **ret);
int raincheck_erase_many_async(struct raincheck *rc, const struct raincheck_change *change, raincheck_cb cb,
			       void *user);
int raincheck_erase_many(struct raincheck *rc, const struct raincheck_change *change,
			 struct raincheck_change_result **ret);

/* ---- queues ------------------------------------------------------------------------------------------------------ */

/* Jobs by state. */
struct raincheck_counts {
	int64_t scheduled;
	int64_t ready;
	int64_t running;
	int64_t succeeded;
	int64_t dead;
	int64_t canceled;
	int64_t expired;
};

struct raincheck_queue {
	const char *queue;
	const char *title;
	bool paused;	   /* it takes jobs and gives none away */
	bool has_max_jobs; /* not: no bound */
	int64_t max_jobs;  /* unfinished ones; a put beyond is refused */
	bool has_max_bytes;
	int64_t max_bytes; /* of their payloads and previews */
	int64_t max_attempts;
	struct raincheck_backoff backoff;
	int64_t attempt_timeout_ms;
	bool has_result_ttl_ms;
	int64_t result_ttl_ms;
	struct raincheck_counts counts;
	int64_t bytes; /* payloads and previews of the unfinished jobs */
	int64_t put_total;
	int64_t oldest_ready_at_ms;
};

struct raincheck_queue_list {
	const struct raincheck_queue *queues;
	size_t queue_count;
};

int raincheck_queue_list_async(struct raincheck *rc, raincheck_cb cb, void *user);
int raincheck_queue_list(struct raincheck *rc, struct raincheck_queue_list **ret);
int raincheck_queue_get_async(struct raincheck *rc, const char *queue, raincheck_cb cb, void *user);
int raincheck_queue_get(struct raincheck *rc, const char *queue, struct raincheck_queue **ret);

/* Settings that can be taken back to their defaults. */
enum raincheck_queue_setting {
	RAINCHECK_QUEUE_TITLE = 1 << 0,
	RAINCHECK_QUEUE_PAUSED = 1 << 1,
	RAINCHECK_QUEUE_MAX_JOBS = 1 << 2,
	RAINCHECK_QUEUE_MAX_BYTES = 1 << 3,
	RAINCHECK_QUEUE_MAX_ATTEMPTS = 1 << 4,
	RAINCHECK_QUEUE_BACKOFF_BASE = 1 << 5,
	RAINCHECK_QUEUE_BACKOFF_FACTOR = 1 << 6,
	RAINCHECK_QUEUE_BACKOFF_MAX = 1 << 7,
	RAINCHECK_QUEUE_BACKOFF_JITTER = 1 << 8,
	RAINCHECK_QUEUE_BACKOFF = 0xf << 5, /* all four */
	RAINCHECK_QUEUE_ATTEMPT_TIMEOUT = 1 << 9,
	RAINCHECK_QUEUE_RESULT_TTL = 1 << 10,
};

/* What is not given stays as it is. A setting that is given and taken back at once is set. */
struct raincheck_queue_set {
	const char *queue; /* made if it is not there */
	const char *title;
	bool has_paused;
	bool paused;
	bool has_max_jobs;
	int64_t max_jobs; /* 0: nothing gets in */
	bool has_max_bytes;
	int64_t max_bytes;
	int64_t max_attempts; /* 1 to 1000 */
	struct raincheck_backoff backoff;
	int64_t attempt_timeout_ms;
	bool has_result_ttl_ms;
	int64_t result_ttl_ms;
	unsigned defaults; /* RAINCHECK_QUEUE_… to take back, or'ed */
};

int raincheck_queue_set_async(struct raincheck *rc, const struct raincheck_queue_set *set, raincheck_cb cb, void *user);
int raincheck_queue_set(struct raincheck *rc, const struct raincheck_queue_set *set, struct raincheck_queue **ret);

int raincheck_queue_pause_async(struct raincheck *rc, const char *queue, raincheck_cb cb, void *user);
int raincheck_queue_pause(struct raincheck *rc, const char *queue, struct raincheck_queue **ret);
int raincheck_queue_resume_async(struct raincheck *rc, const char *queue, raincheck_cb cb, void *user);
int raincheck_queue_resume(struct raincheck *rc, const char *queue, struct raincheck_queue **ret);

struct raincheck_purge_result {
	int64_t count; /* jobs canceled */
	struct raincheck_queue queue;
};

/* Cancels the queue's scheduled and ready jobs. */
int raincheck_queue_purge_async(struct raincheck *rc, const char *queue, raincheck_cb cb, void *user);
int raincheck_queue_purge(struct raincheck *rc, const char *queue, struct raincheck_purge_result **ret);

/* ---- the broker -------------------------------------------------------------------------------------------------- */

struct raincheck_store_stats {
	int64_t used_bytes;
	int64_t max_bytes;
	int64_t reserve_bytes; /* kept for finishing what is there when it gets full */
	bool full;	       /* puts are being refused */
	int64_t set_aside;     /* jobs whose record is damaged */
	int64_t commits;
	int64_t commands;
	int64_t failed_commits;
	int64_t largest_batch; /* commands in one commit */
};

struct raincheck_stats {
	const char *version;
	int64_t started_at_ms;
	int64_t now_ms;
	int64_t connections;
	int64_t waiting_leases;
	int64_t queues;
	struct raincheck_counts jobs;
	int64_t put_total;
	struct raincheck_store_stats store;
};

int raincheck_stats_async(struct raincheck *rc, raincheck_cb cb, void *user);
int raincheck_stats(struct raincheck *rc, struct raincheck_stats **ret);

struct raincheck_backup_result {
	const char *path;
	int64_t jobs;
	int64_t artifacts;
	int64_t bytes;
	int64_t took_ms;
	int64_t damaged; /* parts of single jobs that are damaged in the copy as they are in the broker's store */
};

/* A copy of everything, as it is at one moment, into a directory on the broker's machine that is not there yet. */
int raincheck_backup_async(struct raincheck *rc, const char *path, raincheck_cb cb, void *user);
int raincheck_backup(struct raincheck *rc, const char *path, struct raincheck_backup_result **ret);

struct raincheck_check_result {
	int64_t jobs;
	int64_t artifacts;
	int64_t breach_count;
	int64_t set_aside;	  /* jobs whose record is damaged */
	const char *const *lines; /* the first of both, a line each */
	size_t line_count;
	int64_t took_ms;
};

/* Proves the invariants of what is stored, while the broker goes on. */
int raincheck_check_async(struct raincheck *rc, raincheck_cb cb, void *user);
int raincheck_check(struct raincheck *rc, struct raincheck_check_result **ret);

#ifdef __cplusplus
}
#endif

#endif
