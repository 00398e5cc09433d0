/* Every allocation of the loop's thread is made to fail in turn: a peer may lose its connection or be told "internal",
 * but the broker goes on, and serves the next one as if nothing had been. */
#include "tests/unit/test_net_rig.h"

static struct net_rig rig;

/* Counts down on the loop's thread; the allocation that finds 1 fails, and where it is to go on so, those after it. */
static _Atomic long countdown;
static _Atomic bool goes_on;
static _Thread_local bool counted;

/* A sanitizer owns malloc itself. */
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *p, size_t size);

static bool refuses(void)
{
	long left = countdown;

	if (!counted || left <= 0)
		return false;
	if (left > 1 || !goes_on)
		countdown = left - 1;
	if (left == 1)
		errno = ENOMEM;
	return left == 1;
}

void *malloc(size_t size)
{
	return refuses() ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	return refuses() ? NULL : __libc_calloc(count, size);
}

void *realloc(void *p, size_t size)
{
	return refuses() ? NULL : __libc_realloc(p, size);
}

#endif

static void count_this_thread(void)
{
	counted = true;
}

/* Whether it is our malloc that is called: Valgrind puts its own before it. */
static bool can_fail(void)
{
	void *volatile p;

	counted = true;
	countdown = 1;
	p = malloc(1);
	counted = false;
	countdown = 0;
	free(p);
	return !p;
}

/* 0, the code of a refusal, or ERR_NO_CONNECTION where the connection is gone. */
static int attempt(struct peer *p, enum method_id m, const void *params, void *ret)
{
	struct rpc_envelope e;
	struct buf out;
	bool gone;

	buf_init(&out, 64 << 20);
	add_request(&out, ++p->last_id, m, params);
	gone = !peer_try_send(p, out.data, out.size);
	do
		gone = gone || !peer_try_read(p, &e);
	while (!gone && e.type == RPC_NOTIFICATION);
	buf_done(&out);
	if (gone)
		return ERR_NO_CONNECTION;
	assert_int_equal(e.id, p->last_id);
	return peer_outcome(p, &e, m, ret);
}

/* What a producer does. */
static int produce(struct peer *p, struct uuid *ret_id)
{
	static char still[300000];
	struct msg_job_put put = put_of("q", "x", 1);
	struct msg_job_put_result stored;
	struct msg_job_list list = { 0 };
	struct msg_job_id id = { .has_id = true };
	int rc;

	put.has_preview = true;
	put.preview = (struct msg_media){ .has_content_type = true,
					  .content_type = slice_str("image/png"),
					  .has_data = true,
					  .data = slice_of(still, sizeof(still)) };
	rc = attempt(p, METHOD_job_put, &put, &stored);
	if (rc < 0)
		return rc;
	id.id = stored.id;
	rc = attempt(p, METHOD_job_get, &id, NULL);
	if (rc == 0)
		rc = attempt(p, METHOD_job_list, &list, NULL);
	*ret_id = stored.id;
	return rc;
}

static int upload(struct peer *p, const struct msg_leased_job *job)
{
	struct msg_artifact_begin begin = {
		.has_id = true,
		.id = job->id,
		.has_lease = true,
		.lease = job->lease,
		.has_name = true,
		.name = slice_str("video"),
		.has_content_type = true,
		.content_type = slice_str("video/mp4"),
	};
	struct msg_artifact_begin_result begun;
	struct msg_artifact_write write = {
		.has_upload = true, .has_offset = true, .has_data = true, .data = slice_str("some bytes")
	};
	struct msg_artifact_commit commit = { .has_upload = true };
	int rc;

	rc = attempt(p, METHOD_artifact_begin, &begin, &begun);
	if (rc < 0)
		return rc;
	write.upload = commit.upload = begun.upload;
	rc = attempt(p, METHOD_artifact_write, &write, NULL);
	return rc < 0 ? rc : attempt(p, METHOD_artifact_commit, &commit, NULL);
}

