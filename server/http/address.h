/* address.h: "HOST:PORT" as a bound socket and back. Any thread; no state. */
#ifndef RAINCHECK_HTTP_ADDRESS_H
#define RAINCHECK_HTTP_ADDRESS_H

#include <stdbool.h>

#include "proto/error.h"

struct address_text {
	char text[80];
};

/* ERR_CONFIG, and what is wrong, for text that is neither HOST:PORT nor [IPV6]:PORT. */
int address_check(const char *address, struct error_info *info);
/* A listening TCP socket, not blocking. ERR_CONFIG for what cannot be read or listened on, or leads beyond loopback
 * without insecure; ERR_CONFLICT where the port is taken. info says which. */
int address_listen(const char *address, bool insecure, int *ret_fd, struct error_info *info);
/* What the socket is bound to, with the real port. ERR_IO. */
int address_of(int fd, struct address_text *ret);

#endif
