/* Each format says it in a place of its own: PNG (W3C), GIF89a, RFC 9649 for WebP, ISO/IEC 14496-12 "ispe" for AVIF,
 * ITU-T T.81 for JPEG with the orientation of Exif 2.32. Nothing is decoded, and nothing is believed but two numbers.
 */
#include "picture_size.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define MOST	     65535
#define ENTRIES_MOST 256 /* of a directory of Exif, which has a few dozen: a crafted one must not cost more */

struct bytes {
	const uint8_t *p;
	size_t size;
};

static bool has(struct bytes b, size_t at, const char *what, size_t length)
{
	return b.size >= length && at <= b.size - length && memcmp(b.p + at, what, length) == 0;
}

/* Numbers of the given bytes; −1 where they lie beyond the end. */
static int64_t big(struct bytes b, size_t at, size_t n)
{
	int64_t value = 0;

	if (b.size < n || at > b.size - n)
		return -1;
	for (size_t i = 0; i < n; i++)
		value = value << 8 | b.p[at + i];
	return value;
}

static int64_t little(struct bytes b, size_t at, size_t n)
{
	int64_t value = 0;

	if (b.size < n || at > b.size - n)
		return -1;
	for (size_t i = n; i > 0; i--)
		value = value << 8 | b.p[at + i - 1];
	return value;
}

static bool set(struct picture_size *ret, int64_t width, int64_t height)
{
	if (width < 1 || width > MOST || height < 1 || height > MOST)
		return false;
	*ret = (struct picture_size){ .width = (int)width, .height = (int)height };
	return true;
}

/* ---- JPEG ---- */

/* The TIFF header within Exif, and the tag 0x0112 in its first directory. 5 to 8 stand on their side. exif: of its own
 * segment, and no more. */
static bool is_turned(struct bytes exif)
{
	bool is_little = has(exif, 0, "II*\0", 4);
	int64_t (*number)(struct bytes, size_t, size_t) = is_little ? little : big;
	int64_t at, count;

	if (!is_little && !has(exif, 0, "MM\0*", 4))
		return false;
	at = number(exif, 4, 4);
	count = at < 0 ? -1 : number(exif, (size_t)at, 2);
	for (int64_t i = 0; i < count && i < ENTRIES_MOST; i++) {
		size_t entry = (size_t)at + 2 + (size_t)i * 12;
		int64_t tag = number(exif, entry, 2);

		if (tag < 0) /* it claims more than there are */
			return false;
		if (tag == 0x0112)
			return number(exif, entry + 8, 2) >= 5 && number(exif, entry + 8, 2) <= 8;
	}
	return false;
}

/* What a segment of that length holds behind the sign of Exif, as far as it is there. The caller has found the sign. */
static struct bytes exif_of(struct bytes b, size_t at, int64_t length)
{
	size_t begin = at + 10, left = b.size - begin, own = (size_t)length - 8;

	return (struct bytes){ b.p + begin, own < left ? own : left };
}

static bool is_frame(int marker)
{
	return marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc;
}

static bool read_jpeg(struct bytes b, struct picture_size *ret)
{
	bool turned = false, has_exif = false;

	/* Segments: FF, a marker, a length that counts itself. */
	for (size_t at = 2; at + 4 <= b.size && b.p[at] == 0xff;) {
		int marker = b.p[at + 1];
		int64_t length = big(b, at + 2, 2);
		int64_t height, width;

		if (marker == 0xff) { /* a filling byte */
			at++;
			continue;
		}
		if (is_frame(marker)) {
			height = big(b, at + 5, 2);
			width = big(b, at + 7, 2);
			return turned ? set(ret, height, width) : set(ret, width, height);
		}
		if (length < 2)
			return false;
		/* There is but one. Were each looked at, a file of nothing else would keep its thread busy. */
		if (marker == 0xe1 && !has_exif && length >= 8 && has(b, at + 4, "Exif\0\0", 6)) {
			has_exif = true;
			turned = is_turned(exif_of(b, at, length));
		}
		at += 2 + (size_t)length;
	}
	return false;
}

/* ---- the others ---- */

static bool read_webp(struct bytes b, struct picture_size *ret)
{
	int64_t bits;

	if (has(b, 12, "VP8X", 4))
		return little(b, 27, 3) >= 0 && set(ret, little(b, 24, 3) + 1, little(b, 27, 3) + 1);
	if (has(b, 12, "VP8L", 4)) {
		bits = little(b, 21, 4);
		return bits >= 0 && set(ret, (bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1);
	}
	if (!has(b, 12, "VP8 ", 4) || little(b, 28, 2) < 0)
		return false;
	return set(ret, little(b, 26, 2) & 0x3fff, little(b, 28, 2) & 0x3fff);
}

/* The first property that says an extent is the picture's own: those of its parts and masks come after it. */
static bool read_avif(struct bytes b, struct picture_size *ret)
{
	const uint8_t *found = memmem(b.p, b.size, "ispe", 4);
	size_t at = found ? (size_t)(found - b.p) : 0;

	return found && set(ret, big(b, at + 8, 4), big(b, at + 12, 4));
}

bool picture_size_read(struct slice first, struct picture_size *ret)
{
	struct bytes b = { first.data, first.size };

	if (has(b, 0, "\xff\xd8\xff", 3))
		return read_jpeg(b, ret);
	if (has(b, 0, "\x89PNG\r\n\x1a\n", 8))
		return has(b, 12, "IHDR", 4) && set(ret, big(b, 16, 4), big(b, 20, 4));
	if (has(b, 0, "GIF8", 4))
		return set(ret, little(b, 6, 2), little(b, 8, 2));
	if (has(b, 0, "RIFF", 4) && has(b, 8, "WEBP", 4))
		return read_webp(b, ret);
	if (has(b, 4, "ftyp", 4))
		return read_avif(b, ret);
	return false;
}
