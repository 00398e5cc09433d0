/* jwt.h: the bearer tokens of APIs that want a JSON Web Token (RFC 7519), signed with HS256 (RFC 7518) by a secret key.
 *
 * A token is signed when it is first asked for and again when half of its time is over, so that none expires on its
 * way. Those in use are remembered as secrets. One thread at a time.
 */
#ifndef RAINCHECK_WORKER_CONFIG_JWT_H
#define RAINCHECK_WORKER_CONFIG_JWT_H

#include <stdint.h>

struct jwt;
struct secrets;

/* owner names whose tokens these are, among the secrets, which must outlive it. Texts are copied; access_key is UTF-8.
 * ERR_NO_MEMORY. */
int jwt_new(const char *owner, const char *access_key, const char *secret_key, int64_t ttl_ms, struct secrets *secrets,
	    struct jwt **ret_jwt);
void jwt_free(struct jwt *j);

/* A token that is good at now_ms (Unix epoch) and for at least half of its time, unless the clock is set: *ret_token is
 * valid until the next call. ERR_NO_MEMORY, ERR_INTERNAL. */
int jwt_token(struct jwt *j, int64_t now_ms, const char **ret_token);

#endif
