/* The book-keeping tests rely on: how often the API was called, and how often it was paid for whom.
 *
 * Any thread; one lock inside, never held while calling out. What was paid is counted per name: that is how a test
 * proves that no visitor's render was bought twice. Names are capped: past the cap they are counted in
 * "names_not_kept" only, which a test must find to be 0 before it trusts by_name. */
#ifndef RENDER_API_STATS_H
#define RENDER_API_STATS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct stats;

enum stat {
	STAT_SUBMITS,	    /* submits whose body was understood */
	STAT_PAID,	    /* accepted calls: money */
	STAT_REPLAYS,	    /* submits answered from an Idempotency-Key seen before: neither accepted anew nor paid */
	STAT_RENDERS,	    /* videos made */
	STAT_LOOKUPS,	    /* requests for the id that belongs to a key */
	STAT_POLLS,	    /* status requests */
	STAT_POLL_FAILURES, /* of these, answered 500 as told to */
	STAT_FETCHES,	    /* requests for a video or a still */
	STAT_THROTTLED,	    /* 429 */
	STAT_REFUSED,	    /* submits made to fail before they were accepted, other than 429 */
	STAT_FAILED,	    /* renders that ended FAILED */
	STAT_CANCELLED,	    /* renders that ended CANCELLED */
	STAT_WASTED,	    /* renders that failed of overload after their work was done */
	STAT_ABANDONED,	    /* callers that left while they waited */
	STAT_HOOKS,	    /* webhooks delivered */
	STAT_HOOK_FAILURES, /* webhooks given up */
	STAT_CONNECTIONS,   /* opened for anything but to ask for these counts */
	STATS
};

/* What happens to the first so many submits (or, TURN_SPOIL and TURN_EXPIRE, fetches of the video) of a name; each has
 * its own count. */
enum stats_turn { TURN_THROTTLE, TURN_FAIL, TURN_MISBEHAVE, TURN_SPOIL, TURN_EXPIRE, TURNS };

/* Where a caller may show its credentials, or had better not: DOOR_MOVED is where a redirect has led. */
enum stats_door { DOOR_SUBMIT, DOOR_POLL, DOOR_RESULT, DOOR_FILE, DOOR_MOVED, DOORS };

/* -ENOMEM */
int stats_new(size_t names_cap, struct stats **ret_stats);
void stats_free(struct stats *s);

void stats_add(struct stats *s, enum stat what);
void stats_submit(struct stats *s, const char *name);
void stats_paid(struct stats *s, const char *name);
/* A poll of the render that the name is for. */
void stats_polled(struct stats *s, const char *name);

/* The Authorization header of a request, NULL where it had none. The last of each door is kept, cut to 255 bytes. */
void stats_saw(struct stats *s, enum stats_door door, const char *authorization);

/* True for the first `times` calls with this name and kind. */
bool stats_take_turn(struct stats *s, const char *name, enum stats_turn turn, int times);

/* A new object with every count, and with "authorization" by door ("" for none, absent where nobody came),
 * "duplicates" and (with_names) "by_name". NULL: out of memory. */
json_t *stats_json(struct stats *s, bool with_names);

/* Forgets all counts and names. */
void stats_reset(struct stats *s);

#endif
