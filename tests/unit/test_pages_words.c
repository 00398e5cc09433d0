/* What is said of a records file whose structure is damaged, and that it is said in a bounded number of lines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/base/clean.h"
#include "tests/harness/page_image.h"

/* Of the file, for each damage to change. */
static uint8_t *copy;

static void two_nodes_at_one_place(void)
{
	memcpy(copy + image.leaf + PAGE_HEAD, copy + image.leaf + PAGE_HEAD + 2, 2);
}

static void two_arms_to_one_page(void)
{
	struct page_node first = page_node(copy + image.branch, 0), second = page_node(copy + image.branch, 1);

	/* Pages of a small file have numbers of two bytes. */
	memcpy(copy + (first.key - copy) - NODE_HEAD, second.key - NODE_HEAD, 2);
}

static void keys_the_wrong_way_round(void)
{
	uint8_t *list = copy + image.leaf + PAGE_HEAD;
	struct page_head head = page_head_of(copy + image.leaf);
	size_t bytes = 2 * page_nodes(&head);

	for (size_t i = 0; i < bytes; i += 2)
		memcpy(list + i, image.bytes + image.leaf + PAGE_HEAD + bytes - 2 - i, 2);
}

static void a_table_of_another_name(void)
{
	for (size_t at = 0; at + 9 < image.size; at++)
		if (memcmp(copy + at, "tombstones", 10) == 0)
			memcpy(copy + at, "tombstonet", 10);
}

static struct page_meta newer_meta(void)
{
	struct page_meta metas[2] = { { .txn = 0 }, { .txn = 0 } };

	memcpy(&metas[0], copy + PAGE_HEAD, sizeof(metas[0]));
	memcpy(&metas[1], copy + image.page_size + PAGE_HEAD, sizeof(metas[1]));
	return metas[metas[1].txn > metas[0].txn];
}

static void write_meta(const struct page_meta *meta)
{
	memcpy(copy + (meta->txn % 2) * image.page_size + PAGE_HEAD, meta, sizeof(*meta));
}

static void pages_that_are_not_there(void)
{
	struct page_meta meta = newer_meta();

	meta.last_page += 5;
	write_meta(&meta);
}

static void no_depth(void)
{
	struct page_meta meta = newer_meta();

	meta.free_list.depth = 0;
	write_meta(&meta);
}

static void a_list_of_the_future(void)
{
	uint64_t txn = newer_meta().txn + 1;

	memcpy(copy + image.list + NODE_HEAD, &txn, sizeof(txn));
}

static void a_list_without_end(void)
{
	struct page_node n = page_node_at(copy, image.list);
	uint64_t count = n.size;

	assert_false(n.flags & NODE_OVERFLOW);
	memcpy(copy + (n.data - copy), &count, sizeof(count));
}

static void a_list_out_of_order(void)
{
	uint8_t *numbers = copy + (page_node_at(copy, image.list).data - copy);

	memcpy(numbers + 8, image.bytes + (numbers - copy) + 16, 8);
	memcpy(numbers + 16, image.bytes + (numbers - copy) + 8, 8);
}

static void write_head(size_t page, size_t at, uint16_t word)
{
	memcpy(copy + page + at, &word, sizeof(word));
}

static void nodes_behind_the_page(void)
{
	write_head(image.leaf, 14, (uint16_t)(image.page_size + 2));
}

static void a_node_at_an_odd_place(void)
{
	copy[image.leaf + PAGE_HEAD] |= 1;
}

static void a_value_on_too_few_pages(void)
{
	for (size_t page = 2 * image.page_size; page < image.size; page += image.page_size)
		if (page_head_of(copy + page).flags == PAGE_OVERFLOW)
			write_head(page, 12, 1);
}

static void a_file_of_something_else(void)
{
	copy[PAGE_HEAD] ^= 1;
}

static const struct {
	void (*damage)(void);
	const char *line;
} damages[] = {
	{ two_nodes_at_one_place, "node 1: stands where another node does" },
	{ two_arms_to_one_page, ": is in use at another place too" },
	{ keys_the_wrong_way_round, ": its key is out of order" },
	{ a_table_of_another_name, "the list of tables, page " },
	{ a_table_of_another_name, ": is a table of no known name" },
	{ pages_that_are_not_there, "the file is cut short: 5 pages lie behind its end, 0 are free" },
	{ no_depth, "the list of free pages: its depth and its root contradict each other" },
	{ a_list_of_the_future, ": lists pages of a commit that has not been" },
	{ a_list_out_of_order, ": lists pages out of order" },
	{ nodes_behind_the_page, ": its nodes begin at no possible place" },
	{ a_node_at_an_odd_place, "node 0: stands at no possible place" },
	{ a_value_on_too_few_pages, ": has too few pages for its value" },
	{ a_file_of_something_else, "meta page 0: it is of no file of LMDB's, or of another version" },
	{ a_list_without_end, ": lists more pages than it has room for" },
};

static void what_is_wrong_is_named(void **state)
{
	(void)state;
	copy = malloc(image.size);
	assert_non_null(copy);
	for (size_t i = 0; i < ARRAY_SIZE(damages); i++) {
		memcpy(copy, image.bytes, image.size);
		damages[i].damage();
		image_write(copy, image.size, 0);
		assert_true(image_check().breaches > 0);
		if (!strstr(image_said, damages[i].line))
			fail_msg("\"%s\" was not image_said, but:\n%s", damages[i].line, image_said);
	}
	image_write(image.bytes, image.size, 0);
	free(copy);
}

/* Writes a page's list of nodes the other way round. */
static void turn(const struct image_range *list)
{
	for (size_t at = 0; at < list->bytes; at += 2)
		image_write(image.bytes + list->at + list->bytes - 2 - at, 2, list->at + at);
}

/* Each key of each leaf is out of order. */
static void lines_are_bounded(void **state)
{
	struct pages_result found;
	size_t lines = 0;

	(void)state;
	for (size_t i = 0; i < image.range_count; i++) {
		const struct image_range *r = &image.ranges[i];

		if (r->kind == IMAGE_NODE_LIST && page_head_of(image.bytes + r->at - PAGE_HEAD).flags == PAGE_LEAF)
			turn(r);
	}
	found = image_check();
	image_write(image.bytes, image.size, 0);
	assert_true(found.breaches > PAGES_LINES_MAX + 50);
	for (const char *at = image_said; (at = strchr(at, '\n')); at++)
		lines++;
	assert_int_equal(lines, PAGES_LINES_MAX + 1);
	assert_non_null(strstr(image_said, "more of this kind"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_wrong_is_named),
		cmocka_unit_test(lines_are_bounded),
	};
	return cmocka_run_group_tests(tests, image_setup, image_teardown);
}
