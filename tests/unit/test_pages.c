/* The structure of the records file: a sound one is found sound, at rest and beside a writer; of one in which any bit
 * that LMDB relies on is another, that is found, by the proof of the pages or by the check of the records that follows;
 * and no content whatever ends the process.
 *
 * The bits are every one in the heads of pages and nodes, the lists of nodes, the meta pages, the tables' records and
 * the list of free pages. A sample of them is flipped, each by itself.
 *
 *   PAGES_FLIPS=3000    how many; "all" for every one (minutes)
 *   PAGES_GARBLED=300   files of random damage
 *   PAGES_CHECKED=40    of the flips are shown to raincheckd --check as well
 *   SEED=1              where the samples begin
 */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "proto/base/clean.h"
#include "server/store/keys.h"
#include "server/upkeep/check.h"
#include "tests/harness/page_image.h"
#include "tests/harness/process.h"

static uint64_t seed;

static uint64_t setting(const char *name, uint64_t usual)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 10) : usual;
}

/* splitmix64 */
static uint64_t draw(void)
{
	uint64_t z = seed += 0x9E3779B97F4A7C15u;

	z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
	z = (z ^ z >> 27) * 0x94D049BB133111EBu;
	return z ^ z >> 31;
}

/* ---- damaging it ---- */

static void flip(size_t at, unsigned bit)
{
	uint8_t byte = image.bytes[at] ^ (uint8_t)(1u << bit);

	image_write(&byte, 1, at);
}

static void mend(size_t at)
{
	image_write(image.bytes + at, 1, at);
}

static void found_cb(void *user, enum check_kind kind, const char *line)
{
	(void)user;
	(void)kind;
	(void)line;
}

/* What raincheckd --check does with pages that are sound. */
static bool records_are_sound(void)
{
	const struct store_options options = { .dir = image.rig.dir.path, .max_bytes = 1 << 28, .read_only = true };
	struct check_options check = { .report = found_cb };
	struct check_result found = { .breaches = 0 };
	struct error_info info = { .code = 0 };
	int rc;

	rc = store_open(&options, &check.store, &info);
	if (rc == 0)
		rc = blob_store_look(image.rig.dir.path, &check.blobs, &info);
	if (rc == 0)
		rc = check_store(&check, &found);
	blob_store_close(check.blobs);
	store_close(check.store);
	return rc == 0 && found.breaches == 0;
}

/* Bits that LMDB reads and that make no difference to it nor to us, and the one that pages.h tells of. */
static bool is_without_meaning(const struct image_range *r, size_t byte, unsigned bit)
{
	struct page_node node = page_node_at(image.bytes, r->at);

	switch (r->kind) {
	case IMAGE_META_FLAGS:
		return byte == 1 && bit == 6; /* MDB_NOSUBDIR */
	case IMAGE_LAST_COMMIT:
		/* Lower by two: as if it had not been. */
		return byte == 0 && bit == 1 && image.bytes[r->at] & 2;
	case IMAGE_BRANCH_NODE:
		return byte == 6 && bit == 0; /* a key that is longer or shorter by one byte and still in order */
	case IMAGE_LIST_NODE:
		/* The size of a list on pages of its own, which have room for as much and more than it lists. */
		return node.flags == NODE_OVERFLOW && byte < 4;
	default:
		return false;
	}
}

/* ---- tests ---- */

static void a_sound_file_is_found_sound(void **state)
{
	struct pages_result found = image_check();

	(void)state;
	assert_int_equal(found.breaches, 0);
	assert_int_equal(found.lost, 0);
	assert_int_equal(found.miscounted, 0);
	assert_int_equal(found.pages, found.used + found.unused);
	assert_true(found.unused > 500);
	assert_true(records_are_sound());
}

/* The n-th bit of all that matter. */
static const struct image_range *find_bit(uint64_t n, size_t *ret_byte, unsigned *ret_bit)
{
	const struct image_range *r = image.ranges;

	for (; n >= r->bytes * 8; r++)
		n -= r->bytes * 8;
	*ret_byte = (size_t)(n / 8);
	*ret_bit = (unsigned)(n % 8);
	return r;
}

static void expect_flip_found(uint64_t n)
{
	struct pages_result found;
	size_t byte;
	unsigned bit;
	const struct image_range *r = find_bit(n, &byte, &bit);

	flip(r->at + byte, bit);
	found = image_check();
	if (found.breaches == 0 && found.lost == 0 && found.miscounted == 0 && records_are_sound() &&
	    !is_without_meaning(r, byte, bit))
		fail_msg("bit %u of byte %zu (page %zu, byte %zu of kind %d) is flipped and nobody says so", bit,
			 r->at + byte, (r->at + byte) / image.page_size, byte, r->kind);
	mend(r->at + byte);
}

static void every_bit_of_structure_is_watched(void **state)
{
	const char *wanted = getenv("PAGES_FLIPS");
	uint64_t flips = setting("PAGES_FLIPS", 3000);
	bool all = wanted && strcmp(wanted, "all") == 0;

	(void)state;
	print_message("# PAGES_FLIPS=%llu of %llu SEED=%llu\n", (unsigned long long)(all ? image.bit_count : flips),
		      (unsigned long long)image.bit_count, (unsigned long long)seed);
	for (uint64_t i = 0; i < (all ? image.bit_count : flips); i++)
		expect_flip_found(all ? i : draw() % image.bit_count);
	assert_int_equal(image_check().breaches, 0);
}

