#include "worker/config/signature.h"

#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/buf.h"
#include "proto/base/clean.h"
#include "proto/base/text.h"
#include "proto/error.h"
#include "proto/messages.h"

#define SHA256_SIZE    32
#define BASE64_SIZE    44 /* of a SHA-256 */
#define SIGNATURE_SIZE 64 /* of Ed25519 */

const char signature_not_computed[] = "it cannot be computed";
static const char forged[] = "the signature is not by any of the keys";
static const char untimely[] = "the timestamp is more than five minutes away from when it came";

/* ---- keys ---- */

static int key_copy(const void *data, size_t size, struct signature_key *ret)
{
	ret->data = malloc(size + 1);
	if (!ret->data)
		return ERR_NO_MEMORY;
	if (size > 0)
		memcpy(ret->data, data, size);
	ret->size = size;
	return 0;
}

int signature_key_plain(const char *secret, struct signature_key *ret)
{
	return key_copy(secret, strlen(secret), ret);
}

int signature_key_standard(const char *secret, struct signature_key *ret)
{
	static const char prefix[] = "whsec_";
	const char *text = strncmp(secret, prefix, strlen(prefix)) == 0 ? secret + strlen(prefix) : secret;
	gnutls_datum_t encoded = { (unsigned char *)(uintptr_t)text, (unsigned)strlen(text) }, bytes = { NULL, 0 };
	int rc;

	if (encoded.size == 0 || gnutls_base64_decode2(&encoded, &bytes) < 0)
		return ERR_BAD_REQUEST;
	rc = bytes.size > 0 ? key_copy(bytes.data, bytes.size, ret) : ERR_BAD_REQUEST;
	explicit_bzero(bytes.data, bytes.size);
	gnutls_free(bytes.data);
	return rc;
}

void signature_key_done(struct signature_key *key)
{
	if (key->data)
		explicit_bzero(key->data, key->size);
	free(key->data);
	*key = (struct signature_key){ NULL, 0 };
}

/* ---- what all have in common ---- */

/* data NULL where there is none. */
static struct slice header(const struct signed_hook *hook, const char *name)
{
	for (size_t i = 0; i < hook->header_count; i++)
		if (slice_is(hook->headers[i].key, name))
			return hook->headers[i].value;
	return slice_of(NULL, 0);
}

/* The first word up to a separator, which is taken off too. False where nothing is left. */
static bool take_word(struct slice *text, char separator, struct slice *ret)
{
	const char *end;

	if (text->size == 0)
		return false;
	end = memchr(text->data, separator, text->size);
	if (!end) {
		*ret = *text;
		text->size = 0;
		return true;
	}
	ret->data = text->data;
	ret->size = (size_t)(end - (const char *)text->data);
	text->size -= ret->size + 1;
	text->data = end + 1;
	return true;
}

/* Seconds, in digits alone. */
static const char *check_time(const struct signed_hook *hook, struct slice text)
{
	int64_t seconds = 0, away;

	if (text.size == 0 || text.size > 12)
		return "there is no timestamp";
	for (size_t i = 0; i < text.size; i++) {
		char c = ((const char *)text.data)[i];

		if (c < '0' || c > '9')
			return "the timestamp is no number";
		seconds = 10 * seconds + (c - '0');
	}
	away = hook->received_at_ms / 1000 - seconds;
	return away > SIGNATURE_TOLERANCE_S || away < -SIGNATURE_TOLERANCE_S ? untimely : NULL;
}

/* Of the parts with a dot between each two. False only where the library fails. */
static bool mac_of(const struct signature_key *key, const struct slice *parts, size_t count, uint8_t ret[SHA256_SIZE])
{
	gnutls_hmac_hd_t hmac;

	if (gnutls_hmac_init(&hmac, GNUTLS_MAC_SHA256, key->data, key->size) < 0)
		return false;
	for (size_t i = 0; i < count; i++) {
		if (i > 0)
			gnutls_hmac(hmac, ".", 1);
		if (parts[i].size > 0)
			gnutls_hmac(hmac, parts[i].data, parts[i].size);
	}
	gnutls_hmac_deinit(hmac, ret);
	return true;
}

