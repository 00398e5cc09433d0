/* raw_server.h: a TCP server on loopback within a test, which answers each connection's first request as the test says,
 * byte by byte: for peers that break the rules, and for a proxy.
 *
 * One thread a connection; stop waits for all of them.
 */
#ifndef RAINCHECK_TEST_RAW_SERVER_H
#define RAINCHECK_TEST_RAW_SERVER_H

#include <netinet/in.h>

struct raw_request {
	int fd;			 /* to answer on; closed afterwards */
	const char *head;	 /* up to the empty line; "" where nothing is read */
	struct sockaddr_in peer; /* who asks */
	void *user;
};

struct raw_server;

/* How much of the request is read before serve is called: a body that is read is thrown away. */
enum raw_reading { RAW_NOTHING, RAW_HEAD, RAW_WHOLE };

struct raw_server *raw_server_start(void (*serve)(const struct raw_request *r), void *user, enum raw_reading reading);
unsigned raw_server_port(const struct raw_server *s);
/* Serving threads are expected to end by themselves once their peers are gone. */
void raw_server_stop(struct raw_server *s);

/* All of the text, or the connection is gone. */
void raw_send(int fd, const char *text);
/* Waits until the peer closes its side. */
void raw_wait_gone(int fd);
/* Closes with a reset instead of an end. */
void raw_reset(int fd);

#endif
