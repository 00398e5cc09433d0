/* traceparent.h: the job's place in a distributed trace, for the provider (W3C Trace Context). Any thread; no state.
 *
 * It is forwarded as the producer gave it: the worker records no spans, and a parent that nobody has recorded would cut
 * the provider's span off from the trace.
 */
#ifndef RAINCHECK_WORKER_CALL_TRACEPARENT_H
#define RAINCHECK_WORKER_CALL_TRACEPARENT_H

#include <stdbool.h>

/* Whether it may be sent: version, trace id, parent id and flags as https://www.w3.org/TR/trace-context/ has them, in
 * lower case, and of a version to come whatever begins like that. NULL is not. */
bool traceparent_valid(const char *text);

#endif
