/* page_image.h: the records file of a small store that the engine made, sound, in memory and on the disk, to be damaged
 * there: with trees of two levels, values on pages of their own, and a list of free pages. Nobody has the store open.
 */
#ifndef RAINCHECK_TEST_PAGE_IMAGE_H
#define RAINCHECK_TEST_PAGE_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#include "server/store/pages.h"
#include "server/store/pages_format.h"
#include "tests/harness/engine_rig.h"

#define IMAGE_RANGES 65536

enum image_kind {
	IMAGE_PLAIN,
	IMAGE_HEAD,	   /* a page's: its number, kind and bounds; of a meta page too */
	IMAGE_LEAF_NODE,   /* a node's head in a leaf */
	IMAGE_LIST_NODE,   /* the same in the list of free pages */
	IMAGE_BRANCH_NODE, /* the same in a branch */
	IMAGE_NODE_LIST,   /* where the nodes of a page stand */
	IMAGE_META_FLAGS,  /* of the list of free pages, in the newer meta page */
	IMAGE_LAST_COMMIT  /* the number of the newer meta page's */
};

/* What LMDB reads of the file besides keys and values. */
struct image_range {
	size_t at, bytes;
	enum image_kind kind;
};

extern struct page_image {
	struct rig rig; /* paused */
	uint8_t *bytes; /* of the sound file */
	size_t size;
	uint32_t page_size;
	char path[256]; /* of the file on the disk */
	struct image_range ranges[IMAGE_RANGES];
	size_t range_count;
	uint64_t bit_count; /* of all ranges */
	size_t branch;	    /* a page with nodes that lead to others, as its place in the file */
	size_t leaf;	    /* a page with more than twenty entries of a table */
	size_t list;	    /* a node in the list of free pages, which holds some */
} image;

/* Each line of the last image_check(). */
extern char image_said[65536];

/* Of cmocka's kind, for a group. */
int image_setup(void **state);
int image_teardown(void **state);

/* Into the file on the disk. */
void image_write(const void *bytes, size_t size, size_t at);
struct pages_result image_check(void);

#endif
