#include "server/store/pages_format.h"

#define WORD_BITS 64u

/* Of which bytes of a page something was found, two bytes a bit: nodes begin at even places and have even sizes. */
struct taken {
	uint64_t words[PAGE_SIZE_MOST / 2 / WORD_BITS];
};

/* False where some of it was taken before. */
static bool take(struct taken *t, size_t from, size_t bytes)
{
	size_t unit = from / 2, end = (from + bytes) / 2;

	while (unit < end) {
		size_t bit = unit % WORD_BITS, count = WORD_BITS - bit;
		uint64_t mask;

		if (count > end - unit)
			count = end - unit;
		mask = (count == WORD_BITS ? UINT64_MAX : (UINT64_C(1) << count) - 1) << bit;
		if (t->words[unit / WORD_BITS] & mask)
			return false;
		t->words[unit / WORD_BITS] |= mask;
		unit += count;
	}
	return true;
}

static const char *head_fault(const struct page_head *head, uint32_t page_size, uint64_t number)
{
	if (head->number != number)
		return "its number is another";
	if (head->flags != PAGE_BRANCH && head->flags != PAGE_LEAF)
		return "its kind is none that may stand here";
	if (head->lower < PAGE_HEAD + 2 || head->lower % 2 != 0 || head->lower > head->upper)
		return "its list of nodes has no possible length";
	if (head->upper > page_size || head->upper % 2 != 0)
		return "its nodes begin at no possible place";
	return NULL;
}

/* Adds the node's bytes to *ret_bytes. */
static const char *node_fault(const uint8_t *page, const struct page_head *head, uint32_t page_size, uint32_t i,
			      struct taken *taken, size_t *ret_bytes)
{
	bool leaf = head->flags == PAGE_LEAF;
	struct page_node node;
	uint16_t offset;
	size_t bytes;

	memcpy(&offset, page + PAGE_HEAD + 2 * (size_t)i, sizeof(offset));
	if (offset % 2 != 0 || offset < head->upper || offset + NODE_HEAD > page_size)
		return "stands at no possible place";
	node = page_node_at(page, offset);
	if (leaf && node.flags != 0 && node.flags != NODE_OVERFLOW && node.flags != NODE_TABLE)
		return "is of no possible kind";
	/* What leads to the least keys needs none. */
	if (node.key_size > PAGE_KEY_MAX || (node.key_size == 0 && (leaf || i > 0)))
		return "has a key of no possible size";
	bytes = page_node_bytes(&node, leaf);
	if (offset + bytes > page_size)
		return "goes on behind the end of the page";
	if (!take(taken, offset, bytes))
		return "stands where another node does";
	*ret_bytes += bytes;
	return NULL;
}

const char *page_fault(const uint8_t *page, uint32_t page_size, uint64_t number, int *ret_node)
{
	struct page_head head = page_head_of(page);
	const char *fault = head_fault(&head, page_size, number);
	struct taken taken;
	size_t bytes = 0;

	*ret_node = -1;
	if (fault)
		return fault;
	memset(&taken, 0, page_size / 16);
	for (uint32_t i = 0; i < page_nodes(&head); i++) {
		fault = node_fault(page, &head, page_size, i, &taken, &bytes);
		if (fault) {
			*ret_node = (int)i;
			return fault;
		}
	}
	/* LMDB moves nodes together whenever one goes or changes its size. */
	return bytes == page_size - head.upper ? NULL : "its nodes leave gaps";
}

/* ---- the same for who is in a hurry, and forgives one entry ---- */

/* Where the nodes begin. */
static const char *find_begins(const uint8_t *page, const struct page_head *head, uint32_t page_size,
			       struct taken *begins)
{
	uint32_t least = page_size;

	for (uint32_t i = 0; i < page_nodes(head); i++) {
		uint16_t offset;
		uint64_t bit;

		memcpy(&offset, page + PAGE_HEAD + 2 * (size_t)i, sizeof(offset));
		if (offset % 2 != 0 || offset < head->upper || offset + NODE_HEAD > page_size)
			return "a node stands at no possible place";
		bit = UINT64_C(1) << offset / 2 % WORD_BITS;
		if (begins->words[offset / 2 / WORD_BITS] & bit)
			return "two nodes stand at one place";
		begins->words[offset / 2 / WORD_BITS] |= bit;
		if (offset < least)
			least = offset;
	}
	return least == head->upper ? NULL : "its nodes begin at another place than it says";
}

