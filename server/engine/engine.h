/* engine.h: the broker's state machine over a store transaction: commands in, writes, answers and events out.
 *
 * Deterministic and pure: it reads no clock, draws no randomness, opens nothing, starts nothing. What it keeps in
 * memory is a cache of the queues' records and the parked leases of live sessions; both are thrown away or kept as the
 * transaction fares. One thread: the writer's.
 *
 *   engine_begin(txn, now, random)      due work first: leases that ended, deadlines, delayed jobs
 *   engine_apply(cmd) …                 answers each command or parks it
 *   engine_finish()                     gives ready jobs to parked leases, writes the queues back
 *   store_commit(txn)
 *   engine_committed() or engine_aborted()
 *
 * A change of many jobs by filter goes on over several batches, a bounded piece in each, so that nobody waits for long.
 *
 * A negative answer of begin, apply or finish means that the store failed: abort the transaction, call
 * engine_aborted(), release every command of the batch that engine_apply() did not keep with the error. Refusing a
 * command is not a failure.
 */
#ifndef RAINCHECK_ENGINE_H
#define RAINCHECK_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/base/uuid.h"
#include "server/engine/command.h"
#include "server/engine/settings.h"
#include "server/engine/tally.h"
#include "server/store/store.h"

struct engine;

/* Something outside may want to look at this job again. Sessions: those that leased it or last extended its lease. All
 * that a session has in hand is what came to it less what left it, but for a job that is found damaged while it runs:
 * whose that was nobody knows any more. */
struct job_event {
	struct uuid id;
	bool final;	      /* it reached a final state, or is gone */
	bool called_back;     /* a cancel or an erase took it from from_holder, which does not know yet */
	uint64_t from_holder; /* the session whose lease this ended or that another took over; 0: it was not leased */
	uint64_t to_holder;   /* the session that has the lease from now on; 0: none */
	uint64_t wakes;	      /* the session that is to be given the hooks that wait; 0: none */
	struct token lease;   /* which was called back, or is to be given them */
	const char *damage;   /* what of the job was found damaged, a word for the log; NULL: nothing */
};

/* settings must outlive the engine. Reads the queues. ERR_NO_MEMORY, the store's errors, ERR_CORRUPT. */
int engine_new(const struct settings *settings, struct store *s, struct engine **ret);
/* The name of the n-th queue whose record was found damaged and repaired when the queues were last read, for the log;
 * NULL past the last. */
const char *engine_repaired(const struct engine *e, size_t n);
/* Likewise of a limit that a queue names and that is damaged or gone: it lets one call begin at a time until it is set
 * anew. */
const char *engine_repaired_limit(const struct engine *e, size_t n);
/* Kept commands must have been taken out by engine_stop(). NULL is taken. */
void engine_free(struct engine *e);

int engine_begin(struct engine *e, struct store_txn *t, int64_t now_ms, const uint8_t random[32]);
/* *ret_parked: the engine keeps it, a lease that waits or a change by filter; else it was answered or refused. */
int engine_apply(struct engine *e, struct command *cmd, bool *ret_parked);
int engine_finish(struct engine *e);
/* What COMMAND_LEASE_CANCEL and COMMAND_FORGET do, without answering them: needs no store and cannot fail. For those of
 * a batch that failed before they were applied: nobody may be given a job who is gone. */
void engine_forget(struct engine *e, const struct command *cmd);

/* How the transaction fared. Aborted: caches are read again, and nothing happened but for the answers given: those
 * commands must be released with the error. uncertain: the disk may have the batch all the same, and then the blobs
 * that it adopted stay adopted. Either way *ret_answered is the kept commands that this batch answered, a list by next,
 * to be released with the same outcome as the batch's own; of an aborted one also the change by filter that it went on
 * with. Where the caches cannot be read again the next engine_begin() tries once more. */
void engine_committed(struct engine *e, struct command **ret_answered);
void engine_aborted(struct engine *e, bool uncertain, struct command **ret_answered);
/* After engine_aborted(): the batch met something that none of its commands asked for, and the next one does without: a
 * job whose moment came, or a change by filter. So the same commands may fare better if they are applied again. */
bool engine_goes_without(const struct engine *e);
/* After engine_committed(): what changed, and the blobs that no record names any more. After engine_aborted() of an
 * uncertain one: nothing, and the blobs that it adopted, of which only the store can tell, once it can be read again,
 * whether a record names them. Good until engine_begin(). */
const struct job_event *engine_events(const struct engine *e, size_t *ret_count);
const struct uuid *engine_garbage(const struct engine *e, size_t *ret_count);

/* After engine_committed(): what the batch did, in numbers. Good until engine_begin(). */
const struct engine_tally *engine_tally(const struct engine *e);

/* When there is work without a command: the earliest due job, parked lease whose wait ends, or change by filter to go
 * on with. INT64_MAX for never.
 * Valid after engine_committed(). */
int64_t engine_next_ms(const struct engine *e);
/* How many leases are parked. */
size_t engine_parked(const struct engine *e);
/* Takes out every command that is kept, as a list by next, for the caller to release. */
struct command *engine_stop(struct engine *e);

#endif
