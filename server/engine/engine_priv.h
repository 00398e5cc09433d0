/* engine_priv.h: what the files of the engine share. Included in server/engine alone; the writer thread only. */
#ifndef RAINCHECK_ENGINE_PRIV_H
#define RAINCHECK_ENGINE_PRIV_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/base/buf.h"
#include "proto/base/clean.h"
#include "proto/base/text.h"
#include "server/engine/engine.h"
#include "server/engine/queues.h"
#include "server/flow/call_report.h"
#include "server/store/keys.h"
#include "server/store/records.h"

/* What one answer may carry of payloads and checkpoints, unless it is one job alone; keeps a lease below the cap of a
 * peer that left it at its default. */
#define LEASE_BYTES (2 << 20)

#define DEFAULT_LEASE_MS 30000

#define MOMENT_MAX INT64_C(253402300799999) /* the end of the year 9999, and of what the wire can say */

/* A growing array of what a batch did. */
struct event_list {
	struct job_event *items;
	size_t count, capacity;
};

struct staged_list {
	struct staged **items;
	size_t count, capacity;
};

struct uuid_list {
	struct uuid *items;
	size_t count, capacity;
};

/* Commands in the order of their coming. */
struct command_list {
	struct command *head;
	struct command **tail;
	size_t count;
};

/* The texts of a loaded job would point into the map, where the next write of anything takes them away. */
struct loaded_texts {
	char note[512];
	char message[4096];
};

struct engine {
	const struct settings *settings;
	struct store *store;
	struct queues *queues;
	struct limits *limits;
	struct groups *groups;
	int64_t set_aside;	  /* entries of TABLE_SET_ASIDE */
	struct uuid_list shunned; /* jobs whose moment came and failed the batch: to be set aside in the next */
	/* Jobs whose moment came and failed the batch for a page that is made anew once nobody reads: left until then.
	 */
	struct uuid_list put_off;
	bool wiser;  /* the batch under way, or the last that was taken back, met what the next one goes without */
	bool loaded; /* queues and limits were read since the last batch began */
	bool stale;  /* they could not be read again after an abort */

	/* Of the batch under way. */
	struct store_txn *txn;
	int64_t now_ms;
	uint8_t random[32];
	uint32_t draws;		     /* of random, so far */
	bool walked;		     /* a whole index was gone through in this batch: enough of that */
	int64_t room_bytes;	     /* what puts of this batch may still take; −1: not asked yet */
	struct queue *gained;	     /* queues that may have more to give since the parked leases were last served */
	struct limit *gained_limits; /* likewise */
	struct engine_tally tally;
	struct call_report *report; /* what the command says of the call whose job it moves; NULL: nothing */
	struct event_list events;
	struct uuid_list garbage;
	struct command_list answered; /* parked ones and sweeps, answered in this batch */
	struct staged_list adopted;   /* in this batch */
	struct command *swept;	      /* the sweep that this batch has gone on with, and that is not at its end */

	struct parking *parking; /* the leases that wait */
	int64_t limits_again_ms; /* when a limit that holds them may let more begin */
	bool left; /* a job of this batch cannot be read before others have done with reading: it has another one soon
		    */
	int64_t look_again_ms; /* what was left is looked at again, and what is due with it; INT64_MAX: nothing was */
	bool serve_all;	       /* the list of queues that gained is not complete */
	struct command_list sweeps; /* changes by filter that are not at their end, gone on with in turn */
	int64_t due_ms;		    /* the first entry of TABLE_DUE after the batch */
	struct buf record;	    /* for encoding */
	struct lease_room *lease_room;
	struct link_signer *links;
	struct loaded_texts texts;
};

void command_list_init(struct command_list *l);
void command_list_push(struct command_list *l, struct command *cmd);
struct command *command_list_take(struct command_list *l);
/* The first; there must be one. */
struct command *command_list_pop(struct command_list *l);
/* That one, wherever it stands. */
void command_list_remove(struct command_list *l, struct command *cmd);

/* ERR_NO_MEMORY. */
int uuid_list_add(struct uuid_list *l, const struct uuid *id);
bool uuid_list_has(const struct uuid_list *l, const struct uuid *id);

/* ---- draw.c ---- */

/* Bytes drawn from a command's or a batch's randomness, the n-th draw of it. */
void engine_draw(const uint8_t seed[16], uint32_t n, uint8_t ret[32]);
/* The token of the n-th job that a command leases; unguessable also for whoever knows the others. */
struct token engine_draw_token(const uint8_t seed[32], uint32_t n);
/* A number from 0 up to, but not including, 1; the batch's next draw. */
double engine_draw_unit(struct engine *e);

/* ---- job.c: the one place where a job is read, moved and written ---- */

