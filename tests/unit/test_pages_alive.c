/* What becomes of a broker's store of whose pages one bit is another: each bit of a page's head, and others of what
 * LMDB keeps for itself, is flipped alone in a store at rest, which then lives on in a process of its own: jobs are
 * put, leased, completed, erased, in a second life after a restart too. The process must not end by a signal, and every
 * job that was acknowledged must answer as it should, or with an error that says that something is damaged. That it is
 * not there is no answer.
 *
 *   ALIVE_HEADS=130    bits of heads, spread evenly over all; "all" for every one (minutes)
 *   ALIVE_OTHERS=60    bits of other structure
 */
#include <fcntl.h>
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

#include "proto/base/clean.h"
#include "server/store/keys.h"
#include "tests/harness/page_image.h"

#define JOBS_MAX  400
#define PAYLOAD	  "a payload of a new job"
#define FAILED	  3 /* the exit status of a life in which something was lost */
#define SAID_SIZE 4000

/* A job that was acknowledged, and what is known of it. */
struct known {
	struct uuid id;
	size_t payload_bytes;
	bool erased, succeeded;
};

static struct known jobs[JOBS_MAX];
static size_t job_count, sound_count;

/* ---- what is there before ---- */

static void note_job(const struct uuid *id, size_t payload_bytes, bool succeeded)
{
	assert_true(job_count < JOBS_MAX);
	jobs[job_count++] = (struct known){ .id = *id, .payload_bytes = payload_bytes, .succeeded = succeeded };
}

static void note_jobs(void)
{
	struct slice key, value, bytes;
	struct store_txn *t;
	int rc;

	rig_resume(&image.rig);
	assert_int_equal(store_begin_read(image.rig.store, &t), 0);
	for (rc = store_seek(t, TABLE_JOBS, slice_of(NULL, 0), &key, &value); rc == 0;
	     rc = store_next(t, TABLE_JOBS, &key, &value)) {
		struct job_input input;
		struct uuid id;
		struct job job;

		assert_int_equal(key_read_job(key, &id), 0);
		assert_int_equal(record_read_job(value, &job), 0);
		assert_int_equal(store_get(t, TABLE_INPUTS, key, &bytes), 0);
		assert_int_equal(record_read_input(bytes, &input), 0);
		note_job(&id, input.payload.size, job.state == JOB_SUCCEEDED);
	}
	store_abort(t);
	rig_pause(&image.rig);
	sound_count = job_count;
}

static int setup(void **state)
{
	int rc = image_setup(state);

	note_jobs();
	return rc;
}

/* ---- a life ---- */

static void put_new(int life)
{
	for (int i = 0; i < 12; i++) {
		struct msg_job_put put = rig_put_of("q", PAYLOAD);
		struct uuid id;
		char key[32];

		snprintf(key, sizeof(key), "life-%d-%d", life, i);
		put.has_idempotency_key = true;
		put.idempotency_key = slice_str(key);
		id = rig_put_params(&image.rig, &put);
		if (image.rig.code == 0 && image.rig.answer.put.created)
			note_job(&id, strlen(PAYLOAD), false);
	}
}

static struct known *known_of(const struct uuid *id)
{
	for (size_t i = 0; i < job_count; i++)
		if (uuid_equal(&jobs[i].id, id))
			return &jobs[i];
	fprintf(stderr, "# job %s was leased, which nobody put\n", uuid_format(id).text);
	_exit(FAILED);
}

/* Every other one that is leased is completed, the rest lose their lease. */
static void lease_some(void)
{
	for (int i = 0; i < 16; i++) {
		struct msg_leased_job job;
		struct known *k;

		if (!rig_lease(&image.rig, "q", &job))
			continue;
		k = known_of(&job.id);
		if (k->erased || k->succeeded || job.payload.size != k->payload_bytes) {
			fprintf(stderr, "# job %s was leased, and not as it was put\n", uuid_format(&job.id).text);
			_exit(FAILED);
		}
		if (i % 2 == 0) {
			rig_complete(&image.rig, &job.id, &job.lease, "done");
			k->succeeded = image.rig.code == 0;
		}
	}
}

static void erase_some(int life)
{
	for (size_t i = (size_t)life; i < job_count; i += 5)
		if (!jobs[i].erased) {
			rig_erase(&image.rig, &jobs[i].id);
			jobs[i].erased = image.rig.code == 0;
		}
}

static bool is_word_of_damage(int code)
{
	return code == ERR_CORRUPT || code == ERR_STORE_ERROR;
}

/* Whether the job is as it must be, or it is said that it is damaged. */
static bool is_accounted_for(const struct known *k)
{
	int state = rig_state(&image.rig, &k->id), rc;
	struct msg_job_payload_result payload;

	if (is_word_of_damage(state))
		return true;
	if (k->erased)
		return state == ERR_GONE || state == ERR_NOT_FOUND;
	rc = view_payload(image.rig.view_txn, &k->id, &payload);
	if (state < 0 || (k->succeeded && state != JOB_SUCCEEDED) || (rc != 0 && !is_word_of_damage(rc)))
		return false;
	return rc != 0 || payload.data.size == k->payload_bytes;
}