/* What a worker does, and somebody who waits for it. */
static int work(struct peer *p, const struct uuid *id)
{
	struct slice queue = slice_str("q");
	struct msg_job_lease lease = lease_of(&queue, 0);
	struct msg_job_lease_result leased;
	struct msg_job_complete done = { .has_id = true, .has_lease = true };
	struct msg_job_wait wait = { .has_id = true, .id = *id, .has_wait_ms = true, .wait_ms = 1 };
	struct msg_leased_job job;
	int rc;

	rc = attempt(p, METHOD_job_lease, &lease, &leased);
	if (rc < 0)
		return rc;
	assert_int_equal(leased.jobs_count, 1);
	job = leased.jobs[0];
	rc = upload(p, &job);
	if (rc == 0)
		rc = attempt(p, METHOD_job_wait, &wait, NULL);
	done.id = job.id;
	done.lease = job.lease;
	return rc < 0 ? rc : attempt(p, METHOD_job_complete, &done, NULL);
}

/* What an operator does; the job is held by this connection, which is told so. */
static int operate(struct peer *p)
{
	struct slice queue = slice_str("q");
	struct msg_job_put put = put_of("q", "x", 1);
	struct msg_job_put_result stored;
	struct msg_job_lease lease = lease_of(&queue, 0);
	struct msg_job_change cancel = { .has_id = true };
	struct msg_job_change erase = { .has_filter = true, .filter = { .has_queue = true, .queue = queue } };
	struct msg_queue_set set = { .has_queue = true, .queue = queue, .has_title = true, .title = slice_str("t") };
	struct msg_queue_name name = { .has_queue = true, .queue = queue };
	struct msg_empty nothing = { 0 };
	int rc;

	rc = attempt(p, METHOD_job_put, &put, &stored);
	if (rc == 0)
		rc = attempt(p, METHOD_job_lease, &lease, NULL);
	if (rc < 0)
		return rc;
	cancel.id = stored.id;
	rc = attempt(p, METHOD_job_cancel, &cancel, NULL);
	if (rc == 0)
		rc = attempt(p, METHOD_job_erase, &erase, NULL);
	if (rc == 0)
		rc = attempt(p, METHOD_queue_set, &set, NULL);
	if (rc == 0)
		rc = attempt(p, METHOD_queue_get, &name, NULL);
	if (rc == 0)
		rc = attempt(p, METHOD_queue_purge, &name, NULL);
	return rc < 0 ? rc : attempt(p, METHOD_server_check, &nothing, NULL);
}

/* A connection's life. 0, or how it failed. */
static int live(void)
{
	struct slice none = slice_str("none");
	struct msg_job_lease lease = lease_of(&none, 60000);
	struct msg_hello hello = { .has_subscribe = true, .subscribe = true };
	struct uuid id;
	struct peer p;
	int rc;

	peer_connect(&p, &rig);
	rc = attempt(&p, METHOD_session_hello, &hello, NULL);
	if (rc == 0)
		rc = produce(&p, &id);
	if (rc == 0)
		rc = work(&p, &id);
	if (rc == 0)
		rc = operate(&p);
	if (rc == 0) {
		/* parked when its session goes */
		struct buf out;

		buf_init(&out, 4096);
		add_request(&out, 1, METHOD_job_lease, &lease);
		(void)peer_try_send(&p, out.data, out.size);
		buf_done(&out);
	}
	peer_close(&p);
	return rc;
}

/* One more life with the nth allocation failing, in a broker that has nothing pooled yet, and one without. *ret_rc: how
 * the first ended. False where it needed fewer allocations. */
static bool survive_one(long n, int *ret_rc)
{
	bool failed;

	rig_open(&rig);
	rig.on_loop = count_this_thread;
	rig_serve(&rig, NULL);
	countdown = n;
	*ret_rc = live();
	failed = countdown <= 1;
	countdown = 0;
	assert_int_equal(live(), 0);
	rig_stop(&rig);
	return failed;
}

static void survive(bool from_then_on)
{
	int failures = 0, rc;
	long n = 1;

	if (!can_fail())
		skip();
	goes_on = from_then_on;
	while (survive_one(n, &rc)) {
		assert_true(rc == 0 || rc == ERR_INTERNAL || rc == ERR_NO_CONNECTION);
		failures += rc < 0;
		n++;
	}
	assert_int_equal(rc, 0);
	assert_true(n > 10 && failures > 5);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_allocation_may_fail_once),
		cmocka_unit_test(all_allocations_may_fail_from_one_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
