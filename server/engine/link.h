/* link.h: the capabilities behind a return-later link and behind a hook's URL.
 *
 * token = base64url(job id ‖ first 16 bytes of HMAC-SHA256(secret, "raincheck link" ‖ job id ‖ generation)): 128 bits
 * that nobody can guess, bound to one job, revoked by counting the generation up, and stored nowhere.
 *
 * hook token = base64url(job id ‖ attempt ‖ first 16 bytes of HMAC-SHA256(secret, "raincheck hook" ‖ job id ‖
 * attempt)): whoever has it may report of that attempt of that job. It needs no store to be known for good or bad, and
 * is good for ever: what is reported of a job that is over is thrown away.
 *
 * Any thread; only a link_signer is used by one thread at a time.
 */
#ifndef RAINCHECK_ENGINE_LINK_H
#define RAINCHECK_ENGINE_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/base/slice.h"
#include "proto/base/text.h"
#include "proto/base/uuid.h"

#define LINK_TOKEN_SIZE BASE64URL_SIZE(32) /* 43 characters */

struct link_token {
	char text[LINK_TOKEN_SIZE + 1];
};

struct link_token link_make(const uint8_t secret[32], const struct uuid *job, uint16_t generation);
/* The same for many: keeps the keyed hash at the ready, where link_make() prepares it for each. */
struct link_signer;
/* ERR_NO_MEMORY. */
int link_signer_new(const uint8_t secret[32], struct link_signer **ret);
/* NULL is taken. */
void link_signer_free(struct link_signer *signer);
struct link_token link_sign(struct link_signer *signer, const struct uuid *job, uint16_t generation);
/* The job that token claims to be for; nothing is proved by it. ERR_NOT_FOUND where it is not even shaped like one. */
int link_claim(struct slice token, struct uuid *ret_job);
/* True where token is the link of that job and generation; takes the same time either way. */
bool link_matches(const uint8_t secret[32], struct slice token, const struct uuid *job, uint16_t generation);

/* ---- hooks ---- */

#define HOOK_TOKEN_SIZE BASE64URL_SIZE(36) /* 48 characters */

struct hook_token {
	char text[HOOK_TOKEN_SIZE + 1];
};

struct hook_token hook_sign(struct link_signer *signer, const struct uuid *job, uint32_t attempt);
/* What a token is for. ERR_NOT_FOUND for whatever is none, in the same time whatever is wrong with its last part. */
int hook_read(const uint8_t secret[32], struct slice token, struct uuid *ret_job, uint32_t *ret_attempt);

#endif
