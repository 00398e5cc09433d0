/* Each allocation of writer, engine and store fails in turn, in this process, once or from then on.
 *
 * Every command there is runs, with one that waits among them. A command whose batch failed for want of memory did
 * nothing: asked again it is carried out, once. In the end every job is where it must be, and the checker finds
 * nothing. All points are tried; the test starts itself anew with libfault.so, which counts the allocations.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/base/clean.h"
#include "server/upkeep/check.h"
#include "server/engine/view.h"
#include "server/writer/writer.h"
#include "tests/harness/fault.h"

#define JOBS	 4
#define QUEUE	 "q"
#define WAITING	 "waiting" /* the queue that a lease waits for */
#define LEASE_MS 3600000
#define SESSION	 7

static struct fault fault;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

static struct {
	struct settings settings;
	struct store *store;
	struct blob_store *blobs;
	struct writer *writer;
} broker;

/* A command, and what came of it. */
struct ask {
	struct command command;
	bool released;
	int code;
	size_t count;
	struct uuid ids[JOBS];
	struct token leases[JOBS];
};

/* ---- asking ---- */

static void take_put(struct ask *a, const struct msg_job_put_result *results, size_t count)
{
	a->count = count;
	for (size_t i = 0; i < count; i++) {
		assert_true(results[i].created);
		a->ids[i] = results[i].id;
	}
}

static void take_lease(struct ask *a, const struct msg_job_lease_result *result)
{
	a->count = result->jobs_count;
	for (size_t i = 0; i < a->count; i++) {
		a->ids[i] = result->jobs[i].id;
		a->leases[i] = result->jobs[i].lease;
	}
}

static void answer_cb(struct command *command, const struct message *m, const void *result)
{
	struct ask *a = CONTAINER_OF(command, struct ask, command);

	(void)m;
	a->code = 0;
	if (command->kind == COMMAND_LEASE)
		take_lease(a, result);
	else if (command->kind == COMMAND_PUT && ((const struct command_put *)command->params)->many)
		take_put(a, ((const struct msg_job_put_many_result *)result)->jobs,
			 ((const struct msg_job_put_many_result *)result)->jobs_count);
	else if (command->kind == COMMAND_PUT)
		take_put(a, result, 1);
}

static void refuse_cb(struct command *command, const struct error_info *info)
{
	CONTAINER_OF(command, struct ask, command)->code = info->code;
}

static void release_cb(struct command *command, int rc)
{
	struct ask *a = CONTAINER_OF(command, struct ask, command);

	pthread_mutex_lock(&lock);
	if (rc < 0)
		a->code = rc;
	a->released = true;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
}

static void submit(struct ask *a, enum command_kind kind, const void *params)
{
	*a = (struct ask){ .command = { .kind = kind,
					.params = params,
					.session = SESSION,
					.answer = answer_cb,
					.refuse = refuse_cb,
					.release = release_cb } };
	writer_submit(broker.writer, &a->command);
}

static void await(struct ask *a)
{
	pthread_mutex_lock(&lock);
	while (!a->released)
		pthread_cond_wait(&changed, &lock);
	pthread_mutex_unlock(&lock);
}

/* Until it is carried out: once more, with memory, where there was none. */
static void ask(struct ask *a, enum command_kind kind, const void *params)
{
	const struct command_change *change = kind == COMMAND_CHANGE ? params : NULL;
	struct command_change anew = { 0 };

	/* The engine notes in it how far it is. */
	if (change)
		anew = *change;
	submit(a, kind, params);
	await(a);
	if (a->code < 0 && fault_met(&fault) > 0) {
		assert_int_equal(a->code, ERR_NO_MEMORY);
		fault_disarm(&fault);
		submit(a, kind, change ? &anew : params);
		await(a);
	}
	if (a->code < 0)
		fail_msg("a command of kind %d: %s", (int)kind, error_text(a->code));
}

/* ---- the life ---- */

static struct msg_job_put put_of(const char *queue, const char *payload)
{
	return (struct msg_job_put){
		.has_queue = true, .queue = slice_str(queue), .has_payload = true, .payload = slice_str(payload)
	};
}

static struct staged staged_of(const char *text)
{
	struct staged s = { .content_type = slice_str("text/plain"), .data = slice_str(text) };

	s.size = (int64_t)s.data.size;
	blob_sha256(s.data, s.sha256);
	return s;
}

