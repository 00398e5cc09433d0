#include "tests/harness/damage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/base/clean.h"
#include "server/store/pages_format.h"
#include "tests/harness/tempdir.h"

#define FILE_MAX  (1 << 24)
#define PAGE	  4096
#define PAGE_KIND 10 /* where a page of LMDB's says what it is, in two bytes */

/* Calls each for every place where the needle stands in the file. */
static void at_each(const struct tempdir *dir, const void *needle, size_t needle_size,
		    void (*each)(FILE *file, size_t at, void *user), void *user)
{
	_cleanup_free_ char *bytes = malloc(FILE_MAX);
	FILE *file = fopen(tempdir_file(dir, "raincheck.mdb"), "r+");
	size_t size, at = 0;
	char *found;

	assert_non_null(file);
	assert_non_null(bytes);
	size = fread(bytes, 1, FILE_MAX, file);
	while ((found = memmem(bytes + at, size - at, needle, needle_size))) {
		each(file, (size_t)(found - bytes), user);
		at = (size_t)(found - bytes) + 1;
	}
	assert_true(at > 0);
	assert_int_equal(fclose(file), 0);
}

static void take_kind(FILE *file, size_t at, void *user)
{
	(void)user;
	assert_int_equal(fseek(file, (long)(at / PAGE * PAGE + PAGE_KIND), SEEK_SET), 0);
	assert_int_equal(fwrite("\0\0", 1, 2, file), 2);
}

void damage_pages(const struct tempdir *dir, const char *needle)
{
	at_each(dir, needle, strlen(needle), take_kind, NULL);
}

struct flip {
	size_t byte;
	uint8_t bits;
};

static void flip_head(FILE *file, size_t at, void *user)
{
	const struct flip *flip = user;
	long place = (long)(at - NODE_HEAD + flip->byte);
	int byte;

	assert_int_equal(fseek(file, place, SEEK_SET), 0);
	byte = fgetc(file);
	assert_true(byte >= 0);
	assert_int_equal(fseek(file, place, SEEK_SET), 0);
	assert_true(fputc(byte ^ flip->bits, file) >= 0);
}

void damage_nodes(const struct tempdir *dir, const void *key, size_t size, size_t byte, uint8_t bits)
{
	struct flip flip = { byte, bits };

	at_each(dir, key, size, flip_head, &flip);
}

void damage_move_row(struct store *s, enum store_table table, struct key from, struct key to)
{
	uint8_t bytes[8192];
	struct store_txn *t;
	struct slice value;
	size_t size;

	assert_int_equal(store_begin_write(s, &t), 0);
	assert_int_equal(store_get(t, table, key_slice(&from), &value), 0);
	size = value.size;
	assert_in_range(size, 0, sizeof(bytes));
	if (size > 0)
		memcpy(bytes, value.data, size);
	assert_int_equal(store_delete(t, table, key_slice(&from)), 0);
	assert_int_equal(store_put(t, table, key_slice(&to), slice_of(bytes, size)), 0);
	assert_int_equal(store_commit(t), 0);
}

/* ---- trees ---- */

static void read_at(FILE *file, size_t at, void *ret, size_t size)
{
	assert_int_equal(fseek(file, (long)at, SEEK_SET), 0);
	assert_int_equal(fread(ret, size, 1, file), 1);
}

/* Of a list of tables that is one page. */
static uint64_t root_of(FILE *file, const char *table)
{
	struct page_meta metas[2];
	uint8_t page[PAGE];
	struct page_head head;

	for (size_t i = 0; i < 2; i++)
		read_at(file, i * PAGE + PAGE_HEAD, &metas[i], sizeof(metas[i]));
	if (metas[1].txn > metas[0].txn)
		metas[0] = metas[1];
	if (!table)
		return metas[0].free_list.root;
	read_at(file, metas[0].main.root * PAGE, page, sizeof(page));
	head = page_head_of(page);
	for (uint32_t i = 0; i < page_nodes(&head); i++) {
		struct page_node n = page_node(page, i);
		struct page_db db;

		memcpy(&db, n.data, sizeof(db));
		if (n.key_size == strlen(table) && memcmp(n.key, table, n.key_size) == 0)
			return db.root;
	}
	return PAGE_NONE;
}

