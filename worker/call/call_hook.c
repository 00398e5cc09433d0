/* What the API reports by itself. A hook is taken in at whatever moment it comes, before the submit's answer too, is
 * proved, and then either has the API polled at once or is itself taken for the answer to a poll:
 *
 *   comes ──▶ seen before? ──▶ proved? ──┬── by poll ──▶ the next poll is now ──▶ its answer: done with
 *                                 │      └── a report ─▶ when the call waits: its id is ours? ──▶ taken for an answer
 *                                 └─ no: logged once, done with
 *
 * The broker gives a hook again until it is told that the hook is done with, and that is said after the deed, so that a
 * worker that dies in between leaves the hook to the next attempt. Saying so may fail: then it is given once more.
 */
#include "worker/call/call_priv.h"

#include <stdlib.h>
#include <string.h>

#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "proto/error.h"
#include "worker/call/keyset.h"
#include "worker/call/leased.h"
#include "worker/config/json_text.h"
#include "worker/config/pointer.h"
#include "worker/config/upstream.h"

#define POLL_PAUSE_MS 1000 /* between two polls that hooks ask for */
#define HELD_MAX      16   /* as many as the broker keeps for a job */
#define ID_SIZE	      1024

/* One that is kept for a while: until there are keys to prove it by, or until the call waits. */
struct held_hook {
	TAILQ_ENTRY(held_hook) entry;
	int64_t number;
	int64_t received_at_ms;
	struct pair *headers; /* texts behind each other in one block, which begins with the first key */
	size_t header_count;
	char *texts;
	void *body;
	size_t body_size;
	bool proved;
};

/* ---- one of them ---- */

static void held_free(struct held_hook *h)
{
	if (!h)
		return;
	free(h->headers);
	free(h->texts);
	free(h->body);
	free(h);
}
DEFINE_CLEANUP(struct held_hook *, held_free)

static struct slice copy_text(char **at, const char *text)
{
	size_t size = strlen(text);
	struct slice s = slice_of(*at, size);

	memcpy(*at, text, size);
	*at += size;
	return s;
}

static int copy_headers(struct held_hook *h, const struct raincheck_notification *n)
{
	size_t size = 1;
	char *at;

	for (size_t i = 0; i < n->header_count; i++)
		size += strlen(n->headers[i].key) + strlen(n->headers[i].value);
	h->headers = calloc(n->header_count + 1, sizeof(*h->headers));
	h->texts = malloc(size);
	if (!h->headers || !h->texts)
		return ERR_NO_MEMORY;
	at = h->texts;
	for (size_t i = 0; i < n->header_count; i++) {
		h->headers[i].key = copy_text(&at, n->headers[i].key);
		h->headers[i].value = copy_text(&at, n->headers[i].value);
	}
	h->header_count = n->header_count;
	return 0;
}

static int held_new(const struct raincheck_notification *n, struct held_hook **ret)
{
	_cleanup_(held_freep) struct held_hook *h = calloc(1, sizeof(*h));

	if (!h)
		return ERR_NO_MEMORY;
	h->number = n->hook;
	h->received_at_ms = n->received_at_ms;
	h->body = malloc(n->data.size + 1);
	if (!h->body || copy_headers(h, n) < 0)
		return ERR_NO_MEMORY;
	if (n->data.size > 0)
		memcpy(h->body, n->data.data, n->data.size);
	h->body_size = n->data.size;
	*ret = TAKE_PTR(h);
	return 0;
}

static void drop(struct call *c, struct held_hook *h)
{
	TAILQ_REMOVE(&c->hooks.held, h, entry);
	c->hooks.held_count--;
	held_free(h);
}

void call__hooks_end(struct call *c)
{
	struct held_hook *h;

	keyset_wait_cancel(&c->hooks.keys);
	while ((h = TAILQ_FIRST(&c->hooks.held)))
		drop(c, h);
}

/* ---- what is done with ---- */

static void done_with(struct call *c, int64_t number)
{
	struct raincheck_woken woken = { .id = c->job->id, .lease = c->job->lease, .hook = number };

	if (number <= c->hooks.done)
		return;
	/* One that still waits here must not be said to be done with by a later one. */
	if (!TAILQ_EMPTY(&c->hooks.held) && TAILQ_FIRST(&c->hooks.held)->number <= number)
		return;
	c->hooks.done = number;
	(void)raincheck_woken_async(broker_link_handle(c->spec.means->link), &woken, NULL, NULL);
}

