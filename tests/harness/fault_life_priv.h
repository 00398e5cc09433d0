/* fault_life_priv.h: what running a life and verifying it share: what jobs go through, and the log of it. */
#ifndef RAINCHECK_TEST_FAULT_LIFE_PRIV_H
#define RAINCHECK_TEST_FAULT_LIFE_PRIV_H

#include "tests/harness/fault_life.h"

#define LIFE_BIT(state) (1u << (state))
#define LIFE_WAITING	(LIFE_BIT(RAINCHECK_JOB_READY) | LIFE_BIT(RAINCHECK_JOB_SCHEDULED))
#define LIFE_LEASE_MS	3600000

/* Below and above what the broker keeps in its database rather than in a file. */
#define LIFE_SMALL 300
#define LIFE_LARGE 40000

enum life_step {
	STEP_END,
	STEP_LEASE,
	STEP_EXTEND,
	STEP_CHECKPOINT,
	STEP_NOTE,    /* artifact.put of a small one, with the lease if there is one */
	STEP_FILM,    /* artifact.put of a large one */
	STEP_UPLOAD,  /* the artifact "result", in pieces */
	STEP_ABANDON, /* an upload that is never committed */
	STEP_LOOK,
	STEP_RELEASE,
	STEP_RETRY,  /* fail, to be tried again */
	STEP_REJECT, /* fail for good */
	STEP_COMPLETE,
	STEP_COMPLETE_SMALL,
	STEP_COMPLETE_LARGE,
	STEP_CANCEL,
	STEP_AGAIN, /* a dead job is tried anew */
	STEP_ERASE,
	STEP_UNTIL_GONE, /* until retention has taken the artifacts */
};

struct life_flavour {
	size_t payload;
	size_t preview;
	int64_t delay_ms;
	bool fleeting; /* its artifacts go at once when it has ended */
	bool batched;  /* put, leased and completed together with the others */
	enum life_step steps[12];
};

struct life_put_room {
	char payload[LIFE_LARGE * 2];
	char preview[LIFE_LARGE];
};

/* ---- the log (fault_life_log.c) ---- */

/* Notes what is wrong, the first time. */
void life__wrong(struct life *l, const struct life_job *j, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* The bytes of a payload, a checkpoint or an artifact: told by whose they are. */
void life__fill(const struct life *l, const struct life_job *j, const char *what, int version, void *ret, size_t size);

/* Something is about to be asked. */
struct life_mark life__asked(const struct life *l);
struct life_event *life__new_event(struct life *l, struct life_job *j, uint32_t states);
struct life_mark *life__new_version(struct life *l, struct life_bytes *b);
struct life_mark *life__new_artifact(struct life *l, struct life_job *j, const char *name, size_t size);
/* What the answer means for the mark: true where it was acknowledged. error says more about a refusal. */
bool life__settle_as(struct life *l, const struct life_job *j, struct life_mark *mark, int code,
		     const struct raincheck_error *error, const char *what);
bool life__settle(struct life *l, const struct life_job *j, struct life_mark *mark, int code, const char *what);

/* NULL where there is none of that name. */
struct life_artifact *life__artifact_of(struct life_job *j, const char *name);
/* The lease that is held, or NULL. */
const char *life__lease_of(const struct life_job *j);

/* ---- what can be done (fault_life_steps.c) ---- */

/* The job's put. */
void life__put_params(const struct life *l, const struct life_job *j, struct life_put_room *room,
		      struct raincheck_put *ret);
/* Around a put that is asked together with others. */
void life__begin_put(struct life *l, struct life_job *j);
bool life__end_put(struct life *l, struct life_job *j, int code, const struct raincheck_put_result *result);

/* Each is true where it was acknowledged. */
bool life__put(struct life *l, struct life_job *j);
bool life__lease(struct life *l, struct life_job *j);
bool life__complete(struct life *l, struct life_job *j, size_t result_size);
bool life__take_step(struct life *l, struct life_job *j, enum life_step step);

/* ---- holding it against a broker (fault_verify.c) ---- */

/* What came with a lease is what was put and noted. */
void life__check_leased(struct life *l, const struct life_job *j, const struct raincheck_leased_job *leased);

#endif
