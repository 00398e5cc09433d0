/* The worker before TLS servers that nghttpd cannot play: one that asks for another handshake and then says nothing,
 * and one that shows that its own certificate is revoked.
 */
#include <arpa/inet.h>
#include <gnutls/gnutls.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/harness/calls.h"
#include "tests/harness/certificate.h"

#define CONNECTIONS 2

static struct calls calls;
static char cert[256], key[256];

static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nContent-Length: 24\r\n"
			     "Connection: close\r\n\r\n\0\0\0\030ftypisom\0\0\2\0isomiso2";

/* Serves CONNECTIONS connections, one at a time, on a thread of its own. */
static struct {
	pthread_t thread;
	bool runs;
	int fd;
	unsigned port;
	bool shakes_hands_again; /* the first connection: the worker answers, and waits for ever */
	const char *staple;	 /* file; NULL: none */
	gnutls_certificate_credentials_t credentials;
	int held; /* that first connection, which lives as long as the server */
} server;

static int setup(void **state)
{
	(void)state;
	memset(&calls, 0, sizeof(calls));
	memset(&server, 0, sizeof(server));
	server.held = -1;
	tempdir_make(&calls.stack.dir);
	snprintf(cert, sizeof(cert), "%s", tempdir_file(&calls.stack.dir, "cert.pem"));
	snprintf(key, sizeof(key), "%s", tempdir_file(&calls.stack.dir, "key.pem"));
	certificate_make(&(struct certificate_spec){ .address = "127.0.0.1" }, cert, key);
	stack_start_broker(&calls.stack);
	calls.rc = stack_connect(&calls.stack);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	if (server.runs) {
		shutdown(server.fd, SHUT_RDWR);
		pthread_join(server.thread, NULL);
		close(server.fd);
	}
	if (server.held >= 0)
		close(server.held);
	gnutls_certificate_free_credentials(server.credentials);
	calls_close(&calls);
	return 0;
}

/* ---- the server ---- */

/* The library's own way would not show that a certificate is revoked. */
static int staple_cb(gnutls_session_t session, void *unused, gnutls_datum_t *ret)
{
	(void)session;
	(void)unused;
	return gnutls_load_file(server.staple, ret);
}

static gnutls_session_t shake_hands(int fd)
{
	gnutls_session_t session;
	int rc;

	gnutls_init(&session, GNUTLS_SERVER);
	gnutls_priority_set_direct(session, "NORMAL:-VERS-ALL:+VERS-TLS1.2", NULL);
	gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, server.credentials);
	gnutls_transport_set_int(session, fd);
	do
		rc = gnutls_handshake(session);
	while (rc < 0 && !gnutls_error_is_fatal(rc));
	if (rc == 0)
		return session;
	gnutls_deinit(session);
	return NULL;
}

/* Until the client has gone. */
static void drain(gnutls_session_t session)
{
	char bytes[4096];

	while (gnutls_record_recv(session, bytes, sizeof(bytes)) > 0)
		;
}

static void serve_one(int fd, bool shake_again)
{
	gnutls_session_t session = shake_hands(fd);
	char request[4096];

	if (!session)
		return;
	if (gnutls_record_recv(session, request, sizeof(request)) > 0) {
		if (shake_again) {
			gnutls_rehandshake(session);
			server.held = dup(fd);
		} else {
			gnutls_record_send(session, answer, sizeof(answer) - 1);
			gnutls_bye(session, GNUTLS_SHUT_WR);
			drain(session);
		}
	}
	gnutls_deinit(session);
}

static void *serve(void *unused)
{
	for (int i = 0; i < CONNECTIONS; i++) {
		int fd = accept4(server.fd, NULL, NULL, SOCK_CLOEXEC);

		if (fd < 0)
			break;
		serve_one(fd, server.shakes_hands_again && i == 0);
		close(fd);
	}
	return unused;
}

