/* page_template.h: a page that an operator wrote, with slots that the broker fills; PAGE.md tells the operator how.
 *
 *   {{slot}}                        what belongs there
 *   {{#slot}} … {{/slot}}           only where there is something in the slot; {{^slot}} … {{/slot}}: only where not
 *   {{! a remark }}
 *
 * What a slot gives is HTML already: texts are escaped by whoever fills it, and there is no other way to put a text in.
 * Any thread once it is parsed.
 */
#ifndef RAINCHECK_HTTP_PAGE_TEMPLATE_H
#define RAINCHECK_HTTP_PAGE_TEMPLATE_H

#include "proto/base/buf.h"
#include "proto/base/slice.h"
#include "proto/error.h"

/* X(name, pages): 1 the page of a job, 2 a notice, 3 both. */
#define PAGE_SLOT_TABLE(X)                                                                      \
	X(lang, 3)	 /* text: the language's code */                                        \
	X(dir, 3)	 /* text: "rtl" or "ltr", as the language is written */                 \
	X(name, 3)	 /* text: whose page it is */                                           \
	X(nonce, 3)	 /* text: for <style> and <script> */                                   \
	X(title, 3)	 /* text: of the job; of a notice its headline */                       \
	X(headline, 3)	 /* text: where it stands */                                            \
	X(detail, 3)	 /* text: and when, or why not */                                       \
	X(note, 1)	 /* text: of the worker */                                              \
	X(state, 1)	 /* text: as on the wire */                                             \
	X(link, 1)	 /* text: the page's whole address */                                   \
	X(pending, 1)	 /* "1" before the end */                                               \
	X(succeeded, 1)	 /* "1" when there is a result */                                       \
	X(failed, 1)	 /* "1" when there will be none */                                      \
	X(head, 3)	 /* HTML: all that belongs into <head> */                               \
	X(logo, 3)	 /* HTML: the logo or the dot, and the name */                          \
	X(content, 3)	 /* HTML: the whole <main> … */                                       \
	X(attributes, 1) /* … or its parts: attributes of <main>, which the script needs */   \
	X(media, 1)	 /* HTML: the picture or player */                                      \
	X(heading, 1)	 /* HTML: the title as <h1> */                                          \
	X(words, 1)	 /* HTML: headline and detail, told to screen readers as they change */ \
	X(progress, 1)	 /* HTML: the bar */                                                    \
	X(remark, 1)	 /* HTML: the note */                                                   \
	X(actions, 1)	 /* HTML: share and download */                                         \
	X(hint, 1)	 /* HTML: that one may come back */                                     \
	X(script, 1)	 /* HTML: what keeps the page live */

#define PAGE_SLOT_ENUM(name, pages) PAGE_SLOT_##name,
enum page_slot { PAGE_SLOT_TABLE(PAGE_SLOT_ENUM) PAGE_SLOTS };
#undef PAGE_SLOT_ENUM

enum page_kind { PAGE_OF_JOB = 1, PAGE_OF_NOTICE = 2 };

struct page_template;

/* Fills one slot: appends HTML, or nothing. */
typedef void (*page_slot_cb)(struct buf *out, enum page_slot slot, const void *user);

/* text is copied. ERR_CONFIG with "FILE:LINE: what is wrong", ERR_NO_MEMORY. */
int page_template_parse(const char *file, struct slice text, enum page_kind kind, struct page_template **ret,
			struct error_info *info);
/* NULL is taken. */
void page_template_free(struct page_template *t);
/* The error of out. */
int page_template_write(const struct page_template *t, struct buf *out, page_slot_cb fill, const void *user);

#endif
