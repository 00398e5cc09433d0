/* guard.h: who may ask for what. Any thread; no state.
 *
 * There are no tokens yet, so the producers' API and the metrics are for programs on this machine. Three ways lead
 * strangers there all the same, and each is shut:
 *   a page in a browser on this machine sends requests across     Origin and Sec-Fetch-Site tell, nothing else does
 *   the same with a name of its own that it points to 127.0.0.1   the Host is no name that we know
 *   a proxy that was set up for the links passes everything on    the peer is on this machine, but Forwarded or
 *                                                                 X-Forwarded-For is there
 * A host that the operator lists (api.hosts) opens all of it to whoever can reach it under that name, but for other
 * sites' pages: whoever lists one sees to it that only producers can.
 */
#ifndef RAINCHECK_HTTP_GUARD_H
#define RAINCHECK_HTTP_GUARD_H

#include <stdbool.h>
#include <stddef.h>

struct MHD_Connection;
struct error_info;

/* Host names and addresses without a port. What it points to must outlive the gateway. */
struct guard_hosts {
	const char *const *items;
	size_t count;
};

/* ERR_DENIED and why, where this request may not have the producers' API or the metrics; *ret_status is what that is
 * in HTTP. 0. */
int guard_check(struct MHD_Connection *c, const struct guard_hosts *hosts, unsigned *ret_status,
		struct error_info *info);

/* ERR_BAD_REQUEST where it is not sure where the request's body ends or for whom it is: two proxies that read it in two
 * ways let one smuggle a second request in it (RFC 9112, section 11.2). 0. */
int guard_check_framing(struct MHD_Connection *c, struct error_info *info);

/* ERR_CONFIG for what is no host name or address without a port. */
int guard_check_host(const char *host);

#endif
