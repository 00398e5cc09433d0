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
