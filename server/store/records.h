/* records.h: what stands in the tables, as structs, and their bytes.
 *
 * Every record begins with a checksum (XXH3, 64 bits) over the rest, so that a flipped bit is found where it is read
 * (ERR_CORRUPT) and never served. Numbers are little-endian. A decoded record's slices point into the bytes it was
 * read from. Any thread; no state.
 *
 * A key has no checksum of its own. Where nothing else would tell that a bit of it flipped, the record holds the key
 * that it was written under, below its checksum: an artifact's, a checkpoint's, a group's place or weight. Read under
 * another key it is damaged. See own_key.h.
 */
#ifndef RAINCHECK_STORE_RECORDS_H
#define RAINCHECK_STORE_RECORDS_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/base/buf.h"
#include "proto/base/slice.h"
#include "proto/base/uuid.h"
#include "proto/messages.h"

#define PRIORITIES 10

/* All that changes in a job's life. Moments are milliseconds since the Unix epoch, 0 for "none". */
struct job {
	uint32_t queue;
	uint8_t state; /* enum job_state */
	uint8_t priority;
	uint8_t error_kind; /* enum failure_kind; of the last failure, where error_at_ms is set */
	bool has_progress;
	bool link_revoked;
	bool has_callback;	  /* its put named a URL to be told at when it ends */
	uint16_t link_generation; /* goes into the link's token: a new one makes the old link unknown */
	uint32_t attempt;	  /* attempts counted, the one under way included */
	uint32_t max_attempts;	  /* 0: the queue's */
	int64_t created_at_ms;
	int64_t run_at_ms; /* when it is, or was, due to be ready */
	int64_t start_deadline_at_ms;
	int64_t deadline_at_ms;
	int64_t started_at_ms; /* of the attempt under way, or of the last */
	int64_t finished_at_ms;
	int64_t lease_expires_at_ms;
	int64_t attempt_deadline_at_ms;
	int64_t expires_at_ms; /* when a finished job's artifacts go, and after that its record */
	int64_t due_at_ms;     /* the job's one entry in TABLE_DUE; 0: none */
	uint64_t tag;	       /* of its entry in TABLE_READY; 0: it was never in line */
	int64_t error_at_ms;
	int64_t call_ms;       /* what the last call to the API took, as the worker said */
	int64_t result_ttl_ms; /* −1: the queue's or the server's */
	int64_t bytes;	       /* of its payload: what it counts for in its queue */
	uint64_t holder; /* the session that the present or last lease was given to; means nothing after a restart */
	uint32_t artifacts;
	bool artifacts_gone; /* retention took them */
	bool hooked;	     /* there may be a row of it in TABLE_HOOKS */
	float progress;
	struct token lease;	    /* who may write, while running */
	struct slice note;	    /* a worker's words about progress */
	struct slice error_message; /* of the last failure */
};

/* How long an attempt that failed is followed by nothing. −1 in a member: whoever comes after in the order of job,
 * queue, server says. */
struct backoff {
	int64_t base_ms;
	int64_t max_ms;
	double factor;
	double jitter; /* the share of a delay that is drawn: 1 is "full jitter" */
};

/* All that the put said. Empty slices and 0 for what it did not. */
struct job_input {
	struct slice content_type;
	struct slice group;
	struct slice title;
	struct slice idempotency_key;
	struct slice callback_url;
	struct slice traceparent;
	int64_t attempt_timeout_ms; /* 0: the queue's */
	struct backoff backoff;
	const struct pair *metadata; /* when encoding */
	size_t metadata_count;
	struct slice metadata_bytes; /* when decoded: read with input_metadata() */
	struct slice payload;
};

struct artifact {
	struct slice content_type;
	int64_t size;
	int64_t created_at_ms;
	uint8_t sha256[32];
	bool has_blob;
	struct uuid blob;  /* the file that holds the bytes, where has_blob */
	struct slice data; /* the bytes, where not */
};

/* What is left of a job that is gone, so that its link can say so. */
struct tombstone {
	int64_t until_ms; /* when it is forgotten too */
	uint16_t link_generation;
	bool link_revoked;
};

/* The jobs of one priority in a queue, as server/flow/fair.h orders them. */
struct fair_line {
	uint64_t now;	 /* virtual time: the greatest tag that was served */
	uint64_t finish; /* of the jobs without a group */
	uint64_t last;	 /* the greatest finish tag of any group */
	bool grouped;	 /* there may be jobs with a group in it */
};

