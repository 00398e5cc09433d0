/* raincheck_admin.h: the part of raincheck.h for operators: many jobs at once, queues, limits, the broker itself.
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

/* As raincheck_cancel(), _retry(), _redeliver() and _erase() do to one. Jobs whose state does not allow it are passed
 * over. Jobs of the server's own queue "_webhooks" are meant only where it is named. */
int raincheck_cancel_many_async(struct raincheck *rc, const struct raincheck_change *change, raincheck_cb cb,
				void *user);
int raincheck_cancel_many(struct raincheck *rc, const struct raincheck_change *change,
			  struct raincheck_change_result **ret);
int raincheck_retry_many_async(struct raincheck *rc, const struct raincheck_change *change, raincheck_cb cb,
			       void *user);
int raincheck_retry_many(struct raincheck *rc, const struct raincheck_change *change,
			 struct raincheck_change_result **ret);
int raincheck_redeliver_many_async(struct raincheck *rc, const struct raincheck_change *change, raincheck_cb cb,
				   void *user);
int raincheck_redeliver_many(struct raincheck *rc, const struct raincheck_change *change,
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

/* What becomes of a put that cannot be done by its deadline. */
enum raincheck_admission { RAINCHECK_ADMIT_ALWAYS, RAINCHECK_ADMIT_DEADLINE };

/* A group's share of its queue, beside others that have jobs in line there. */
struct raincheck_group_weight {
	const char *group;
	int64_t weight; /* 1 to 1000 */
};

/* How long attempts that succeeded have taken: smoothed, the newest counting most; and by how much they differ from
 * that. Both 0 while none is known. */
struct raincheck_run_time {
	int64_t mean_ms;
	int64_t spread_ms;
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
	const char *limit;			      /* the limit that its calls count for */
	int64_t weight;				      /* its share when a lease names several queues */
	const struct raincheck_group_weight *weights; /* of groups that have another than 1 */
	size_t weight_count;
	enum raincheck_admission admit;
	struct raincheck_counts counts;
	int64_t bytes; /* payloads and previews of the unfinished jobs */
	int64_t put_total;
	int64_t lease_total; /* jobs given to workers, one again after each attempt */
	int64_t oldest_ready_at_ms;
	struct raincheck_run_time run;
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
	RAINCHECK_QUEUE_LIMIT = 1 << 11,
	RAINCHECK_QUEUE_WEIGHT = 1 << 12,
	RAINCHECK_QUEUE_WEIGHTS = 1 << 13,
	RAINCHECK_QUEUE_ADMIT = 1 << 14,
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
	const char *limit; /* one that there is */
	int64_t weight;	   /* 1 to 1000 */
	/* In place of the present ones, unless there are none: taking them back leaves none. */
	const struct raincheck_group_weight *weights;
	size_t weight_count; /* at most 1000 */
	bool has_admit;
	enum raincheck_admission admit;
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

/* ---- limits: what an external API can bear, shared by the queues that name it ------------------------------------ */

#define RAINCHECK_MAX_SCHEDULE 64

/* Other caps for a while, from the first moment up to but not including the second. 0: as the limit has it. */
struct raincheck_limit_spell {
	int64_t from_at_ms;
	int64_t until_at_ms;
	int64_t concurrency;
	double rate;
	double burst;
};

/* How many calls at once are right is learned, and held between these. In results: latency_target_ms 0 for none. */
struct raincheck_limit_adaptive {
	int64_t min;
	int64_t max;
	int64_t latency_target_ms; /* what a call should take at most */
};

/* With so many failures among the calls of a while no more begin for a time, then single ones until one succeeds. */
struct raincheck_limit_breaker {
	int64_t window_ms;    /* the while that is looked at, 1 s to 1 h */
	int64_t min_calls;    /* that have ended in it, else nothing is concluded */
	double failure_ratio; /* of them, above 0 and at most 1 */
	int64_t open_ms;      /* the time that no call begins, 100 ms to 1 h */
};

/* Why no more calls begin, or that they may: the first that holds, in this order. */
enum raincheck_limit_state {
	RAINCHECK_LIMIT_HELD,	 /* the API asked to be left alone (Retry-After) */
	RAINCHECK_LIMIT_BROKEN,	 /* the breaker is open */
	RAINCHECK_LIMIT_PROBING, /* it is half open: one call at a time */
	RAINCHECK_LIMIT_FULL,	 /* as many under way as may be */
	RAINCHECK_LIMIT_PACED,	 /* the rate is used up for the moment */
	RAINCHECK_LIMIT_FREE
};

enum raincheck_breaker_phase { RAINCHECK_BREAKER_CLOSED, RAINCHECK_BREAKER_OPEN, RAINCHECK_BREAKER_HALF_OPEN };

/* What holds at this moment. */
struct raincheck_limit_now {
	enum raincheck_limit_state state;
	int64_t in_flight; /* calls under way: the running jobs of its queues */
	int64_t waiting;   /* ready jobs of its queues */
	/* In effect, the least of what is set, scheduled and learned; 0: no bound */
	int64_t concurrency;
	double rate;
	bool has_breaker; /* it has one */
	enum raincheck_breaker_phase breaker;
	int64_t held_until_at_ms; /* of one that is held or broken; else 0 */
	/* Calls since it was made: begun, and how they ended, which is not known of all. */
	int64_t started;
	int64_t succeeded;
	int64_t failed;
	int64_t throttled;
	int64_t opened; /* how often the breaker has opened */
	/* Over its queues, each counting by how much was done there lately; not what was done days ago. */
	struct raincheck_run_time run;
};

struct raincheck_limit {
	const char *limit;
	int64_t concurrency; /* calls at once; 0: no bound */
	double rate;	     /* that begin in a second; 0: no bound */
	double burst;	     /* that may begin at once after a pause; 0: as many as in a second, at least 1 */
	const struct raincheck_limit_adaptive *adaptive; /* NULL: nothing is learned */
	const struct raincheck_limit_breaker *breaker;	 /* NULL: there is none */
	const struct raincheck_limit_spell *schedule;	 /* in order */
	size_t schedule_count;
	const char *const *queues; /* that use it, in the order of their names */
	size_t queue_count;
	struct raincheck_limit_now now;
};

struct raincheck_limit_list {
	const struct raincheck_limit *limits;
	size_t limit_count;
};

int raincheck_limit_list_async(struct raincheck *rc, raincheck_cb cb, void *user);
int raincheck_limit_list(struct raincheck *rc, struct raincheck_limit_list **ret);
int raincheck_limit_get_async(struct raincheck *rc, const char *limit, raincheck_cb cb, void *user);
int raincheck_limit_get(struct raincheck *rc, const char *limit, struct raincheck_limit **ret);

/* Settings that can be taken back to their defaults. */
enum raincheck_limit_setting {
	RAINCHECK_LIMIT_CONCURRENCY = 1 << 0,
	RAINCHECK_LIMIT_RATE = 1 << 1,
	RAINCHECK_LIMIT_BURST = 1 << 2,
	RAINCHECK_LIMIT_ADAPTIVE = 1 << 3, /* the whole part: nothing is learned any more */
	RAINCHECK_LIMIT_ADAPTIVE_MIN = 1 << 4,
	RAINCHECK_LIMIT_ADAPTIVE_MAX = 1 << 5,
	RAINCHECK_LIMIT_ADAPTIVE_LATENCY_TARGET = 1 << 6,
	RAINCHECK_LIMIT_BREAKER = 1 << 7, /* the whole part: there is none any more */
	RAINCHECK_LIMIT_BREAKER_WINDOW = 1 << 8,
	RAINCHECK_LIMIT_BREAKER_MIN_CALLS = 1 << 9,
	RAINCHECK_LIMIT_BREAKER_FAILURE_RATIO = 1 << 10,
	RAINCHECK_LIMIT_BREAKER_OPEN = 1 << 11,
	RAINCHECK_LIMIT_SCHEDULE = 1 << 12, /* leaves none */
};

/* What is not given stays as it is. A setting that is given and taken back at once is set. Whatever is said of a
 * member of adaptive or breaker, be it that it is taken back, makes that part if it is not there. */
struct raincheck_limit_set {
	const char *limit; /* made if it is not there */
	int64_t concurrency;
	double rate;
	double burst;
	bool has_adaptive; /* there is to be such a part, also where no member is given */
	struct raincheck_limit_adaptive adaptive;
	bool has_breaker;
	struct raincheck_limit_breaker breaker;
	const struct raincheck_limit_spell *schedule; /* in place of the present ones, in any order */
	size_t schedule_count;			      /* 0: not given; at most RAINCHECK_MAX_SCHEDULE */
	unsigned defaults;			      /* RAINCHECK_LIMIT_… to take back, or'ed */
};

int raincheck_limit_set_async(struct raincheck *rc, const struct raincheck_limit_set *set, raincheck_cb cb, void *user);
int raincheck_limit_set(struct raincheck *rc, const struct raincheck_limit_set *set, struct raincheck_limit **ret);

/* RAINCHECK_ECONFLICT while a queue uses it; the message says which. */
int raincheck_limit_delete_async(struct raincheck *rc, const char *limit, raincheck_cb cb, void *user);
int raincheck_limit_delete(struct raincheck *rc, const char *limit);

/* "held", "half_open", "deadline"; "unknown" for what is none. */
const char *raincheck_limit_state_name(enum raincheck_limit_state state);
const char *raincheck_breaker_phase_name(enum raincheck_breaker_phase phase);
const char *raincheck_admission_name(enum raincheck_admission admit);

/* ---- workers that are connected ---------------------------------------------------------------------------------- */

/* What an operator has asked it for. */
enum raincheck_worker_state { RAINCHECK_WORKER_ACTIVE, RAINCHECK_WORKER_QUIET, RAINCHECK_WORKER_STOPPING };

/* One connection that greeted as a worker. */
struct raincheck_worker_session {
	const char *name; /* several may have the same */
	enum raincheck_worker_state state;
	const char *address; /* where it comes from, as the broker sees it: "192.0.2.7:41312", "unix" */
	const char *client;  /* NULL where it did not say, likewise version */
	const char *version;
	const char *const *queues;
	size_t queue_count;
	bool has_slots;
	int64_t slots;	 /* calls that it can do at once */
	int64_t in_hand; /* jobs that it has leased */
	int64_t waiting; /* its leases that wait for jobs */
	int64_t connected_at_ms;
};

struct raincheck_worker_list {
	const struct raincheck_worker_session *workers; /* in the order of their names */
	size_t worker_count;
};

int raincheck_worker_list_async(struct raincheck *rc, raincheck_cb cb, void *user);
int raincheck_worker_list(struct raincheck *rc, struct raincheck_worker_list **ret);

struct raincheck_worker_told {
	int64_t count; /* connections of that name */
};

/* Tells the workers of that name to lease no more and finish what they have; and to end in order, likewise. Each obeys
 * by itself. RAINCHECK_ENOT_FOUND where none is connected, RAINCHECK_ECONFLICT where none of them listens to
 * notifications. */
int raincheck_worker_quiet_async(struct raincheck *rc, const char *name, raincheck_cb cb, void *user);
int raincheck_worker_quiet(struct raincheck *rc, const char *name, struct raincheck_worker_told **ret);
int raincheck_worker_stop_async(struct raincheck *rc, const char *name, raincheck_cb cb, void *user);
int raincheck_worker_stop(struct raincheck *rc, const char *name, struct raincheck_worker_told **ret);

/* "active", "stopping"; "unknown" for what is none. */
const char *raincheck_worker_state_name(enum raincheck_worker_state state);

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
	int64_t workers;    /* connected */
	int64_t slots;	    /* of all of them */
	int64_t slots_free; /* of those that take jobs, without one in hand */
	/* To scale workers by; what a paused queue has in line does not count. */
	bool has_oldest_ready_age_ms; /* some job is ready */
	int64_t oldest_ready_age_ms;
	int64_t backlog_ms;	       /* what the ready jobs will take of slots, as far as is known */
	int64_t wanted_concurrency;    /* slots that would be busy, were there enough */
	struct raincheck_run_time run; /* over all queues, as in a limit */
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
