/* What proves a hook, on any headers and body: nothing that was not signed is taken for proved, what was signed is,
 * whatever stands beside it, and sets of keys are read without harm.
 *
 * An input is lines "name: value", an empty line, and the body.
 */
#include <gnutls/crypto.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/clean.h"
#include "proto/base/text.h"
#include "proto/messages.h"
#include "worker/call/keyset.h"
#include "worker/config/signature.h"

#define HEADERS 16
#define AT_S	1700000000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
	if (!holds)
		abort();
}

/* Takes the headers off; what is left is the body. */
static size_t take_headers(struct slice *text, struct pair ret[HEADERS])
{
	size_t count = 0;

	while (count < HEADERS && text->size > 0) {
		const char *line = text->data, *end = memchr(line, '\n', text->size), *colon;
		size_t length = end ? (size_t)(end - line) : text->size;

		*text = slice_of(line + length + (end != NULL), text->size - length - (end != NULL));
		colon = length > 0 ? memchr(line, ':', length) : NULL;
		if (!colon)
			break;
		ret[count].key = slice_of(line, (size_t)(colon - line));
		ret[count++].value = slice_of(colon + 1, length - (size_t)(colon - line) - 1);
	}
	return count;
}

/* The header as the API would send it, and behind it whatever came. */
static void prove_beside(struct slice body, struct slice rest, const struct signature_key *key)
{
	static const char time[] = "1700000000";
	char header[8192];
	struct pair pair = { slice_str("x-signature"), slice_of(header, 0) };
	struct signed_hook hook = { &pair, 1, body, INT64_C(1000) * AT_S };
	_cleanup_free_ char *text = malloc(body.size + sizeof(time));
	uint8_t mac[32];
	int n;

	must(text != NULL);
	memcpy(text, time, sizeof(time) - 1);
	text[sizeof(time) - 1] = '.';
	if (body.size > 0)
		memcpy(text + sizeof(time), body.data, body.size);
	must(gnutls_hmac_fast(GNUTLS_MAC_SHA256, key->data, key->size, text, body.size + sizeof(time), mac) == 0);
	n = snprintf(header, sizeof(header), "t=%s,v1=", time);
	hex_encode(mac, sizeof(mac), header + n);
	n += 64;
	header[n++] = ',';
	if (rest.size > sizeof(header) - (size_t)n)
		rest.size = sizeof(header) - (size_t)n;
	if (rest.size > 0)
		memcpy(header + n, rest.data, rest.size);
	pair.value = slice_of(header, (size_t)n + rest.size);
	must(!signature_check_t_v1(&hook, "x-signature", key, 1));
	hook.received_at_ms += INT64_C(1000) * (SIGNATURE_TOLERANCE_S + 1);
	must(signature_check_t_v1(&hook, "x-signature", key, 1) != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t secret[24] = { 7, 7, 7 };
	struct signature_key key = { secret, sizeof(secret) };
	struct ed25519_key ed25519 = { { 3, 1, 4 } };
	struct slice text = slice_of(data, size);
	struct pair headers[HEADERS];
	struct signed_hook hook = { .headers = headers, .received_at_ms = INT64_C(1000) * AT_S };
	struct signature_key read;
	struct keyset keys;
	char word[256];

	hook.header_count = take_headers(&text, headers);
	hook.body = text;
	must(signature_check_standard(&hook, &key, 1) != NULL);
	must(signature_check_t_v1(&hook, "x-signature", &key, 1) != NULL);
	must(signature_check_fal(&hook, &ed25519, 1) != NULL);
	prove_beside(text, hook.header_count > 0 ? headers[0].value : text, &key);
	if (keyset_parse(text, &keys) == 0)
		must(keys.count > 0 && keys.count <= KEYSET_KEYS);
	snprintf(word, sizeof(word), "%.*s", text.size < 255 ? (int)text.size : 255, (const char *)text.data);
	if (signature_key_standard(word, &read) == 0) {
		must(read.size > 0 && read.size < sizeof(word));
		signature_key_done(&read);
	}
	return 0;
}
