/* Delivers webhooks: POSTs a render's final status to a loopback URL, over plain HTTP/1.1, with a few retries.
 *
 * Any thread. The header block is built in one function (hook.c: hook_headers), where signatures belong when they come.
 */
#ifndef RENDER_API_HOOK_H
#define RENDER_API_HOOK_H

struct hooks;
struct stats;

/* 0 for "http://HOST[:PORT][/…]" with HOST 127.x.y.z, localhost or [::1]; otherwise -EINVAL. */
int hook_url_check(const char *url);

/* A negative errno. */
int hooks_new(struct stats *stats, struct hooks **ret_hooks);

/* Sends body (JSON, owned by the hooks from here on) to url, which passed the check. id names the message to the
 * receiver: it is the same in every retry. A delivery that cannot be queued counts as failed. */
void hooks_add(struct hooks *hs, const char *url, const char *id, char *body);

/* Ends deliveries under way; those that wait are dropped. Not from a callback. */
void hooks_stop(struct hooks *hs);

/* After hooks_stop(). */
void hooks_free(struct hooks *hs);

#endif