static bool same(struct slice text, const char *expected, size_t size)
{
	return text.size == size && gnutls_memcmp(text.data, expected, size) == 0;
}

/* ---- Standard Webhooks ---- */

static void base64_encode(const uint8_t mac[SHA256_SIZE], char ret[BASE64_SIZE])
{
	base64url_encode(mac, SHA256_SIZE, ret);
	for (size_t i = 0; i < BASE64_SIZE - 1; i++)
		ret[i] = ret[i] == '-' ? '+' : ret[i] == '_' ? '/' : ret[i];
	ret[BASE64_SIZE - 1] = '=';
}

/* "v1,BASE64 v1a,… v1,BASE64": those of another version are not for us. */
static bool lists(struct slice signatures, const char expected[BASE64_SIZE])
{
	struct slice one, version;
	bool found = false;

	while (take_word(&signatures, ' ', &one))
		if (take_word(&one, ',', &version) && slice_is(version, "v1"))
			found |= same(one, expected, BASE64_SIZE);
	return found;
}

int signature_sign_standard(const struct signature_key *key, struct slice id, int64_t timestamp, struct slice body,
			    char ret[SIGNATURE_STANDARD_SIZE])
{
	char seconds[24], text[BASE64_SIZE];
	uint8_t mac[SHA256_SIZE];

	snprintf(seconds, sizeof(seconds), "%lld", (long long)timestamp);
	if (!mac_of(key, (const struct slice[]){ id, slice_str(seconds), body }, 3, mac))
		return ERR_INTERNAL;
	base64_encode(mac, text);
	snprintf(ret, SIGNATURE_STANDARD_SIZE, "v1,%.*s", BASE64_SIZE, text);
	return 0;
}

const char *signature_check_standard(const struct signed_hook *hook, const struct signature_key *keys, size_t count)
{
	/* The second names are those of before it was a standard. */
	bool old = !header(hook, "webhook-signature").data;
	struct slice signatures = header(hook, old ? "svix-signature" : "webhook-signature");
	const struct slice parts[] = { header(hook, old ? "svix-id" : "webhook-id"),
				       header(hook, old ? "svix-timestamp" : "webhook-timestamp"), hook->body };
	const char *why = check_time(hook, parts[1]);
	char expected[BASE64_SIZE];
	uint8_t mac[SHA256_SIZE];
	bool found = false;

	if (!signatures.data)
		return "there is no header webhook-signature";
	if (parts[0].size == 0)
		return "there is no header webhook-id";
	if (why)
		return why;
	for (size_t i = 0; i < count; i++) {
		if (!mac_of(&keys[i], parts, ARRAY_SIZE(parts), mac))
			return signature_not_computed;
		base64_encode(mac, expected);
		found |= lists(signatures, expected);
	}
	return found ? NULL : forged;
}

/* ---- t=…,v1=… ---- */

static bool take_field(struct slice *fields, struct slice *ret_name, struct slice *ret_value)
{
	struct slice field;

	if (!take_word(fields, ',', &field))
		return false;
	while (field.size > 0 && *(const char *)field.data == ' ')
		field = slice_of((const char *)field.data + 1, field.size - 1);
	*ret_name = slice_of(NULL, 0);
	(void)take_word(&field, '=', ret_name);
	*ret_value = field;
	return true;
}

static struct slice find_time(struct slice fields)
{
	struct slice name, value;

	while (take_field(&fields, &name, &value))
		if (slice_is(name, "t"))
			return value;
	return slice_of(NULL, 0);
}

static bool has_v1(struct slice fields, const char expected[2 * SHA256_SIZE])
{
	struct slice name, value;
	bool found = false;

	while (take_field(&fields, &name, &value))
		if (slice_is(name, "v1"))
			found |= same(value, expected, 2 * SHA256_SIZE);
	return found;
}