/* Where the next node begins, or the page ends: nodes leave no gaps. */
static size_t next_begin(const struct taken *begins, size_t offset, uint32_t page_size)
{
	size_t unit = offset / 2 + 1, units = page_size / 2, word = unit / WORD_BITS;
	uint64_t rest;

	if (unit >= units)
		return page_size;
	rest = begins->words[word] >> unit % WORD_BITS;
	if (rest)
		return 2 * (unit + (size_t)__builtin_ctzll(rest));
	while (++word < (units + WORD_BITS - 1) / WORD_BITS)
		if (begins->words[word])
			return 2 * (word * WORD_BITS + (size_t)__builtin_ctzll(begins->words[word]));
	return page_size;
}

/* Whether the node takes that room if one bit of its value's size is another. */
static bool is_one_bit_off(const struct page_node *n, size_t room)
{
	for (unsigned bit = 0; bit < 32; bit++) {
		struct page_node other = *n;

		other.size ^= UINT32_C(1) << bit;
		if (!(n->flags & NODE_OVERFLOW) && page_node_bytes(&other, true) == room)
			return true;
	}
	return false;
}

/* Whether the list of nodes would go on with one that begins there, were the list longer: then it was. */
static bool goes_on_with(const uint8_t *page, const struct page_head *head, size_t begin)
{
	uint16_t offset;

	if (head->lower + sizeof(offset) > head->upper)
		return false;
	memcpy(&offset, page + head->lower, sizeof(offset));
	return offset == begin;
}

/* Of a node that does not take the room that it has. */
static const char *misfit_fault(const uint8_t *page, const struct page_head *head, const struct page_node *n,
				size_t room)
{
	size_t offset = (size_t)(n->key - NODE_HEAD - page);

	if (head->flags != PAGE_LEAF || NODE_HEAD + n->key_size > room)
		return "a node has a key of no possible size";
	if (goes_on_with(page, head, offset + page_node_bytes(n, true)) || !is_one_bit_off(n, room))
		return "its nodes are more or fewer than it says";
	return NULL;
}

static const char *look_at_node(const struct page_head *head, uint32_t i, const struct page_node *n, uint16_t key_size)
{
	bool leaf = head->flags == PAGE_LEAF;

	if (leaf && n->flags > NODE_TABLE)
		return "a node is of no possible kind";
	/* What leads to the least keys needs none. */
	if (!leaf && i == 0)
		return n->key_size > PAGE_KEY_MAX ? "a node has a key of no possible size" : NULL;
	if (n->key_size == 0 || n->key_size > PAGE_KEY_MAX || (key_size > 0 && n->key_size != key_size))
		return "a node has a key of no possible size";
	return NULL;
}

const char *page_harm(const uint8_t *page, uint32_t page_size, uint64_t number, uint16_t key_size, int *ret_misfit)
{
	struct page_head head = page_head_of(page);
	const char *fault = head_fault(&head, page_size, number);
	struct taken begins;

	*ret_misfit = -1;
	if (fault)
		return fault;
	memset(&begins, 0, page_size / 16);
	fault = find_begins(page, &head, page_size, &begins);
	for (uint32_t i = 0; !fault && i < page_nodes(&head); i++) {
		struct page_node n = page_node(page, i);
		size_t offset = (size_t)(n.key - NODE_HEAD - page);
		size_t room = next_begin(&begins, offset, page_size) - offset;

		fault = look_at_node(&head, i, &n, key_size);
		if (fault || page_node_bytes(&n, head.flags == PAGE_LEAF) == room)
			continue;
		if (*ret_misfit >= 0)
			return "its nodes are more or fewer than it says";
		*ret_misfit = (int)i;
		fault = misfit_fault(page, &head, &n, room);
	}
	return fault;
}
