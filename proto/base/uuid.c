#include "uuid.h"

#include <string.h>

#include "../error.h"
#include "text.h"

void uuid_next(const struct uuid *u, struct uuid *ret)
{
	*ret = *u;
	/* Count up the 62 random bits of the last eight bytes, carry into the 12 beside the version. */
	for (int i = 15; i > 8; i--)
		if (++ret->bytes[i] != 0)
			return;
	ret->bytes[8] = (uint8_t)(0x80 | ((ret->bytes[8] + 1) & 0x3f));
	if (ret->bytes[8] != 0x80)
		return;
	if (++ret->bytes[7] != 0)
		return;
	ret->bytes[6] = (uint8_t)(0x70 | ((ret->bytes[6] + 1) & 0x0f));
	if (ret->bytes[6] != 0x70)
		return;
	for (int i = 5; i >= 0; i--)
		if (++ret->bytes[i] != 0)
			return;
}

void uuid_v7(struct uuid_gen *gen, int64_t now_ms, const uint8_t random[UUID_RANDOM_SIZE], struct uuid *ret)
{
	/* A clock set to before 1970 would else give an id that no later one exceeds. */
	uint64_t ms = now_ms < 0 ? 0 : (uint64_t)now_ms;
	struct uuid u;

	for (int i = 0; i < 6; i++)
		u.bytes[i] = (uint8_t)(ms >> (8 * (5 - i)));
	memcpy(u.bytes + 6, random, UUID_RANDOM_SIZE);
	/* The topmost random bit stays clear, so that counting up within a millisecond has room before it carries. */
	u.bytes[6] = (uint8_t)(0x70 | (u.bytes[6] & 0x07));
	u.bytes[8] = (uint8_t)(0x80 | (u.bytes[8] & 0x3f));
	if (memcmp(u.bytes, gen->last.bytes, sizeof(u.bytes)) <= 0)
		uuid_next(&gen->last, &u);
	gen->last = u;
	*ret = u;
}

void uuid_gen_advance(struct uuid_gen *gen, const struct uuid *u)
{
	if (uuid_compare(u, &gen->last) > 0)
		gen->last = *u;
}

int64_t uuid_ms(const struct uuid *u)
{
	uint64_t ms = 0;

	for (int i = 0; i < 6; i++)
		ms = ms << 8 | u->bytes[i];
	return (int64_t)ms;
}

struct uuid_text uuid_format(const struct uuid *u)
{
	char digits[2 * sizeof(u->bytes)];
	struct uuid_text t;

	hex_encode(u->bytes, sizeof(u->bytes), digits);
	memcpy(t.text, digits, 8);
	memcpy(t.text + 9, digits + 8, 4);
	memcpy(t.text + 14, digits + 12, 4);
	memcpy(t.text + 19, digits + 16, 4);
	memcpy(t.text + 24, digits + 20, 12);
	t.text[8] = t.text[13] = t.text[18] = t.text[23] = '-';
	t.text[UUID_TEXT_SIZE] = '\0';
	return t;
}

int uuid_parse(struct slice text, struct uuid *ret)
{
	const char *in = text.data;
	struct uuid u;

	if (text.size != UUID_TEXT_SIZE)
		return ERR_BAD_REQUEST;
	for (int i = 0; i < 16; i++) {
		if ((i == 4 || i == 6 || i == 8 || i == 10) && *in++ != '-')
			return ERR_BAD_REQUEST;
		if (hex_decode(slice_of(in, 2), &u.bytes[i], 1) < 0)
			return ERR_BAD_REQUEST;
		in += 2;
	}
	*ret = u;
	return 0;
}

int uuid_compare(const struct uuid *a, const struct uuid *b)
{
	return memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

bool uuid_equal(const struct uuid *a, const struct uuid *b)
{
	return uuid_compare(a, b) == 0;
}
