#include "conditions.h"

#include <string.h>
#include <strings.h>

#define DIGITS_MAX 18 /* so that no number overflows */

static const char *skip_blanks(const char *p)
{
	while (*p == ' ' || *p == '\t')
		p++;
	return p;
}

/* Reads digits; false where there are none or too many to be a size. */
static bool read_number(const char **p, int64_t *ret)
{
	int64_t n = 0;
	int digits = 0;

	for (; **p >= '0' && **p <= '9'; (*p)++) {
		if (++digits > DIGITS_MAX)
			return false;
		n = n * 10 + (**p - '0');
	}
	*ret = n;
	return digits > 0;
}

/* "-N": the last N bytes. */
static enum range_verdict read_suffix(const char *p, int64_t size, struct byte_range *ret)
{
	int64_t n;

	p++;
	if (!read_number(&p, &n) || *skip_blanks(p) != '\0')
		return RANGE_WHOLE;
	if (n == 0 || size == 0)
		return RANGE_UNSATISFIABLE;
	ret->first = n < size ? size - n : 0;
	ret->last = size - 1;
	return RANGE_PART;
}

enum range_verdict range_parse(const char *header, int64_t size, struct byte_range *ret)
{
	int64_t first, last = INT64_MAX;
	const char *p;

	if (!header || strncasecmp(header, "bytes=", 6) != 0)
		return RANGE_WHOLE;
	p = skip_blanks(header + 6);
	if (*p == '-')
		return read_suffix(p, size, ret);
	if (!read_number(&p, &first) || *p++ != '-')
		return RANGE_WHOLE;
	if (*skip_blanks(p) != '\0' && (!read_number(&p, &last) || last < first))
		return RANGE_WHOLE;
	/* A comma means several ranges, anything else nonsense: the whole answers both. */
	if (*skip_blanks(p) != '\0')
		return RANGE_WHOLE;
	if (first >= size)
		return RANGE_UNSATISFIABLE;
	ret->first = first;
	ret->last = last < size ? last : size - 1;
	return RANGE_PART;
}

/* Finds the next entity tag; its opaque part, quotes included. NULL at the end of the list or where it is malformed. */
static const char *next_tag(const char *p, bool *ret_weak, size_t *ret_length)
{
	const char *end;

	p += strspn(p, " \t,");
	*ret_weak = strncmp(p, "W/", 2) == 0;
	if (*ret_weak)
		p += 2;
	if (*p != '"')
		return NULL;
	end = strchr(p + 1, '"');
	if (!end)
		return NULL;
	*ret_length = (size_t)(end - p) + 1;
	return p;
}

static bool match(const char *header, const char *tag, bool strong)
{
	bool tag_weak = strncmp(tag, "W/", 2) == 0, weak;
	const char *opaque = tag_weak ? tag + 2 : tag;
	size_t length;

	if (!header || (strong && tag_weak))
		return false;
	if (strcmp(skip_blanks(header), "*") == 0)
		return true;
	while ((header = next_tag(header, &weak, &length))) {
		if (!(strong && weak) && length == strlen(opaque) && memcmp(header, opaque, length) == 0)
			return true;
		header += length;
	}
	return false;
}

bool etag_match_weak(const char *header, const char *tag)
{
	return match(header, tag, false);
}

bool etag_match_strong(const char *header, const char *tag)
{
	return match(header, tag, true);
}
