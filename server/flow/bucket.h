/* bucket.h: a token bucket: so many calls a second, and so many at once after a pause. Never more than burst + rate ×
 * time begin in any stretch of time, whatever the clock does: a clock that goes back gives nothing, and none of what it
 * runs on from there is lost. Pure; any thread.
 *
 * The caps are the ones in effect, from schedule_caps(): rate > 0, burst ≥ 1.
 */
#ifndef RAINCHECK_FLOW_BUCKET_H
#define RAINCHECK_FLOW_BUCKET_H

#include <stdbool.h>
#include <stdint.h>

#include "server/store/limit_record.h"

/* Calls that may begin now. *ret_again_ms: when there will be one more than now at the earliest, INT64_MAX where the
 * bucket is full: it holds no more whole ones. */
int64_t bucket_room(const struct bucket_state *s, const struct limit_caps *caps, int64_t now_ms, int64_t *ret_again_ms);
/* Brings it up to now under these caps, before others hold: what came in is put in, what is more than the burst runs
 * over. Here a rate of −1 fills it to the brim. */
void bucket_refill(struct bucket_state *s, const struct limit_caps *caps, int64_t now_ms);
/* One begins; there was room for it. */
void bucket_take(struct bucket_state *s, const struct limit_caps *caps, int64_t now_ms);
/* A bucket that was last touched at a moment that is yet to come was so before the clock went back: it fills from now
 * on. Without this nothing would come in until the clock is there again. True: it was changed. */
bool bucket_clock(struct bucket_state *s, int64_t now_ms);

#endif
