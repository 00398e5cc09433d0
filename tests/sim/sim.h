/* sim.h: one run of the engine beside its model, from an empty store to a number of commands.
 *
 * A run is made of batches, and everything about it follows from its seed: the n-th draw of the m-th command of the
 * k-th batch depends on these numbers and the model alone. So a run can be played again, and commands or whole batches
 * can be left out to see whether it fails without them (minimise.h).
 */
#ifndef RAINCHECK_SIM_SIM_H
#define RAINCHECK_SIM_SIM_H

#include <msgpack.h>
#include <stdbool.h>
#include <stdint.h>

#include "server/engine/engine.h"
#include "server/store/blob.h"
#include "tests/harness/tempdir.h"
#include "tests/sim/model.h"

#define BATCH_MAX 32
#define ITEMS_MAX 12 /* of one command */
#define SLOTS	  (BATCH_MAX + 2 * KEPT_MAX)
#define KEPT_MAX  24
#define CROWD	  1500 /* jobs: more than one batch can do */
#define CURSORS	  8
#define FORMER	  64   /* ids that were once given */
#define TOKENS	  8192 /* seen lately */

/* What becomes of a batch. */
enum fate {
	FATE_COMMIT,
	FATE_LOST,	  /* the commit fails */
	FATE_UNSURE,	  /* the commit says that it failed, and has not */
	FATE_BREAKS,	  /* the store fails in the middle, at the n-th access from then on */
	FATE_CRASH,	  /* the process ends before the commit */
	FATE_CRASH_AFTER, /* and after it, before anybody was told */
	FATE_RESTART,	  /* the process ends in good order */
	FATES
};

/* What a run is like. */
struct profile {
	int queues;    /* names in use */
	int crowd;     /* jobs there should be about */
	int batch;     /* commands of a batch, at most */
	int64_t tempo; /* a step of time, at most about */
	int faults_in; /* one batch in so many has another fate than to be committed */
	bool tight;    /* queues are bounded most of the time */
	int64_t answer_bytes;
	int64_t result_ttl_ms, record_ttl_ms, tombstone_ttl_ms;
};

/* The parameters of one command, of whatever kind. */
struct params {
	union {
		struct command_put put;
		struct msg_job_lease lease;
		struct msg_job_extend extend;
		struct msg_job_checkpoint checkpoint;
		struct command_complete complete;
		struct msg_job_fail fail;
		struct msg_job_release release;
		struct command_attach attach;
		struct command_change change;
		struct command_queue queue;
		struct command_limit limit;
		struct command_link link;
		struct command_hook hook;
		struct msg_job_woken woken;
	};
	union {
		struct put_item puts[ITEMS_MAX];
		struct complete_item completes[ITEMS_MAX];
		struct msg_extend_item extends[ITEMS_MAX];
		struct slice names[ITEMS_MAX];
		struct group_weight weights[ITEMS_MAX];
		struct msg_limit_spell spells[ITEMS_MAX];
	};
};

/* One command under way. */
struct slot {
	struct command cmd; /* the engine's, with params of its own */
	struct params params;
	struct asked asked; /* the model's */
	struct params asked_params;
	struct reply reply;
	struct sim *sim;
	bool in_use;
	bool kept;     /* by the engine */
	bool answered; /* in this batch, as the model says too */
	int released;  /* how often */
};

/* Where a change by filter stopped. */
struct cursor {
	enum change_action action;
	struct msg_job_filter filter;
	struct uuid id;
};

struct stats {
	uint64_t run, batch; /* the present ones, for whoever finds the process dead */
	uint64_t commands, batches;
	uint64_t answered[COMMAND_KINDS], refused[COMMAND_KINDS], kept[COMMAND_KINDS];
	uint64_t fates[FATES];
	uint64_t comparisons, checks, answered_late, broken_off, floods;
};

/* Which parts of a run are left out: of each batch by its number, the whole (ALL), or single commands by their bits. */
#define OMIT_ALL UINT64_MAX

struct sim {
	uint64_t seed;
	uint64_t batch; /* the present one, from 1 */
	int index;	/* the present command of it, from 0; −1: none */
	uint64_t rng;
	uint64_t last_batch;	    /* the run ends behind it */
	uint64_t last_command;	    /* or when there were so many */
	uint64_t compare_each_from; /* from this batch on, the whole state is compared after each */
	bool verbose;		    /* tells each command */
	const uint64_t *omitted;    /* by batch, up to last_batch; NULL: nothing */
	void (*on_failure)(struct sim *s, const char *what); /* does not return */
	struct stats *stats;

	struct profile profile;
	struct settings settings;
	struct tempdir dir;
	struct store *store;
	struct blob_store *blobs;
	struct engine *engine;
	struct link_signer *links; /* of the answers */
	struct uuid_gen ids, blob_ids;
	int64_t now_ms;

	struct model *model, *saved;
	struct slot *slots;
	struct store_txn *txn;	    /* of the batch */
	struct msgpack_zone zone;   /* decoded replies of the batch */
	struct msgpack_zone bodies; /* of webhooks */
	struct buf expected;	    /* an encoded answer */
	struct token seen[TOKENS];
	struct cursor cursors[CURSORS];
	size_t cursors_count;
	struct uuid former[FORMER];
	uint64_t former_count; /* ever */
};

/* Runs from the seed to the end. on_failure is called at the first difference, and the process is not good for another
 * run then, but for the directory, which sim_abandon() removes. */
void sim_run(struct sim *s);
void sim_abandon(struct sim *s);

/* The process ends, and with it whatever waits; another one begins on what the store has. */
void sim_restart(struct sim *s);

/* Says what differs; does not return. */
void sim_fail(struct sim *s, const char *fmt, ...) __attribute__((format(printf, 2, 3), noreturn));

/* ---- fault.c: the store as the engine sees it, which fails when it is told to ---- */

/* Fails the n-th access from now, and all after it unless once, until fault_off(). */
void fault_at(int accesses, bool once);
void fault_off(void);
/* It has failed, since fault_at(). */
bool fault_struck(void);
/* Which access it was. */
const char *fault_where(void);
/* store_get() for the simulation's own use: it never fails by a fault. */
int fault_free_get(struct store_txn *t, enum store_table table, struct slice key, struct slice *ret);

#endif
