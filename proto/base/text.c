#include "text.h"

#include <endian.h>
#include <string.h>

#include "../error.h"

#define NAME_MAX_BYTES 128

/* Four bytes at once: their halves are spread over eight, and each of those becomes its digit without a branch. */
static uint64_t hex_of(uint32_t big_endian)
{
	uint64_t n = big_endian, letters;

	n = (n << 16 | n) & UINT64_C(0x0000ffff0000ffff);
	n = (n << 8 | n) & UINT64_C(0x00ff00ff00ff00ff);
	n = (n << 4 | n) & UINT64_C(0x0f0f0f0f0f0f0f0f);
	letters = (n + UINT64_C(0x0606060606060606)) >> 4 & UINT64_C(0x0101010101010101);
	return n + UINT64_C(0x3030303030303030) + letters * ('a' - '0' - 10);
}

void hex_encode(const uint8_t *data, size_t size, char *ret)
{
	uint64_t digits;
	uint32_t n;

	for (; size >= sizeof(n); size -= sizeof(n), data += sizeof(n), ret += sizeof(digits)) {
		memcpy(&n, data, sizeof(n));
		digits = htobe64(hex_of(be32toh(n)));
		memcpy(ret, &digits, sizeof(digits));
	}
	for (; size > 0; size--, data++, ret += 2) {
		digits = hex_of(*data);
		ret[0] = (char)(digits >> 8);
		ret[1] = (char)digits;
	}
}

/* The value of each digit and one more, so that 0 is no digit. */
static const uint8_t hex_value[256] = {
	['0'] = 1,  ['1'] = 2,	['2'] = 3,  ['3'] = 4,	['4'] = 5,  ['5'] = 6,	['6'] = 7,  ['7'] = 8,
	['8'] = 9,  ['9'] = 10, ['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16,
	['A'] = 11, ['B'] = 12, ['C'] = 13, ['D'] = 14, ['E'] = 15, ['F'] = 16,
};

int hex_decode(struct slice text, uint8_t *ret, size_t size)
{
	const uint8_t *in = text.data;

	if (text.size != 2 * size)
		return ERR_BAD_REQUEST;
	for (size_t i = 0; i < size; i++) {
		unsigned high = hex_value[in[2 * i]], low = hex_value[in[2 * i + 1]];

		if (high == 0 || low == 0)
			return ERR_BAD_REQUEST;
		ret[i] = (uint8_t)((high - 1) << 4 | (low - 1));
	}
	return 0;
}

static const char base64url[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void base64url_encode(const uint8_t *data, size_t size, char *ret)
{
	uint32_t bits;

	for (; size >= 3; size -= 3, data += 3) {
		bits = (uint32_t)data[0] << 16 | (uint32_t)data[1] << 8 | data[2];
		*ret++ = base64url[bits >> 18];
		*ret++ = base64url[bits >> 12 & 63];
		*ret++ = base64url[bits >> 6 & 63];
		*ret++ = base64url[bits & 63];
	}
	if (size == 0)
		return;
	bits = (uint32_t)data[0] << 16 | (size > 1 ? (uint32_t)data[1] << 8 : 0);
	*ret++ = base64url[bits >> 18];
	*ret++ = base64url[bits >> 12 & 63];
	if (size > 1)
		*ret = base64url[bits >> 6 & 63];
}

static int base64url_digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '-')
		return 62;
	return c == '_' ? 63 : -1;
}

int base64url_decode(struct slice text, uint8_t *ret, size_t size)
{
	const char *in = text.data;
	uint32_t bits = 0;
	unsigned held = 0;

	if (text.size != BASE64URL_SIZE(size))
		return ERR_BAD_REQUEST;
	for (size_t i = 0; i < text.size; i++) {
		int digit = base64url_digit(in[i]);

		if (digit < 0)
			return ERR_BAD_REQUEST;
		bits = bits << 6 | (uint32_t)digit;
		held += 6;
		if (held >= 8) {
			held -= 8;
			*ret++ = (uint8_t)(bits >> held);
		}
	}
	/* Bits left over must be zero, or two texts would name the same bytes. */
	return bits & ((1u << held) - 1) ? ERR_BAD_REQUEST : 0;
}

size_t utf8_sequence(const void *data, size_t left)
{
	const uint8_t *p = data;
	size_t length;
	uint8_t low = 0x80, high = 0xbf;

	if (p[0] < 0x80)
		return 1;
	if (p[0] < 0xc2 || p[0] > 0xf4)
		return 0;
	length = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	if (length > left)
		return 0;
	if (p[0] == 0xe0)
		low = 0xa0;
	else if (p[0] == 0xed)
		high = 0x9f;
	else if (p[0] == 0xf0)
		low = 0x90;
	else if (p[0] == 0xf4)
		high = 0x8f;
	if (p[1] < low || p[1] > high)
		return 0;
	for (size_t i = 2; i < length; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	return length;
}

bool utf8_valid(struct slice text)
{
	const uint8_t *p = text.data;

	for (size_t at = 0; at < text.size;) {
		size_t n = utf8_sequence(p + at, text.size - at);

		if (n == 0)
			return false;
		at += n;
	}
	return true;
}

bool name_valid(struct slice text)
{
	const char *p = text.data;
	bool only_dots = true;

	if (text.size < 1 || text.size > NAME_MAX_BYTES)
		return false;
	for (size_t i = 0; i < text.size; i++) {
		char c = p[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
		      c == '_' || c == ':' || c == '-'))
			return false;
		only_dots = only_dots && c == '.';
	}
	/* In an address these would lead elsewhere: browsers and proxies fold them away. */
	return !only_dots;
}