static void refuse(struct call *c, struct held_hook *h, const char *why)
{
	int64_t number = h->number;

	if (!c->hooks.warned)
		log_warning("job %s: a hook was reported that is passed over: %s", c->job->id, why);
	c->hooks.warned = true;
	drop(c, h);
	done_with(c, number);
}

/* What cannot be judged now: the broker gives it again. Later ones go with it, for they must not be said to be done
 * with before it. */
static void let_go(struct call *c, struct held_hook *h)
{
	struct held_hook *next;

	if (h && c->hooks.seen >= h->number)
		c->hooks.seen = h->number - 1;
	c->hooks.missed |= h != NULL;
	for (; h; h = next) {
		next = TAILQ_NEXT(h, entry);
		drop(c, h);
	}
}

/* ---- proving ---- */

static void keys_cb(struct keyset_wait *w, const struct keyset *keys, const char *why)
{
	struct call *c = CONTAINER_OF(w, struct call, hooks.keys);
	struct held_hook *h = TAILQ_FIRST(&c->hooks.held);

	(void)why; /* was logged */
	if (keys) {
		call__hooks_settle(c);
		return;
	}
	/* They may be had later. */
	while (h && h->proved)
		h = TAILQ_NEXT(h, entry);
	let_go(c, h);
}

void call__hooks_begin(struct call *c)
{
	TAILQ_INIT(&c->hooks.held);
	c->hooks.keys.done_cb = keys_cb;
}

enum judgement {
	HOOK_PROVED,
	HOOK_FORGED,
	HOOK_WAITS, /* for keys, which may be others than those known */
	HOOK_LATER, /* it cannot be judged now */
};

static enum judgement judge_by(const char *why)
{
	if (!why)
		return HOOK_PROVED;
	return why == signature_not_computed ? HOOK_LATER : HOOK_FORGED;
}

static enum judgement judge_fal(struct call *c, const struct signed_hook *hook, const char **ret_why)
{
	struct keysets *ks = c->spec.means->keysets;
	const struct keyset *keys = keyset_find(ks, c->upstream);
	enum judgement known = HOOK_LATER;

	if (keys) {
		*ret_why = signature_check_fal(hook, keys->keys, keys->count);
		known = judge_by(*ret_why);
	}
	if (known == HOOK_PROVED)
		return known;
	if (c->hooks.keys.source)
		return HOOK_WAITS;
	if (!keyset_may_want(ks, c->upstream))
		return known;
	return keyset_want(ks, c->spec.config, c->upstream, &c->hooks.keys) < 0 ? HOOK_LATER : HOOK_WAITS;
}

/* *ret_why: of one that is forged. */
static enum judgement judge(struct call *c, const struct held_hook *h, const char **ret_why)
{
	const struct upstream_hook *u = &c->upstream->hook;
	const struct signed_hook hook = {
		.headers = h->headers,
		.header_count = h->header_count,
		.body = slice_of(h->body, h->body_size),
		.received_at_ms = h->received_at_ms,
	};

	switch (u->verify) {
	case SIGNATURE_STANDARD:
		*ret_why = signature_check_standard(&hook, u->keys, u->key_count);
		return judge_by(*ret_why);
	case SIGNATURE_HMAC_T_V1:
		*ret_why = signature_check_t_v1(&hook, u->header, u->keys, u->key_count);
		return judge_by(*ret_why);
	case SIGNATURE_FAL_ED25519:
		return judge_fal(c, &hook, ret_why);
	case SIGNATURE_NONE:
		break;
	}
	return HOOK_PROVED;
}

/* ---- what follows from it ---- */

int64_t call__hooks_wake_at(const struct call *c, int64_t wake_at_ms)
{
	const struct held_hook *first = TAILQ_FIRST(&c->hooks.held);
	int64_t now = clock_mono_ms();

	if (c->upstream->hook.is_report)
		return first && first->proved ? now : wake_at_ms;
	if (c->hooks.due <= c->hooks.polled)
		return wake_at_ms;
	if (c->hooks.polled_at_ms > 0 && now < c->hooks.polled_at_ms + POLL_PAUSE_MS)
		now = c->hooks.polled_at_ms + POLL_PAUSE_MS;
	return now < wake_at_ms ? now : wake_at_ms;
}