const char *signature_check_t_v1(const struct signed_hook *hook, const char *name, const struct signature_key *keys,
				 size_t count)
{
	struct slice fields = header(hook, name);
	const struct slice parts[] = { find_time(fields), hook->body };
	char expected[2 * SHA256_SIZE];
	uint8_t mac[SHA256_SIZE];
	bool found = false;
	const char *why;

	if (!fields.data)
		return "the header of the signature is missing";
	why = check_time(hook, parts[0]);
	if (why)
		return why;
	for (size_t i = 0; i < count; i++) {
		if (!mac_of(&keys[i], parts, ARRAY_SIZE(parts), mac))
			return signature_not_computed;
		hex_encode(mac, sizeof(mac), expected);
		found |= has_v1(fields, expected);
	}
	return found ? NULL : forged;
}

/* ---- fal ---- */

/* 0 where it is; else GnuTLS's code. */
static int check_signed_by(const struct ed25519_key *key, const gnutls_datum_t *message,
			   const gnutls_datum_t *signature)
{
	gnutls_datum_t x = { (unsigned char *)(uintptr_t)key->bytes, sizeof(key->bytes) };
	gnutls_pubkey_t pubkey;
	int rc;

	rc = gnutls_pubkey_init(&pubkey);
	if (rc < 0)
		return rc;
	rc = gnutls_pubkey_import_ecc_raw(pubkey, GNUTLS_ECC_CURVE_ED25519, &x, NULL);
	if (rc == 0)
		rc = gnutls_pubkey_verify_data2(pubkey, GNUTLS_SIGN_EDDSA_ED25519, 0, message, signature);
	gnutls_pubkey_deinit(pubkey);
	return rc < 0 ? rc : 0;
}

/* The three headers and the body's hash, a line each. ERR_NO_MEMORY, ERR_INTERNAL. */
static int signed_message(const struct slice *lines, size_t count, struct slice body, struct buf *out)
{
	uint8_t sha256[SHA256_SIZE];
	char hex[2 * SHA256_SIZE];

	if (gnutls_hash_fast(GNUTLS_DIG_SHA256, body.size > 0 ? body.data : "", body.size, sha256) < 0)
		return ERR_INTERNAL;
	hex_encode(sha256, sizeof(sha256), hex);
	for (size_t i = 0; i < count; i++) {
		buf_append(out, lines[i].data, lines[i].size);
		buf_append_str(out, "\n");
	}
	buf_append(out, hex, sizeof(hex));
	return buf_error(out);
}

const char *signature_check_fal(const struct signed_hook *hook, const struct ed25519_key *keys, size_t count)
{
	const struct slice lines[] = { header(hook, "x-fal-webhook-request-id"), header(hook, "x-fal-webhook-user-id"),
				       header(hook, "x-fal-webhook-timestamp") };
	const char *why = check_time(hook, lines[2]);
	_cleanup_(buf_done) struct buf message;
	uint8_t signature[SIGNATURE_SIZE];
	gnutls_datum_t text, sig = { signature, sizeof(signature) };
	bool unsure = false;

	buf_init(&message, 65536);
	if (why)
		return why;
	if (lines[0].size == 0 || lines[1].size == 0)
		return "a header that is signed is missing";
	if (hex_decode(header(hook, "x-fal-webhook-signature"), signature, sizeof(signature)) < 0)
		return "the header x-fal-webhook-signature is no signature";
	if (signed_message(lines, ARRAY_SIZE(lines), hook->body, &message) < 0)
		return signature_not_computed;
	text = (gnutls_datum_t){ message.data, (unsigned)message.size };
	for (size_t i = 0; i < count; i++) {
		int rc = check_signed_by(&keys[i], &text, &sig);

		if (rc == 0)
			return NULL;
		unsure |= rc == GNUTLS_E_MEMORY_ERROR;
	}
	return unsure ? signature_not_computed : forged;
}