/* ERR_NOT_FOUND, ERR_CORRUPT, the store's. note and error_message are good until the next job_load(). */
int job_load(struct engine *e, const struct uuid *id, struct job *ret);
/* The bytes of its input's record. ERR_NOT_FOUND, ERR_CORRUPT, the store's; among these ERR_STORE_ERROR where the input
 * is hidden until nobody reads (store_waits()): it is no damage yet, and what needs it is to be taken back and done
 * then.
 */
int job_input(struct engine *e, const struct uuid *id, struct slice *ret);
/* Whether it is hidden so, for whoever can still refuse or leave the job as it is. The store's errors. */
int job_input_waits(struct engine *e, const struct uuid *id, bool *ret_waits);
/* The same for whoever has to be told why: ERR_GONE for one that left a tombstone, ERR_DAMAGED for one that is hidden
 * until nobody reads and is no damage yet. */
int job_find(struct engine *e, const struct uuid *id, struct job *ret);
/* Where a job of that queue is counted, in this batch. */
struct work_tally *tally_of(struct engine *e, const struct queue *q);
/* A new job in its first state. group: whose it is, empty for nobody's. */
int job_create(struct engine *e, const struct uuid *id, struct job *job, struct slice group, enum job_state state);
/* Moves it to another state with every index and count that goes with it, and writes it. The job's other members may
 * have been changed by the caller before. */
int job_move(struct engine *e, const struct uuid *id, struct job *job, enum job_state to);
/* Writes it as it is, its due entry included; the state has not changed. */
int job_save(struct engine *e, const struct uuid *id, struct job *job);
/* Removes a final one with all that belongs to it and leaves a tombstone. */
int job_forget(struct engine *e, const struct uuid *id, struct job *job);
/* The same for one that stands in no index and no count; job's queue, where its idempotency key is, and its link's
 * members are all that is looked at. */
int job_remove(struct engine *e, const struct uuid *id, const struct job *job);
/* Tells the fronts. ERR_NO_MEMORY. */
int event_add(struct engine *e, const struct job_event *event);
/* Puts under a key that is almost always above all others of the table. */
int put_newest(struct engine *e, enum store_table table, const struct key *key, struct slice value);
/* Deletes where there may be nothing. */
int delete_if_there(struct engine *e, enum store_table table, const struct key *key);

/* ---- set_aside.c: jobs whose record is damaged ---- */

/* What an index says of the job that it led to. */
struct index_word {
	uint32_t queue;
	uint8_t state;
	uint8_t priority;
};

/* Enters the job as damaged and takes it out of its queue's counts, unless that was done before. The index entry that
 * led to it is the caller's to remove. what: a word for the log. */
int set_aside(struct engine *e, const struct uuid *id, const struct index_word *word);
/* Whether a page of the store that the job's moment needs could not be read: nothing of it may be touched but its due
 * entry, or every batch would fail on it. */
bool set_aside_shuns(const struct engine *e, const struct uuid *id);
/* ERR_CORRUPT for a job that is set aside: also one whose record reads well again, for it is in no count. */
int set_aside_refuse(struct engine *e, const struct uuid *id);
/* Removes all that is left of a job whose record cannot be read, wherever its entries are: reads the whole of both
 * indexes. Leaves a tombstone. */
int set_aside_erase(struct engine *e, const struct uuid *id);
/* Tells that a part of a job which goes on is damaged. */
int report_damage(struct engine *e, const struct uuid *id, const char *what);

/* ---- artifacts.c ---- */

/* Names the staged bytes as the job's artifact, in the place of an older one. Changes job->artifacts; the caller
 * writes the job. ERR_TOO_LARGE when it has VIEW_ARTIFACTS already. */
int artifact_attach(struct engine *e, const struct uuid *id, struct job *job, struct slice name, struct staged *staged);
/* Removes all of a job's artifacts, what is damaged with the rest. */
int artifacts_drop(struct engine *e, const struct uuid *id);

/* ---- hooks.c ---- */

/* How many of the job's hooks wait; where some do, the session that holds its lease is told of them. */
int hooks_wake(struct engine *e, const struct uuid *id, const struct job *job, int64_t *ret_waiting);
/* Those up to that number were taken: they are not given again. */
int hooks_taken(struct engine *e, const struct uuid *id, const struct job *job, uint64_t up_to);
/* Nobody will work on it any more: none waits. What came is remembered. */
int hooks_settle(struct engine *e, const struct uuid *id, const struct job *job);
/* Removes all of them. */
int hooks_forget(struct engine *e, const struct uuid *id);

/* ---- outcome.c ---- */

/* Loads the job and proves the lease. ERR_NOT_FOUND, ERR_LEASE_LOST, ERR_CORRUPT, the store's. */
int load_leased(struct engine *e, const struct uuid *id, const struct token *lease, struct job *ret);

