/* outbox_body.h: what a webhook says: the job as its producer knows it, in JSON. Pure; the writer's thread. */
#ifndef RAINCHECK_ENGINE_OUTBOX_BODY_H
#define RAINCHECK_ENGINE_OUTBOX_BODY_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/base/slice.h"
#include "proto/base/uuid.h"

struct buf;
struct job;
struct job_input;

/* Metadata that is larger is left out, and the body says so. */
#define OUTBOX_METADATA_BYTES 32768
/* A body is never longer than this, whatever has to be escaped in it. */
#define OUTBOX_BODY_MAX (16 * OUTBOX_METADATA_BYTES)

struct outbox_news {
	const struct uuid *id;
	const struct job *job; /* it has ended */
	const struct job_input *input;
	struct slice queue;
	const char *link; /* NULL: it was revoked */
	bool has_preview;
	bool has_result;
};

/* Appends the body to out. ERR_NO_MEMORY. */
int outbox_body(struct buf *out, const struct outbox_news *news);

#endif
