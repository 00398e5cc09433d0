/* The signatures of hooks: published vectors, and that nothing else is taken for proved. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "proto/base/clean.h"
#include "proto/base/text.h"
#include "proto/error.h"
#include "proto/messages.h"
#include "worker/call/keyset.h"
#include "worker/config/signature.h"

#define COUNT_OF(pairs) ARRAY_SIZE(pairs)

/* ---- Standard Webhooks: the example of its reference libraries ---- */

#define SECRET	  "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
#define ID	  "msg_p5jXN8AQM9LWM0D4loKWxJek"
#define TIME	  "1614265330"
#define REPORTED  "{\"test\": 2432232314}"
#define SIGNATURE "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

static const char *check_standard(const char *id, const char *time, const char *signature, const char *body,
				  int64_t at_s, const char *secret)
{
	struct pair headers[] = { { slice_str("webhook-id"), slice_str(id) },
				  { slice_str("webhook-timestamp"), slice_str(time) },
				  { slice_str("webhook-signature"), slice_str(signature) } };
	struct signed_hook hook = { headers, COUNT_OF(headers), slice_str(body), at_s * 1000 };
	struct signature_key keys[2];
	const char *why;

	assert_int_equal(signature_key_plain("another", &keys[0]), 0);
	assert_int_equal(signature_key_standard(secret, &keys[1]), 0);
	why = signature_check_standard(&hook, keys, 2);
	signature_key_done(&keys[0]);
	signature_key_done(&keys[1]);
	return why;
}

