/* The walk knows three things a byte can begin: a scalar of fixed length, a string-like run of bytes, or a container.
 * A scalar or run uses up one element of the innermost container; a container that is used up closes and uses up one
 * of the next. The message ends when the outermost closes.
 */
#include "skim.h"

#include "base/slice.h"
#include "error.h"

/* What one first byte says. */
struct head {
	uint8_t length_bytes; /* bytes of the length or count that follows */
	uint8_t fixed;	      /* bytes after that, or the count where length_bytes is 0 */
	enum { SCALAR, RUN, ARRAY, MAP } kind;
};

void skim_init(struct skim *s, const struct skim_limits *limits)
{
	*s = (struct skim){ .limits = *limits };
	if (s->limits.max_depth > SKIM_MAX_DEPTH)
		s->limits.max_depth = SKIM_MAX_DEPTH;
}

static int read_head(uint8_t b, struct head *ret)
{
	/* 0xc0 to 0xdf, in order; see the MessagePack specification's table of formats */
	static const struct head table[32] = {
		[0x00] = { 0, 0, SCALAR }, [0x02] = { 0, 0, SCALAR },  [0x03] = { 0, 0, SCALAR }, /* nil, booleans */
		[0x04] = { 1, 0, RUN },	   [0x05] = { 2, 0, RUN },     [0x06] = { 4, 0, RUN },	  /* bin */
		[0x07] = { 1, 1, RUN },	   [0x08] = { 2, 1, RUN },     [0x09] = { 4, 1, RUN },	  /* ext: and a type */
		[0x0a] = { 0, 4, SCALAR }, [0x0b] = { 0, 8, SCALAR },				  /* floats */
		[0x0c] = { 0, 1, SCALAR }, [0x0d] = { 0, 2, SCALAR },  [0x0e] = { 0, 4, SCALAR }, /* unsigned */
		[0x0f] = { 0, 8, SCALAR }, [0x10] = { 0, 1, SCALAR },  [0x11] = { 0, 2, SCALAR }, /* signed */
		[0x12] = { 0, 4, SCALAR }, [0x13] = { 0, 8, SCALAR },				  /* */
		[0x14] = { 0, 2, SCALAR }, [0x15] = { 0, 3, SCALAR },  [0x16] = { 0, 5, SCALAR }, /* fixext */
		[0x17] = { 0, 9, SCALAR }, [0x18] = { 0, 17, SCALAR },				  /* */
		[0x19] = { 1, 0, RUN },	   [0x1a] = { 2, 0, RUN },     [0x1b] = { 4, 0, RUN },	  /* str */
		[0x1c] = { 2, 0, ARRAY },  [0x1d] = { 4, 0, ARRAY },				  /* array */
		[0x1e] = { 2, 0, MAP },	   [0x1f] = { 4, 0, MAP },				  /* map */
	};

	if (b < 0x80 || b >= 0xe0)
		*ret = (struct head){ 0, 0, SCALAR };
	else if (b < 0x90)
		*ret = (struct head){ 0, b & 15, MAP };
	else if (b < 0xa0)
		*ret = (struct head){ 0, b & 15, ARRAY };
	else if (b < 0xc0)
		*ret = (struct head){ 0, b & 31, RUN };
	else if (b == 0xc1)
		return ERR_PROTOCOL;
	else
		*ret = table[b - 0xc0];
	return 0;
}

static uint64_t read_number(const uint8_t *p, unsigned bytes)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < bytes; i++)
		n = n << 8 | p[i];
	return n;
}

static int open_container(struct skim *s, uint64_t count, bool map)
{
	if (map)
		count *= 2;
	s->elements += count;
	if (s->elements > s->limits.max_elements || s->depth >= s->limits.max_depth)
		return ERR_TOO_LARGE;
	s->left[s->depth++] = count;
	return 0;
}

/* One element is over: closes every container that it was the last of. */
static void close_element(struct skim *s)
{
	while (s->depth > 0 && s->left[s->depth - 1] == 0)
		s->depth--;
}

/* How many bytes the element at p takes (a container: its header only), as far as the have bytes tell; a container's
 * count of elements. Where the length itself is cut off, the header's length is told. */
static uint64_t measure(const struct head *head, const uint8_t *p, size_t have, uint64_t *ret_count)
{
	uint64_t header = 1u + head->length_bytes;
	uint64_t n = head->fixed;

	*ret_count = 0;
	if (have < header)
		return header;
	if (head->length_bytes > 0)
		n = read_number(p + 1, head->length_bytes);
	if (head->kind == ARRAY || head->kind == MAP) {
		*ret_count = n;
		return header;
	}
	/* An ext of given length has its type byte besides. */
	return header + n + (head->length_bytes > 0 ? head->fixed : 0u);
}

/* Takes one element (a container: its header only). Leaves s as it is and *ret_done false where the bytes do not
 * reach. */
static int take_element(struct skim *s, const uint8_t *data, size_t size, bool *ret_done)
{
	struct head head;
	uint64_t need, count;
	int rc;

	*ret_done = false;
	rc = read_head(data[s->at], &head);
	if (rc < 0)
		return rc;
	if (s->depth == 0 && head.kind != ARRAY)
		return ERR_PROTOCOL;
	need = measure(&head, data + s->at, size - s->at, &count);
	if (need > s->limits.max_bytes - s->at)
		return ERR_TOO_LARGE;
	if (need > size - s->at)
		return 0;
	if (s->depth == 0 && count != 3 && count != 4)
		return ERR_PROTOCOL;
	if (s->depth > 0)
		s->left[s->depth - 1]--;
	s->at += need;
	*ret_done = true;
	return head.kind == ARRAY || head.kind == MAP ? open_container(s, count, head.kind == MAP) : 0;
}

int skim_feed(struct skim *s, const uint8_t *data, size_t size, size_t *ret_size)
{
	*ret_size = 0;
	while (s->at < size) {
		bool done;
		int rc;

		rc = take_element(s, data, size, &done);
		if (rc < 0)
			return rc;
		if (!done)
			return 0;
		close_element(s);
		if (s->depth == 0) {
			*ret_size = s->at;
			skim_init(s, &s->limits);
			return 0;
		}
	}
	return 0;
}
