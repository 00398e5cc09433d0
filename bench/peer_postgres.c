/* PostgreSQL, by its frontend/backend protocol 3.0: three prepared statements on a table that is there already. Each
 * request is Bind, Execute and Sync, so that each is a transaction and a commit of its own, and many may be under way.
 */
#include "bench/peer.h"

#include <stdbool.h>
#include <string.h>

#include "bench/base.h"

static const char *const statements[STEPS] = {
	[STEP_PUT] = "INSERT INTO jobs (payload) VALUES ($1) RETURNING id",
	[STEP_LEASE] =
		("UPDATE jobs SET state = 1, lease_until = now() + interval '30 s' WHERE id = (SELECT id FROM jobs "
		 "WHERE state = 0 ORDER BY id FOR UPDATE SKIP LOCKED LIMIT 1) RETURNING id, payload"),
	[STEP_COMPLETE] = "DELETE FROM jobs WHERE id = $1",
};

/* ---- writing ---- */

static size_t add(uint8_t *out, size_t at, const void *data, size_t size)
{
	memcpy(out + at, data, size);
	return at + size;
}

static size_t add_number(uint8_t *out, size_t at, size_t n, unsigned bytes)
{
	for (unsigned i = bytes; i > 0; i--)
		out[at++] = (uint8_t)(n >> (8 * (i - 1)));
	return at;
}

static size_t add_text(uint8_t *out, size_t at, const char *text)
{
	return add(out, at, text, strlen(text) + 1);
}

/* Fills in the length of the message whose length field is at start. */
static size_t finish(uint8_t *out, size_t start, size_t at)
{
	add_number(out, start, at - start, 4);
	return at;
}

/* The names of the statements are "0", "1", "2". */
static size_t add_name(uint8_t *out, size_t at, enum step step)
{
	return add_text(out, at, (const char[]){ (char)('0' + step), '\0' });
}

static size_t add_sync(uint8_t *out, size_t at)
{
	return add(out, at, "S\0\0\0\4", 5);
}

static size_t greet(uint8_t *out)
{
	size_t at = add_number(out, 4, 3 << 16, 4);

	at = add_text(out, at, "user");
	at = add_text(out, at, "bench");
	at = add_text(out, at, "database");
	at = add_text(out, at, "postgres");
	at = finish(out, 0, add_text(out, at, ""));
	for (enum step step = 0; step < STEPS; step++) {
		size_t start = at + 1;

		out[at] = 'P';
		at = add_name(out, start + 4, step);
		at = add_text(out, at, statements[step]);
		at = finish(out, start, add_number(out, at, 0, 2));
	}
	return add_sync(out, at);
}

static size_t request(uint8_t *out, enum step step, unsigned slot, struct slice job)
{
	struct slice value = step == STEP_PUT ? slice_of(payload(), PAYLOAD_BYTES) : job;
	bool has_value = step != STEP_LEASE;
	size_t at;

	(void)slot;
	out[0] = 'B';
	at = add_text(out, 5, "");
	at = add_name(out, at, step);
	/* One format for all values, binary; the values; one format for all results. */
	at = add_number(out, at, 1, 2);
	at = add_number(out, at, 1, 2);
	at = add_number(out, at, has_value, 2);
	if (has_value) {
		at = add_number(out, at, value.size, 4);
		at = add(out, at, value.data, value.size);
	}
	at = add_number(out, at, 1, 2);
	at = finish(out, 1, add_number(out, at, 1, 2));
	at = add(out, at, "E\0\0\0\11\0\0\0\0\0", 10);
	return add_sync(out, at);
}

/* ---- reading ---- */

static size_t number_at(const uint8_t *in, unsigned bytes)
{
	size_t n = 0;

	for (unsigned i = 0; i < bytes; i++)
		n = n << 8 | in[i];
	return n;
}

/* The size of the message at in, 0 where it is not all there. An error ends the program. */
static size_t message_at(const uint8_t *in, size_t size)
{
	size_t bytes;

	if (size < 5)
		return 0;
	bytes = 1 + number_at(in + 1, 4);
	if (bytes > size)
		return 0;
	if (in[0] == 'E')
		for (size_t i = 5; i < bytes && in[i] != '\0'; i += strlen((const char *)in + i) + 1)
			if (in[i] == 'M')
				die("PostgreSQL: %s", (const char *)in + i + 1);
	return bytes;
}

/* Everything up to a ReadyForQuery, of which there are so many. The first column of a row goes to ret_column. */
static size_t scan_until_ready(const uint8_t *in, size_t size, unsigned ready, struct slice *ret_column)
{
	size_t at = 0, bytes;

	for (; ready > 0; at += bytes) {
		bytes = message_at(in + at, size - at);
		if (bytes == 0)
			return 0;
		/* A row: its columns' number in two bytes, then each one's length in four. */
		if (in[at] == 'D')
			*ret_column = slice_of(in + at + 11, number_at(in + at + 7, 4));
		ready -= in[at] == 'Z';
	}
	return at;
}

static size_t scan_greeting(const uint8_t *in, size_t size)
{
	struct slice ignored;

	return scan_until_ready(in, size, 2, &ignored);
}

static size_t scan(const uint8_t *in, size_t size, enum step step, struct reply *ret)
{
	size_t taken;

	*ret = (struct reply){ .slot = SLOT_OLDEST };
	taken = scan_until_ready(in, size, 1, &ret->job);
	/* A delete's answer: BindComplete (5 bytes), and CommandComplete with its words. */
	if (taken > 0 && step == STEP_COMPLETE)
		need(strcmp((const char *)in + 10, "DELETE 1") == 0, "PostgreSQL deleted no job");
	return taken;
}

const struct peer peer_postgres = {
	.name = "postgresql",
	.greet = greet,
	.scan_greeting = scan_greeting,
	.request = request,
	.scan = scan,
};
