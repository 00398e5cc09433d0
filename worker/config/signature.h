/* signature.h: whether a hook comes from whom it says: the three ways in which APIs sign what they report; and how what
 * this program reports is signed.
 *
 *   standard     Standard Webhooks 1.0.0: HMAC-SHA256 over "id.timestamp.body", base64, several in one header
 *   fal_ed25519  Ed25519 over "request id \n user id \n timestamp \n SHA-256 of the body in hexadecimal"
 *   hmac_t_v1    "t=TIMESTAMP,v1=HEX": HMAC-SHA256 over "timestamp.body", several v1 in one header
 *
 * Timestamps are seconds since the Unix epoch and may be five minutes away from when the broker received the hook: what
 * is older may be a recording. Comparisons take the same time whatever differs. Any thread; no state.
 */
#ifndef RAINCHECK_WORKER_CONFIG_SIGNATURE_H
#define RAINCHECK_WORKER_CONFIG_SIGNATURE_H

#include <stddef.h>
#include <stdint.h>

#include "proto/base/slice.h"

struct pair;

#define SIGNATURE_TOLERANCE_S	300
#define SIGNATURE_ED25519_SIZE	32 /* of a public key */
#define SIGNATURE_STANDARD_SIZE 48 /* with the NUL */

enum signature_kind { SIGNATURE_NONE, SIGNATURE_STANDARD, SIGNATURE_FAL_ED25519, SIGNATURE_HMAC_T_V1 };

struct signed_hook {
	const struct pair *headers; /* names in lower case */
	size_t header_count;
	struct slice body;
	int64_t received_at_ms; /* Unix epoch */
};

/* A shared secret as bytes; one of several where they are being changed. */
struct signature_key {
	uint8_t *data;
	size_t size;
};

struct ed25519_key {
	uint8_t bytes[SIGNATURE_ED25519_SIZE];
};

/* A secret as it is written: "whsec_" and base64, or base64 alone. ERR_BAD_REQUEST, ERR_NO_MEMORY. */
int signature_key_standard(const char *secret, struct signature_key *ret);
/* One whose characters are the key. ERR_NO_MEMORY. */
int signature_key_plain(const char *secret, struct signature_key *ret);
void signature_key_done(struct signature_key *key);

/* What a check answers that could not be made, for want of memory: the hook may be genuine. */
extern const char signature_not_computed[];

/* Each NULL where the hook is proved by one of the keys, else what is wrong with it, in words. header: its name in
 * lower case. */
const char *signature_check_standard(const struct signed_hook *hook, const struct signature_key *keys, size_t count);
const char *signature_check_t_v1(const struct signed_hook *hook, const char *header, const struct signature_key *keys,
				 size_t count);
const char *signature_check_fal(const struct signed_hook *hook, const struct ed25519_key *keys, size_t count);

/* "v1,BASE64", the signature of Standard Webhooks by one key; timestamp: seconds. ERR_INTERNAL. */
int signature_sign_standard(const struct signature_key *key, struct slice id, int64_t timestamp, struct slice body,
			    char ret[SIGNATURE_STANDARD_SIZE]);

#endif
