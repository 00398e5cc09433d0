/* beanstalkd: put, reserve, delete, in the default tube. */
#include "bench/peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/base.h"

static size_t request(uint8_t *out, enum step step, unsigned slot, struct slice job)
{
	(void)slot;
	if (step == STEP_PUT)
		return (size_t)snprintf((char *)out, REQUEST_MAX, "put 0 0 86400 %d\r\n%.*s\r\n", PAYLOAD_BYTES,
					PAYLOAD_BYTES, payload());
	if (step == STEP_LEASE)
		return (size_t)snprintf((char *)out, REQUEST_MAX, "reserve\r\n");
	return (size_t)snprintf((char *)out, REQUEST_MAX, "delete %.*s\r\n", SLICE_FMT(job));
}

static size_t scan(const uint8_t *in, size_t size, enum step step, struct reply *ret)
{
	static const char *const words[STEPS] = { "INSERTED ", "RESERVED ", "DELETED\r" };
	static const size_t word_bytes = 9;
	const uint8_t *end = memchr(in, '\n', size), *blank;
	size_t taken;

	if (!end)
		return 0;
	taken = (size_t)(end + 1 - in);
	if (strncmp((const char *)in, words[step], strlen(words[step])) != 0)
		die("beanstalkd: %.*s", (int)taken, (const char *)in);
	*ret = (struct reply){ .slot = SLOT_OLDEST };
	if (step != STEP_LEASE)
		return taken;
	/* RESERVED id bytes, and the payload on a line of its own. */
	blank = memchr(in + word_bytes, ' ', taken - word_bytes);
	need(blank, "beanstalkd: a job without its size");
	taken += strtoul((const char *)blank + 1, NULL, 10) + 2;
	ret->job = slice_of(in + word_bytes, (size_t)(blank - in) - word_bytes);
	return taken <= size ? taken : 0;
}

const struct peer peer_beanstalkd = { .name = "beanstalkd", .request = request, .scan = scan };
