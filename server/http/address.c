#include "address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FIELD	"http"
#define BACKLOG 4096

static int malformed(const char *address, struct error_info *info)
{
	return error_set(info, ERR_CONFIG, FIELD, "\"%.120s\" is not HOST:PORT", address);
}

/* "HOST:PORT" and "[IPV6]:PORT" into their two parts. */
static int split(const char *address, char host[256], char port[8], struct error_info *info)
{
	const char *colon = strrchr(address, ':');
	size_t length = colon ? (size_t)(colon - address) : 0;

	if (!colon || length == 0 || length >= 256 || strlen(colon + 1) == 0 || strlen(colon + 1) > 5)
		return malformed(address, info);
	if (address[0] == '[') {
		if (address[length - 1] != ']' || length < 3)
			return malformed(address, info);
		address++;
		length -= 2;
	} else if (memchr(address, ':', length)) {
		return malformed(address, info); /* IPv6 without brackets could be read in two ways */
	}
	memcpy(host, address, length);
	host[length] = '\0';
	snprintf(port, 8, "%s", colon + 1);
	return port[strspn(port, "0123456789")] || strtol(port, NULL, 10) > 65535 ? malformed(address, info) : 0;
}

static bool is_loopback(const struct sockaddr *sa)
{
	const struct sockaddr_in *v4 = (const void *)sa;
	const struct sockaddr_in6 *v6 = (const void *)sa;

	if (sa->sa_family == AF_INET)
		return (ntohl(v4->sin_addr.s_addr) >> 24) == 127;
	return IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
}

static int listen_on(const char *address, const struct addrinfo *ai, int *ret_fd, struct error_info *info)
{
	int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int yes = 1, failure;

	if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) == 0 &&
	    (ai->ai_family != AF_INET6 || setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof(yes)) == 0) &&
	    bind(fd, ai->ai_addr, ai->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0) {
		*ret_fd = fd;
		return 0;
	}
	failure = errno;
	if (fd >= 0)
		close(fd);
	return error_set(info, failure == EADDRINUSE ? ERR_CONFLICT : ERR_CONFIG, FIELD, "%.120s: %s", address,
			 strerror(failure));
}

int address_check(const char *address, struct error_info *info)
{
	char host[256], port[8];

	return split(address, host, port, info);
}

int address_listen(const char *address, bool insecure, int *ret_fd, struct error_info *info)
{
	const struct addrinfo hints = { .ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM };
	struct addrinfo *found = NULL;
	char host[256], port[8];
	int rc;

	rc = split(address, host, port, info);
	if (rc < 0)
		return rc;
	rc = getaddrinfo(host, port, &hints, &found);
	if (rc != 0)
		return error_set(info, ERR_CONFIG, FIELD, "%.120s: %s", address, gai_strerror(rc));
	if (!insecure && !is_loopback(found->ai_addr))
		rc = error_set(info, ERR_CONFIG, FIELD,
			       "%.100s can be reached by others, and nothing is encrypted: put a proxy with TLS "
			       "before it, or say --insecure",
			       address);
	else
		rc = listen_on(address, found, ret_fd, info);
	freeaddrinfo(found);
	return rc;
}

int address_of(int fd, struct address_text *ret)
{
	struct sockaddr_storage sa = { .ss_family = AF_UNSPEC };
	socklen_t size = sizeof(sa);
	char host[INET6_ADDRSTRLEN];
	const struct sockaddr_in *v4 = (const void *)&sa;
	const struct sockaddr_in6 *v6 = (const void *)&sa;

	if (getsockname(fd, (struct sockaddr *)&sa, &size) < 0)
		return ERR_IO;
	if (sa.ss_family == AF_INET && inet_ntop(AF_INET, &v4->sin_addr, host, sizeof(host)))
		snprintf(ret->text, sizeof(ret->text), "%s:%u", host, (unsigned)ntohs(v4->sin_port));
	else if (sa.ss_family == AF_INET6 && inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof(host)))
		snprintf(ret->text, sizeof(ret->text), "[%s]:%u", host, (unsigned)ntohs(v6->sin6_port));
	else
		return ERR_IO;
	return 0;
}