static struct msg_job_lease lease_of(struct slice *queue, int64_t wait_ms)
{
	return (struct msg_job_lease){ .has_queues = true,
				       .queues_count = 1,
				       .queues = queue,
				       .has_max = true,
				       .max = JOBS,
				       .has_lease_ms = true,
				       .lease_ms = LEASE_MS,
				       .has_wait_ms = wait_ms > 0,
				       .wait_ms = wait_ms };
}

/* JOBS jobs: one alone with a preview and a key, the others together. */
static void put_jobs(void)
{
	struct put_item one = { .put = put_of(QUEUE, "one") }, many[JOBS - 1];
	struct command_put alone = { .items = &one, .count = 1 };
	struct command_put together = { .items = many, .count = JOBS - 1, .many = true };
	char key[32];
	struct ask a;
	static unsigned number;

	snprintf(key, sizeof(key), "key %u", number++);
	one.put.has_idempotency_key = true;
	one.put.idempotency_key = slice_str(key);
	one.put.has_preview = true;
	one.preview = staged_of("a still");
	ask(&a, COMMAND_PUT, &alone);
	for (size_t i = 0; i < JOBS - 1; i++)
		many[i] = (struct put_item){ .put = put_of(QUEUE, "one of many") };
	ask(&a, COMMAND_PUT, &together);
}

/* A lease that waits, and the put that ends its wait: the two fare as they may, each on its own. */
static void wait_and_put(void)
{
	struct slice queue = slice_str(WAITING);
	struct msg_job_lease params = lease_of(&queue, 60000);
	struct put_item item = { .put = put_of(WAITING, "for who waits") };
	struct command_put put = { .items = &item, .count = 1 };
	struct complete_item done = { 0 };
	struct command_complete complete = { .items = &done, .count = 1 };
	struct ask waiting, a;

	submit(&waiting, COMMAND_LEASE, &params);
	ask(&a, COMMAND_PUT, &put);
	await(&waiting);
	if (waiting.code < 0) {
		assert_int_equal(waiting.code, ERR_NO_MEMORY);
		fault_disarm(&fault);
		ask(&waiting, COMMAND_LEASE, &params);
	}
	assert_int_equal(waiting.count, 1);
	assert_memory_equal(&waiting.ids[0], &a.ids[0], sizeof(struct uuid));
	done.id = waiting.ids[0];
	done.lease = waiting.leases[0];
	ask(&a, COMMAND_COMPLETE, &complete);
}

static void note(const struct ask *leased)
{
	struct msg_extend_item items[JOBS];
	struct msg_job_extend extend = { .has_leases = true, .leases_count = JOBS, .leases = items };
	struct msg_job_checkpoint checkpoint = { .id = leased->ids[0],
						 .lease = leased->leases[0],
						 .data = slice_str("call 7") };
	struct command_attach attach = {
		.id = leased->ids[0], .lease = leased->leases[0], .has_lease = true, .name = slice_str("note")
	};
	struct ask a;

	for (size_t i = 0; i < JOBS; i++)
		items[i] = (struct msg_extend_item){ .id = leased->ids[i], .lease = leased->leases[i] };
	ask(&a, COMMAND_EXTEND, &extend);
	ask(&a, COMMAND_CHECKPOINT, &checkpoint);
	attach.staged = staged_of("noted");
	ask(&a, COMMAND_ATTACH, &attach);
}

/* The first succeeds, the second dies and is tried anew, the third is given back and canceled, the last is erased. */
static void end_jobs(const struct ask *leased)
{
	struct complete_item done = { .id = leased->ids[0], .lease = leased->leases[0], .has_result = true };
	struct command_complete complete = { .items = &done, .count = 1 };
	struct msg_job_fail fail = {
		.id = leased->ids[1], .lease = leased->leases[1], .kind = FAIL_REJECTED, .message = slice_str("never")
	};
	struct msg_job_release release = { .id = leased->ids[2], .lease = leased->leases[2] };
	struct command_change retry = { .action = CHANGE_RETRY, .has_id = true, .id = leased->ids[1] };
	struct command_change cancel = { .action = CHANGE_CANCEL, .has_id = true, .id = leased->ids[2] };
	struct command_change erase = { .action = CHANGE_ERASE, .has_id = true, .id = leased->ids[3] };
	struct ask a;

	done.result = staged_of("the result");
	ask(&a, COMMAND_COMPLETE, &complete);
	ask(&a, COMMAND_FAIL, &fail);
	ask(&a, COMMAND_CHANGE, &retry);
	ask(&a, COMMAND_RELEASE, &release);
	ask(&a, COMMAND_CHANGE, &cancel);
	ask(&a, COMMAND_CHANGE, &erase);
}

