/* fault_life.h: one scripted life of a producer and a worker, and the independent log of what was acknowledged to them.
 *
 * life_run() puts jobs of every kind, and does with each all that can be done, through libraincheck and with the real
 * broker. What the broker acknowledged, and what was asked without an answer, is noted here, in the test's own process.
 * Each note carries the place in the layer's log (fault_log.h) that the disk had come to, so that the same life can be
 * held against the disk of any earlier moment.
 *
 * life_verify() then asks a broker, after whatever happened, and finds the first thing that is not as it must be: an
 * acknowledged job, payload, checkpoint or artifact that is not there with its own bytes, a state that goes behind what
 * was acknowledged or beyond what was asked, a lease or an idempotency key that is not honoured, a job that cannot be
 * worked on to its end.
 *
 * No function here fails the test: they run on threads. l->wrong says what is wrong, "" while nothing is.
 */
#ifndef RAINCHECK_TEST_FAULT_LIFE_H
#define RAINCHECK_TEST_FAULT_LIFE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/raincheck.h"
#include "tests/harness/fault.h"

#define LIFE_JOBS      20
#define LIFE_EVENTS    12
#define LIFE_ARTIFACTS 4
#define LIFE_VERSIONS  2
#define LIFE_ERASED    (1u << 31) /* among a job's states: it is gone */
#define LIFE_NEVER     UINT64_MAX
#define LIFE_NOW       (UINT64_MAX - 1) /* of the cuts: none, everything counts */

/* Something that was asked for: when, and when it was acknowledged, as offsets in the layer's log. */
struct life_mark {
	uint64_t from; /* LIFE_NEVER: not asked, or refused, which is the same */
	uint64_t at;   /* LIFE_NEVER: not acknowledged */
};

/* A change of state; states is a mask of what the job may be in after it. */
struct life_event {
	struct life_mark mark;
	uint32_t states;
	char lease[RAINCHECK_TOKEN_SIZE]; /* that began with it, or "" */
};

/* Bytes that are written anew: which of the versions are there. */
struct life_bytes {
	struct life_mark versions[LIFE_VERSIONS];
	int count;
};

struct life_artifact {
	const char *name;
	size_t sizes[LIFE_VERSIONS];
	struct life_bytes bytes;
};

struct life_flavour;

struct life_job {
	const struct life_flavour *flavour;
	unsigned number;
	char id[RAINCHECK_ID_SIZE]; /* "": never told */
	char queue[40];
	char key[40];
	struct life_event events[LIFE_EVENTS]; /* the first is the put */
	int event_count;
	struct life_bytes checkpoint;
	struct life_artifact artifacts[LIFE_ARTIFACTS];
	int artifact_count;
};

struct life {
	struct fault *fault;
	unsigned number;
	bool forgetful; /* the broker keeps no record of finished jobs for long */
	bool doubting;	/* what a failing disk refused may be found on it */
	struct raincheck *rc;
	struct life_job jobs[LIFE_JOBS];
	size_t count;

	bool lost; /* the connection broke: nothing more is asked */
	unsigned acknowledged;
	unsigned refused;     /* for want of disk, or because it failed */
	unsigned unexplained; /* of these: without saying when to come back although the disk is full */
	char wrong[400];
};

/* Lives of one disk have different numbers. */
void life_init(struct life *l, struct fault *f, unsigned number);
void life_run(struct life *l);
/* cut: what happened to the disk up to this offset of the log is there, and nothing that came later. The life's log is
 * cut there too, and goes on with what the verification does. */
void life_verify(struct life *l, uint64_t cut);

/* One put, and its job worked on to the end: whether all is well with the broker. */
bool life_try(struct fault *f, unsigned number);

#endif
