/* command.h: what the engine is told to do, and how it answers.
 *
 * A command is made by a front (net, http), handed to the writer (writer.h), applied by the engine within a
 * transaction and given back once the disk has it or failed. It carries everything the engine may need: the decoded
 * parameters, and the randomness and ids that the writer fills in. All that params points to belongs to the command's
 * maker and must stay until release.
 *
 * Two stages, so that no promise leaves before the sync:
 *   answer or refuse   on the writer thread, inside the transaction: what they are given points into the map, so they
 *                      copy it at once, and show nobody. Everybody waits for that thread: the rest of the work
 *                      (answer.h, encoding) is the maker's own. Once for each time that the command is applied: again
 *                      where a batch was taken back for the damage that another command met. The last one before
 *                      release counts, so each forgets what the one before it said
 *   release            exactly once, on the writer thread, after the commit: rc 0, or the error that took the whole
 *                      batch back (ERR_DAMAGED where that was a damaged page), and then the answer must be thrown away
 *                      and the error told instead
 */
#ifndef RAINCHECK_ENGINE_COMMAND_H
#define RAINCHECK_ENGINE_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/error.h"
#include "proto/messages.h"
#include "server/flow/estimate.h"

enum command_kind {
	COMMAND_PUT,	    /* struct command_put → MSG_job_put_result, or MSG_job_put_many_result */
	COMMAND_LEASE,	    /* struct msg_job_lease → MSG_job_lease_result; may stay parked until its wait is over */
	COMMAND_EXTEND,	    /* struct msg_job_extend → MSG_job_extend_result */
	COMMAND_CHECKPOINT, /* struct msg_job_checkpoint → MSG_empty */
	COMMAND_COMPLETE,   /* struct command_complete → MSG_job_complete_result */
	COMMAND_FAIL,	    /* struct msg_job_fail → MSG_job_fail_result */
	COMMAND_RELEASE,    /* struct msg_job_release → MSG_job_release_result */
	COMMAND_ATTACH,	    /* struct command_attach → MSG_artifact_stored */
	COMMAND_CHANGE, /* struct command_change → MSG_job_change_result, or MSG_queue_purge_result; one with a filter
			 * may stay with the engine for several batches */
	COMMAND_QUEUE,	/* struct command_queue → MSG_queue */
	COMMAND_LIMIT,	/* struct command_limit → MSG_limit, or MSG_empty of one that was deleted */
	COMMAND_LINK,	/* struct command_link → MSG_link_result, or MSG_empty of a revoked one */
	COMMAND_HOOK,	/* struct command_hook → MSG_empty, whatever became of the job */
	COMMAND_WOKEN,	/* struct msg_job_woken → MSG_empty */
	COMMAND_LEASE_CANCEL, /* none → MSG_empty; the session waits for no job any more: its parked leases answer with
			       * nothing */
	COMMAND_FORGET,	      /* the same, and its changes by filter stop where they are: the session is at its end */
	COMMAND_KINDS
};

/* Bytes of an artifact, hashed, and already in a published blob file where they are too large for the map. */
struct staged {
	struct slice content_type;
	struct slice data; /* where !has_blob */
	int64_t size;
	uint8_t sha256[32];
	bool has_blob;
	struct uuid blob;
	bool adopted; /* set by the engine when a record names the blob, or may; else the maker removes it after release
		       */
};

/* What answer_finish() makes of the job's link and range of time: set by the engine where it answers for the job. */
struct put_rest {
	bool has_link;
	bool has_outlook; /* it has a place in line */
	uint16_t link_generation;
	struct outlook outlook;
};

struct put_item {
	struct msg_job_put put;
	struct staged preview;	 /* where put.has_preview */
	struct error_info error; /* code < 0: refused at the edge already; nothing else of the item is looked at */
	struct put_rest rest;
};

struct command_put {
	struct put_item *items;
	size_t count;
	bool many; /* answer as job.put_many, each on its own merits */
};

struct complete_item {
	struct uuid id;
	struct token lease;
	struct staged result;
	bool has_result;
	bool has_call_ms;
	int64_t call_ms;
};

struct command_complete {
	struct complete_item *items;
	size_t count;
	bool many;
};

struct command_attach {
	struct uuid id;
	struct token lease;
	bool has_lease; /* false: a producer's, allowed before the first lease */
	struct slice name;
	struct staged staged;
};

enum change_action { CHANGE_CANCEL, CHANGE_RETRY, CHANGE_ERASE, CHANGE_REDELIVER, CHANGE_PURGE };

/* One job, or every job of a filter, looked at from the oldest to the youngest there is when it begins. What cannot be
 * changed so (a job that is finished cannot be canceled) is passed over where a filter found it, refused where it was
 * named. */
struct command_change {
	enum change_action action;
	bool has_id;
	struct uuid id;
	struct msg_job_filter filter; /* CHANGE_PURGE: of its queue, those that wait */
	int64_t limit;		      /* stop after about so many and answer with a cursor; 0: never */
	bool has_after;		      /* go on behind this one: a cursor */
	struct uuid after;

	/* The engine's: */
	struct uuid until; /* the youngest job when it began */
	bool begun;
	int64_t count;
};

enum queue_action { QUEUE_SET, QUEUE_PAUSE, QUEUE_RESUME };

struct command_queue {
	enum queue_action action;
	struct msg_queue_set set; /* besides its queue: for QUEUE_SET */
};

enum limit_action { LIMIT_SET, LIMIT_DELETE };

struct command_limit {
	enum limit_action action;
	struct msg_limit_set set; /* besides its limit: for LIMIT_SET */
};

struct command_link {
	struct uuid id;
	bool revoke; /* else a new link takes the place of the present one */
};

/* What an external API reported, to the URL of an attempt. */
struct command_hook {
	struct uuid id;
	uint32_t attempt;
	struct slice content_type;
	const struct pair *headers;
	size_t headers_count; /* at most HOOK_HEADERS, and HOOK_HEADERS_BYTES of them */
	struct slice body;    /* at most HOOK_BODY_BYTES */
	uint8_t digest[16];   /* the same for what was delivered before, and for nothing else */
};

struct command {
	struct command *next; /* of the writer's queue or the engine's parked ones */
	enum command_kind kind;
	const void *params;
	uint64_t session; /* who asks; parked commands are forgotten by it. 0: nobody */

	/* The writer's: */
	struct uuid first_id; /* COMMAND_PUT: the first of count ids */
	uint8_t random[32];

	/* The engine's: */
	int64_t wait_until_ms;

	void (*answer)(struct command *cmd, const struct message *m, const void *result);
	void (*refuse)(struct command *cmd, const struct error_info *info);
	void (*release)(struct command *cmd, int rc);
};

#endif
