/* api_call.h: a request of the API that is not answered at once: because the writer has to carry it out, or because it
 * waits for its job's end.
 *
 *   api_call_put, _change ──▶ WRITING ──released──▶ WRITTEN ──▶ answered
 *                                                      │ Prefer: wait, and the job is not at its end
 *   api_call_get ── Prefer: wait ──▶ WAITING ◀─────────┘
 *                                       └── at its end, or the time is over ──▶ answered
 *
 * While it is WRITING it is the writer's, and before that whoever writes its still's; nothing else of it is touched
 * then. Each of the functions answers, or suspends the connection and is called again for the same request when it is
 * resumed.
 */
#ifndef RAINCHECK_HTTP_API_CALL_H
#define RAINCHECK_HTTP_API_CALL_H

#include <microhttpd.h>
#include <stddef.h>

#include "server/engine/command.h"

struct api_call;
struct exchange;
struct uuid;

/* How large the body of a put may be: a form's, or a payload. */
size_t api_call_body_max(const struct exchange *x);
/* The head of a put: what it says of the job. Negative, and exchange_refuse() was called, where that cannot be. */
int api_call_begin_put(struct exchange *x);
/* After that, with the body. */
enum MHD_Result api_call_put(struct exchange *x);
enum MHD_Result api_call_change(struct exchange *x, const struct uuid *id, enum change_action action);
enum MHD_Result api_call_get(struct exchange *x, const struct uuid *id);
/* NULL is taken. */
void api_call_free(struct api_call *call);

#endif
