#include "server/engine/link.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdlib.h>
#include <string.h>

#include "proto/error.h"

#define MAC_SIZE 16

#define LABEL "raincheck link"

/* What is signed. */
struct claim {
	uint8_t bytes[sizeof(LABEL) + 16 + 2];
};

static struct claim claim_of(const struct uuid *job, uint16_t generation)
{
	struct claim c;

	memcpy(c.bytes, LABEL, sizeof(LABEL));
	memcpy(c.bytes + sizeof(LABEL), job->bytes, sizeof(job->bytes));
	c.bytes[sizeof(c.bytes) - 2] = (uint8_t)(generation >> 8);
	c.bytes[sizeof(c.bytes) - 1] = (uint8_t)generation;
	return c;
}

static void compute_mac(const uint8_t secret[32], const struct uuid *job, uint16_t generation, uint8_t ret[MAC_SIZE])
{
	struct claim claim = claim_of(job, generation);
	uint8_t mac[32] = { 0 };

	/* It fails only where the library is broken; going on would make links that anybody can guess. */
	if (gnutls_hmac_fast(GNUTLS_MAC_SHA256, secret, 32, claim.bytes, sizeof(claim.bytes), mac) < 0)
		abort();
	memcpy(ret, mac, MAC_SIZE);
}

static struct link_token token_of(const struct uuid *job, const uint8_t mac[MAC_SIZE])
{
	uint8_t bytes[16 + MAC_SIZE];
	struct link_token t;

	memcpy(bytes, job->bytes, 16);
	memcpy(bytes + 16, mac, MAC_SIZE);
	base64url_encode(bytes, sizeof(bytes), t.text);
	t.text[LINK_TOKEN_SIZE] = '\0';
	return t;
}

struct link_token link_make(const uint8_t secret[32], const struct uuid *job, uint16_t generation)
{
	uint8_t mac[MAC_SIZE];

	compute_mac(secret, job, generation, mac);
	return token_of(job, mac);
}

struct link_signer {
	gnutls_hmac_hd_t hmac;
};

int link_signer_new(const uint8_t secret[32], struct link_signer **ret)
{
	struct link_signer *signer = calloc(1, sizeof(*signer));

	if (!signer || gnutls_hmac_init(&signer->hmac, GNUTLS_MAC_SHA256, secret, 32) < 0) {
		free(signer);
		return ERR_NO_MEMORY;
	}
	*ret = signer;
	return 0;
}

void link_signer_free(struct link_signer *signer)
{
	if (!signer)
		return;
	gnutls_hmac_deinit(signer->hmac, NULL);
	free(signer);
}

struct link_token link_sign(struct link_signer *signer, const struct uuid *job, uint16_t generation)
{
	struct claim claim = claim_of(job, generation);
	uint8_t mac[32];

	if (gnutls_hmac(signer->hmac, claim.bytes, sizeof(claim.bytes)) < 0)
		abort();
	gnutls_hmac_output(signer->hmac, mac);
	return token_of(job, mac);
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

/* ---- hooks ---- */

#define HOOK_LABEL   "raincheck hook"
#define HOOK_SUBJECT (16 + 4)

/* The subject is what a token says openly, and what is signed behind the label. */
struct hook_claim {
	uint8_t bytes[sizeof(HOOK_LABEL) + HOOK_SUBJECT];
};

static struct hook_claim hook_claim_of(const struct uuid *job, uint32_t attempt)
{
	struct hook_claim c;

	memcpy(c.bytes, HOOK_LABEL, sizeof(HOOK_LABEL));
	memcpy(c.bytes + sizeof(HOOK_LABEL), job->bytes, sizeof(job->bytes));
	for (unsigned i = 0; i < 4; i++)
		c.bytes[sizeof(c.bytes) - 1 - i] = (uint8_t)(attempt >> (8 * i));
	return c;
}

struct hook_token hook_sign(struct link_signer *signer, const struct uuid *job, uint32_t attempt)
{
	struct hook_claim claim = hook_claim_of(job, attempt);
	uint8_t bytes[HOOK_SUBJECT + MAC_SIZE], mac[32];
	struct hook_token t;

	if (gnutls_hmac(signer->hmac, claim.bytes, sizeof(claim.bytes)) < 0)
		abort();
	gnutls_hmac_output(signer->hmac, mac);
	memcpy(bytes, claim.bytes + sizeof(HOOK_LABEL), HOOK_SUBJECT);
	memcpy(bytes + HOOK_SUBJECT, mac, MAC_SIZE);
	base64url_encode(bytes, sizeof(bytes), t.text);
	t.text[HOOK_TOKEN_SIZE] = '\0';
	return t;
}

int hook_read(const uint8_t secret[32], struct slice token, struct uuid *ret_job, uint32_t *ret_attempt)
{
	uint8_t bytes[HOOK_SUBJECT + MAC_SIZE], mac[32] = { 0 };
	uint32_t attempt = 0;
	struct hook_claim claim;
	struct uuid job;

	if (base64url_decode(token, bytes, sizeof(bytes)) < 0)
		return ERR_NOT_FOUND;
	memcpy(job.bytes, bytes, sizeof(job.bytes));
	for (unsigned i = 0; i < 4; i++)
		attempt = attempt << 8 | bytes[sizeof(job.bytes) + i];
	claim = hook_claim_of(&job, attempt);
	if (gnutls_hmac_fast(GNUTLS_MAC_SHA256, secret, 32, claim.bytes, sizeof(claim.bytes), mac) < 0)
		abort();
	if (gnutls_memcmp(bytes + HOOK_SUBJECT, mac, MAC_SIZE) != 0)
		return ERR_NOT_FOUND;
	*ret_job = job;
	*ret_attempt = attempt;
	return 0;
}
