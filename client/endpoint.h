/* endpoint.h: where a broker listens, as people write it: "HOST:PORT", "[::1]:7246", "unix:PATH".
 *
 * Pure parsing, for the library and the tools on it. Any thread; no state.
 */
#ifndef RAINCHECK_CLIENT_ENDPOINT_H
#define RAINCHECK_CLIENT_ENDPOINT_H

#include <stdbool.h>
#include <stdint.h>

struct error_info;

#define ENDPOINT_DEFAULT_PORT 7246
#define ENDPOINT_HOST_SIZE    256
#define ENDPOINT_PATH_SIZE    108 /* what a sockaddr_un holds, with the NUL */

struct endpoint {
	bool is_unix;
	char host[ENDPOINT_HOST_SIZE]; /* a name or a numeric address, without brackets */
	uint16_t port;
	char path[ENDPOINT_PATH_SIZE];
};

/* The shown form of an address; see endpoint_format(). */
struct endpoint_text {
	char text[ENDPOINT_HOST_SIZE + 16];
};

/* A missing port is ENDPOINT_DEFAULT_PORT. ERR_BAD_REQUEST with the reason in info (may be NULL). */
int endpoint_parse(const char *text, struct endpoint *ret, struct error_info *info);

/* As it is written, with its port. */
struct endpoint_text endpoint_format(const struct endpoint *a);

#endif