static void operate(const struct ask *leased)
{
	struct command_queue queue = {
		.action = QUEUE_SET,
		.set = { .has_queue = true, .queue = slice_str(QUEUE), .has_title = true, .title = slice_str("Title") }
	};
	struct command_change cancel = { .action = CHANGE_CANCEL,
					 .filter = { .has_queue = true, .queue = slice_str(QUEUE) } };
	struct command_link link = { .id = leased->ids[0] };
	struct ask a;

	ask(&a, COMMAND_QUEUE, &queue);
	ask(&a, COMMAND_CHANGE, &cancel);
	ask(&a, COMMAND_LINK, &link);
	ask(&a, COMMAND_LEASE_CANCEL, NULL);
}

static int state_of(const struct uuid *id)
{
	_cleanup_(store_abortp) struct store_txn *t = NULL;
	struct job_view view;
	int rc;

	assert_int_equal(store_begin_read(broker.store, &t), 0);
	rc = view_job(t, &broker.settings, 0, id, &view);
	return rc < 0 ? rc : view.job.state;
}

static void report_cb(void *user, const char *line)
{
	(void)user;
	print_error("check: %s\n", line);
}

static void live(void)
{
	struct slice queue = slice_str(QUEUE);
	struct msg_job_lease params = lease_of(&queue, 0);
	int64_t breaches = -1;
	struct ask leased;

	put_jobs();
	wait_and_put();
	ask(&leased, COMMAND_LEASE, &params);
	assert_int_equal(leased.count, JOBS);
	note(&leased);
	end_jobs(&leased);
	operate(&leased);
	fault_disarm(&fault);
	assert_int_equal(state_of(&leased.ids[0]), JOB_SUCCEEDED);
	assert_int_equal(state_of(&leased.ids[1]), JOB_CANCELED);
	assert_int_equal(state_of(&leased.ids[2]), JOB_CANCELED);
	assert_int_equal(state_of(&leased.ids[3]), ERR_GONE);
	assert_int_equal(check_run(broker.store, broker.blobs, report_cb, NULL, &breaches), 0);
	assert_int_equal(breaches, 0);
}

static void survive(bool lasting)
{
	unsigned points = 0;
	bool met;

	do {
		const struct fault_plan plan = { .kinds = FAULT_BIT(FAULT_ALLOCATE),
						 .action = FAULT_FAIL,
						 .at = points + 1,
						 .error = ENOMEM,
						 .lasting = lasting };

		fault_arm(&fault, &plan);
		live();
		met = fault_met(&fault) > 0;
		points += met;
	} while (met);
	print_message("# %u allocations\n", points);
	assert_true(points > 20);
}

static void each_allocation_may_fail_once(void **state)
{
	(void)state;
	survive(false);
}

static void all_allocations_may_fail_from_one_on(void **state)
{
	(void)state;
	survive(true);
}

/* ---- */

static int setup(void **state)
{
	struct store_options options = { .dir = fault.data, .max_bytes = 1 << 28 };
	struct error_info info = { 0 };

	(void)state;
	fault_new_disk(&fault);
	broker.settings = (struct settings){
		.public_url = "http://example.test",
		.link_secret = { 7 },
		.inline_bytes = 16384,
		.payload_bytes = 1 << 20,
		.artifact_bytes = 1 << 28,
		.result_ttl_ms = 7 * 86400000LL,
		.record_ttl_ms = 30 * 86400000LL,
		.tombstone_ttl_ms = 90 * 86400000LL,
	};
	if (store_open(&options, &broker.store, &info) < 0)
		fail_msg("%s", info.message);
	assert_int_equal(blob_store_open(fault.data, &broker.blobs, &info), 0);
	assert_int_equal(writer_new(&broker.settings, broker.store, broker.blobs, &broker.writer), 0);
	assert_int_equal(writer_start(broker.writer), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fault_disarm(&fault);
	writer_stop(broker.writer);
	writer_free(broker.writer);
	blob_store_close(broker.blobs);
	store_close(broker.store);
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(each_allocation_may_fail_once, setup, teardown),
		cmocka_unit_test_setup_teardown(all_allocations_may_fail_from_one_on, setup, teardown),
	};
	int failed;

	(void)argc;
	fault_open_within(&fault, argv);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	fault_close(&fault);
	return failed;
}
