#include "worker/call/traceparent.h"

#include <stddef.h>
#include <string.h>

static const size_t widths[] = { 2, 32, 16, 2 }; /* version, trace id, parent id, flags */

#define HEX "0123456789abcdef"

/* Two that would be "none" are not valid, and neither is the version that is forbidden for good. */
static bool part_valid(const char *text, size_t part)
{
	if (strspn(text, HEX) < widths[part])
		return false;
	if (part == 0)
		return strncmp(text, "ff", 2) != 0;
	return part == 3 || strspn(text, "0") < widths[part];
}

bool traceparent_valid(const char *text)
{
	const char *at = text;

	for (size_t part = 0; at && part < 4; part++) {
		if (part > 0 && *at++ != '-')
			return false;
		if (!part_valid(at, part))
			return false;
		at += widths[part];
	}
	if (!at || *at == '\0')
		return at;
	/* What a later version appends is printable, or it could not stand in a header. */
	for (const char *c = at; *c; c++)
		if (*c < 0x21 || *c > 0x7e)
			return false;
	return strncmp(text, "00", 2) != 0 && *at == '-';
}
