/* link_page.h: /r/{token}: the page that a visitor keeps the address of. */
#ifndef RAINCHECK_HTTP_LINK_PAGE_H
#define RAINCHECK_HTTP_LINK_PAGE_H

#include <microhttpd.h>

struct posting;
struct request;
struct site;
struct visit;

enum MHD_Result link_page_serve(const struct request *r);
/* Renders it, for the board. ERR_NO_MEMORY, ERR_TOO_LARGE, ERR_INTERNAL without randomness. */
int link_page_post(const struct request *r, const struct visit *v, struct posting *p);

/* Leads to the page whoever wrote a slash behind its address. */
enum MHD_Result link_page_serve_slash(const struct request *r);

/* The pages for links that lead nowhere. Alike for everybody, to the last byte: neither body nor headers tell one
 * reason from another. ERR_NO_MEMORY. */
int link_page_make_fixed(struct site *site);
void link_page_free_fixed(struct site *site);

#endif
