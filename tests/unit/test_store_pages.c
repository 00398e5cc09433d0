/* What a store that is open makes of whole pages that are damaged: they are refused before LMDB comes upon them; and
 * where LMDB ends the process all the same, the log says what to do. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/store/keys.h"
#include "server/store/pages_format.h"
#include "server/store/store.h"
#include "tests/harness/tempdir.h"

#define KEYS	     500
#define LINE_COMMITS 500
#define LINE_STEP    400

static const struct uuid checkpoint = { .bytes = { 7 } };
static struct tempdir dir;
static struct store *store;

static void open_store(void)
{
	struct store_options options = { .dir = dir.path, .max_bytes = 1 << 26 };
	struct error_info info = { 0 };

	assert_int_equal(store_open(&options, &store, &info), 0);
}

static void close_store(void)
{
	store_close(store);
	store = NULL;
}

static int setup(void **state)
{
	(void)state;
	tempdir_make(&dir);
	open_store();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	close_store();
	tempdir_remove(&dir);
	return 0;
}

static struct store_txn *begin(void)
{
	struct store_txn *t;

	assert_int_equal(store_begin_write(store, &t), 0);
	return t;
}

static void put_checkpoint(void)
{
	struct key key = key_job(&checkpoint);
	struct store_txn *t = begin();

	assert_int_equal(store_put(t, TABLE_CHECKPOINTS, key_slice(&key), slice_str("a checkpoint")), 0);
	assert_int_equal(store_commit(t), 0);
}

static void expect_damage(int rc)
{
	assert_int_equal(rc, ERR_STORE_ERROR);
	assert_true(store_error_is_damage());
}

/* ---- branches ---- */

/* A branch page with one arm is what LMDB believes to be impossible: it would end the process. */
static void cut_arms(void)
{
	static const uint8_t branch[] = { 1, 0 }, lower[] = { 18, 0 };
	FILE *file = fopen(tempdir_file(&dir, "raincheck.mdb"), "r+");
	uint8_t head[16];

	assert_non_null(file);
	for (long at = 8192; fseek(file, at, SEEK_SET) == 0 && fread(head, sizeof(head), 1, file) == 1; at += 4096)
		if (memcmp(head + 10, branch, sizeof(branch)) == 0) {
			assert_int_equal(fseek(file, at + 12, SEEK_SET), 0);
			assert_int_equal(fwrite(lower, sizeof(lower), 1, file), 1);
		}
	assert_int_equal(fclose(file), 0);
}

static struct key branching_key(int i)
{
	struct uuid id = { .bytes = { (uint8_t)(i >> 8), (uint8_t)i } };

	return key_ready(0, 0, 1, &id);
}

static void grow_branches(void)
{
	struct store_txn *t = begin();

	for (int i = 0; i < KEYS; i++) {
		struct key key = branching_key(i);

		assert_int_equal(store_put(t, TABLE_READY, key_slice(&key), slice_of(NULL, 0)), 0);
	}
	assert_int_equal(store_commit(t), 0);
}

/* Whatever is done that would lead LMDB there; the other tables go on. */
static void a_damaged_branch_is_refused(void **state)
{
	struct key key = branching_key(250);
	struct slice value, found;
	struct store_txn *t;

	(void)state;
	grow_branches();
	put_checkpoint();
	close_store();
	cut_arms();
	open_store();
	assert_int_equal(store_begin_read(store, &t), 0);
	assert_int_equal(store_get(t, TABLE_READY, key_slice(&key), &value), ERR_CORRUPT);
	expect_damage(store_seek(t, TABLE_READY, key_slice(&key), &found, &value));
	expect_damage(store_seek(t, TABLE_READY, slice_of(NULL, 0), &found, &value));
	expect_damage(store_seek_back(t, TABLE_READY, slice_of(NULL, 0), &found, &value));
	store_abort(t);
	t = begin();
	expect_damage(store_put(t, TABLE_READY, key_slice(&key), slice_of(NULL, 0)));
	expect_damage(store_delete(t, TABLE_READY, key_slice(&key)));
	key = key_job(&checkpoint);
	assert_int_equal(store_delete(t, TABLE_CHECKPOINTS, key_slice(&key)), 0);
	assert_int_equal(store_commit(t), 0);
}

/* Of each branch the second arm becomes the first: what is looked for there stands on another page, and what is found
 * instead is sound by itself. */
static void bend_arms(void)
{
	FILE *file = fopen(tempdir_file(&dir, "raincheck.mdb"), "r+");
	uint8_t page[4096];

	assert_non_null(file);
	for (long at = 8192; fseek(file, at, SEEK_SET) == 0 && fread(page, sizeof(page), 1, file) == 1; at += 4096)
		if (page_head_of(page).flags == PAGE_BRANCH) {
			const uint8_t *first = page_node(page, 0).key - NODE_HEAD;
			uint8_t *second = page + (page_node(page, 1).key - NODE_HEAD - page);

			memcpy(second, first, 4);
			assert_int_equal(fseek(file, at, SEEK_SET), 0);
			assert_int_equal(fwrite(page, sizeof(page), 1, file), 1);
		}
	assert_int_equal(fclose(file), 0);
}

