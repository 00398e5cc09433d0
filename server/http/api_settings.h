/* api_settings.h: what a request says of the job that it puts, beside its body: as headers or in the query, in the
 * words of the wire (proto/message_table.h, job_put), judged by the same table.
 *
 *   header                                  query                        field
 *   Raincheck-Priority: 3                   ?priority=3                  priority
 *   Raincheck-Backoff-Base-Ms: 500          ?backoff.base_ms=500         backoff.base_ms
 *   Raincheck-Metadata-Order: 17            ?metadata.order=17           metadata["order"]
 *   Content-Type, Idempotency-Key, traceparent                           content_type, idempotency_key, traceparent
 *
 * A body of multipart/form-data is taken apart instead of being the payload: its part "payload" is that, with the
 * part's Content-Type; "preview" is the still; any other is a setting by its name in the query.
 *
 * A field that is said twice, anywhere, is refused, and so is a name that there is not. Texts are UTF-8, in a header or
 * a part as it stands, in the query behind % escapes. The key of metadata in a header is what follows, in lower case.
 */
#ifndef RAINCHECK_HTTP_API_SETTINGS_H
#define RAINCHECK_HTTP_API_SETTINGS_H

#include <stdbool.h>

struct MHD_Connection;
struct error_info;
struct form;
struct msg_job_put;
struct msgpack_zone;

/* Reads them into *ret, for the queue; it points into the request's head, the form and the arena. form: NULL where the
 * body is the payload, which is left to the caller then; of a form that is not here yet, one without parts.
 * ERR_BAD_REQUEST, ERR_TOO_LARGE, ERR_NO_MEMORY; info names the field, or the header that is none. */
int api_settings_read(struct MHD_Connection *c, const char *queue, const struct form *form, struct msgpack_zone *arena,
		      struct msg_job_put *ret, struct error_info *info);

/* Where a field of job_put, or the first name of a path, stands in a request instead, for an error: NULL where it is
 * one of those above. */
const char *api_settings_elsewhere(const char *field);

/* How long "Prefer: wait=N" (RFC 7240) asks to wait, in seconds, at most most; 0 for none. */
int api_settings_wait(struct MHD_Connection *c, int most);

#endif
