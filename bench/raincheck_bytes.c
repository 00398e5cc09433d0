#include "bench/raincheck_bytes.h"

#include <stdbool.h>
#include <string.h>

/* ---- requests ---- */

static size_t add(uint8_t *out, size_t at, const void *data, size_t size)
{
	memcpy(out + at, data, size);
	return at + size;
}

/* A string literal as bytes, without its NUL. */
#define ADD(out, at, literal) add(out, at, literal, sizeof(literal) - 1)

static size_t add_head(uint8_t *out, unsigned id)
{
	out[0] = 0x94;
	out[1] = 0;
	out[2] = (uint8_t)id;
	return 3;
}

size_t rc_hello(uint8_t *out, unsigned id)
{
	return ADD(out, add_head(out, id),
		   "\xad"
		   "session.hello\x91\x80");
}

/* The parameters of a put: they are the same each time. */
static struct slice put_map(void)
{
	static uint8_t map[PUT_BYTES];
	static size_t size;

	if (size == 0) {
		size = ADD(map, size, "\x82\xa5queue\xa5" BENCH_QUEUE "\xa7payload\xc5\x01\x00");
		size = add(map, size, payload(), PAYLOAD_BYTES);
	}
	return slice_of(map, size);
}

size_t rc_put(uint8_t *out, unsigned id)
{
	struct slice map = put_map();
	size_t at = ADD(out, add_head(out, id), "\xa7job.put\x91");

	return add(out, at, map.data, map.size);
}

size_t rc_put_of_group(uint8_t *out, unsigned id, unsigned group)
{
	size_t at = ADD(out, add_head(out, id), "\xa7job.put\x91\x83\xa5queue\xa5" BENCH_QUEUE "\xa5group\xa2g");

	out[at++] = (uint8_t)('0' + group % 10);
	at = ADD(out, at, "\xa7payload\xc5\x01\x00");
	return add(out, at, payload(), PAYLOAD_BYTES);
}

size_t rc_put_many(uint8_t *out, unsigned id, unsigned count)
{
	struct slice map = put_map();
	size_t at = ADD(out, add_head(out, id),
			"\xac"
			"job.put_many\x91\x81\xa4jobs\xdc");

	out[at++] = (uint8_t)(count >> 8);
	out[at++] = (uint8_t)count;
	for (unsigned i = 0; i < count; i++)
		at = add(out, at, map.data, map.size);
	return at;
}

size_t rc_lease(uint8_t *out, unsigned id, unsigned wait_ms)
{
	size_t at = ADD(out, add_head(out, id),
			"\xa9job.lease\x91\x83\xa6queues\x91\xa5" BENCH_QUEUE "\xa8lease_ms\xce\x05\x26\x5c\x00\xa7"
			"wait_ms\xcd");

	out[at++] = (uint8_t)(wait_ms >> 8);
	out[at++] = (uint8_t)wait_ms;
	return at;
}

size_t rc_complete(uint8_t *out, unsigned id, struct slice job, struct slice lease)
{
	size_t at = ADD(out, add_head(out, id),
			"\xac"
			"job.complete\x91\x82\xa2id\xd9\x24");

	at = add(out, at, job.data, JOB_ID_BYTES);
	at = ADD(out, at, "\xa5lease\xd9\x20");
	return add(out, at, lease.data, LEASE_BYTES);
}

size_t rc_stats(uint8_t *out, unsigned id)
{
	return ADD(out, add_head(out, id), "\xacserver.stats\x91\x80");
}

/* ---- responses ---- */

/* What the first byte of a value says: bytes of a big-endian length behind it, bytes that follow besides, and whether
 * the length counts values and not bytes. */
struct shape {
	uint8_t length_bytes, extra, values_each;
};

static struct shape shape_of(uint8_t first)
{
	static const struct shape tailed[32] = {
		[0xc4 - 0xc0] = { 1, 0, 0 }, [0xc5 - 0xc0] = { 2, 0, 0 }, [0xc6 - 0xc0] = { 4, 0, 0 },
		[0xca - 0xc0] = { 0, 4, 0 }, [0xcb - 0xc0] = { 0, 8, 0 }, [0xcc - 0xc0] = { 0, 1, 0 },
		[0xcd - 0xc0] = { 0, 2, 0 }, [0xce - 0xc0] = { 0, 4, 0 }, [0xcf - 0xc0] = { 0, 8, 0 },
		[0xd0 - 0xc0] = { 0, 1, 0 }, [0xd1 - 0xc0] = { 0, 2, 0 }, [0xd2 - 0xc0] = { 0, 4, 0 },
		[0xd3 - 0xc0] = { 0, 8, 0 }, [0xd9 - 0xc0] = { 1, 0, 0 }, [0xda - 0xc0] = { 2, 0, 0 },
		[0xdb - 0xc0] = { 4, 0, 0 }, [0xdc - 0xc0] = { 2, 0, 1 }, [0xdd - 0xc0] = { 4, 0, 1 },
		[0xde - 0xc0] = { 2, 0, 2 }, [0xdf - 0xc0] = { 4, 0, 2 },
	};

