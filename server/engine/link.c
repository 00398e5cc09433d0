#include "server/engine/link.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdlib.h>
#include <string.h>

#include "proto/error.h"

#define MAC_SIZE 16

static void compute_mac(const uint8_t secret[32], const struct uuid *job, uint16_t generation, uint8_t ret[MAC_SIZE])
{
	static const char label[] = "raincheck link";
	uint8_t text[sizeof(label) + sizeof(job->bytes) + 2];
	uint8_t mac[32] = { 0 };

	memcpy(text, label, sizeof(label));
	memcpy(text + sizeof(label), job->bytes, sizeof(job->bytes));
	text[sizeof(text) - 2] = (uint8_t)(generation >> 8);
	text[sizeof(text) - 1] = (uint8_t)generation;
	/* It fails only where the library is broken; going on would make links that anybody can guess. */
	if (gnutls_hmac_fast(GNUTLS_MAC_SHA256, secret, 32, text, sizeof(text), mac) < 0)
		abort();
	memcpy(ret, mac, MAC_SIZE);
}

struct link_token link_make(const uint8_t secret[32], const struct uuid *job, uint16_t generation)
{
	uint8_t bytes[32];
	struct link_token t;

	memcpy(bytes, job->bytes, 16);
	compute_mac(secret, job, generation, bytes + 16);
	base64url_encode(bytes, sizeof(bytes), t.text);
	t.text[LINK_TOKEN_SIZE] = '\0';
	return t;
}

int link_claim(struct slice token, struct uuid *ret_job)
{
	uint8_t bytes[32];

	if (base64url_decode(token, bytes, sizeof(bytes)) < 0)
		return ERR_NOT_FOUND;
	memcpy(ret_job->bytes, bytes, 16);
	return 0;
}

bool link_matches(const uint8_t secret[32], struct slice token, const struct uuid *job, uint16_t generation)
{
	uint8_t bytes[32], mac[MAC_SIZE];

	compute_mac(secret, job, generation, mac);
	if (base64url_decode(token, bytes, sizeof(bytes)) < 0 || memcmp(bytes, job->bytes, 16) != 0)
		return false;
	return gnutls_memcmp(bytes + 16, mac, MAC_SIZE) == 0;
}
