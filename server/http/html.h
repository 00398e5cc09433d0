/* html.h: text from strangers as HTML. Any thread; no state. */
#ifndef RAINCHECK_HTTP_HTML_H
#define RAINCHECK_HTTP_HTML_H

#include "proto/base/buf.h"
#include "proto/base/slice.h"

/* Appends text so that it is text and nothing else, between tags and inside a quoted attribute alike: & < > " ' are
 * escaped, control characters become blanks, what is not UTF-8 is replaced by U+FFFD as a whole. The error of out. */
int html_text(struct buf *out, struct slice text);

#endif
