/* calls.h: a worker beside the render API, told how it is to call it: what it made of each job, and what the API
 * counted.
 *
 * One thread. What does not come as expected fails the test.
 */
#ifndef RAINCHECK_TEST_CALLS_H
#define RAINCHECK_TEST_CALLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/raincheck.h"
#include "tests/harness/stack.h"

#define KIB 1024
#define MIB (1024 * KIB)

struct calls {
	struct stack stack;
	struct raincheck *rc;
	struct raincheck_job *job; /* the last one whose end was expected */
	char local_base[128];	   /* the API under another name, which is another host */
};

/* The upstream "api" of queue "q", as far as a test wants it different. Further keys begin with a comma. */
struct calls_shape {
	const char *top;    /* lines at the top of the file */
	const char *mode;   /* "poll" */
	const char *lines;  /* lines of the upstream: timeouts, auth, hosts; allow_private unless is_public */
	const char *path;   /* of the submit */
	const char *submit; /* more keys of submit, … */
	const char *poll;   /* … of poll, … */
	const char *result; /* … and all of result but types */
	const char *error;  /* more keys of error */
	const char *others; /* lines of further upstreams */
	const char *queues; /* NULL: q */
	const char *base;   /* NULL: the API's URL */
	bool is_public;
};

/* The answer's body is the result, or names its URL; a poll's answer names the URL, or its HTTP status says all. */
extern const struct calls_shape calls_by_sync, calls_by_sync_url, calls_by_poll, calls_by_http_state;

/* API and broker, and a connection to it. The worker is started by the test; all that runs is stopped at the end. */
void calls_open(struct calls *c);
void calls_close(struct calls *c);

/* At the log level info, at which it says how each call ended. */
void calls_start_worker(struct calls *c, const struct calls_shape *s);
/* Only writes its file anew. */
void calls_configure_worker(struct calls *c, const struct calls_shape *s);
void calls_wait_for_log(struct calls *c, const char *words);

/* Puts {"name": name, "behave": {behave}} into queue, or "q", and gives back its id, for one use at a time. */
const char *calls_put_into(struct calls *c, const char *queue, int64_t attempts, const char *name, const char *behave);
const char *calls_put(struct calls *c, int64_t attempts, const char *name, const char *behave);

/* Waits for the end of the job, which is c->job then. */
void calls_expect_end(struct calls *c, const char *id, enum raincheck_job_state state);
void calls_expect_failure(struct calls *c, const char *id, enum raincheck_failure kind, const char *words);
/* It has succeeded with the video made from its payload and pad_kib of pad, every byte of it. */
void calls_expect_video(struct calls *c, const char *id, const char *name, size_t pad_kib);

/* Of c->job. NULL where there is none of that name. */
const struct raincheck_artifact *calls_artifact(struct calls *c, const char *name);

struct calls_content {
	unsigned char *data; /* the caller's to free */
	size_t size;
};

/* The job's result, read in pieces. */
void calls_read_back(struct calls *c, const char *id, struct calls_content *ret);

/* What the API counts under this name. */
int64_t calls_counted(struct calls *c, const char *what);
void calls_wait_until_counted(struct calls *c, const char *what, int64_t n);
/* Each test has an API of its own: what is paid is paid for its jobs. */
void calls_expect_counts(struct calls *c, int64_t submits, int64_t paid);
/* The credentials that it saw at a door, "nobody" where nobody came; for one use at a time. */
const char *calls_authorization(struct calls *c, const char *door);
/* It goes on with the bodies that it holds half way. */
void calls_release_bodies(struct calls *c);

#endif
