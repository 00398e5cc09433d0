/* hooks.h: POST /hooks/{token}: an external API reports of a call.
 *
 * The token is the capability of one attempt of one job (engine/link.h). It is proved before a byte of the body is
 * read, so nobody without one can make the broker hold anything.
 *
 *   head ──▶ token good? ──▶ RECEIVING ──body is whole──▶ WAITING ──writer has synced it──▶ answered 202
 *              │ no: 404        │ too long: 413, no memory to spare: 503
 *
 * While it waits the connection is suspended: no thread waits with it.
 */
#ifndef RAINCHECK_HTTP_HOOKS_H
#define RAINCHECK_HTTP_HOOKS_H

#include <microhttpd.h>
#include <stdbool.h>
#include <stddef.h>

struct hook_post;
struct request;
struct site;

/* For the first call of a request. True where it is a POST to a hook: then *ret is what the library is to be told, and
 * *ret_post, where that is not NULL, has to be gone on with in each further call. */
bool hooks_begin(struct site *site, struct MHD_Connection *c, const char *method, const char *path,
		 struct hook_post **ret_post, enum MHD_Result *ret);
/* Takes what came of the body and answers when it is over. */
enum MHD_Result hooks_go_on(struct hook_post *post, struct MHD_Connection *c, const char *data, size_t *size);
/* When the request is over in whatever way, which it is not while it waits. NULL is taken. */
void hook_post_free(struct hook_post *post);

/* Any other method: 405, or what OPTIONS is told. */
enum MHD_Result hooks_serve_method(const struct request *r, bool options);

#endif
