/* address_guard.h: which network addresses a URL that somebody else chose may lead to.
 *
 * A provider's answer names where the result is; were it believed blindly, it could make the worker fetch from the
 * machine itself, the private network or a cloud's metadata service. The check is of the address that is about to be
 * connected to, not of a name, so a name that resolves to something else the second time does not get around it.
 * Any thread; no state.
 */
#ifndef RAINCHECK_WORKER_TRANSPORT_ADDRESS_GUARD_H
#define RAINCHECK_WORKER_TRANSPORT_ADDRESS_GUARD_H

#include <stdbool.h>

struct sockaddr;

/* True for a globally reachable unicast address. False for loopback, private, link-local, shared, multicast, reserved
 * and documentation ranges, for IPv6 forms that carry such an IPv4 address, and for other families. */
bool address_is_public(const struct sockaddr *address);

/* The same for an address in numbers ("10.0.0.1", "::1"); false for what is not one. */
bool address_text_is_public(const char *text);

/* Whether a URL's host, as url_origin() gives it, says by itself that it is not public, or could say so to somebody
 * else: an address that is not public, one in another spelling than four decimal numbers (libcurl turns these into the
 * usual one, but not where they are percent-encoded or end in a dot), localhost, and what is not written as a name is:
 * with spaces, percent signs or beyond ASCII (an international name comes in its xn-- form). Dots at its end do not
 * count. All that can be judged where a proxy resolves names. */
bool address_host_is_private(const char *host);

#endif
