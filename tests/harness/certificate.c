#include "tests/harness/certificate.h"

#include <arpa/inet.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define HOUR_S 3600

static void save(const char *path, const gnutls_datum_t *pem)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(pem->data, 1, pem->size, f), pem->size);
	fclose(f);
	gnutls_free(pem->data);
}

static void name(gnutls_x509_crt_t crt, const struct certificate_spec *spec)
{
	struct in_addr address;

	if (spec->name)
		assert_int_equal(gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_DNSNAME, spec->name,
								      (unsigned)strlen(spec->name), GNUTLS_FSAN_APPEND),
				 0);
	if (!spec->address)
		return;
	assert_int_equal(inet_pton(AF_INET, spec->address, &address), 1);
	assert_int_equal(gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_IPADDRESS, &address, sizeof(address),
							      GNUTLS_FSAN_APPEND),
			 0);
}

/* RFC 7633: status_request among what the server is to support. */
static void demand_staple(gnutls_x509_crt_t crt)
{
	static const unsigned char features[] = { 0x30, 0x03, 0x02, 0x01, 0x05 };

	assert_int_equal(gnutls_x509_crt_set_extension_by_oid(crt, "1.3.6.1.5.5.7.1.24", features, sizeof(features), 0),
			 0);
}

void certificate_make(const struct certificate_spec *spec, const char *cert_path, const char *key_path)
{
	gnutls_x509_privkey_t key;
	gnutls_x509_crt_t crt;
	gnutls_datum_t pem;

	assert_int_equal(gnutls_x509_privkey_init(&key), 0);
	assert_int_equal(
		gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0),
		0);
	assert_int_equal(gnutls_x509_crt_init(&crt), 0);
	gnutls_x509_crt_set_version(crt, 3);
	gnutls_x509_crt_set_serial(crt, "\1", 1);
	gnutls_x509_crt_set_activation_time(crt, spec->from ? spec->from : time(NULL) - HOUR_S);
	gnutls_x509_crt_set_expiration_time(crt, spec->until ? spec->until : time(NULL) + HOUR_S);
	gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, "test", 4);
	gnutls_x509_crt_set_key(crt, key);
	gnutls_x509_crt_set_basic_constraints(crt, 1, -1);
	name(crt, spec);
	if (spec->must_staple)
		demand_staple(crt);
	assert_int_equal(gnutls_x509_crt_sign2(crt, crt, key, GNUTLS_DIG_SHA256, 0), 0);
	assert_int_equal(gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &pem), 0);
	save(cert_path, &pem);
	assert_int_equal(gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &pem), 0);
	save(key_path, &pem);
	gnutls_x509_crt_deinit(crt);
	gnutls_x509_privkey_deinit(key);
}
