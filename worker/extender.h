/* extender.h: prolongs the leases of many calls with few messages, and brings their progress along.
 *
 * Calls are offered to it again and again; it takes those whose lease is a third over, or that have news, and sends
 * them together. One message is under way at a time; while the broker is away nothing is sent. Loop's thread only.
 */
#ifndef RAINCHECK_WORKER_EXTENDER_H
#define RAINCHECK_WORKER_EXTENDER_H

#include <stdbool.h>
#include <stdint.h>

struct broker_link;
struct call_place;
struct extender;

/* lost_cb tells that a lease is over, because the job is canceled or somebody else's. ERR_NO_MEMORY. */
int extender_new(struct broker_link *link, int64_t lease_ms,
		 void (*lost_cb)(const char *id, const char *lease, bool canceled, void *user), void *user,
		 struct extender **ret_extender);
/* An answer under way is not told any more. NULL is taken. */
void extender_free(struct extender *e);

/* Takes the call into the next message if it is due. now_ms: clock_mono_ms(). */
void extender_offer(struct extender *e, struct call_place *place, int64_t now_ms);
void extender_send(struct extender *e, int64_t now_ms);

#endif
