/* link_page.h: /r/{token}: the page that a visitor keeps the address of. */
#ifndef RAINCHECK_HTTP_LINK_PAGE_H
#define RAINCHECK_HTTP_LINK_PAGE_H

#include <microhttpd.h>

struct request;
struct site;

enum MHD_Result link_page_serve(const struct request *r);

/* The pages for links that lead nowhere. Alike for everybody, to the last byte: neither body nor headers tell one
 * reason from another. ERR_NO_MEMORY. */
int link_page_make_fixed(struct site *site);
void link_page_free_fixed(struct site *site);

#endif
