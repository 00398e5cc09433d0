/* response.h: what all answers have in common: headers for safety, bodies with an owner, problems as JSON (RFC 9457).
 *
 * Only for server/http. Every function that queues answers MHD_YES, or MHD_NO when the connection must be closed.
 */
#ifndef RAINCHECK_HTTP_RESPONSE_H
#define RAINCHECK_HTTP_RESPONSE_H

#include <microhttpd.h>
#include <stdbool.h>
#include <stdint.h>

#include "proto/base/buf.h"

#define ALLOWED_METHODS	    "GET, HEAD, OPTIONS"
#define RESPONSE_MAPPED_MAX (INT64_C(2) << 20) /* bytes; a socket takes about so many at once */

/* A response that owns the bytes of b, which is emptied, and bears the common headers. NULL without memory. */
struct MHD_Response *response_new(struct buf *b, const char *content_type);
/* The same without a body. */
struct MHD_Response *response_empty(void);
/* For 304: without a body, and telling the size of the one that the client has. */
struct MHD_Response *response_not_modified(int64_t size);
/* Bears length bytes of the file from offset on, at least one. Owns the file from now on: closed with it at the latest,
 * and where NULL is returned. Up to RESPONSE_MAPPED_MAX are mapped. */
struct MHD_Response *response_file(int fd, int64_t offset, int64_t length, const char *content_type);

/* Without a body, for HEAD of what has no length. */
struct MHD_Response *response_typed_empty(const char *content_type);
/* The same head as text, for a socket that is not the library's any more: the first line, the date and what every
 * answer bears, each line with its end; more may follow, then an empty line. The error of out. */
int response_write_head(struct buf *out, unsigned status, const char *content_type);

/* False without memory; r may be NULL, for checking once at the end. */
bool response_header(struct MHD_Response *r, const char *name, const char *value);

/* Queues r, which may be NULL, and lets go of it. */
enum MHD_Result response_send(struct MHD_Connection *c, unsigned status, struct MHD_Response *r);

/* A problem as application/problem+json, with a code as on the wire. detail may be NULL. */
struct MHD_Response *response_problem(unsigned status, const char *code, const char *detail);
/* Makes and sends one. */
enum MHD_Result response_refuse(struct MHD_Connection *c, unsigned status, const char *code, const char *detail);
/* Makes and sends the one for an error of ours: 404, 410, 500 or 503. */
enum MHD_Result response_error(struct MHD_Connection *c, int rc);
/* Logs what the store did, for an error of it that is about to be told; on the thread that met it, and not each time.
 */
void response_log_failure(int rc);
/* The status of an error of ours. */
unsigned response_status_of(int rc);

/* A request header's value; NULL where it is not there. */
const char *request_header(struct MHD_Connection *c, const char *name);

#endif