/* How fast a queue goes: what estimates are made of, see server/flow/estimate.h. */
struct pace {
	double fast;	  /* jobs done with a millisecond, in an average that forgets within a minute */
	double slow;	  /* in one that forgets within ten */
	int64_t at_ms;	  /* when both were brought up to date */
	int64_t since_ms; /* when counting began */
	double run_ms;	  /* what an attempt that succeeded took, smoothed; 0: none yet */
	double spread_ms; /* by how much they differ from that, smoothed */
};

struct queue_record {
	struct slice name;
	struct slice title;
	struct slice limit; /* the name of the limit that its jobs count for; empty: none */
	uint32_t weight;    /* its share where a lease names several queues, 1 to 1,000 */
	uint8_t admit;	    /* enum admission */
	bool paused;
	bool recount;		    /* a damaged job was taken out of the counts: the next start counts anew */
	int64_t max_jobs;	    /* not finished, at once; −1: no bound */
	int64_t max_bytes;	    /* of those; −1: no bound */
	uint32_t max_attempts;	    /* 0: the server's default */
	struct backoff backoff;	    /* −1: the server's default */
	int64_t attempt_timeout_ms; /* 0: none */
	int64_t result_ttl_ms;	    /* −1: the server's */
	int64_t bytes;		    /* the sum of the unfinished jobs' */
	int64_t counts[JOB_STATES];
	int64_t ready[PRIORITIES]; /* of counts[JOB_READY], by priority */
	int64_t put_total;
	int64_t lease_total;
	struct fair_line lines[PRIORITIES];
	struct pace pace;
};

/* Each appends the record to out (reset by the caller); the error of out. */
int record_write_job(struct buf *out, const struct job *j);
int record_write_input(struct buf *out, const struct job_input *in);
int record_write_queue(struct buf *out, const struct queue_record *q);
int record_write_moment(struct buf *out, int64_t at_ms); /* a job set aside */
int record_write_tombstone(struct buf *out, const struct tombstone *stone);
/* Those that hold the key they are to stand under. */
int record_write_artifact(struct buf *out, struct slice key, const struct artifact *a);
int record_write_checkpoint(struct buf *out, struct slice key, struct slice data);
int record_write_finish(struct buf *out, struct slice key, uint64_t finish); /* a group's in a line */
int record_write_weight(struct buf *out, struct slice key, uint32_t weight); /* a group's in a queue */

/* Whether the checksum is right, of whatever record it is. */
bool record_is_whole(struct slice bytes);

/* Each ERR_CORRUPT where the checksum or the shape is wrong. */
int record_read_job(struct slice bytes, struct job *ret);
int record_read_input(struct slice bytes, struct job_input *ret);
/* The same without the checksum: of bytes that were proved before and not written since, or of a copy of them. */
int record_read_input_again(struct slice bytes, struct job_input *ret);
int record_read_queue(struct slice bytes, struct queue_record *ret);
int record_read_moment(struct slice bytes, int64_t *ret_at_ms);
int record_read_tombstone(struct slice bytes, struct tombstone *ret);
/* ERR_CORRUPT also where it was written under another key than the one it is found under. */
int record_read_artifact(struct slice key, struct slice bytes, struct artifact *ret);
int record_read_checkpoint(struct slice key, struct slice bytes, struct slice *ret);
int record_read_finish(struct slice key, struct slice bytes, uint64_t *ret);
int record_read_weight(struct slice key, struct slice bytes, uint32_t *ret);
/* The key that one of these four was written under. */
int record_read_own_key(struct slice bytes, struct slice *ret_key);

/* What an entry of TABLE_DUE says of its job, so that it can be taken out of its queue's counts when its own record is
 * damaged. No checksum: it is believed only then. ERR_CORRUPT for another shape, which a tombstone's entry has. */
#define DUE_VALUE_SIZE 6
struct due_value {
	uint8_t bytes[DUE_VALUE_SIZE];
};
struct due_value due_value_make(const struct job *j);
int due_value_read(struct slice value, uint32_t *ret_queue, uint8_t *ret_state, uint8_t *ret_priority);

/* Up to cap pairs of a decoded input; how many there are. */
size_t input_metadata(const struct job_input *in, struct pair *ret, size_t cap);

#endif
