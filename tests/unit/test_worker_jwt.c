/* Tokens: what is in them, that the signature is the key's, and when they are renewed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <jansson.h>

#include "proto/base/buf.h"
#include "proto/base/clean.h"
#include "proto/base/text.h"
#include "worker/config/jwt.h"
#include "worker/config/secrets.h"

#define NOW 1700000000000LL
#define TTL 1800000LL

struct rig {
	struct secrets *secrets;
	struct jwt *jwt;
};

static void rig_init(struct rig *r)
{
	assert_int_equal(secrets_new(&r->secrets), 0);
	assert_int_equal(jwt_new("kling", "access \"key\"", "secret-key", TTL, r->secrets, &r->jwt), 0);
}

static void rig_done(struct rig *r)
{
	jwt_free(r->jwt);
	secrets_free(r->secrets);
}

static const char *token_at(struct rig *r, int64_t now_ms)
{
	const char *token;

	assert_int_equal(jwt_token(r->jwt, now_ms, &token), 0);
	return token;
}

/* Checks one part between the dots. */
static json_t *decode(struct slice part)
{
	uint8_t bytes[1024];
	size_t size = part.size * 3 / 4;
	json_t *value;

	assert_true(size <= sizeof(bytes));
	assert_int_equal(base64url_decode(part, bytes, size), 0);
	value = json_loadb((const char *)bytes, size, 0, NULL);
	assert_non_null(value);
	return value;
}

static void test_what_a_token_holds(void **state)
{
	struct rig r;
	_cleanup_free_ char *token = NULL;
	const char *first, *second;
	uint8_t mac[32], sent[32];
	json_t *head, *claims;

	(void)state;
	rig_init(&r);
	token = strdup(token_at(&r, NOW));
	assert_non_null(token);
	first = strchr(token, '.');
	second = strchr(first + 1, '.');
	head = decode(slice_of(token, (size_t)(first - token)));
	claims = decode(slice_of(first + 1, (size_t)(second - first - 1)));
	assert_string_equal(json_string_value(json_object_get(head, "alg")), "HS256");
	assert_string_equal(json_string_value(json_object_get(head, "typ")), "JWT");
	assert_string_equal(json_string_value(json_object_get(claims, "iss")), "access \"key\"");
	assert_int_equal(json_integer_value(json_object_get(claims, "exp")), (NOW + TTL) / 1000);
	assert_int_equal(json_integer_value(json_object_get(claims, "nbf")), NOW / 1000 - 5);
	assert_int_equal(json_integer_value(json_object_get(claims, "iat")), NOW / 1000 - 5);
	gnutls_hmac_fast(GNUTLS_MAC_SHA256, "secret-key", 10, token, (size_t)(second - token), mac);
	assert_int_equal(base64url_decode(slice_str(second + 1), sent, sizeof(sent)), 0);
	assert_memory_equal(sent, mac, 32);
	json_decref(head);
	json_decref(claims);
	rig_done(&r);
}

static void test_tokens_are_kept_and_renewed(void **state)
{
	_cleanup_free_ char *first = NULL;
	struct rig r;

	(void)state;
	rig_init(&r);
	first = strdup(token_at(&r, NOW));
	assert_string_equal(token_at(&r, NOW + TTL / 2 - 1), first);
	assert_string_not_equal(token_at(&r, NOW + TTL / 2), first);
	/* A clock that was set back. */
	assert_string_equal(token_at(&r, NOW), first);
	rig_done(&r);
}

static void test_tokens_are_masked(void **state)
{
	struct buf out;
	struct rig r;

	(void)state;
	rig_init(&r);
	buf_init(&out, 4096);
	assert_int_equal(secrets_mask(r.secrets, slice_str(token_at(&r, NOW)), &out), 0);
	assert_int_equal(out.size, 3);
	buf_done(&out);
	rig_done(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_a_token_holds),
		cmocka_unit_test(test_tokens_are_kept_and_renewed),
		cmocka_unit_test(test_tokens_are_masked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
