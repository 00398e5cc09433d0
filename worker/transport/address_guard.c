#include "worker/transport/address_guard.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "proto/base/clean.h"

/* IANA's IPv4 special-purpose registry, what is not globally reachable, and multicast. */
static const struct {
	uint32_t network;
	unsigned bits;
} closed4[] = {
	{ 0x00000000, 8 },  /* 0.0.0.0/8 this network */
	{ 0x0a000000, 8 },  /* 10.0.0.0/8 private */
	{ 0x64400000, 10 }, /* 100.64.0.0/10 shared by carriers */
	{ 0x7f000000, 8 },  /* 127.0.0.0/8 loopback */
	{ 0xa9fe0000, 16 }, /* 169.254.0.0/16 link-local, metadata services */
	{ 0xac100000, 12 }, /* 172.16.0.0/12 private */
	{ 0xc0000000, 24 }, /* 192.0.0.0/24 protocol assignments */
	{ 0xc0000200, 24 }, /* 192.0.2.0/24 documentation */
	{ 0xc0586300, 24 }, /* 192.88.99.0/24 former 6to4 relays */
	{ 0xc0a80000, 16 }, /* 192.168.0.0/16 private */
	{ 0xc6120000, 15 }, /* 198.18.0.0/15 benchmarks */
	{ 0xc6336400, 24 }, /* 198.51.100.0/24 documentation */
	{ 0xcb007100, 24 }, /* 203.0.113.0/24 documentation */
	{ 0xe0000000, 4 },  /* 224.0.0.0/4 multicast */
	{ 0xf0000000, 4 },  /* 240.0.0.0/4 reserved, broadcast */
};

static bool public4(uint32_t address)
{
	for (size_t i = 0; i < ARRAY_SIZE(closed4); i++)
		if ((address ^ closed4[i].network) >> (32 - closed4[i].bits) == 0)
			return false;
	return true;
}

static uint32_t word(const uint8_t *b)
{
	return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

/* Of IPv6 only 2000::/3 is in use for global unicast, and parts of that are not; NAT64's prefix outside it carries an
 * IPv4 address, which then decides. */
static bool public6(const uint8_t b[16])
{
	static const uint8_t mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };
	static const uint8_t nat64[12] = { 0, 0x64, 0xff, 0x9b };

	if (memcmp(b, mapped, 12) == 0 || memcmp(b, nat64, 12) == 0)
		return public4(word(b + 12));
	if (b[0] >> 5 != 1)
		return false;
	if (b[0] == 0x20 && b[1] == 0x02) /* 2002::/16, 6to4 */
		return public4(word(b + 2));
	if (b[0] == 0x20 && b[1] == 0x01 && (b[2] & 0xfe) == 0) /* 2001::/23, Teredo and other assignments */
		return false;
	if (word(b) == 0x20010db8) /* 2001:db8::/32, documentation */
		return false;
	return !(b[0] == 0x3f && b[1] == 0xff && b[2] >> 4 == 0); /* 3fff::/20, documentation */
}

bool address_is_public(const struct sockaddr *address)
{
	struct sockaddr_in in;
	struct sockaddr_in6 in6;

	if (address->sa_family == AF_INET) {
		memcpy(&in, address, sizeof(in));
		return public4(ntohl(in.sin_addr.s_addr));
	}
	if (address->sa_family == AF_INET6) {
		memcpy(&in6, address, sizeof(in6));
		return public6(in6.sin6_addr.s6_addr);
	}
	return false;
}

bool address_text_is_public(const char *text)
{
	struct in6_addr in6;
	struct in_addr in;

	if (inet_pton(AF_INET, text, &in) == 1)
		return public4(ntohl(in.s_addr));
	if (inet_pton(AF_INET6, text, &in6) == 1)
		return public6(in6.s6_addr);
	return false;
}

/* As a URL's host ends in an IPv4 address: of digits alone, or 0x and hexadecimal digits (WHATWG URL, "ends in a
 * number"). */
static bool is_number(const char *label)
{
	bool hex = label[0] == '0' && (label[1] == 'x' || label[1] == 'X');

	return label[0] && (hex ? label[2 + strspn(label + 2, "0123456789abcdefABCDEF")]
				: label[strspn(label, "0123456789")]) == '\0';
}

/* In every other spelling than the usual one readers differ: 010.0.0.1 is 8.0.0.1 to one and 10.0.0.1 to the next. */
bool address_host_is_private(const char *host)
{
	size_t n = strlen(host);
	const char *label;
	char name[256];

	while (n > 0 && host[n - 1] == '.')
		n--;
	if (n == 0 || n >= sizeof(name))
		return true;
	memcpy(name, host, n);
	name[n] = '\0';
	if (strchr(name, ':'))
		return !address_text_is_public(name);
	for (size_t i = 0; i < n; i++)
		if (name[i] <= ' ' || name[i] > '~' || name[i] == '%')
			return true;
	label = strrchr(name, '.');
	label = label ? label + 1 : name;
	if (is_number(label))
		return !address_text_is_public(name);
	return strcasecmp(label, "localhost") == 0;
}
