#include "worker/transport/trust.h"

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "proto/error.h"

#define CHAIN_MAX 16
/* RSA of 2048 bits and its like, no SHA-1. */
#define DEMANDS GNUTLS_PROFILE_TO_VFLAGS(GNUTLS_PROFILE_MEDIUM)

struct trust {
	gnutls_x509_trust_list_t list; /* the judge's */
	gnutls_certificate_credentials_t judge;
	uintptr_t serial; /* of this one among all that ever were: a session remembers which has judged it */
};

int trust_new(const char *path, struct trust **ret_trust)
{
	static uintptr_t last_serial;
	_cleanup_(trust_freep) struct trust *t = calloc(1, sizeof(*t));
	int count;

	if (!t || gnutls_certificate_allocate_credentials(&t->judge) < 0 ||
	    gnutls_x509_trust_list_init(&t->list, 0) < 0)
		return ERR_NO_MEMORY;
	gnutls_certificate_set_trust_list(t->judge, t->list, 0);
	if (path && access(path, R_OK) < 0)
		return ERR_IO;
	count = path ? gnutls_x509_trust_list_add_trust_file(t->list, path, NULL, GNUTLS_X509_FMT_PEM, 0, 0)
		     : gnutls_x509_trust_list_add_system_trust(t->list, 0, 0);
	if (count <= 0)
		return ERR_BAD_REQUEST;
	t->serial = ++last_serial;
	*ret_trust = TAKE_PTR(t);
	return 0;
}

void trust_free(struct trust *t)
{
	if (!t)
		return;
	if (t->judge)
		gnutls_certificate_free_credentials(t->judge);
	free(t);
}

static int say(char *why, size_t size, const char *what)
{
	snprintf(why, size, "TLS: %s", what);
	return ERR_DENIED;
}

static int say_status(unsigned status, char *why, size_t size)
{
	gnutls_datum_t words;

	if (gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &words, 0) < 0)
		return say(why, size, "the server's certificate is not trusted");
	say(why, size, (const char *)words.data);
	gnutls_free(words.data);
	return ERR_DENIED;
}

static int judge_chain(const struct trust *t, gnutls_x509_crt_t *chain, unsigned count, const char *host, char *why,
		       size_t size)
{
	gnutls_typed_vdata_st wanted[] = {
		{ .type = GNUTLS_DT_DNS_HOSTNAME, .data = (unsigned char *)(uintptr_t)host },
		{ .type = GNUTLS_DT_KEY_PURPOSE_OID, .data = (unsigned char *)(uintptr_t)GNUTLS_KP_TLS_WWW_SERVER },
	};
	unsigned status = 0;

	if (gnutls_x509_trust_list_verify_crt2(t->list, chain, count, wanted, ARRAY_SIZE(wanted), DEMANDS, &status,
					       NULL) < 0)
		return say(why, size, "the server's certificate cannot be judged");
	return status == 0 ? 0 : say_status(status, why, size);
}

/* What libcurl would ask, with its session's demands: that looks at what the server has stapled to its certificate, or
 * should have, too. */
static int judge_session(const struct trust *t, gnutls_session_t session, char *why, size_t size)
{
	void *own = NULL;
	unsigned status = 0;
	int rc;

	if (gnutls_credentials_get(session, GNUTLS_CRD_CERTIFICATE, &own) < 0 ||
	    gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, t->judge) < 0)
		return say(why, size, "the server's certificate cannot be judged");
	rc = gnutls_certificate_verify_peers2(session, &status);
	gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, own);
	if (rc < 0)
		return say(why, size, "the server's certificate cannot be judged");
	return status == 0 ? 0 : say_status(status, why, size);
}

/* libcurl would wait for another handshake, asked for by the server, as long as that takes and with all other transfers
 * standing still. */
static int refuse_handshake(gnutls_session_t session, unsigned type, unsigned when, unsigned incoming,
			    const gnutls_datum_t *message)
{
	(void)session;
	(void)type;
	(void)when;
	(void)incoming;
	(void)message;
	return GNUTLS_E_UNSAFE_RENEGOTIATION_DENIED;
}

int trust_judge(const struct trust *t, struct gnutls_session_int *session, const char *host, char *why, size_t size)
{
	gnutls_x509_crt_t chain[CHAIN_MAX];
	const gnutls_datum_t *certificates;
	unsigned given = 0, count = 0;
	int rc = 0;

	if (gnutls_session_get_ptr(session) == (void *)t->serial)
		return 0;
	certificates = gnutls_certificate_get_peers(session, &given);
	if (!certificates || given == 0)
		return say(why, size, "the server shows no certificate");
	for (; rc == 0 && count < given && count < CHAIN_MAX; count++) {
		if (gnutls_x509_crt_init(&chain[count]) < 0) {
			rc = say(why, size, error_text(ERR_NO_MEMORY));
			break;
		}
		if (gnutls_x509_crt_import(chain[count], &certificates[count], GNUTLS_X509_FMT_DER) < 0)
			rc = say(why, size, "the server's certificate makes no sense");
	}
	if (rc == 0)
		rc = judge_chain(t, chain, count, host, why, size);
	if (rc == 0)
		rc = judge_session(t, session, why, size);
	while (count > 0)
		gnutls_x509_crt_deinit(chain[--count]);
	if (rc < 0)
		return rc;
	gnutls_session_set_ptr(session, (void *)t->serial);
	gnutls_handshake_set_hook_function(session, GNUTLS_HANDSHAKE_CLIENT_HELLO, GNUTLS_HOOK_PRE, refuse_handshake);
	return 0;
}
