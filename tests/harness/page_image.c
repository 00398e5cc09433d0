#include "tests/harness/page_image.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "proto/base/clean.h"

#define IMAGE_MAX (8u << 20)

struct page_image image;
char image_said[65536];

/* ---- the bytes that matter ---- */

static void add_range(const void *from, size_t bytes, enum image_kind kind)
{
	assert_true(image.range_count < IMAGE_RANGES);
	image.ranges[image.range_count].at = (size_t)((const uint8_t *)from - image.bytes);
	image.ranges[image.range_count].bytes = bytes;
	image.ranges[image.range_count++].kind = kind;
	image.bit_count += bytes * 8;
}

static uint64_t number_at(const uint8_t *at)
{
	uint64_t n;

	memcpy(&n, at, sizeof(n));
	return n;
}

static void add_head(const uint8_t *page)
{
	add_range(page, 8, IMAGE_HEAD);
	add_range(page + 10, 6, IMAGE_HEAD);
}

static void add_tree(uint64_t root, bool is_main, bool is_list);

static void add_db(const uint8_t *db, enum image_kind flags_kind)
{
	add_range(db + 4, 2, flags_kind);
	add_range(db + 6, 42, IMAGE_PLAIN);
}

static void add_leaf_node(const struct page_node *n, bool is_main, bool is_list)
{
	const uint8_t *data = n->data;
	struct page_db db;

	add_range(n->key - NODE_HEAD, NODE_HEAD, is_list ? IMAGE_LIST_NODE : IMAGE_LEAF_NODE);
	if (n->flags & NODE_OVERFLOW) {
		add_range(data, 8, IMAGE_PLAIN);
		data = image.bytes + number_at(data) * image.page_size;
		add_head(data);
		data += PAGE_HEAD;
	}
	if (is_list)
		add_range(data, 8 + number_at(data) * 8, IMAGE_PLAIN);
	if (is_main) {
		memcpy(&db, data, sizeof(db));
		add_db(data, IMAGE_PLAIN);
		add_tree(db.root, false, false);
	}
}

static void add_tree(uint64_t root, bool is_main, bool is_list)
{
	const uint8_t *page = image.bytes + root * image.page_size;
	struct page_head head;

	if (root == PAGE_NONE)
		return;
	head = page_head_of(page);
	add_head(page);
	add_range(page + PAGE_HEAD, 2 * page_nodes(&head), IMAGE_NODE_LIST);
	for (uint32_t i = 0; i < page_nodes(&head); i++) {
		struct page_node n = page_node(page, i);

		if (head.flags == PAGE_LEAF) {
			add_leaf_node(&n, is_main, is_list);
			if (is_list)
				image.list = (size_t)(n.key - NODE_HEAD - image.bytes);
			else if (!is_main && page_nodes(&head) > 20)
				image.leaf = (size_t)(page - image.bytes);
		} else {
			add_range(n.key - NODE_HEAD, NODE_HEAD, IMAGE_BRANCH_NODE);
			image.branch = (size_t)(page - image.bytes);
			add_tree(n.child, is_main, is_list);
		}
	}
}

static void find_ranges(void)
{
	struct page_meta meta[2];
	int newer;

	memcpy(&meta[0], image.bytes + PAGE_HEAD, sizeof(meta[0]));
	image.page_size = meta[0].free_list.page_size;
	memcpy(&meta[1], image.bytes + image.page_size + PAGE_HEAD, sizeof(meta[1]));
	newer = meta[1].txn > meta[0].txn;
	for (int i = 0; i < 2; i++) {
		const uint8_t *page = image.bytes + (size_t)i * image.page_size, *m = page + PAGE_HEAD;

		add_range(page, 8, IMAGE_HEAD);
		add_range(page + 10, 2, IMAGE_HEAD);
		add_range(m, 8, IMAGE_PLAIN);
		add_range(m + offsetof(struct page_meta, free_list), 4, IMAGE_PLAIN);
		add_range(m + offsetof(struct page_meta, txn), 8, i == newer ? IMAGE_LAST_COMMIT : IMAGE_PLAIN);
		if (i != newer)
			continue;
		add_db(m + offsetof(struct page_meta, free_list), IMAGE_META_FLAGS);
		add_db(m + offsetof(struct page_meta, main), IMAGE_PLAIN);
		add_range(m + offsetof(struct page_meta, last_page), 8, IMAGE_PLAIN);
	}
	add_tree(meta[newer].main.root, true, false);
	add_tree(meta[newer].free_list.root, false, true);
}

/* ---- the sound store: trees of two levels, values on pages of their own, a list of free pages on one, too ---- */

static void put_some(int count, size_t payload_bytes, const char *group)
{
	_cleanup_free_ char *payload = calloc(1, payload_bytes + 1);

	assert_non_null(payload);
	memset(payload, 'p', payload_bytes);
	for (int i = 0; i < count; i++) {
		struct msg_job_put put = rig_put_of("q", payload);
		char key[16];

		snprintf(key, sizeof(key), "%s-%d", group, i);
		put.has_group = put.has_idempotency_key = true;
		put.group = slice_str(group);
		put.idempotency_key = slice_str(key);
		rig_put_params(&image.rig, &put);
		assert_int_equal(image.rig.code, 0);
	}
}

static void make_store(void)
{
	struct command_change bulk = { .action = CHANGE_ERASE,
				       .filter = { .has_group = true, .group = slice_str("bulk") } };
	struct msg_leased_job job;

	rig_open(&image.rig);
	image.rig.unchecked = true;
	put_some(120, 30, "small");
	put_some(40, 60000, "bulk");
	for (int i = 0; i < 10; i++) {
		assert_true(rig_lease(&image.rig, "q", &job));
		rig_complete(&image.rig, &job.id, &job.lease, "done");
	}
	rig_change(&image.rig, &bulk);
	put_some(3, 9000, "large");
	rig_check(&image.rig);
	rig_pause(&image.rig);
}

int image_setup(void **state)
{
	FILE *file;

	(void)state;
	make_store();
	image.bytes = malloc(IMAGE_MAX);
	assert_non_null(image.bytes);
	snprintf(image.path, sizeof(image.path), "%s", tempdir_file(&image.rig.dir, "raincheck.mdb"));
	file = fopen(image.path, "r");
	assert_non_null(file);
	image.size = fread(image.bytes, 1, IMAGE_MAX, file);
	assert_in_range(image.size, 1, IMAGE_MAX - 1);
	fclose(file);
	find_ranges();
	return 0;
}

int image_teardown(void **state)
{
	(void)state;
	free(image.bytes);
	rig_resume(&image.rig);
	rig_close(&image.rig);
	return 0;
}

/* ---- damaging it ---- */

void image_write(const void *bytes, size_t size, size_t at)
{
	int fd = open(image.path, O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, bytes, size, (off_t)at), size);
	close(fd);
}

static void report_cb(void *user, const char *line)
{
	size_t size = strlen(image_said);

	(void)user;
	snprintf(image_said + size, sizeof(image_said) - size, "%s\n", line);
}

struct pages_result image_check(void)
{
	const struct pages_options options = { .report = report_cb };
	struct pages_result found;

	image_said[0] = '\0';
	assert_int_equal(pages_check_file(image.path, &options, &found), 0);
	return found;
}