static void look_at_all(const char *when)
{
	for (size_t i = 0; i < job_count; i++)
		if (!is_accounted_for(&jobs[i])) {
			fprintf(stderr, "# job %zu, %s, %s: %d\n", i, uuid_format(&jobs[i].id).text, when,
				rig_state(&image.rig, &jobs[i].id));
			_exit(FAILED);
		}
}

/* Refused is a good answer too: nothing is lost by it. */
static void live(int life)
{
	struct error_info info = { 0 };

	if (rig_try_resume(&image.rig, &info) < 0) {
		fprintf(stderr, "# not opened: %s\n", info.message);
		_exit(info.message[0] ? 0 : FAILED);
	}
	rig_pass(&image.rig, 0);
	look_at_all("before");
	put_new(life);
	lease_some();
	erase_some(life);
	rig_pass(&image.rig, 30000);
	look_at_all("after leases ended");
	lease_some();
	put_new(life + 10);
	look_at_all("after");
	rig_pause(&image.rig);
}

static void live_twice(int said)
{
	static const int signals[] = { SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL };

	/* cmocka's are for the test itself. */
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		signal(signals[i], SIG_DFL);
	dup2(said, STDERR_FILENO);
	alarm(60);
	image.rig.damaged = true;
	live(0);
	live(1);
	_exit(0);
}

/* ---- flips ---- */

/* The n-th bit of the ranges that are heads, or of those that are not. */
static const struct image_range *find_bit(bool heads, uint64_t n, size_t *ret_byte, unsigned *ret_bit)
{
	const struct image_range *r = image.ranges;

	for (; (r->kind == IMAGE_HEAD) != heads || n >= r->bytes * 8; r++)
		if ((r->kind == IMAGE_HEAD) == heads)
			n -= r->bytes * 8;
	*ret_byte = (size_t)(n / 8);
	*ret_bit = (unsigned)(n % 8);
	return r;
}

static uint64_t count_bits(bool heads)
{
	uint64_t count = 0;

	for (size_t i = 0; i < image.range_count; i++)
		if ((image.ranges[i].kind == IMAGE_HEAD) == heads)
			count += image.ranges[i].bytes * 8;
	return count;
}

static int live_in_child(char said[SAID_SIZE])
{
	FILE *file = tmpfile();
	int status;
	pid_t pid;

	assert_non_null(file);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		live_twice(fileno(file));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	rewind(file);
	said[fread(said, 1, SAID_SIZE - 1, file)] = '\0';
	fclose(file);
	return status;
}

/* The one that pages.h tells of: the commit before the last then stands. */
static bool is_known_to_be_silent(const struct image_range *r, size_t byte, unsigned bit)
{
	return r->kind == IMAGE_LAST_COMMIT && byte == 0 && bit == 1 && image.bytes[r->at] & 2;
}

static int lost;

static void live_with(bool heads, uint64_t n)
{
	char said[SAID_SIZE];
	unsigned bit;
	size_t inside;
	const struct image_range *r = find_bit(heads, n, &inside, &bit);
	size_t at = r->at + inside;
	uint8_t byte = image.bytes[at] ^ (uint8_t)(1u << bit);
	int status;

	if (is_known_to_be_silent(r, inside, bit))
		return;
	image_write(&byte, 1, at);
	status = live_in_child(said);
	assert_int_equal(truncate(image.path, (off_t)image.size), 0);
	image_write(image.bytes, image.size, 0);
	if (status == 0)
		return;
	lost++;
	print_message("# bit %u of byte %zu of page %zu (kind %d, bit %llu): the process ended with %s %d, and "
		      "said:\n%s",
		      bit, at % image.page_size, at / image.page_size, r->kind, (unsigned long long)n,
		      WIFEXITED(status) ? "status" : "signal",
		      WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status), said);
}

static void live_with_many(bool heads, const char *name, uint64_t usual)
{
	const char *text = getenv(name);
	uint64_t all = count_bits(heads), count = text ? strtoull(text, NULL, 10) : usual;

	if (count > all || (text && strcmp(text, "all") == 0))
		count = all;
	print_message("# %s=%llu of %llu\n", name, (unsigned long long)count, (unsigned long long)all);
	for (uint64_t i = 0; i < count; i++)
		live_with(heads, i * all / count);
	assert_int_equal(lost, 0);
}

static void a_sound_store_lives(void **state)
{
	char said[SAID_SIZE];
	int status = live_in_child(said);

	(void)state;
	if (status != 0 || said[0])
		fail_msg("status %d: %s", status, said);
	assert_int_equal(truncate(image.path, (off_t)image.size), 0);
	image_write(image.bytes, image.size, 0);
}

static void a_flipped_bit_of_a_head_loses_no_job_in_silence(void **state)
{
	(void)state;
	live_with_many(true, "ALIVE_HEADS", 130);
}

static void nor_does_one_of_other_structure(void **state)
{
	(void)state;
	live_with_many(false, "ALIVE_OTHERS", 60);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_sound_store_lives),
		cmocka_unit_test(a_flipped_bit_of_a_head_loses_no_job_in_silence),
		cmocka_unit_test(nor_does_one_of_other_structure),
	};
	return cmocka_run_group_tests(tests, setup, image_teardown);
}
