/* text.h: bytes as text and back: hexadecimal, base64url without padding (RFC 4648), UTF-8 and name checks.
 * Any thread; no state. */
#ifndef RAINCHECK_BASE_TEXT_H
#define RAINCHECK_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "slice.h"

/* Characters of base64url for n bytes, without a NUL. */
#define BASE64URL_SIZE(n) (((n)*4 + 2) / 3)

/* Writes 2 × size lower-case digits to ret, and no NUL. */
void hex_encode(const uint8_t *data, size_t size, char *ret);
/* Either case. ERR_BAD_REQUEST unless text is exactly 2 × size hexadecimal digits. */
int hex_decode(struct slice text, uint8_t *ret, size_t size);

/* Writes BASE64URL_SIZE(size) characters to ret, and no NUL. */
void base64url_encode(const uint8_t *data, size_t size, char *ret);
/* ERR_BAD_REQUEST unless text is the one canonical form of exactly size bytes. */
int base64url_decode(struct slice text, uint8_t *ret, size_t size);

/* True for well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms). */
bool utf8_valid(struct slice text);
/* Bytes of the well-formed sequence that begins the left bytes at p, of which there is at least one; 0 where there is
 * none. Reads no further than the first byte that does not belong. */
size_t utf8_sequence(const void *p, size_t left);

/* True for [A-Za-z0-9._:-]{1,128} that is more than dots: what a queue, a group, a limit, an artifact or a worker may
 * be called. */
bool name_valid(struct slice text);

#endif
