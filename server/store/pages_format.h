/* pages_format.h: how LMDB 0.9 lays its file out, as far as pages.c and the guard of the store have to know it. Numbers
 * are as the machine has them; pages are numbered from the beginning of the file.
 *
 *   page      number 8, unused 2, flags 2, then lower 2 and upper 2, or for an overflow page: pages 4
 *   branch    offsets of its nodes, 2 each, up to lower; from upper to the end the nodes, in any order, without gaps
 *   leaf      the same
 *   overflow  a value that is too large for a leaf, beginning behind the first page's head and going on to its end
 *   node      low 2, high 2, flags 2, key size 2, key, data; each takes an even number of bytes
 *             in a branch  low, high and flags are the number of the page below; the first one's key means nothing
 *             in a leaf    low and high are the size of the data, which is a page number where it is overflow
 *   meta      behind the head of the first two pages: which tables there are as of a commit
 *
 * Included in server/store alone. Any thread; no state.
 */
#ifndef RAINCHECK_STORE_PAGES_FORMAT_H
#define RAINCHECK_STORE_PAGES_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define PAGE_HEAD	16u
#define PAGE_SIZE_LEAST 512u
#define PAGE_SIZE_MOST	32768u
#define PAGE_NONE	UINT64_MAX /* the root of an empty table */
#define PAGE_METAS	2u
#define PAGE_LEVELS	32 /* of a tree; LMDB's cursors have no room for more */
#define PAGE_KEY_MAX	511u

enum page_flags {
	PAGE_BRANCH = 1,
	PAGE_LEAF = 2,
	PAGE_OVERFLOW = 4,
	PAGE_META = 8,
	PAGE_DIRTY = 16 /* in memory only */
};

#define NODE_HEAD 8u

enum node_flags { NODE_OVERFLOW = 1, NODE_TABLE = 2 };

#define META_MAGIC   0xBEEFC0DEu
#define META_VERSION 1u

/* Of the list of free pages: its keys are numbers. The other is MDB_NOSUBDIR, which the file was once opened with. */
enum db_flags { DB_INTEGER_KEYS = 8, DB_NO_FOLDER = 0x4000 };

/* The head of a page. */
struct page_head {
	uint64_t number;
	uint16_t unused;
	uint16_t flags;
	union {
		struct {
			uint16_t lower, upper;
		};
		uint32_t pages;
	};
};
_Static_assert(sizeof(struct page_head) == PAGE_HEAD, "a page's head");

/* A tree. */
struct page_db {
	uint32_t page_size; /* of the list of free pages; else unused */
	uint16_t flags;
	uint16_t depth;
	uint64_t branches, leaves, overflows; /* pages */
	uint64_t entries;
	uint64_t root;
};
_Static_assert(sizeof(struct page_db) == 48, "a tree");

struct page_meta {
	uint32_t magic, version;
	uint64_t address; /* used with a flag that is never set */
	uint64_t map_size;
	struct page_db free_list; /* the list of free pages */
	struct page_db main;	  /* the tables by name */
	uint64_t last_page;
	uint64_t txn;
};
_Static_assert(sizeof(struct page_meta) == 136, "what a meta page says");

struct page_node {
	uint16_t flags;
	const uint8_t *key;
	uint16_t key_size;
	uint64_t child;	     /* in a branch */
	uint32_t size;	     /* in a leaf: of the data, wherever it is */
	const uint8_t *data; /* in a leaf: size bytes, or the number of an overflow page */
};

static inline struct page_head page_head_of(const uint8_t *page)
{
	struct page_head head;

	memcpy(&head, page, sizeof(head));
	return head;
}

static inline uint32_t page_nodes(const struct page_head *head)
{
	return (head->lower - PAGE_HEAD) / 2;
}

/* Bytes that a node takes. */
static inline size_t page_node_bytes(const struct page_node *n, bool leaf)
{
	size_t bytes = NODE_HEAD + n->key_size;

	if (leaf)
		bytes += n->flags & NODE_OVERFLOW ? sizeof(uint64_t) : n->size;
	return bytes + (bytes & 1);
}

/* What stands at an offset that leaves room for a node's head. */
static inline struct page_node page_node_at(const uint8_t *page, size_t offset)
{
	uint16_t words[4];

	memcpy(words, page + offset, sizeof(words));
	return (struct page_node){
		.flags = words[2],
		.key = page + offset + NODE_HEAD,
		.key_size = words[3],
		.child = words[0] | (uint64_t)words[1] << 16 | (uint64_t)words[2] << 32,
		.size = words[0] | (uint32_t)words[1] << 16,
		.data = page + offset + NODE_HEAD + words[3],
	};
}

/* Of a page that page_fault() finds sound. */
static inline struct page_node page_node(const uint8_t *page, uint32_t i)
{
	uint16_t offset;

	memcpy(&offset, page + PAGE_HEAD + 2 * (size_t)i, sizeof(offset));
	return page_node_at(page, offset);
}

/* Pages that a value of this size takes as overflow. */
static inline uint64_t page_overflow_pages(uint32_t size, uint32_t page_size)
{
	return (PAGE_HEAD - 1 + (uint64_t)size) / page_size + 1;
}

/* What is wrong with a branch or leaf page taken by itself: its number, its kind, its bounds, its nodes; NULL where
 * nothing is. *ret_node is the node that it is about, −1 for the page. What the nodes lead to and the order of the keys
 * is for whoever knows the tree. */
const char *page_fault(const uint8_t *page, uint32_t page_size, uint64_t number, int *ret_node);

/* What is wrong with a branch or leaf page so that LMDB must not be let near it; NULL where nothing is. key_size: that
 * its keys have, 0 where they have various. One node of a leaf may take other room than it has, if a single flipped bit
 * of its value's size explains that: it is *ret_misfit, else −1, and harms nobody who leaves it alone. */
const char *page_harm(const uint8_t *page, uint32_t page_size, uint64_t number, uint16_t key_size, int *ret_misfit);

#endif
