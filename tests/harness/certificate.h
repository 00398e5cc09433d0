/* certificate.h: certificates for TLS servers of tests, made when they are needed. One thread. */
#ifndef RAINCHECK_TEST_CERTIFICATE_H
#define RAINCHECK_TEST_CERTIFICATE_H

#include <stdbool.h>
#include <time.h>

struct certificate_spec {
	const char *name;    /* a DNS name; NULL: none */
	const char *address; /* an IPv4 address; NULL: none */
	time_t from, until;  /* 0: an hour ago, in an hour */
	bool must_staple;    /* a server that shows it has to show, beside it, that it is not revoked */
};

/* Makes a key and a certificate signed by itself, and writes them as PEM. What cannot be made fails the test. */
void certificate_make(const struct certificate_spec *spec, const char *cert_path, const char *key_path);

#endif
