/* uuid.h: UUIDs of version 7 (RFC 9562), whose byte order is their order of making.
 *
 * Nothing here reads a clock or draws randomness: both are handed in. A generator belongs to one thread.
 */
#ifndef RAINCHECK_BASE_UUID_H
#define RAINCHECK_BASE_UUID_H

#include <stdbool.h>
#include <stdint.h>

#include "slice.h"

#define UUID_TEXT_SIZE	 36 /* characters, without a NUL */
#define UUID_RANDOM_SIZE 10 /* random bytes one UUID takes */

struct uuid {
	uint8_t bytes[16];
};

struct uuid_text {
	char text[UUID_TEXT_SIZE + 1];
};

struct uuid_gen {
	struct uuid last;
};

/* Makes the next UUID. Strictly greater than every earlier one of this generator, also when the clock stands still or
 * runs backwards (RFC 9562 section 6.2, method 2: the random part of the last one is counted up). */
void uuid_v7(struct uuid_gen *gen, int64_t now_ms, const uint8_t random[UUID_RANDOM_SIZE], struct uuid *ret);
/* The next one in order after u, as uuid_v7() makes it within one millisecond; to take a run of n, call n − 1 times. */
void uuid_next(const struct uuid *u, struct uuid *ret);
/* Tells the generator that ids up to u have been used. */
void uuid_gen_advance(struct uuid_gen *gen, const struct uuid *u);

/* The moment in it, in milliseconds since the Unix epoch. */
int64_t uuid_ms(const struct uuid *u);

struct uuid_text uuid_format(const struct uuid *u);
/* ERR_BAD_REQUEST unless text is 36 characters 8-4-4-4-12 of hexadecimal digits, either case. */
int uuid_parse(struct slice text, struct uuid *ret);

int uuid_compare(const struct uuid *a, const struct uuid *b);
bool uuid_equal(const struct uuid *a, const struct uuid *b);

#endif
