/* page_html.h: the link's page as HTML, from a job as everybody outside sees it. Any thread; no state. */
#ifndef RAINCHECK_HTTP_PAGE_HTML_H
#define RAINCHECK_HTTP_PAGE_HTML_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/base/buf.h"
#include "proto/messages.h"
#include "server/http/page_texts.h"
#include "server/http/picture_size.h"

#define PAGE_MAX_BYTES 524288 /* with an operator's template */

struct page_content {
	const struct page_settings *page;
	const struct msg_job *job;
	const struct msg_artifact *preview; /* or NULL */
	const struct msg_artifact *result;  /* or NULL */
	bool preview_lies, result_lies;	    /* it does not begin like the type that it says: it is not shown */
	struct picture_size size;	    /* of the picture: the result, where it is one, or the preview */
	const char *token;		    /* a genuine one: harmless in HTML */
	const char *nonce;		    /* of the style and the script */
	int64_t now_ms;
};

/* Appends the page of a job. The error of out. */
int page_html_job(struct buf *out, const struct page_content *p);
/* Appends a page that only says something: the link expired, or there is none. */
int page_html_notice(struct buf *out, const struct page_settings *page, const char *nonce, enum page_text headline,
		     enum page_text detail);
/* Appends what stands inside <style> on every page of this operator. */
int page_html_style(struct buf *out, const struct page_settings *page);

#endif
