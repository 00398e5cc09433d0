/* checkpoint.h: what lets the next attempt take up a call where this one left it, as the broker keeps it: a small JSON
 * object. Any thread; no state.
 *
 *   {"v":1, "upstream":NAME, "n":0, "submitting":true}                           a submit may have gone out
 *   {"v":1, "upstream":NAME, "n":0, "id":ID, "urls":{…}, "submitted_at_ms":T}    the provider has it under ID
 *   {"v":1, "upstream":NAME, "n":0, "urls":{"media":URL}, "outputs":{NAME:URL}}  sync: the result is there
 *   {"v":1, "upstream":NAME, "n":1}                                              that one is over; submit anew
 *
 * n counts the calls that were given up, so that the idempotency key of a new one is another.
 */
#ifndef RAINCHECK_WORKER_CALL_CHECKPOINT_H
#define RAINCHECK_WORKER_CALL_CHECKPOINT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "proto/base/clean.h"
#include "proto/base/slice.h"

/* Texts are owned; NULL where they are not known. */
struct checkpoint {
	char *upstream;
	int64_t n;
	bool submitting;
	char *id;
	char *status_url;
	char *result_url;
	char *cancel_url;
	char *media_url;	 /* sync: where the answer said that the result is … */
	json_t *outputs;	 /* … and what else there is: URLs by name; NULL: nothing */
	int64_t submitted_at_ms; /* Unix epoch */
};

/* Fills *ret; an empty text gives an empty checkpoint. ERR_UNSUPPORTED_VERSION, ERR_CORRUPT, ERR_NO_MEMORY. */
int checkpoint_read(struct slice text, struct checkpoint *ret);
/* As one line of JSON, which the caller frees. ERR_NO_MEMORY. */
int checkpoint_write(const struct checkpoint *c, char **ret_text);
/* Frees the content. */
void checkpoint_done(struct checkpoint *c);

/* True where the provider has a call that can be taken up. */
bool checkpoint_resumes(const struct checkpoint *c);
/* Drops what belongs to one call and counts it as given up. */
void checkpoint_give_up(struct checkpoint *c);

#endif
