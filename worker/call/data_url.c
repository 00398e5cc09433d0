#include "worker/call/data_url.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "proto/error.h"

#define PIECE_BYTES 65536

/* The decoded bytes take less room than the encoded ones, so they are decoded in place, at once. */
struct data_url {
	char *type;
	uint8_t *data;
	size_t size;
	size_t taken;
};

static int base64_digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+' || c == '-')
		return 62;
	return c == '/' || c == '_' ? 63 : -1;
}

/* Percent-encoding first: base64's "+", "/" and "=" may come so too. */
static int percent_decode(uint8_t *data, size_t *size)
{
	size_t at = 0;

	for (size_t i = 0; i < *size; i++) {
		char hex[3] = { 0 }, *end;

		if (data[i] != '%') {
			data[at++] = data[i];
			continue;
		}
		if (i + 2 >= *size)
			return ERR_BAD_REQUEST;
		memcpy(hex, data + i + 1, 2);
		data[at++] = (uint8_t)strtoul(hex, &end, 16);
		if (*end || hex[0] == '+' || hex[0] == '-' || hex[0] == ' ')
			return ERR_BAD_REQUEST;
		i += 2;
	}
	*size = at;
	return 0;
}

static int base64_decode(uint8_t *data, size_t *size)
{
	uint32_t bits = 0;
	unsigned held = 0;
	size_t at = 0, n = *size;

	while (n > 0 && data[n - 1] == '=')
		n--;
	for (size_t i = 0; i < n; i++) {
		int digit = base64_digit((char)data[i]);

		if (data[i] == '\n' || data[i] == '\r')
			continue;
		if (digit < 0)
			return ERR_BAD_REQUEST;
		bits = bits << 6 | (uint32_t)digit;
		held += 6;
		if (held >= 8) {
			held -= 8;
			data[at++] = (uint8_t)(bits >> held);
		}
	}
	*size = at;
	return held >= 6 ? ERR_BAD_REQUEST : 0;
}

static int parse(struct data_url *d, const char *url)
{
	const char *comma = strchr(url, ',');
	const char *type = url + 5;
	size_t type_size;
	bool base64;
	int rc;

	if (strncasecmp(url, "data:", 5) != 0 || !comma)
		return ERR_BAD_REQUEST;
	type_size = (size_t)(comma - type);
	base64 = type_size >= 7 && strncasecmp(comma - 7, ";base64", 7) == 0;
	if (base64)
		type_size -= 7;
	d->type = type_size > 0 ? strndup(type, type_size) : strdup("text/plain");
	d->size = strlen(comma + 1);
	d->data = malloc(d->size + 1);
	if (!d->type || !d->data)
		return ERR_NO_MEMORY;
	memcpy(d->data, comma + 1, d->size);
	rc = percent_decode(d->data, &d->size);
	return rc == 0 && base64 ? base64_decode(d->data, &d->size) : rc;
}

int data_url_parse(const char *url, struct data_url **ret_data)
{
	struct data_url *d = calloc(1, sizeof(*d));
	int rc;

	if (!d)
		return ERR_NO_MEMORY;
	rc = parse(d, url);
	if (rc < 0) {
		data_url_free(d);
		return rc;
	}
	*ret_data = d;
	return 0;
}

void data_url_free(struct data_url *d)
{
	if (!d)
		return;
	free(d->type);
	free(d->data);
	free(d);
}

const char *data_url_type(const struct data_url *d)
{
	return d->type;
}

int64_t data_url_size(const struct data_url *d)
{
	return (int64_t)d->size;
}

bool data_url_next(struct data_url *d, struct slice *ret_piece)
{
	size_t left = d->size - d->taken;

	if (left == 0)
		return false;
	*ret_piece = slice_of(d->data + d->taken, left < PIECE_BYTES ? left : PIECE_BYTES);
	return true;
}

void data_url_take(struct data_url *d, size_t size)
{
	d->taken += size;
}