static void an_arm_that_leads_elsewhere_is_refused(void **state)
{
	struct store_txn *t;
	int refused = 0;

	(void)state;
	grow_branches();
	close_store();
	bend_arms();
	open_store();
	assert_int_equal(store_begin_read(store, &t), 0);
	for (int i = 0; i < KEYS; i++) {
		struct key key = branching_key(i);
		struct slice value;
		int rc = store_get(t, TABLE_READY, key_slice(&key), &value);

		assert_true(rc == 0 || rc == ERR_CORRUPT);
		refused += rc != 0;
	}
	store_abort(t);
	assert_in_range(refused, 10, KEYS / 2);
}

/* ---- where LMDB gives up ---- */

static uint64_t word_at(FILE *file, size_t at)
{
	uint64_t word;

	assert_int_equal(fseek(file, (long)at, SEEK_SET), 0);
	assert_int_equal(fread(&word, sizeof(word), 1, file), 1);
	return word;
}

/* Where the longest list of free pages stands in the file. */
static size_t find_free_list(FILE *file)
{
	struct page_meta metas[2];
	uint8_t page[4096];
	size_t longest = 0;
	uint64_t root;

	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(fseek(file, (long)(i * sizeof(page) + PAGE_HEAD), SEEK_SET), 0);
		assert_int_equal(fread(&metas[i], sizeof(metas[i]), 1, file), 1);
	}
	root = metas[metas[1].txn > metas[0].txn].free_list.root;
	assert_int_equal(fseek(file, (long)(root * sizeof(page)), SEEK_SET), 0);
	assert_int_equal(fread(page, sizeof(page), 1, file), 1);
	for (uint32_t i = 0; i < page_nodes(&(struct page_head){ .lower = page_head_of(page).lower }); i++) {
		struct page_node n = page_node(page, i);
		size_t at = root * sizeof(page) + (size_t)(n.data - page);

		if (longest == 0 || word_at(file, at) > word_at(file, longest))
			longest = at;
	}
	return longest;
}

/* Two entries of the list of free pages become the same, after it was proved. */
static void free_a_page_twice(void)
{
	FILE *file = fopen(tempdir_file(&dir, "raincheck.mdb"), "r+");
	size_t list = find_free_list(file);
	uint64_t count = word_at(file, list), last = word_at(file, list + count * 8);

	assert_true(count > 2);
	assert_int_equal(fseek(file, (long)(list + (count - 1) * 8), SEEK_SET), 0);
	assert_int_equal(fwrite(&last, sizeof(last), 1, file), 1);
	assert_int_equal(fclose(file), 0);
}

static void write_in_child(int said)
{
	dup2(said, STDERR_FILENO);
	signal(SIGABRT, SIG_DFL);
	open_store();
	free_a_page_twice();
	grow_branches();
	_exit(0);
}

static void what_ends_the_process_is_logged(void **state)
{
	char line[4096] = "";
	size_t size = 0;
	int ends[2], status;
	ssize_t n;
	pid_t pid;

	(void)state;
	grow_branches();
	grow_branches();
	put_checkpoint();
	close_store();
	assert_int_equal(pipe(ends), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		write_in_child(ends[1]);
	close(ends[1]);
	while ((n = read(ends[0], line + size, sizeof(line) - 1 - size)) > 0)
		size += (size_t)n;
	close(ends[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	assert_non_null(strstr(line, "raincheck.mdb is damaged, LMDB cannot go on: "));
	assert_non_null(strstr(line, "raincheckd --check"));
}

/* ---- the end of the file ---- */

static void change_due(struct store_txn *t, uint32_t n, bool put)
{
	struct key key = key_due(1 + n, &checkpoint);
	int rc = put ? store_put(t, TABLE_DUE, key_slice(&key), slice_of(NULL, 0))
		     : store_delete(t, TABLE_DUE, key_slice(&key));

	if (rc < 0)
		fail_msg("entry %u is refused: %s", n, store_error_detail());
}

/* An entry without a value whose key ends with its page: nothing follows it, and where that page is the file's last
 * there is none that could. Which page that is LMDB decides, so a line of entries comes and goes until each kind has
 * been. */
static void an_entry_without_a_value_may_end_the_file(void **state)
{
	uint32_t drawn = 1, first = 0, next = 0;

	(void)state;
	for (int i = 0; i < LINE_COMMITS; i++) {
		struct store_txn *t = begin();
		uint32_t come, go;

		drawn = drawn * 1664525 + 1013904223; /* W. Press et al., Numerical Recipes, 1992, section 7.1 */
		come = (drawn >> 8) % LINE_STEP;
		for (uint32_t n = 0; n < come; n++)
			change_due(t, next++, true);
		go = (drawn >> 20) % LINE_STEP;
		for (uint32_t n = 0; n < go && first < next; n++)
			change_due(t, first++, false);
		assert_int_equal(store_commit(t), 0);
	}
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_damaged_branch_is_refused),
		T(an_arm_that_leads_elsewhere_is_refused),
		T(what_ends_the_process_is_logged),
		T(an_entry_without_a_value_may_end_the_file),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
