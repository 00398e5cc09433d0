#include "worker/config/jwt.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/clean.h"
#include "proto/base/text.h"
#include "proto/error.h"
#include "worker/config/json_text.h"
#include "worker/config/secrets.h"

/* Clocks differ: a token is valid from a little before it was made. */
#define EARLIER_S 5

#define MAC_BYTES 32

struct jwt {
	char *owner;
	char *access_key;
	char *secret_key;
	int64_t ttl_ms;
	struct secrets *secrets;
	char *token; /* NULL: none yet */
	int64_t made_at_ms;
};

int jwt_new(const char *owner, const char *access_key, const char *secret_key, int64_t ttl_ms, struct secrets *secrets,
	    struct jwt **ret_jwt)
{
	struct jwt *j = calloc(1, sizeof(*j));

	if (!j)
		return ERR_NO_MEMORY;
	j->owner = strdup(owner);
	j->access_key = strdup(access_key);
	j->secret_key = strdup(secret_key);
	j->ttl_ms = ttl_ms;
	j->secrets = secrets;
	if (!j->owner || !j->access_key || !j->secret_key) {
		jwt_free(j);
		return ERR_NO_MEMORY;
	}
	*ret_jwt = j;
	return 0;
}

void jwt_free(struct jwt *j)
{
	if (!j)
		return;
	if (j->secret_key)
		explicit_bzero(j->secret_key, strlen(j->secret_key));
	free(j->secret_key);
	free(j->access_key);
	free(j->owner);
	free(j->token);
	free(j);
}

static char *encode(const void *data, size_t size)
{
	char *text = calloc(1, BASE64URL_SIZE(size) + 1);

	if (text)
		base64url_encode(data, size, text);
	return text;
}

static char *encode_claims(const struct jwt *j, int64_t now_s)
{
	json_int_t from = now_s - EARLIER_S, until = now_s + j->ttl_ms / 1000;
	json_t *claims =
		json_pack("{s:s, s:I, s:I, s:I}", "iss", j->access_key, "iat", from, "nbf", from, "exp", until);
	_cleanup_free_ char *text = NULL;
	int rc = claims ? json_text_write(claims, JSON_COMPACT | JSON_PRESERVE_ORDER, &text) : ERR_NO_MEMORY;

	json_decref(claims);
	return rc == 0 ? encode(text, strlen(text)) : NULL;
}

static int sign(const struct jwt *j, int64_t now_ms, char **ret_token)
{
	static const char header[] = "{\"alg\":\"HS256\",\"typ\":\"JWT\"}";
	_cleanup_free_ char *head = encode(header, strlen(header));
	_cleanup_free_ char *claims = encode_claims(j, now_ms / 1000);
	_cleanup_free_ char *signed_part = NULL, *signature = NULL;
	uint8_t mac[MAC_BYTES];

	if (!head || !claims)
		return ERR_NO_MEMORY;
	if (asprintf(&signed_part, "%s.%s", head, claims) < 0) {
		signed_part = NULL;
		return ERR_NO_MEMORY;
	}
	if (gnutls_hmac_fast(GNUTLS_MAC_SHA256, j->secret_key, strlen(j->secret_key), signed_part, strlen(signed_part),
			     mac) < 0)
		return ERR_INTERNAL;
	signature = encode(mac, sizeof(mac));
	if (!signature || asprintf(ret_token, "%s.%s", signed_part, signature) < 0)
		return ERR_NO_MEMORY;
	return 0;
}

int jwt_token(struct jwt *j, int64_t now_ms, const char **ret_token)
{
	/* A clock that was set back makes a token that is not valid yet. */
	bool fresh = j->token && now_ms >= j->made_at_ms && now_ms - j->made_at_ms < j->ttl_ms / 2;
	char *token;
	int rc;

	if (!fresh) {
		rc = sign(j, now_ms, &token);
		if (rc < 0)
			return rc;
		rc = secrets_add_passing(j->secrets, j->owner, token);
		if (rc < 0) {
			free(token);
			return rc;
		}
		free(j->token);
		j->token = token;
		j->made_at_ms = now_ms;
	}
	*ret_token = j->token;
	return 0;
}
