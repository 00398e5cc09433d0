/* mend_priv.h: what the files of the mender share: mend.c (the order of it all, the queues), mend_jobs.c (what a job's
 * record asks for), mend_places.c (what says itself where it belongs), mend_rows.c (what stands beside the jobs).
 * Included by them alone; one mending is one thread's.
 *
 * Each phase walks a snapshot of what the phase before left, and writes into a transaction beside it: so that a walk
 * may change the table that it walks. What is looked up is looked up in the latter. The first error ends everything:
 * after it each function does nothing, and looks find nothing.
 */
#ifndef RAINCHECK_UPKEEP_MEND_PRIV_H
#define RAINCHECK_UPKEEP_MEND_PRIV_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/base/buf.h"
#include "proto/base/uuid.h"
#include "server/store/keys.h"
#include "server/store/records.h"
#include "server/store/store.h"
#include "server/upkeep/mend.h"

/* What the jobs of a queue add up to. */
struct mend_sum {
	int64_t counts[JOB_STATES];
	int64_t ready[PRIORITIES];
	int64_t bytes;
	bool affected; /* an index still knows of a job of the queue that is set aside */
};

struct mend {
	const struct mend_options *options;
	struct mend_result *result;
	struct store_txn *before; /* the snapshot that is walked: its values hold until the phase ends */
	struct store_txn *now;
	struct mend_sum *sums;		 /* by queue number, QUEUES_MAX of them */
	struct buf record;		 /* for encoding */
	int64_t steps, total;		 /* rows looked at, of about how many */
	int rc;				 /* the first error */
	int64_t made_anew[STORE_TABLES]; /* rows of tables that are lost */
};

/* Calls entry for each row of the table, as it was when the phase began. */
void mend_walk(struct mend *m, enum store_table table,
	       void (*entry)(struct mend *m, struct slice key, struct slice value));

/* Good until the next write. False where it is not there. */
bool mend_get(struct mend *m, enum store_table table, struct key key, struct slice *ret);
bool mend_has(struct mend *m, enum store_table table, struct key key);
void mend_put(struct mend *m, enum store_table table, struct key key, struct slice value);
/* Moves a row that was there when the phase began. */
void mend_move(struct mend *m, enum store_table table, struct key from, struct key to);

/* The job, where it is there, sound and not set aside. Its texts are good until the next write. */
bool mend_find_job(struct mend *m, const struct uuid *id, struct job *ret);
/* Its record is there, or it is set aside: what stands beside it belongs to somebody. */
bool mend_is_known(struct mend *m, const struct uuid *id);
bool mend_is_set_aside(struct mend *m, const struct uuid *id);
int64_t mend_count_artifacts(struct mend *m, const struct uuid *id);

/* "ROW: WHY: dropped", as row_words.h calls it, or "TABLE, job ID: …" where id is given. */
void mend_drop(struct mend *m, enum store_table table, struct slice key, const struct uuid *id, const char *why);
/* The same for a row that was missing and is put there now, "job …" or the like by what. */
void mend_made_anew(struct mend *m, enum store_table table, struct key key, struct slice value, const char *what,
		    const char *which);
/* Counts and tells a row that was put right. */
void mend_restored(struct mend *m, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void mend_set_aside(struct mend *m, const struct uuid *id, const char *why);
/* The entry of TABLE_SET_ASIDE alone: from this moment on. */
void mend_enter_aside(struct mend *m, const struct uuid *id);

/* The n-th id that differs from one in a single bit. */
struct uuid mend_neighbour(const struct uuid *id, int n);
#define MEND_NEIGHBOURS 128

/* ---- mend_jobs.c ---- */

/* First: which jobs there are. Sets aside, and brings jobs and inputs together again. */
void mend_identities(struct mend *m);
/* After the rows: makes anew what the records ask for, and adds up m->sums. */
void mend_demands(struct mend *m);
/* The sums alone, with which queues are affected. */
void mend_sum_up(struct mend *m);
void mend_find_affected(struct mend *m);

/* ---- mend_places.c ---- */

/* Before the rows: puts what stands under another's key where it belongs. */
void mend_places(struct mend *m);

/* ---- mend_rows.c ---- */

/* Every table but those of jobs and queues: drops what stands for nothing. */
void mend_rows(struct mend *m);

#endif
