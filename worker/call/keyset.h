/* keyset.h: the public keys that an API signs its hooks with, fetched from where it publishes them (JSON Web Key Sets,
 * RFC 7517; Ed25519 keys as in RFC 8037), and kept for a day at most.
 *
 * They are fetched when they are first needed, and again where a signature fits none of those known, for the API may
 * have changed them; but not more often than every few minutes, whatever comes in. Loop's thread only.
 */
#ifndef RAINCHECK_WORKER_CALL_KEYSET_H
#define RAINCHECK_WORKER_CALL_KEYSET_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>

#include "proto/base/slice.h"
#include "worker/config/signature.h"

#define KEYSET_KEYS 16

struct curl_loop;
struct keyset_source;
struct keysets;
struct upstream;
struct uv_loop_s;
struct worker_config;

struct keyset {
	struct ed25519_key keys[KEYSET_KEYS];
	size_t count;
};

/* Somebody who waits for keys. */
struct keyset_wait {
	/* They came, or keys is NULL and why says why not. Once; never from within keyset_want(). */
	void (*done_cb)(struct keyset_wait *w, const struct keyset *keys, const char *why);
	TAILQ_ENTRY(keyset_wait) entry;
	struct keyset_source *source; /* NULL: does not wait */
};

/* ERR_NO_MEMORY. */
int keysets_new(struct uv_loop_s *uv, struct curl_loop *curl, struct keysets **ret);
/* Nobody may wait. NULL is taken. */
void keysets_free(struct keysets *ks);

/* Those of the upstream that are known and not too old; NULL. Until the loop goes on. */
const struct keyset *keyset_find(const struct keysets *ks, const struct upstream *u);
/* Whether fetching them (again) may be tried now. */
bool keyset_may_want(const struct keysets *ks, const struct upstream *u);
/* Fetches them by the upstream's way out, within its timeouts (upstream_aside_ms()); from base_url's own origin its
 * server is judged by the upstream's ca_file. config is the upstream's: a fetch under way has a reference of its own.
 * ERR_NO_MEMORY, ERR_INTERNAL. */
int keyset_want(struct keysets *ks, struct worker_config *config, const struct upstream *u, struct keyset_wait *w);
/* For one that does not wait: nothing. */
void keyset_wait_cancel(struct keyset_wait *w);

/* The Ed25519 keys of a JWK Set; others are passed over. ERR_BAD_REQUEST where it is none or has none of them;
 * ERR_NO_MEMORY. */
int keyset_parse(struct slice text, struct keyset *ret);

#endif
