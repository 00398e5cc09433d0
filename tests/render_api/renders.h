/* The renders the API has accepted: their states, who waits for them, and the capacity they share.
 *
 * Any thread, one lock inside. A render is held by reference: what renders_submit() and renders_find() return is the
 * caller's until renders_put(). Final renders are kept for polls up to a cap, then forgotten with their files.
 *
 * Capacity, when set (C = capacity, n = renders in flight including the new one, S = delay_ms, or 100 ms when that is
 * 0), decided when a render is accepted:
 *
 *   n <= C         works for S
 *   C < n <= 2C    works for S * (n/C)^2: what gets through per second falls as more is asked at once
 *   n > 2C         works for 4 * S, is paid, and then fails as OVERLOADED: work for nothing
 *
 * Renders of all three kinds stay in flight while they work, so a caller that pushes on makes it worse for all. */
#ifndef RENDER_API_RENDERS_H
#define RENDER_API_RENDERS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>

#include "behave.h"
#include "clip.h"
#include "input.h"

#define RENDER_ID_BYTES	 24
#define RENDER_KEY_BYTES 255

struct hooks;
struct render;
struct renders;
struct stats;

enum render_state { RENDER_PENDING, RENDER_RUNNING, RENDER_SUCCEEDED, RENDER_FAILED, RENDER_CANCELLED, RENDER_STATES };

struct renders_config {
	unsigned slots;	      /* how many stills and videos are made at a time */
	size_t max_in_flight; /* 0: as many as the table holds */
	size_t capacity;      /* 0: does not degrade */
	size_t keep;	      /* final renders remembered */
	const char *base_url; /* "http://HOST:PORT"; lives as long as the renders */
	struct clips *clips;
	struct stats *stats;
	struct hooks *hooks;
};

/* Someone who waits for a render's end. woken_cb is called once, from any thread, with the renders' lock held: it must
 * not call back into this module. */
struct render_waiter {
	void (*woken_cb)(struct render_waiter *w);
	/* the renders' */
	struct render *render;
	LIST_ENTRY(render_waiter) link;
};

/* How a render ended; failure is of use only when state is RENDER_FAILED. */
struct render_outcome {
	enum render_state state;
	bool overloaded;
	struct behave_fail failure;
};

/* A negative errno. */
int renders_new(const struct renders_config *config, struct renders **ret_renders);

/* Ends the renderings under way and the threads. No call may be under way or come after, except renders_free(). */
void renders_stop(struct renders *rs);
void renders_free(struct renders *rs);

/* Accepts a render. in becomes the renders' own on success. key may be NULL; a key seen before gives the render it was
 * first used for and sets ret_replay. -EBUSY: max_in_flight reached; -ENOSPC: the table is full; -ENOMEM. */
int renders_submit(struct renders *rs, struct input *in, const char *key, struct render **ret_render, bool *ret_replay);

/* -ENOENT */
int renders_find(struct renders *rs, const char *id, struct render **ret_render);
/* The render that was submitted with this key. -ENOENT */
int renders_find_key(struct renders *rs, const char *key, struct render **ret_render);
void renders_put(struct renders *rs, struct render *r);

/* Lets those go on that hold keeps RUNNING. */
void renders_release(struct renders *rs);

/* Nothing happens to one that has ended. */
void renders_cancel(struct renders *rs, struct render *r);

/* False when the render has ended already; otherwise w's callback will be called, unless renders_unwait() comes first.
 */
bool renders_wait(struct renders *rs, struct render *r, struct render_waiter *w);
void renders_unwait(struct renders *rs, struct render_waiter *w);

/* These do not change while the reference is held. */
const char *render_id(const struct render *r);
const struct input *render_input(const struct render *r);

void renders_outcome(struct renders *rs, struct render *r, struct render_outcome *ret_outcome);

/* Whether the still or the video is there to be fetched. */
bool renders_has(struct renders *rs, struct render *r, enum clip_kind kind);

/* Counts a poll and says whether it is one of those told to fail. */
bool renders_poll_fails(struct renders *rs, struct render *r);

/* {"id","status","progress"}, and as they come to be: "output", "poster", "failure", "failureCode". NULL: no memory. */
json_t *renders_status(struct renders *rs, struct render *r);

void renders_load(struct renders *rs, size_t *ret_in_flight, size_t *ret_max_in_flight);

/* The maximum starts again from what is in flight now. */
void renders_reset_load(struct renders *rs);

#endif