void call__hooks_settle(struct call *c)
{
	struct held_hook *h, *next;

	for (h = TAILQ_FIRST(&c->hooks.held); h; h = next) {
		const char *why = NULL;
		enum judgement judgement = h->proved ? HOOK_PROVED : judge(c, h, &why);

		next = TAILQ_NEXT(h, entry);
		h->proved = judgement == HOOK_PROVED;
		if (judgement == HOOK_WAITS)
			continue;
		if (judgement == HOOK_LATER) {
			let_go(c, h);
			break;
		}
		if (judgement == HOOK_FORGED) {
			refuse(c, h, why);
		} else if (!c->upstream->hook.is_report) {
			c->hooks.due = c->hooks.due > h->number ? c->hooks.due : h->number;
			drop(c, h);
		}
	}
	if (call__is(c, CALL_WAITING))
		call__wake(c, call__hooks_wake_at(c, c->wake_at_ms));
}

/* In the order of their numbers. One that had to be let go is given again, and others of higher numbers with it. */
static void hold(struct call *c, struct held_hook *h)
{
	struct held_hook *at = TAILQ_FIRST(&c->hooks.held);

	while (at && at->number < h->number)
		at = TAILQ_NEXT(at, entry);
	if (at && at->number == h->number) {
		held_free(h);
		return;
	}
	if (at)
		TAILQ_INSERT_BEFORE(at, h, entry);
	else
		TAILQ_INSERT_TAIL(&c->hooks.held, h, entry);
	c->hooks.held_count++;
}

/* Each time all are given that wait, in their order. Of those that follow one that was missed none is taken in: the
 * broker would be told that it is done with, and throw the missed one away with it. */
static bool follows_missed(struct call *c, int64_t number)
{
	if (number <= c->hooks.given)
		c->hooks.missed = false;
	c->hooks.given = number;
	return c->hooks.missed;
}

void call_hook(struct call *c, const struct raincheck_notification *n)
{
	struct held_hook *h;

	/* A sync API has nothing to report; what its URL was given to is not known here. */
	if (call__is(c, CALL_OVER) || c->upstream->mode == UPSTREAM_SYNC || follows_missed(c, n->hook) ||
	    n->hook <= c->hooks.seen)
		return;
	c->hooks.missed = c->hooks.held_count == HELD_MAX || held_new(n, &h) < 0;
	if (c->hooks.missed)
		return;
	c->hooks.seen = n->hook;
	hold(c, h);
	/* The upstream of a checkpoint is known when the call has begun. */
	if (!call__is(c, CALL_NEW))
		call__hooks_settle(c);
}

void call__hooks_polling(struct call *c)
{
	c->hooks.polled = c->hooks.due;
	c->hooks.polled_at_ms = clock_mono_ms();
}

void call__hooks_polled(struct call *c)
{
	done_with(c, c->hooks.polled);
}

/* ---- reports ---- */

/* An API has other calls, and this one others before it: what is reported of those is not this one's state. */
static bool is_ours(struct call *c, json_t *body)
{
	char id[ID_SIZE];

	scalar_text(pointer_find(body, c->upstream->hook.id), id, sizeof(id));
	return c->checkpoint.id && strcmp(id, c->checkpoint.id) == 0;
}

bool call__hooks_take_report(struct call *c)
{
	struct held_hook *h;

	while (c->upstream->hook.is_report && (h = TAILQ_FIRST(&c->hooks.held)) && h->proved) {
		int64_t number = h->number;
		json_t *body = NULL;

		if (json_text_read(slice_of(h->body, h->body_size), JSON_DECODE_ANY, &body) == ERR_NO_MEMORY) {
			let_go(c, h);
			break;
		}
		if (!body || !is_ours(c, body)) {
			refuse(c, h, body ? "it is about another call" : "it is not JSON");
			json_decref(body);
			continue;
		}
		drop(c, h);
		/* Where it ends the call, the end is what is told; till then the next attempt needs it. */
		if (call__poll_report(c, body))
			done_with(c, number);
		json_decref(body);
		return true;
	}
	return false;
}
