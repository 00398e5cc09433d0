#include "server/flow/bucket.h"

#include <math.h>

/* So little below a whole token is one: a thousand additions of a tenth make a little less than a hundred. It is owed
 * on, so that no stretch of time gains more than this. The moment that is told is one for a little more than is needed:
 * its own rounding must not lead there in vain. */
#define ROUNDING 1e-6
#define MORE	 1e-9

/* 0 means that the bucket was never used. */
static int64_t touched(int64_t now_ms)
{
	return now_ms > 0 ? now_ms : 1;
}

static double tokens_at(const struct bucket_state *s, const struct limit_caps *caps, int64_t now_ms)
{
	double tokens = s->tokens;

	if (s->at_ms == 0)
		return caps->burst;
	if (now_ms > s->at_ms)
		tokens += (double)(now_ms - s->at_ms) * caps->rate / 1000;
	return tokens < caps->burst ? tokens : caps->burst;
}

int64_t bucket_room(const struct bucket_state *s, const struct limit_caps *caps, int64_t now_ms, int64_t *ret_again_ms)
{
	double tokens = tokens_at(s, caps, now_ms);
	double whole = floor(tokens + ROUNDING);

	*ret_again_ms = INT64_MAX;
	if (whole + 1 <= caps->burst)
		*ret_again_ms = now_ms + (int64_t)ceil((whole + 1 - ROUNDING + MORE - tokens) / caps->rate * 1000);
	return whole > 0 ? (int64_t)whole : 0;
}

void bucket_refill(struct bucket_state *s, const struct limit_caps *caps, int64_t now_ms)
{
	s->tokens = caps->rate > 0 ? tokens_at(s, caps, now_ms) : LIMIT_BURST_MAX;
	s->at_ms = touched(now_ms);
}

void bucket_take(struct bucket_state *s, const struct limit_caps *caps, int64_t now_ms)
{
	bucket_refill(s, caps, now_ms);
	s->tokens -= 1;
}

bool bucket_clock(struct bucket_state *s, int64_t now_ms)
{
	if (s->at_ms <= touched(now_ms))
		return false;
	s->at_ms = touched(now_ms);
	return true;
}