static int64_t count_lines(const char *text)
{
	int64_t count = 0;

	for (; *text; text++)
		count += *text == '\n';
	return count;
}

/* What ends the process ends the test. */
static void expect_an_account(int64_t pages)
{
	struct pages_result found = image_check();

	assert_int_equal(count_lines(image_said),
			 found.breaches > PAGES_LINES_MAX ? PAGES_LINES_MAX + 1 : found.breaches);
	assert_in_range(found.used, 0, pages);
	if (found.breaches == 0)
		assert_int_equal(found.used + found.unused + found.lost, found.pages);
}

static void no_content_is_too_much(void **state)
{
	uint64_t files = setting("PAGES_GARBLED", 300);
	_cleanup_free_ uint8_t *garbled = malloc(image.size);

	(void)state;
	assert_non_null(garbled);
	for (uint64_t i = 0; i < files; i++) {
		size_t size = draw() % 8 == 0 ? draw() % image.size : image.size;
		uint64_t places = 1 + draw() % 200;

		memcpy(garbled, image.bytes, image.size);
		for (uint64_t n = 0; n < places; n++) {
			/* Half of them where it matters most: in the meta pages, and in what is in use. */
			const struct image_range *r =
				&image.ranges[draw() % (draw() % 8 == 0 ? 30 : image.range_count)];
			size_t at = draw() % 2 == 0 ? draw() % image.size : r->at + draw() % r->bytes;

			garbled[at] = (uint8_t)(draw() % 4 == 0 ? draw() : garbled[at] ^ 1u << draw() % 8);
		}
		assert_int_equal(truncate(image.path, (off_t)size), 0);
		image_write(garbled, size, 0);
		expect_an_account((int64_t)(size / image.page_size));
	}
	assert_int_equal(truncate(image.path, (off_t)image.size), 0);
	image_write(image.bytes, image.size, 0);
	assert_int_equal(image_check().breaches, 0);
}

static int run_program(const char *flag, char *ret_output, size_t size)
{
	const char *const argv[] = { process_program("raincheckd"), "--data", image.rig.dir.path, flag, NULL };
	int status = process_run(argv, ret_output, size);

	if (!WIFEXITED(status))
		fail_msg("raincheckd %s was ended by signal %d", flag, WTERMSIG(status));
	return WEXITSTATUS(status);
}

/* Where it could do its work there is a new file: the image is put in its place. */
static void compact_survives(void)
{
	static char output[65536];

	if (run_program("--compact", output, sizeof(output)) != 0)
		return;
	assert_int_equal(truncate(image.path, (off_t)image.size), 0);
	image_write(image.bytes, image.size, 0);
}

static void the_program_survives_and_says_so(void **state)
{
	uint64_t flips = setting("PAGES_CHECKED", 40);
	static char output[65536];

	(void)state;
	assert_int_equal(run_program("--check", output, sizeof(output)), 0);
	for (uint64_t i = 0; i < flips; i++) {
		size_t byte;
		unsigned bit;
		const struct image_range *r = find_bit(draw() % image.bit_count, &byte, &bit);
		bool breached;

		flip(r->at + byte, bit);
		breached = image_check().breaches > 0;
		assert_true(run_program("--check", output, sizeof(output)) == 1 || !breached);
		if (breached && !strstr(output, image_said))
			fail_msg("\"%s\" was not said, but:\n%s", image_said, output);
		compact_survives();
		mend(r->at + byte);
	}
}

/* ---- beside a writer ---- */

static atomic_bool enough;
static atomic_int commits;

static void report_cb(void *user, const char *line)
{
	(void)user;
	print_message("# %s\n", line);
}

static void *write_on(void *user)
{
	struct store *s = user;
	static char value[5000];

	for (int i = 0; !enough; i++) {
		struct store_txn *t;
		struct key key = key_queue((uint32_t)i % 50 + 1000);

		assert_int_equal(store_begin_write(s, &t), 0);
		assert_int_equal(
			store_put(t, TABLE_QUEUES, key_slice(&key), slice_of(value, i % 3 == 0 ? sizeof(value) : 10)),
			0);
		assert_int_equal(store_commit(t), 0);
		commits++;
	}
	return NULL;
}

static void it_runs_beside_a_writer(void **state)
{
	const struct pages_options options = { .report = report_cb };
	struct tempdir dir;
	struct store_options store = { .max_bytes = 1 << 26 };
	struct error_info info = { .code = 0 };
	struct pages_result found;
	pthread_t writer;
	struct store *s;

	(void)state;
	tempdir_make(&dir);
	store.dir = dir.path;
	assert_int_equal(store_open(&store, &s, &info), 0);
	assert_int_equal(pthread_create(&writer, NULL, write_on, s), 0);
	for (int checks = 0; checks < 200 || commits < 500; checks++) {
		assert_int_equal(pages_check(s, &options, &found), 0);
		assert_int_equal(found.breaches + found.lost, 0);
	}
	enough = true;
	pthread_join(writer, NULL);
	store_close(s);
	tempdir_remove(&dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_sound_file_is_found_sound), cmocka_unit_test(every_bit_of_structure_is_watched),
		cmocka_unit_test(no_content_is_too_much),      cmocka_unit_test(the_program_survives_and_says_so),
		cmocka_unit_test(it_runs_beside_a_writer),
	};

	seed = setting("SEED", 1);
	return cmocka_run_group_tests(tests, image_setup, image_teardown);
}
