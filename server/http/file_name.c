#include "file_name.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "proto/base/slice.h"
#include "proto/base/text.h"

#define STEM_BYTES 120

static bool harmless(unsigned char c)
{
	return c >= 0x80 || (c > 0x20 && c < 0x7f && !strchr("\"%*/:<>?\\|;'`$&", c)) || c == ' ';
}

/* Bytes of a character that is seen as nothing and changes what is around it: a control of ISO 6429 (C1), one that ends
 * a line or a paragraph (U+2028, U+2029), or one that turns the direction of writing (Bidi_Control of Unicode, UAX #9),
 * with which a name can seem to end in another extension. 0: it is none. */
static size_t unseen(const char *p)
{
	const unsigned char *c = (const unsigned char *)p;

	if (c[0] == 0xc2 && c[1] >= 0x80 && c[1] <= 0x9f)
		return 2;
	if (c[0] == 0xd8 && c[1] == 0x9c)
		return 2;
	if (c[0] != 0xe2 || (c[1] != 0x80 && c[1] != 0x81))
		return 0;
	if (c[1] == 0x80)
		return c[2] == 0x8e || c[2] == 0x8f || (c[2] >= 0xa8 && c[2] <= 0xae) ? 3 : 0;
	return c[2] >= 0xa6 && c[2] <= 0xa9 ? 3 : 0;
}

/* Cuts to whole characters of UTF-8; no dot or blank at either end, which file systems hide or drop. */
static void clean(const char *title, char ret[STEM_BYTES])
{
	size_t out = 0;

	title += strspn(title, " .");
	for (; *title && out + 1 < STEM_BYTES; title++) {
		size_t hidden = unseen(title);

		ret[out] = *title;
		if (hidden > 0 || !harmless((unsigned char)*title))
			ret[out] = '_';
		title += hidden > 0 ? hidden - 1 : 0;
		out++;
	}
	while (out > 0 && (*title & 0xc0) == 0x80 && ((unsigned char)ret[out - 1] & 0x80)) {
		out--;
		if (((unsigned char)ret[out] & 0xc0) == 0xc0)
			break;
	}
	while (out > 0 && (ret[out - 1] == ' ' || ret[out - 1] == '.'))
		out--;
	ret[out] = '\0';
	if (!utf8_valid(slice_str(ret)))
		ret[0] = '\0';
}

/* A stand-in for those who cannot read filename*. */
static void to_ascii(const char *name, char ret[STEM_BYTES])
{
	size_t out = 0;

	for (; *name; name++) {
		if (((unsigned char)*name & 0xc0) == 0x80)
			continue;
		ret[out] = *name;
		if ((unsigned char)*name >= 0x80)
			ret[out] = '_';
		out++;
	}
	ret[out] = '\0';
}

/* RFC 8187. */
static void percent_encode(const char *name, char ret[3 * STEM_BYTES + 1])
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
	size_t out = 0;

	for (; *name; name++) {
		if (strchr(plain, *name))
			ret[out++] = *name;
		else
			out += (size_t)snprintf(ret + out, 4, "%%%02X", (unsigned)(unsigned char)*name);
	}
	ret[out] = '\0';
}

void file_name_make(const char *title, const char *fallback, const char *extension, struct file_name *ret)
{
	char stem[STEM_BYTES], ascii[STEM_BYTES], encoded[3 * STEM_BYTES + 1];

	clean(title, stem);
	if (stem[0] == '\0')
		clean(fallback, stem);
	to_ascii(stem, ascii);
	percent_encode(stem, encoded);
	if (strcmp(stem, ascii) == 0)
		snprintf(ret->disposition, sizeof(ret->disposition), "attachment; filename=\"%s.%s\"", stem, extension);
	else
		snprintf(ret->disposition, sizeof(ret->disposition),
			 "attachment; filename=\"%s.%s\"; filename*=UTF-8''%s.%s", ascii, extension, encoded,
			 extension);
}
