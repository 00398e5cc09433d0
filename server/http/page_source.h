/* page_source.h: the style and the script of the link's page. No state. */
#ifndef RAINCHECK_HTTP_PAGE_SOURCE_H
#define RAINCHECK_HTTP_PAGE_SOURCE_H

/* Wants :root to define --accent and --on-accent. */
extern const char page_style[];
extern const char page_script[];

#endif
