/* check_priv.h: what the files of the checker share: check.c (the jobs, the queues, the order of it all),
 * check_tables.c (what stands beside the jobs), check_files.c (artifacts). Included by them alone; one check is one
 * thread's. */
#ifndef RAINCHECK_UPKEEP_CHECK_PRIV_H
#define RAINCHECK_UPKEEP_CHECK_PRIV_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/base/uuid.h"
#include "server/upkeep/check.h"
#include "server/store/keys.h"
#include "server/store/records.h"

/* What the jobs of a queue add up to. */
struct queue_sum {
	int64_t counts[JOB_STATES];
	int64_t ready[PRIORITIES];
	int64_t bytes;
	uint64_t last[PRIORITIES]; /* the furthest place of a ready job; once the queue is checked, of its line */
};

struct check {
	const struct check_options *options;
	struct check_result *result;
	struct store_txn *txn;
	struct queue_sum *sums; /* by queue number */
	uint32_t queues;
	int64_t steps, total; /* entries looked at, of all there are */
};

void check_say(struct check *c, enum check_kind kind, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
#define check_breach(c, ...) check_say(c, CHECK_BREACH, __VA_ARGS__)
#define check_damage(c, ...) check_say(c, CHECK_DAMAGE, __VA_ARGS__)

/* Tells the progress and asks whether to go on, now and then: ERR_CANCELED. */
int check_step(struct check *c, const char *what);

/* Calls entry for each entry of the table, which may look into other tables but walk no part of this one. */
int check_walk(struct check *c, enum store_table table,
	       void (*entry)(struct check *c, struct slice key, struct slice value));

/* Names a record that was written under another key, which is a breach: it is not found where it belongs, and what is
 * found in its place is not what was asked for. True where that is so: nothing else is known of the row then. */
bool check_is_anothers(struct check *c, enum store_table table, struct slice key, struct slice value);

bool check_has(struct check *c, enum store_table table, struct key key);
bool check_is_set_aside(struct check *c, const struct uuid *id);
/* Its record is there, or it is known to be damaged: what stands beside it belongs to somebody. */
bool check_is_known(struct check *c, const struct uuid *id);
/* The job, where it is there and sound. */
bool check_find_job(struct check *c, const struct uuid *id, struct job *ret);
/* Its input, likewise. */
bool check_find_input(struct check *c, const struct uuid *id, struct job_input *ret);

/* ---- check_tables.c ---- */

/* Every table but those of jobs and queues: entry by entry, what it says and whether it leads anywhere. */
int check_tables(struct check *c);

/* ---- check_files.c ---- */

/* The records of artifacts and the list of their files. */
int check_artifacts(struct check *c);
/* The files themselves; in transactions of its own, with c->txn ended. */
int check_files(struct check *c);

/* ---- check_flow.c ---- */

/* The lines and the limit of a queue whose jobs have been looked at. */
void check_lines(struct check *c, const struct queue_record *q, struct queue_sum *sum);
/* Limits, places and weights of groups; after the queues. */
int check_flow(struct check *c);

#endif