/* ---- admit.c ---- */

/* Whether a producer's bytes still fit beside the reserve; counts them if so. The store's errors. */
int room_take(struct engine *e, int64_t bytes, bool *ret_fits);
/* Refuses a put that its queue does not take: bounds, and deadlines that cannot be met. */
void admit_by_queue(struct engine *e, const struct queue *q, struct put_item *item);
/* Refuses it where the store has no room for it any more; counts it if it has. The store's errors. */
int admit_by_store(struct engine *e, struct put_item *item, bool *ret_fits);

/* ---- put.c ---- */

/* When a put's job may be ready at the earliest. */
int64_t put_run_at_ms(const struct engine *e, const struct msg_job_put *put);
uint8_t put_priority(const struct msg_job_put *put);

/* ---- one function a command; each answers or refuses it ---- */

int command_put(struct engine *e, struct command *cmd);
/* Grants what there is; *ret_granted is how many. Does not answer when there is nothing. */
int command_lease(struct engine *e, struct command *cmd, size_t *ret_granted);
/* The queue of the n-th job that the last command_lease() granted. */
struct queue *lease_gave(const struct engine *e, size_t n);
/* NULL is taken. */
void lease_room_free(struct lease_room *room);
int command_extend(struct engine *e, struct command *cmd);
int command_checkpoint(struct engine *e, struct command *cmd);
int command_complete(struct engine *e, struct command *cmd);
int command_fail(struct engine *e, struct command *cmd);
int command_release(struct engine *e, struct command *cmd);
int command_attach(struct engine *e, struct command *cmd);
/* *ret_kept: it has a filter, and the engine goes on with it in this batch and the next ones. */
int command_change(struct engine *e, struct command *cmd, bool *ret_kept);
int command_queue(struct engine *e, struct command *cmd);
int command_limit(struct engine *e, struct command *cmd);
int command_link(struct engine *e, struct command *cmd);
int command_hook(struct engine *e, struct command *cmd);
int command_woken(struct engine *e, struct command *cmd);

/* ---- changes.c ---- */

/* Does to one job what the action says. ERR_NOT_FOUND, ERR_GONE, ERR_CORRUPT, ERR_INVALID_STATE where it cannot be done
 * to this one, the store's. *ret_changed: false where it was so already. */
int change_one(struct engine *e, const struct uuid *id, enum change_action action, bool *ret_changed);

/* ---- sweep.c ---- */

/* Goes on with the change by filter whose turn it is, a bounded piece of it. */
int sweep_run(struct engine *e);
/* Ends a session's where they are. */
void sweep_forget(struct engine *e, uint64_t session);

/* An attempt that failed: back in line after a while, or dead. kind: enum failure_kind. */
int attempt_failed(struct engine *e, const struct uuid *id, struct job *job, int kind, struct slice message,
		   int64_t retry_after_ms);

/* ---- parked.c ---- */

int parking_new(struct parking **ret);
/* Nobody may be left. NULL is taken. */
void parking_free(struct parking *p);
int parked_add(struct engine *e, struct command *cmd);
size_t parked_count(const struct engine *e);
/* Takes out the first, unanswered; NULL when nobody is left. */
struct command *parked_take(struct engine *e);
/* The queue, or any of the limit's queues, may have something to give to those who wait. */
void parked_gained(struct engine *e, struct queue *q);
void parked_limit_gained(struct engine *e, struct limit *l);
/* It is about to be removed. */
void parked_limit_gone(struct engine *e, struct limit *l);
/* Gives what became ready to those who wait. */
int parked_serve(struct engine *e);
/* Answers with nothing whose wait is over. */
int parked_expire(struct engine *e);
/* Takes out a session's. */
void parked_forget(struct engine *e, uint64_t session);
int64_t parked_next_ms(const struct engine *e);
/* The clock was set back: whoever waits shall not wait for longer by that. */
void parked_shift(struct engine *e, int64_t ms);

/* ---- due.c ---- */

/* Does what is due, up to a bound; what is left is due still. */
int due_run(struct engine *e);

/* The moment a while after another; settings may say "for ever". */
static inline int64_t moment_after(int64_t at_ms, int64_t ms)
{
	return ms < MOMENT_MAX - at_ms ? at_ms + ms : MOMENT_MAX;
}

/* ---- refusal.c ---- */

/* Refuses a command for what it asks. Always 0: refusing is no failure. */
int refuse(struct command *cmd, int code, const char *field, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* True for the errors that concern this job alone, not the store: the command is refused and the batch goes on. */
bool is_refusal(int rc);
/* What one of these says of a job. */
const char *refusal_text(int rc);
/* For the end of a command function about a job: a refusal is told, a failure of the store goes up. */
int settle(struct command *cmd, int rc);

#endif
