/* stack.h: broker, render API and worker, started together in a directory of their own, and HTTP requests to them. */
#ifndef RAINCHECK_TEST_STACK_H
#define RAINCHECK_TEST_STACK_H

#include <stddef.h>

#include "client/raincheck.h"
#include "tests/harness/process.h"
#include "tests/harness/tempdir.h"

struct stack {
	struct tempdir dir;
	struct process broker, api, worker;
	char server[256];	 /* the broker's address for clients */
	char http[128];		 /* "http://127.0.0.1:PORT", of the links */
	int http_port_fd;	 /* keeps that port from others while the broker is down */
	char api_url[128];	 /* of the render API */
	char worker_config[256]; /* path */
};

/* Each waits until the program serves. The broker listens on a Unix socket in the directory, so that it has the same
 * address after a restart. */
void stack_start_broker(struct stack *s);
/* The render API with further arguments, NULL at the end; it makes its clips up unless they say otherwise. */
void stack_start_api(struct stack *s, const char *const *extra);
/* Writes the worker's file: queue "sync" and queue "poll", each to the API's shape of that name. settings are more
 * lines of YAML at the top level. */
void stack_configure_worker(struct stack *s, const char *settings);
void stack_start_worker(struct stack *s);

/* Stops what runs, failing the test where an exit status is not 0, proves the store with raincheckd --check and removes
 * the directory. */
void stack_stop(struct stack *s);
void stack_check(struct stack *s);

struct raincheck *stack_connect(struct stack *s);

struct http_answer {
	long status;
	char *headers; /* all of them, as they came */
	char *body;    /* with a NUL after it */
	size_t size;
};

/* method NULL: GET. request_header may be NULL. Fails the test when there is no answer at all. */
void http_request(const char *method, const char *url, const char *request_header, struct http_answer *ret);
/* Until the render API has counted at least so many of what its /stats tells, in all or (name not NULL) for a name: it
 * holds its answer until then. Fails the test when that takes a minute. */
void stack_wait_for_api(const struct stack *s, const char *name, const char *what, int64_t least);
/* Until /metrics of the broker has this line, without its end: for what only the broker itself knows. */
void stack_wait_for_metric(const struct stack *s, const char *line);
/* The same as http_request() with a body and any number of headers, NULL at their end. A header "Name:" leaves out the
 * one that curl would add by itself. */
struct http_sent {
	const char *method; /* NULL: POST */
	const char *url;
	const char *const *headers;
	const void *body;
	size_t size;
};
void http_send(const struct http_sent *sent, struct http_answer *ret);
void http_answer_done(struct http_answer *a);
/* The value of a header of the answer, "" where there is none; for one use at a time. */
const char *http_header(const struct http_answer *a, const char *name);

#endif
