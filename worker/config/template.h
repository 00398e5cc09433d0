/* template.h: texts and JSON bodies with placeholders, filled for one job.
 *
 *   {input} {input/POINTER}   the payload, and what a JSON Pointer finds in it
 *   {job.id} {job.queue} {job.attempt} {meta.KEY} {hook_url}
 *   {key}                     the idempotency key of the call: the job's id, and "-N" after it for the Nth new call
 *   {id}                      the provider's id of the call, once it is known
 *   {answer/POINTER}          what a JSON Pointer finds in the poll's last answer
 *   {env.NAME} {file.PATH}    secrets; {env.NAME:-TEXT} is TEXT where there is no such variable
 *   {+…}                      in a path: any of these, with the slashes in it kept
 *   {{                        a brace
 *
 * Substitution happens on parsed values, never on text that is parsed afterwards, so no value can add a member to a
 * body, a segment to a path or a line to a header. A body's string that is one placeholder and nothing else becomes the
 * JSON value itself; inside a longer string a placeholder must be a scalar and becomes its text. Any thread; no state.
 */
#ifndef RAINCHECK_WORKER_CONFIG_TEMPLATE_H
#define RAINCHECK_WORKER_CONFIG_TEMPLATE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/slice.h"

struct buf;
struct error_info;
struct pair;
struct secrets;

/* What the placeholders stand for. Everything is borrowed. */
struct template_values {
	json_t *input;	      /* the payload as JSON; NULL where it is not */
	struct slice payload; /* the payload as it came */
	const char *job_id;
	const char *queue;
	int64_t attempt;
	const char *key; /* NULL: not known here */
	const struct pair *metadata;
	size_t metadata_count;
	const char *id;		 /* NULL before the provider gave one */
	json_t *answer;		 /* NULL where there is none */
	const char *hook_url;	 /* NULL where the broker gave none */
	const char *traceparent; /* no placeholder: a header of every request to the API; NULL: none */
	const struct secrets *secrets;
	bool mask_secrets; /* for showing: secrets become "***" */
};

enum template_use {
	/* percent-encoded, all but unreserved characters, and "." and ".." too; not empty but in a query */
	TEMPLATE_PATH,
	TEMPLATE_HEADER, /* no control characters */
	TEMPLATE_TEXT,	 /* whatever it is */
};

/* What a place knows of, beside the job: for template_check(). */
enum {
	TEMPLATE_KNOWS_ID = 1,
	TEMPLATE_KNOWS_ANSWER = 2,
	TEMPLATE_IS_PATH = 4,
};

/* Checks the placeholders of text and loads its secrets; known is a set of TEMPLATE_KNOWS_…. On ERR_CONFIG, or an error
 * of secrets_load(), why says what is wrong. */
int template_check(struct slice text, struct secrets *secrets, unsigned known, char *why, size_t size);
/* The same for every string of a body. */
int template_check_json(json_t *body, struct secrets *secrets, unsigned known, char *why, size_t size);
/* True where text has a placeholder of the provider's id. */
bool template_names_id(struct slice text);

/* Appends text, filled. ERR_NOT_FOUND where a value is missing, ERR_BAD_REQUEST where it cannot stand there: info then
 * names the placeholder. Errors of out. */
int template_fill(struct slice text, const struct template_values *values, enum template_use use, struct buf *out,
		  struct error_info *info);

/* A filled copy of body. As template_fill(). The caller owns the reference. */
int template_fill_json(json_t *body, const struct template_values *values, json_t **ret_body, struct error_info *info);

#endif
