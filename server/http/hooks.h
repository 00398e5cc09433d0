/* hooks.h: POST /hooks/{token}: an external API reports of a call.
 *
 * The token is the capability of one attempt of one job (engine/link.h). It is proved before a byte of the body is
 * kept, so nobody without one can make the broker hold anything.
 *
 *   head ──▶ token good? ──▶ its body comes (exchange.h) ──▶ hooks_serve ──▶ WAITING ──synced──▶ hooks_serve ──▶ 202
 *              │ no: 404        │ too long: 413, no room: 503
 *
 * While it waits the connection is suspended: no thread waits with it.
 */
#ifndef RAINCHECK_HTTP_HOOKS_H
#define RAINCHECK_HTTP_HOOKS_H

#include <microhttpd.h>
#include <stddef.h>

struct exchange;
struct hook_post;
struct site;

/* How many bytes the body may have: what can be given to a worker in one message. */
size_t hooks_body_max(const struct site *site);
/* The head is there. Negative, and exchange_refuse() was called, where the token is none of ours. */
int hooks_begin(struct exchange *x);
/* After that, with the body; again when it was resumed. */
enum MHD_Result hooks_serve(struct exchange *x);
/* NULL is taken. */
void hook_post_free(struct hook_post *post);

#endif
