#include "html.h"

#include "proto/base/text.h"

static const char *escaped(unsigned char c)
{
	switch (c) {
	case '&':
		return "&amp;";
	case '<':
		return "&lt;";
	case '>':
		return "&gt;";
	case '"':
		return "&quot;";
	case '\'':
		return "&#39;";
	default:
		return c < 0x20 || c == 0x7f ? " " : NULL;
	}
}

int html_text(struct buf *out, struct slice text)
{
	const unsigned char *p = text.data;
	size_t plain = 0; /* where the run that needs nothing began */

	if (!utf8_valid(text))
		return buf_append_str(out, "\xef\xbf\xbd");
	for (size_t i = 0; i < text.size; i++) {
		const char *instead = escaped(p[i]);

		if (!instead)
			continue;
		buf_append(out, p + plain, i - plain);
		buf_append_str(out, instead);
		plain = i + 1;
	}
	if (plain < text.size)
		buf_append(out, p + plain, text.size - plain);
	return buf_error(out);
}
