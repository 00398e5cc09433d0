/* extender.h: prolongs the leases of many calls with few messages, and brings their progress along.
 *
 * Calls are offered to it again and again; it takes those whose lease is a third over, or that have news, and sends
 * them together, up to a thousand in a message. One message is under way at a time: when it is answered and was full,
 * more_cb asks for the calls to be offered again. While the broker is away nothing is sent. Loop's thread only.
 */
#ifndef RAINCHECK_WORKER_EXTENDER_H
#define RAINCHECK_WORKER_EXTENDER_H

#include <stdbool.h>
#include <stdint.h>

struct broker_link;
struct call_place;
struct extender;

struct extender_handlers {
	/* The lease is over, because the job is canceled or somebody else's. */
	void (*lost_cb)(const char *id, const char *lease, bool canceled, void *user);
	void (*more_cb)(void *user);
	void *user;
};

/* ERR_NO_MEMORY. */
int extender_new(struct broker_link *link, int64_t lease_ms, const struct extender_handlers *handlers,
		 struct extender **ret_extender);
/* From the next message on. */
void extender_set_lease(struct extender *e, int64_t lease_ms);
/* An answer under way is not told any more. NULL is taken. */
void extender_free(struct extender *e);

/* Takes the call into the next message if it is due. now_ms: clock_mono_ms(). */
void extender_offer(struct extender *e, struct call_place *place, int64_t now_ms);
/* Whether it takes more calls: it has room, is connected, and awaits no answer. */
bool extender_takes(const struct extender *e);
void extender_send(struct extender *e, int64_t now_ms);

#endif
