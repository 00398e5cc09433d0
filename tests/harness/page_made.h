/* page_made.h: a link's page as a string, without a server, and what is in it. One thread; a failure ends the test. */
#ifndef RAINCHECK_TEST_PAGE_MADE_H
#define RAINCHECK_TEST_PAGE_MADE_H

#include "proto/messages.h"
#include "server/http/page_html.h"

#define PAGE_MADE_NOW  1700000000000LL
#define PAGE_MADE_LINK "https://example.org/r/TOKEN"

/* The page of that job, which gets the link above, by the clock above; content says the rest. The caller frees it. */
char *page_made(struct page_content content, struct msg_job *job);

void page_has(const char *page, const char *what);
void page_lacks(const char *page, const char *what);

#endif
