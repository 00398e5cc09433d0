/* trust.h: whether a TLS server is who it says it is, judged by certificates that are loaded once.
 *
 * libcurl's GnuTLS reads the file of certificates for every connection and keeps it as long: with the system's file
 * that is 4 MB and 16 ms each. So it is told to load and to judge nothing, and each connection is judged here, after
 * the handshake and before the first byte of a request goes out. Main thread.
 */
#ifndef RAINCHECK_WORKER_TRANSPORT_TRUST_H
#define RAINCHECK_WORKER_TRANSPORT_TRUST_H

#include <stddef.h>

#include "proto/base/clean.h"

struct gnutls_session_int;
struct trust;

/* Loads the certificates (PEM) at path; NULL: the system's. ERR_IO (it cannot be read), ERR_BAD_REQUEST (there is no
 * certificate in it), ERR_NO_MEMORY. */
int trust_new(const char *path, struct trust **ret_trust);
/* NULL is taken. Connections that it judged do not look at it any more. */
void trust_free(struct trust *t);
DEFINE_CLEANUP(struct trust *, trust_free)

/* Whether the peer of an established session is host (a name or an address), by a chain of certificates that are valid
 * now and lead to one of t's, none of them revoked by what the server has stapled to it. A session that t has judged
 * well is not judged again, and shakes hands no more: a server that asks for that ends the connection. ERR_DENIED, with
 * words in why. The session's pointer and hook are t's from then on: libcurl's GnuTLS sets neither. */
int trust_judge(const struct trust *t, struct gnutls_session_int *session, const char *host, char *why, size_t size);

#endif
