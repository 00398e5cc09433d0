/* Redis: a stream and a consumer group. Put: XADD. Lease: XREADGROUP. Complete: XACK and XDEL, two commands sent
 * together and counted as one request. The stream and its group are there already. */
#include "bench/peer.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/base.h"

static size_t add(uint8_t *out, const char *text, size_t size)
{
	memcpy(out, text, size);
	return size;
}

static size_t add_put(uint8_t *out)
{
	static char text[REQUEST_MAX];
	static size_t size;

	if (size == 0)
		size = (size_t)snprintf(text, sizeof(text),
					"*5\r\n$4\r\nXADD\r\n$5\r\nbench\r\n$1\r\n*\r\n$1\r\np\r\n$%d\r\n%.*s\r\n",
					PAYLOAD_BYTES, PAYLOAD_BYTES, payload());
	return add(out, text, size);
}

static size_t request(uint8_t *out, enum step step, unsigned slot, struct slice job)
{
	static const char lease[] =
		"*9\r\n$10\r\nXREADGROUP\r\n$5\r\nGROUP\r\n$1\r\ng\r\n$1\r\nc\r\n$5\r\nCOUNT\r\n$1\r\n1"
		"\r\n$7\r\nSTREAMS\r\n$5\r\nbench\r\n$1\r\n>\r\n";

	(void)slot;
	if (step == STEP_PUT)
		return add_put(out);
	if (step == STEP_LEASE)
		return add(out, lease, sizeof(lease) - 1);
	return (size_t)snprintf((char *)out, REQUEST_MAX,
				"*4\r\n$4\r\nXACK\r\n$5\r\nbench\r\n$1\r\ng\r\n$%zu\r\n%.*s\r\n"
				"*3\r\n$4\r\nXDEL\r\n$5\r\nbench\r\n$%zu\r\n%.*s\r\n",
				job.size, SLICE_FMT(job), job.size, SLICE_FMT(job));
}

struct cursor {
	const char *at, *end;
	unsigned strings;    /* passed so far */
	struct slice second; /* of them */
};

/* The line at the cursor, without its end; false where it is not all there. */
static bool take_line(struct cursor *c, struct slice *ret)
{
	const char *end = memchr(c->at, '\r', (size_t)(c->end - c->at));

	if (!end || end + 1 >= c->end)
		return false;
	*ret = slice_of(c->at, (size_t)(end - c->at));
	c->at = end + 2;
	return true;
}

/* The string that a line announced. */
static bool take_string(struct cursor *c, long size)
{
	if (size < 0)
		return true;
	if (c->end - c->at < size + 2)
		return false;
	if (++c->strings == 2)
		c->second = slice_of(c->at, (size_t)size);
	c->at += size + 2;
	return true;
}

/* Takes one value with all that is in it; false where it is not all there. */
static bool take_value(struct cursor *c)
{
	long left = 1;

	for (; left > 0; left--) {
		struct slice line;
		const char *text;
		long number;

		if (!take_line(c, &line))
			return false;
		text = line.data;
		/* The line's end is no digit, so a number ends there too. */
		number = strtol(text + 1, NULL, 10);
		/* A number says how many entries were acknowledged or deleted. */
		if (text[0] == '-' || (text[0] == ':' && number != 1))
			die("Redis: %.*s", SLICE_FMT(line));
		if (text[0] == '$' && !take_string(c, number))
			return false;
		if (text[0] == '*' && number > 0)
			left += number;
	}
	return true;
}

static size_t scan(const uint8_t *in, size_t size, enum step step, struct reply *ret)
{
	struct cursor c = { .at = (const char *)in, .end = (const char *)in + size };

	if (!take_value(&c) || (step == STEP_COMPLETE && !take_value(&c)))
		return 0;
	/* The strings of a lease: the stream's name, the entry's id, the field's name, the payload. */
	*ret = (struct reply){ .slot = SLOT_OLDEST, .job = c.second };
	return (size_t)(c.at - (const char *)in);
}

const struct peer peer_redis = { .name = "redis", .request = request, .scan = scan };