void damage_root(const struct tempdir *dir, const char *table, size_t byte, uint8_t bits)
{
	FILE *file = fopen(tempdir_file(dir, "raincheck.mdb"), "r+");
	struct flip flip = { byte, bits };
	uint64_t root;

	assert_non_null(file);
	root = root_of(file, table);
	if (root == PAGE_NONE)
		fail_msg("there is nothing in %s", table ? table : "the list of free pages");
	flip_head(file, root * PAGE + NODE_HEAD, &flip);
	assert_int_equal(fclose(file), 0);
}

/* The last leaf of the tree, and where in the file its number stands in the branch above it; 0 where there is none. */
static uint64_t last_leaf_of(FILE *file, uint64_t root, size_t *ret_arm)
{
	uint8_t page[PAGE];
	struct page_head head;

	*ret_arm = 0;
	for (;;) {
		struct page_node n;

		read_at(file, root * PAGE, page, sizeof(page));
		head = page_head_of(page);
		if (head.flags == PAGE_LEAF)
			return root;
		n = page_node(page, page_nodes(&head) - 1);
		*ret_arm = root * PAGE + (size_t)(n.key - NODE_HEAD - page);
		root = n.child;
	}
}

static FILE *open_last_leaf(const struct tempdir *dir, const char *table, uint64_t *ret_leaf, size_t *ret_arm)
{
	FILE *file = fopen(tempdir_file(dir, "raincheck.mdb"), "r+");
	uint64_t root;

	assert_non_null(file);
	root = root_of(file, table);
	assert_true(root != PAGE_NONE);
	*ret_leaf = last_leaf_of(file, root, ret_arm);
	return file;
}

uint32_t damage_last_leaf(const struct tempdir *dir, const char *table, size_t byte, uint8_t bits)
{
	struct flip flip = { byte, bits };
	struct page_head head;
	uint8_t bytes[PAGE_HEAD];
	uint64_t leaf;
	size_t arm;
	FILE *file = open_last_leaf(dir, table, &leaf, &arm);

	read_at(file, leaf * PAGE, bytes, sizeof(bytes));
	head = page_head_of(bytes);
	flip_head(file, leaf * PAGE + NODE_HEAD, &flip);
	assert_int_equal(fclose(file), 0);
	return page_nodes(&head);
}

void damage_all_of_last_leaf(const struct tempdir *dir, const char *table)
{
	for (size_t byte = 12; byte < PAGE; byte++)
		damage_last_leaf(dir, table, byte, 0x55);
}

void damage_leaf(const struct tempdir *dir, const char *table, const struct uuid *id, size_t byte, uint8_t bits)
{
	FILE *file = fopen(tempdir_file(dir, "raincheck.mdb"), "r+");
	struct flip flip = { byte, bits };
	uint8_t page[PAGE];
	struct page_head head;
	uint64_t at;

	assert_non_null(file);
	at = root_of(file, table);
	assert_true(at != PAGE_NONE);
	for (;;) {
		uint32_t i;

		read_at(file, at * PAGE, page, sizeof(page));
		head = page_head_of(page);
		if (head.flags == PAGE_LEAF)
			break;
		for (i = page_nodes(&head) - 1; i > 0; i--) {
			struct page_node n = page_node(page, i);

			if (memcmp(n.key, id->bytes, sizeof(id->bytes)) <= 0)
				break;
		}
		at = page_node(page, i).child;
	}
	flip_head(file, at * PAGE + NODE_HEAD, &flip);
	assert_int_equal(fclose(file), 0);
}

void damage_way_to_last_leaf(const struct tempdir *dir, const char *table, const char *to_table)
{
	uint64_t leaf, other;
	size_t arm, ignored;
	uint16_t words[2];
	FILE *file;

	fclose(open_last_leaf(dir, to_table, &other, &ignored));
	file = open_last_leaf(dir, table, &leaf, &arm);
	assert_true(arm > 0 && other <= UINT32_MAX);
	words[0] = (uint16_t)(other & 0xffff);
	words[1] = (uint16_t)(other >> 16);
	assert_int_equal(fseek(file, (long)arm, SEEK_SET), 0);
	assert_int_equal(fwrite(words, sizeof(words), 1, file), 1);
	assert_int_equal(fclose(file), 0);
}
