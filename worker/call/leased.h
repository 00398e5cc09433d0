/* leased.h: a leased job as the worker keeps it: a copy of what the broker gave. Any thread, one at a time. */
#ifndef RAINCHECK_WORKER_CALL_LEASED_H
#define RAINCHECK_WORKER_CALL_LEASED_H

#include <jansson.h>
#include <stdint.h>

#include "client/raincheck.h"
#include "proto/base/clean.h"
#include "proto/base/slice.h"
#include "proto/messages.h"
#include "worker/config/template.h"

struct leased {
	char id[RAINCHECK_ID_SIZE];
	char lease[RAINCHECK_TOKEN_SIZE];
	char *queue;
	int64_t attempt;
	void *payload;
	size_t payload_size;
	char *content_type;		/* NULL: not given */
	json_t *input;			/* the payload, parsed; NULL where it is not JSON */
	int64_t attempt_deadline_at_ms; /* of the broker's clock; 0: none */
	int64_t deadline_at_ms;		/* of the job; likewise */
	struct slice checkpoint;	/* ours; size 0: none */
	struct pair *metadata;
	size_t metadata_count;
	char *hook_url;	   /* NULL: none */
	char *traceparent; /* NULL: none, or not one to be forwarded */
};

/* ERR_NO_MEMORY. */
int leased_new(const struct raincheck_leased_job *leased, struct leased **ret_job);
void leased_free(struct leased *j);
DEFINE_CLEANUP(struct leased *, leased_free)

/* What the payload is to be called where it is sent as it is; NULL where nothing is known. */
const char *leased_content_type(const struct leased *j);

/* For templates: everything that is the job's. */
struct template_values leased_values(const struct leased *j);

#endif