static void test_standard_webhooks(void **state)
{
	static const struct {
		const char *id, *time, *signature, *body;
		int64_t at_s;
		const char *why; /* NULL: proved */
	} rows[] = {
		{ ID, TIME, SIGNATURE, REPORTED, 1614265330, NULL },
		/* Five minutes either way, and no second more. */
		{ ID, TIME, SIGNATURE, REPORTED, 1614265630, NULL },
		{ ID, TIME, SIGNATURE, REPORTED, 1614265030, NULL },
		{ ID, TIME, SIGNATURE, REPORTED, 1614265631, "timestamp" },
		{ ID, TIME, SIGNATURE, REPORTED, 1614265029, "timestamp" },
		/* Among others. */
		{ ID, TIME, "v1,AAAA v1a,xyz " SIGNATURE " v2,q", REPORTED, 1614265330, NULL },
		{ ID, TIME, "v1a,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", REPORTED, 1614265330, "keys" },
		{ ID, TIME, "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", REPORTED, 1614265330, "keys" },
		{ ID, TIME, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE", REPORTED, 1614265330, "keys" },
		{ ID, TIME, "v1,", REPORTED, 1614265330, "keys" },
		{ ID, TIME, "", REPORTED, 1614265330, "keys" },
		/* Whatever is signed. */
		{ ID "x", TIME, SIGNATURE, REPORTED, 1614265330, "keys" },
		{ "", TIME, SIGNATURE, REPORTED, 1614265330, "webhook-id" },
		{ ID, "1614265331", SIGNATURE, REPORTED, 1614265330, "keys" },
		{ ID, "", SIGNATURE, REPORTED, 1614265330, "no timestamp" },
		{ ID, "-1614265330", SIGNATURE, REPORTED, 1614265330, "no number" },
		{ ID, "1614265330.0", SIGNATURE, REPORTED, 1614265330, "no number" },
		{ ID, "99999999999999999999", SIGNATURE, REPORTED, 1614265330, "no timestamp" },
		{ ID, TIME, SIGNATURE, REPORTED " ", 1614265330, "keys" },
		{ ID, TIME, SIGNATURE, "", 1614265330, "keys" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const char *why =
			check_standard(rows[i].id, rows[i].time, rows[i].signature, rows[i].body, rows[i].at_s, SECRET);

		if (!rows[i].why ? why != NULL : !why || !strstr(why, rows[i].why))
			fail_msg("row %zu: %s", i, why ? why : "proved");
	}
	assert_null(check_standard(ID, TIME, SIGNATURE, REPORTED, 1614265330, SECRET + 6));
	assert_non_null(check_standard(ID, TIME, SIGNATURE, REPORTED, 1614265330, "whsec_AAAA"));
}

static void test_what_is_signed_here_is_as_published(void **state)
{
	char text[SIGNATURE_STANDARD_SIZE];
	struct signature_key key;

	(void)state;
	assert_int_equal(signature_key_standard(SECRET, &key), 0);
	assert_int_equal(signature_sign_standard(&key, slice_str(ID), 1614265330, slice_str(REPORTED), text), 0);
	signature_key_done(&key);
	assert_string_equal(text, SIGNATURE);
}

static void test_the_names_before_it_was_a_standard(void **state)
{
	struct pair headers[] = { { slice_str("svix-id"), slice_str(ID) },
				  { slice_str("svix-timestamp"), slice_str(TIME) },
				  { slice_str("svix-signature"), slice_str(SIGNATURE) } };
	struct signed_hook hook = { headers, COUNT_OF(headers), slice_str(REPORTED), 1614265330000 };
	struct signature_key key;

	(void)state;
	assert_int_equal(signature_key_standard(SECRET, &key), 0);
	assert_null(signature_check_standard(&hook, &key, 1));
	signature_key_done(&key);
}

static void test_secrets(void **state)
{
	static const char *const bad[] = { "", "whsec_", "whsec_***", "whsec_A", "!!!!" };
	struct signature_key key;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(signature_key_standard(bad[i], &key), ERR_BAD_REQUEST);
	assert_int_equal(signature_key_standard("whsec_AAEC", &key), 0);
	assert_int_equal(key.size, 3);
	assert_memory_equal(key.data, "\0\1\2", 3);
	signature_key_done(&key);
}

/* ---- t=…,v1=…: computed with another implementation (openssl dgst -sha256 -hmac secret) ---- */

#define T_V1 "v1=49f24e537407743fa4a0242bb63b94b9a47ee99cbbe071ccd8a22550ae411686"

static const char *check_t_v1(const char *signature, int64_t at_s)
{
	struct pair headers[] = { { slice_str("x-other"), slice_str("y") },
				  { slice_str("example-signature"), slice_str(signature) } };
	struct signed_hook hook = { headers, COUNT_OF(headers), slice_str("{\"a\":1}"), at_s * 1000 };
	struct signature_key keys[2];
	const char *why;

	assert_int_equal(signature_key_plain("old", &keys[0]), 0);
	assert_int_equal(signature_key_plain("secret", &keys[1]), 0);
	why = signature_check_t_v1(&hook, "example-signature", keys, 2);
	signature_key_done(&keys[0]);
	signature_key_done(&keys[1]);
	return why;
}

static void test_t_v1(void **state)
{
	(void)state;
	assert_null(check_t_v1("t=1700000000," T_V1, 1700000000));
	assert_null(check_t_v1("v0=1, v1=00," T_V1 ", t=1700000000", 1700000300));
	assert_non_null(check_t_v1("t=1700000000," T_V1, 1700000301));
	assert_non_null(check_t_v1("t=1700000001," T_V1, 1700000000));
	assert_non_null(check_t_v1("t=1700000000,v0=" T_V1, 1700000000));
	assert_non_null(check_t_v1(T_V1, 1700000000));
	assert_non_null(check_t_v1("t=1700000000", 1700000000));
	assert_non_null(check_t_v1("", 1700000000));
	assert_non_null(check_t_v1(",,=,t=,v1=", 1700000000));
}

static void test_t_v1_of_another_header(void **state)
{
	struct pair header = { slice_str("example-signature"), slice_str("t=1700000000," T_V1) };
	struct signed_hook hook = { &header, 1, slice_str("{\"a\":1}"), 1700000000000 };
	struct signature_key key;

	(void)state;
	assert_int_equal(signature_key_plain("secret", &key), 0);
	assert_null(signature_check_t_v1(&hook, "example-signature", &key, 1));
	assert_non_null(signature_check_t_v1(&hook, "webhook-signature", &key, 1));
	assert_non_null(signature_check_t_v1(&hook, "example-signature", &key, 0));
	signature_key_done(&key);
}

/* ---- fal: signed with the key of RFC 8032, section 7.1, test 1 ---- */

#define FAL_KEY "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
#define FAL_X	"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"

static const char *check_fal(const char *request, const char *user, const char *time, const char *signature,
			     const char *body, const char *key)
{
	struct pair headers[] = { { slice_str("x-fal-webhook-request-id"), slice_str(request) },
				  { slice_str("x-fal-webhook-user-id"), slice_str(user) },
				  { slice_str("x-fal-webhook-timestamp"), slice_str(time) },
				  { slice_str("x-fal-webhook-signature"), slice_str(signature) } };
	struct signed_hook hook = { headers, COUNT_OF(headers), slice_str(body), 1700000000000 };
	struct ed25519_key keys[2] = { { { 9 } } };

	assert_int_equal(hex_decode(slice_str(key), keys[1].bytes, sizeof(keys[1].bytes)), 0);
	return signature_check_fal(&hook, keys, 2);
}

#define FAL_SIGNATURE                                                      \
	"943bedb2197b85f9fd92d201d0c30174bd6773be3a5432e3508587ace5f26590" \
	"c818d6b1f6b15f5f9dfb66df33f2d915fa94ec17c1ed284ec11bb73a7f25e105"

static void test_fal(void **state)
{
	char other[] = FAL_SIGNATURE;

	(void)state;
	assert_null(check_fal("req", "user", "1700000000", FAL_SIGNATURE, "{\"a\":1}", FAL_KEY));
	assert_non_null(check_fal("req", "user", "1700000000", FAL_SIGNATURE, "{\"a\":2}", FAL_KEY));
	assert_non_null(check_fal("req2", "user", "1700000000", FAL_SIGNATURE, "{\"a\":1}", FAL_KEY));
	assert_non_null(check_fal("req", "user2", "1700000000", FAL_SIGNATURE, "{\"a\":1}", FAL_KEY));
	assert_non_null(check_fal("req", "user", "1700000001", FAL_SIGNATURE, "{\"a\":1}", FAL_KEY));
	assert_non_null(check_fal("req", "user", "1699999000", FAL_SIGNATURE, "{\"a\":1}", FAL_KEY));
	assert_non_null(check_fal("", "user", "1700000000", FAL_SIGNATURE, "{\"a\":1}", FAL_KEY));
	assert_non_null(check_fal("req", "user", "1700000000", "", "{\"a\":1}", FAL_KEY));
	assert_non_null(check_fal("req", "user", "1700000000", "zz", "{\"a\":1}", FAL_KEY));
	for (size_t i = 0; i < strlen(other); i += 7) {
		char was = other[i];

		other[i] = was == '0' ? '1' : '0';
		assert_non_null(check_fal("req", "user", "1700000000", other, "{\"a\":1}", FAL_KEY));
		other[i] = was;
	}
}

#define JWK(curve, x) "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"" curve "\",\"x\":\"" x "\"}]}"

static void test_sets_of_keys(void **state)
{
	static const char *const bad[] = {
		"",
		"{}",
		"[]",
		"{\"keys\":{}}",
		"{\"keys\":[]}",
		"{\"keys\":[{\"kty\":\"RSA\",\"n\":\"x\"}]}",
		JWK("X25519", FAL_X),
		JWK("Ed25519", "AAAA"),
		"{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":7}]}",
		"{\"keys\":[null, 3, \"x\"]}",
	};
	struct keyset keys = { .count = 99 };
	uint8_t expected[32];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(keyset_parse(slice_str(bad[i]), &keys), ERR_BAD_REQUEST);
	assert_int_equal(keys.count, 99);
	assert_int_equal(keyset_parse(slice_str("{\"keys\":[{\"kty\":\"RSA\"},{\"kty\":\"OKP\",\"crv\":\"Ed25519\","
						"\"x\":\"" FAL_X "\",\"kid\":\"k\"}]}"),
				      &keys),
			 0);
	assert_int_equal(keys.count, 1);
	assert_int_equal(hex_decode(slice_str(FAL_KEY), expected, sizeof(expected)), 0);
	assert_memory_equal(keys.keys[0].bytes, expected, sizeof(expected));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_standard_webhooks),
		cmocka_unit_test(test_what_is_signed_here_is_as_published),
		cmocka_unit_test(test_the_names_before_it_was_a_standard),
		cmocka_unit_test(test_secrets),
		cmocka_unit_test(test_t_v1),
		cmocka_unit_test(test_t_v1_of_another_header),
		cmocka_unit_test(test_fal),
		cmocka_unit_test(test_sets_of_keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