	if (first >= 0xc0 && first < 0xe0)
		return tailed[first - 0xc0];
	return (struct shape){ 0, 0, 0 };
}

/* The head of the value at *at: how many values follow, and how many bytes before those. False: not all is there. */
static bool take_head(const uint8_t *in, size_t size, size_t *at, uint64_t *ret_values, uint64_t *ret_bytes)
{
	struct shape shape;
	uint64_t length = 0;
	uint8_t first;

	if (*at >= size)
		return false;
	first = in[(*at)++];
	shape = shape_of(first);
	if (size - *at < shape.length_bytes)
		return false;
	for (unsigned i = 0; i < shape.length_bytes; i++)
		length = length << 8 | in[(*at)++];
	*ret_values = length * shape.values_each;
	*ret_bytes = shape.values_each ? 0 : length + shape.extra;
	if (first >= 0x80 && first < 0xa0)
		*ret_values = (first & 15u) << (first < 0x90);
	if (first >= 0xa0 && first < 0xc0)
		*ret_bytes = first & 31u;
	return true;
}

/* The size of the value at in, 0 where it is not all there. */
static size_t skip(const uint8_t *in, size_t size)
{
	uint64_t left = 1, values, bytes;
	size_t at = 0;

	for (; left > 0; left += values - 1) {
		if (!take_head(in, size, &at, &values, &bytes) || size - at < bytes)
			return 0;
		at += bytes;
	}
	return at;
}

size_t rc_scan(const uint8_t *in, size_t size, struct rc_response *ret)
{
	size_t error, result;

	if (size < 5)
		return 0;
	need(in[0] == 0x94 && in[1] == 1 && in[2] < 0x80, "this is not a response");
	error = skip(in + 3, size - 3);
	result = error > 0 ? skip(in + 3 + error, size - 3 - error) : 0;
	if (result == 0)
		return 0;
	if (in[3] != 0xc0)
		die("refused: %.*s", SLICE_FMT(rc_find(slice_of(in + 3, error), "message")));
	ret->id = in[2];
	ret->result = slice_of(in + 3 + error, result);
	return 3 + error + result;
}

/* Without its head, where it is text or bytes. */
static struct slice value_at(const uint8_t *in, size_t size)
{
	uint64_t values, bytes;
	size_t at = 0, whole = skip(in, size);

	need(whole > 0 && take_head(in, whole, &at, &values, &bytes), "a message is cut short");
	if (in[0] >= 0xca && in[0] <= 0xd3)
		return slice_of(in, whole);
	return values == 0 && bytes > 0 ? slice_of(in + at, bytes) : slice_of(in, whole);
}

struct slice rc_find(struct slice map, const char *key)
{
	const uint8_t *in = map.data;
	uint64_t values, bytes;
	size_t at = 0;

	need(take_head(in, map.size, &at, &values, &bytes), "a message is cut short");
	for (; values > 0; values -= 2) {
		bool found = slice_is(value_at(in + at, map.size - at), key);

		at += skip(in + at, map.size - at);
		if (found)
			return value_at(in + at, map.size - at);
		at += skip(in + at, map.size - at);
	}
	die("there is no \"%s\" in the answer", key);
}

uint64_t rc_count(struct slice array)
{
	uint64_t values, bytes;
	size_t at = 0;

	need(take_head(array.data, array.size, &at, &values, &bytes), "a message is cut short");
	return values;
}

struct slice rc_first(struct slice array)
{
	uint64_t values, bytes;
	size_t at = 0;

	need(take_head(array.data, array.size, &at, &values, &bytes) && values > 0, "no job was leased");
	return value_at((const uint8_t *)array.data + at, array.size - at);
}

uint64_t rc_number(struct slice value)
{
	const uint8_t *in = value.data;
	uint64_t n = 0;

	need(value.size > 0, "a number is missing");
	if (in[0] < 0x80)
		return in[0];
	for (size_t i = 1; i < value.size; i++)
		n = n << 8 | in[i];
	return n;
}
