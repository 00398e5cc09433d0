/* api_settings.h: what a request says of the job that it puts, beside its body: as headers or in the query, in the
 * words of the wire (proto/message_table.h, job_put), judged by the same table.
 *
 *   header                                  query                        field
 *   Raincheck-Priority: 3                   ?priority=3                  priority
 *   Raincheck-Backoff-Base-Ms: 500          ?backoff.base_ms=500         backoff.base_ms
 *   Raincheck-Metadata-Order: 17            ?metadata.order=17           metadata["order"]
 *   Content-Type, Idempotency-Key, traceparent                           content_type, idempotency_key, traceparent
 *
 * A field that is said twice, anywhere, is refused, and so is a name that there is not. Texts are UTF-8, in a header as
 * it stands, in the query behind % escapes. The key of metadata in a header is what follows, in lower case.
 */
#ifndef RAINCHECK_HTTP_API_SETTINGS_H
#define RAINCHECK_HTTP_API_SETTINGS_H

#include <stdbool.h>

struct MHD_Connection;
struct error_info;
struct msg_job_put;
struct msgpack_zone;

/* Reads them into *ret, for the queue, without a payload; it points into the request's head and the arena.
 * ERR_BAD_REQUEST, ERR_TOO_LARGE, ERR_NO_MEMORY; info names the field, or the header that is none. */
int api_settings_read(struct MHD_Connection *c, const char *queue, struct msgpack_zone *arena, struct msg_job_put *ret,
		      struct error_info *info);

/* Where a field of job_put, or the first name of a path, stands in a request instead, for an error: NULL where it is
 * one of those above. */
const char *api_settings_elsewhere(const char *field);

/* How long "Prefer: wait=N" (RFC 7240) asks to wait, in seconds, at most most; 0 for none. */
int api_settings_wait(struct MHD_Connection *c, int most);

#endif
