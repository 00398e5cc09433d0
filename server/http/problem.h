/* problem.h: what went wrong as application/problem+json (RFC 9457): type, title, status, detail, and of ours code (as
 * on the wire), field and retry_after_ms. Any thread; queues like response.h.
 */
#ifndef RAINCHECK_HTTP_PROBLEM_H
#define RAINCHECK_HTTP_PROBLEM_H

#include <microhttpd.h>

struct error_info;

/* The status that a refusal has as the answer to a request of the producers' API. */
unsigned problem_status(const struct error_info *info);
/* Makes one with the status that is said, and Retry-After where waiting helps. NULL without memory. */
struct MHD_Response *problem_new(unsigned status, const struct error_info *info);
/* Makes and sends one with problem_status(); logs what the store did where it was that. */
enum MHD_Result problem_send(struct MHD_Connection *c, const struct error_info *info);

#endif
