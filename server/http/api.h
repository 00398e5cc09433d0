/* api.h: the producers' API below /v1/: what it answers, and to whom.
 *
 * Reads answer at once, each from a read transaction of its own. Writes go to the writer as those of RPC do and are
 * answered when they are on the disk; meanwhile, and while "Prefer: wait" lasts, the connection is suspended: see
 * api_call.h.
 */
#ifndef RAINCHECK_HTTP_API_H
#define RAINCHECK_HTTP_API_H

#include <microhttpd.h>
#include <stdbool.h>

struct buf;
struct exchange;
struct site;
struct uuid;

/* Who may ask: see guard.h. Negative, and exchange_refuse() was called, where this one may not. */
int api_check(struct exchange *x);
/* What a put says before its body comes; the same. */
int api_begin(struct exchange *x);
/* After both; again whenever it was resumed. */
enum MHD_Result api_serve(struct exchange *x);

/* A job as it stands now. */
struct api_job {
	bool final;
	int retry_after; /* seconds, of one that is not final */
};

/* Appends the record as JSON. ERR_NOT_FOUND, ERR_GONE, ERR_CORRUPT, the store's. */
int api_read_job(const struct site *site, const struct uuid *id, struct buf *out, struct api_job *ret);
/* A response with JSON, of which body is emptied; retry_after 0: no such header. NULL without memory. */
struct MHD_Response *api_json(struct buf *body, int retry_after);
/* Sends the problem of an error that concerns what. */
enum MHD_Result api_send_error(const struct exchange *x, int rc, const char *what);

#endif