static void start_server(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	socklen_t size = sizeof(address);

	gnutls_certificate_allocate_credentials(&server.credentials);
	assert_int_equal(gnutls_certificate_set_x509_key_file(server.credentials, cert, key, GNUTLS_X509_FMT_PEM), 0);
	if (server.staple)
		gnutls_certificate_set_ocsp_status_request_function(server.credentials, staple_cb, NULL);
	server.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(server.fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(server.fd, CONNECTIONS), 0);
	assert_int_equal(getsockname(server.fd, (struct sockaddr *)&address, &size), 0);
	server.port = ntohs(address.sin_port);
	assert_int_equal(pthread_create(&server.thread, NULL, serve, NULL), 0);
	server.runs = true;
}

static void start_worker(void)
{
	static char lines[600];
	struct calls_shape shape = {
		.mode = "sync",
		.lines = lines,
		.path = "/",
	};

	snprintf(lines, sizeof(lines), "    ca_file: %s\n", cert);
	snprintf(calls.stack.api_url, sizeof(calls.stack.api_url), "https://127.0.0.1:%u", server.port);
	calls_start_worker(&calls, &shape);
}

/* ---- the tests ---- */

/* libcurl would wait for it, and everything else with it: leases would run out. */
static void another_handshake_holds_nothing_up(void **state)
{
	(void)state;
	server.shakes_hands_again = true;
	start_server();
	start_worker();
	calls_expect_failure(&calls, calls_put(&calls, 1, "one", ""), RAINCHECK_FAIL_REJECTED, "renegotiation");
	calls_expect_end(&calls, calls_put(&calls, 1, "two", ""), RAINCHECK_JOB_SUCCEEDED);
}

static void run(const char *const *argv)
{
	char output[4096];

	if (process_run(argv, output, sizeof(output)) != 0)
		fail_msg("%s: %s", argv[1], output);
}

/* What a responder says of the certificate, whose number is 1, signed with its own key. */
static void make_staple(const char *state, const char *path)
{
	static char index_path[256], request[256];
	const char *asking[] = { "/usr/bin/openssl", "ocsp", "-issuer", cert, "-cert", cert, "-reqout", request, NULL };
	const char *answering[] = { "/usr/bin/openssl", "ocsp", "-index", index_path, "-CA",	cert,
				    "-rsigner",		cert,	"-rkey",  key,	      "-reqin", request,
				    "-respout",		path,	"-ndays", "1",	      NULL };
	FILE *f;

	snprintf(index_path, sizeof(index_path), "%s", tempdir_file(&calls.stack.dir, "index"));
	snprintf(request, sizeof(request), "%s", tempdir_file(&calls.stack.dir, "request"));
	f = fopen(index_path, "w");
	assert_non_null(f);
	fprintf(f, "%s\t01\tunknown\t/CN=test\n", state);
	fclose(f);
	run(asking);
	run(answering);
}

static void a_revoked_certificate_is_not_trusted(void **state)
{
	char path[256];

	(void)state;
	snprintf(path, sizeof(path), "%s", tempdir_file(&calls.stack.dir, "staple"));
	make_staple("R\t491231235959Z\t200101000000Z", path);
	server.staple = path;
	start_server();
	start_worker();
	calls_expect_failure(&calls, calls_put(&calls, 1, "one", ""), RAINCHECK_FAIL_UNAVAILABLE, "revoked");
}

static void a_certificate_that_is_proven_is_trusted(void **state)
{
	char path[256];

	(void)state;
	certificate_make(&(struct certificate_spec){ .address = "127.0.0.1", .must_staple = true }, cert, key);
	snprintf(path, sizeof(path), "%s", tempdir_file(&calls.stack.dir, "staple"));
	make_staple("V\t491231235959Z\t", path);
	server.staple = path;
	start_server();
	start_worker();
	calls_expect_end(&calls, calls_put(&calls, 1, "one", ""), RAINCHECK_JOB_SUCCEEDED);
	calls_expect_end(&calls, calls_put(&calls, 1, "two", ""), RAINCHECK_JOB_SUCCEEDED);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(another_handshake_holds_nothing_up),
		T(a_revoked_certificate_is_not_trusted),
		T(a_certificate_that_is_proven_is_trusted),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
