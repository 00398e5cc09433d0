#include "tests/harness/engine_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/base/clean.h"
#include "server/engine/answer.h"
#include "server/engine/link.h"
#include "server/upkeep/check.h"

static struct rig *current; /* callbacks carry no user pointer; a test has one rig */

static const struct message *result_of(enum command_kind kind, const void *params)
{
	switch (kind) {
	case COMMAND_PUT:
		return ((const struct command_put *)params)->many ? &MSG_job_put_many_result : &MSG_job_put_result;
	case COMMAND_LEASE:
		return &MSG_job_lease_result;
	case COMMAND_EXTEND:
		return &MSG_job_extend_result;
	case COMMAND_COMPLETE:
		return &MSG_job_complete_result;
	case COMMAND_FAIL:
		return &MSG_job_fail_result;
	case COMMAND_RELEASE:
		return &MSG_job_release_result;
	case COMMAND_ATTACH:
		return &MSG_artifact_stored;
	case COMMAND_CHANGE:
		return ((const struct command_change *)params)->action == CHANGE_PURGE ? &MSG_queue_purge_result
										       : &MSG_job_change_result;
	case COMMAND_QUEUE:
		return &MSG_queue;
	case COMMAND_LIMIT:
		return ((const struct command_limit *)params)->action == LIMIT_DELETE ? &MSG_empty : &MSG_limit;
	case COMMAND_LINK:
		return ((const struct command_link *)params)->revoke ? &MSG_empty : &MSG_link_result;
	default:
		return &MSG_empty;
	}
}

static void answer_cb(struct command *cmd, const struct message *m, const void *result)
{
	assert_ptr_equal(m, result_of(cmd->kind, cmd->params));
	assert_int_equal(message_copy(m, result, &current->zone, &current->kept), 0);
	current->answered_by = cmd;
	current->code = 0;
	if (current->told)
		current->told(cmd, result);
}

static void refuse_cb(struct command *cmd, const struct error_info *info)
{
	(void)cmd;
	current->info = *info;
	current->code = info->code;
}

/* As a front does it after the commit. */
static void encode_kept(const struct command *cmd, const struct message *m)
{
	struct link_signer *links;

	assert_int_equal(link_signer_new(current->settings.link_secret, &links), 0);
	assert_int_equal(answer_finish(cmd, current->kept, &current->settings, links, &current->zone), 0);
	link_signer_free(links);
	buf_reset(&current->bytes);
	assert_int_equal(message_encode(m, current->kept, &current->bytes), 0);
}

static void release_cb(struct command *cmd, int rc)
{
	current->released++;
	if (rc < 0)
		current->code = rc;
	/* Of several commands of one batch, the last answer is kept. */
	if (current->code == 0 && cmd == current->answered_by) {
		const struct message *m = result_of(cmd->kind, cmd->params);
		msgpack_object object;
		size_t at = 0;

		encode_kept(cmd, m);
		assert_int_equal(msgpack_unpack((const char *)current->bytes.data, current->bytes.size, &at,
						&current->zone, &object),
				 MSGPACK_UNPACK_SUCCESS);
		assert_true(message_size(m) <= sizeof(current->answer));
		assert_int_equal(message_decode(m, &object, &current->zone, &current->answer, NULL), 0);
	}
}

int rig_try_resume(struct rig *r, struct error_info *info)
{
	struct store_options options = { .dir = r->dir.path, .max_bytes = 1 << 28 };
	int rc;

	rc = store_open(&options, &r->store, info);
	if (rc < 0)
		return rc;
	assert_int_equal(blob_store_open(r->dir.path, &r->blobs, info), 0);
	rc = engine_new(&r->settings, r->store, &r->engine);
	if (rc == 0)
		return 0;
	blob_store_close(r->blobs);
	store_close(r->store);
	return error_set(info, rc, NULL, "cannot read the queues: %s", error_text(rc));
}

static void open_store(struct rig *r)
{
	struct error_info info = { 0 };

	if (rig_try_resume(r, &info) < 0)
		fail_msg("%s", info.message);
}

void rig_open(struct rig *r)
{
	memset(r, 0, sizeof(*r));
	current = r;
	tempdir_make(&r->dir);
	r->now_ms = 1700000000000;
	r->settings = (struct settings){
		.public_url = "http://example.test",
		.link_secret = { 7 },
		.inline_bytes = 16384,
		.payload_bytes = 1 << 20,
		.artifact_bytes = 1 << 28,
		.result_ttl_ms = 7 * 86400000LL,
		.record_ttl_ms = 30 * 86400000LL,
		.tombstone_ttl_ms = 90 * 86400000LL,
	};
	msgpack_zone_init(&r->zone, 8192);
	buf_init(&r->bytes, 64 << 20);
	open_store(r);
}

static void close_store(struct rig *r)
{
	store_abort(r->view_txn);
	r->view_txn = NULL;
	for (struct command *cmd = engine_stop(r->engine); cmd;) {
		struct command *next = cmd->next;

		cmd->release(cmd, ERR_SHUTTING_DOWN);
		cmd = next;
	}
	engine_free(r->engine);
	blob_store_close(r->blobs);
	store_close(r->store);
}

void rig_close(struct rig *r)
{
	close_store(r);
	limits_view_done(&r->limits);
	msgpack_zone_destroy(&r->zone);
	buf_done(&r->bytes);
	tempdir_remove(&r->dir);
}

void rig_pause(struct rig *r)
{
	close_store(r);
}

void rig_resume(struct rig *r)
{
	open_store(r);
}

void rig_restart(struct rig *r)
{
	rig_pause(r);
	rig_resume(r);
}

static void report_cb(void *user, const char *line)
{
	(void)user;
	print_error("check: %s\n", line);
}

void rig_check(struct rig *r)
{
	int64_t breaches = -1;

	assert_int_equal(check_run(r->store, r->blobs, report_cb, NULL, &breaches), 0);
	assert_int_equal(breaches, 0);
}

/* What the store does to a batch. The rest of it is not applied. */
static int apply_all(struct rig *r, struct store_txn *t, struct command *cmds, const uint8_t random[32],
		     struct command **ret_settled)
{
	struct command **last = ret_settled;
	int rc = engine_begin(r->engine, t, r->now_ms, random);

	r->parked = false;
	for (struct command *next, *cmd = cmds; cmd; cmd = next) {
		next = cmd->next;
		memcpy(cmd->random, random, sizeof(cmd->random));
		if (rc == 0)
			rc = engine_apply(r->engine, cmd, &r->parked);
		if (rc == 0 && r->parked)
			continue;
		*last = cmd;
		last = &cmd->next;
		*last = NULL;
	}
	return rc == 0 ? engine_finish(r->engine) : rc;
}

static int end_batch(struct rig *r, struct store_txn *t, int rc, struct command **ret_answered)
{
	if (r->take_back || (r->damaged && rc < 0)) {
		r->take_back = false;
		store_abort(t);
		engine_aborted(r->engine, false, ret_answered);
		return rc < 0 ? rc : ERR_STORE_ERROR;
	}
	assert_int_equal(rc, 0);
	rc = store_commit(t);
	if (r->damaged && rc < 0) {
		engine_aborted(r->engine, store_uncertain(r->store), ret_answered);
		return rc;
	}
	assert_int_equal(rc, 0);
	engine_committed(r->engine, ret_answered);
	return 0;
}

static void release_all(struct command *cmd, int rc)
{
	while (cmd) {
		struct command *next = cmd->next;

		cmd->release(cmd, rc);
		cmd = next;
	}
}

/* One batch of a list of commands, which may be empty; r->parked says of the last whether the engine kept it. */
static void run_batch(struct rig *r, struct command *cmds)
{
	struct command *settled = NULL, *answered = NULL;
	uint8_t random[32] = { 0 };
	struct store_txn *t;
	int rc;

	store_abort(r->view_txn);
	r->view_txn = NULL;
	r->drawn++;
	memcpy(random, &r->drawn, sizeof(r->drawn));
	rc = store_begin_write(r->store, &t);
	if (r->damaged && rc < 0) {
		release_all(cmds, rc);
		return;
	}
	assert_int_equal(rc, 0);
	rc = apply_all(r, t, cmds, random, &settled);
	rc = end_batch(r, t, rc, &answered);
	release_all(settled, rc);
	release_all(answered, rc);
	if (!r->unchecked)
		rig_check(r);
}

static void prepare(struct rig *r, struct command *cmd, enum command_kind kind, const void *params)
{
	uint8_t random[UUID_RANDOM_SIZE] = { 1, 2, 3 };

	cmd->kind = kind;
	cmd->params = params;
	cmd->answer = answer_cb;
	cmd->refuse = refuse_cb;
	cmd->release = release_cb;
	if (kind == COMMAND_PUT) {
		uuid_v7(&r->ids, r->now_ms, random, &cmd->first_id);
		for (size_t i = 1; i < ((const struct command_put *)params)->count; i++)
			uuid_next(&r->ids.last, &r->ids.last);
	}
	cmd->next = NULL;
}

void rig_submit(struct rig *r, struct command *cmd, enum command_kind kind, const void *params)
{
	prepare(r, cmd, kind, params);
	run_batch(r, cmd);
}

void rig_submit_two(struct rig *r, struct command *a, enum command_kind a_kind, const void *a_params, struct command *b,
		    enum command_kind b_kind, const void *b_params)
{
	prepare(r, a, a_kind, a_params);
	prepare(r, b, b_kind, b_params);
	a->next = b;
	run_batch(r, a);
}

void rig_run(struct rig *r, enum command_kind kind, const void *params)
{
	struct command cmd = { 0 };

	rig_submit(r, &cmd, kind, params);
	assert_false(r->parked);
}

void rig_change(struct rig *r, struct command_change *change)
{
	int released = r->released;
	struct command cmd = { 0 };

	rig_submit(r, &cmd, COMMAND_CHANGE, change);
	for (r->batches = 1; r->released == released; r->batches++)
		run_batch(r, NULL);
}

void rig_pass(struct rig *r, int64_t ms)
{
	r->now_ms += ms;
	run_batch(r, NULL);
}

/* ---- the usual commands ---- */

struct msg_job_put rig_put_of(const char *queue, const char *payload)
{
	return (struct msg_job_put){
		.has_queue = true,
		.queue = slice_str(queue),
		.has_payload = true,
		.payload = slice_str(payload),
	};
}

struct uuid rig_put_params(struct rig *r, const struct msg_job_put *put)
{
	struct put_item item = { .put = *put };
	struct command_put params = { .items = &item, .count = 1 };

	if (put->has_preview) {
		item.preview.content_type = put->preview.content_type;
		item.preview.data = put->preview.data;
		item.preview.size = (int64_t)put->preview.data.size;
		blob_sha256(put->preview.data, item.preview.sha256);
	}
	rig_run(r, COMMAND_PUT, &params);
	return r->code == 0 ? r->answer.put.id : (struct uuid){ 0 };
}

struct uuid rig_put(struct rig *r, const char *queue, const char *payload)
{
	struct msg_job_put put = rig_put_of(queue, payload);

	return rig_put_params(r, &put);
}

static void change_one_job(struct rig *r, const struct uuid *id, enum change_action action)
{
	struct command_change change = { .action = action, .has_id = true, .id = *id };

	rig_change(r, &change);
}

void rig_cancel(struct rig *r, const struct uuid *id)
{
	change_one_job(r, id, CHANGE_CANCEL);
}

void rig_retry(struct rig *r, const struct uuid *id)
{
	change_one_job(r, id, CHANGE_RETRY);
}

void rig_erase(struct rig *r, const struct uuid *id)
{
	change_one_job(r, id, CHANGE_ERASE);
}

void rig_queue_set(struct rig *r, const char *queue, struct msg_queue_set set)
{
	struct command_queue command = { .action = QUEUE_SET, .set = set };

	command.set.has_queue = true;
	command.set.queue = slice_str(queue);
	rig_run(r, COMMAND_QUEUE, &command);
}

bool rig_lease(struct rig *r, const char *queue, struct msg_leased_job *ret)
{
	struct slice name = slice_str(queue);
	struct msg_job_lease lease = { .has_queues = true, .queues_count = 1, .queues = &name };

	rig_run(r, COMMAND_LEASE, &lease);
	if (r->damaged && r->code < 0)
		return false;
	assert_int_equal(r->code, 0);
	if (r->answer.lease.jobs_count == 0)
		return false;
	assert_int_equal(r->answer.lease.jobs_count, 1);
	*ret = r->answer.lease.jobs[0];
	return true;
}

void rig_complete(struct rig *r, const struct uuid *id, const struct token *lease, const char *result)
{
	struct complete_item item = { .id = *id, .lease = *lease, .has_result = result != NULL };
	struct command_complete params = { .items = &item, .count = 1 };

	if (result) {
		item.result.content_type = slice_str("text/plain");
		item.result.data = slice_str(result);
		item.result.size = (int64_t)item.result.data.size;
		blob_sha256(item.result.data, item.result.sha256);
	}
	rig_run(r, COMMAND_COMPLETE, &params);
}

void rig_fail(struct rig *r, const struct uuid *id, const struct token *lease, int kind, int64_t retry_after_ms)
{
	struct msg_job_fail params = {
		.has_id = true,
		.id = *id,
		.has_lease = true,
		.lease = *lease,
		.has_kind = true,
		.kind = kind,
		.has_message = true,
		.message = slice_str("it broke"),
		.has_retry_after_ms = retry_after_ms > 0,
		.retry_after_ms = retry_after_ms,
	};

	rig_run(r, COMMAND_FAIL, &params);
}

const struct msg_job *rig_job(struct rig *r, const struct uuid *id)
{
	if (!r->view_txn)
		assert_int_equal(store_begin_read(r->store, &r->view_txn), 0);
	r->code = view_job(r->view_txn, &r->settings, r->now_ms, id, &r->view);
	return &r->view.job;
}

int rig_state(struct rig *r, const struct uuid *id)
{
	const struct msg_job *job = rig_job(r, id);

	return r->code == 0 ? job->state : r->code;
}

struct msg_queue rig_queue(struct rig *r, const char *name)
{
	static struct group_weight weights[MAX_WEIGHTS];
	struct msg_queue q;

	store_abort(r->view_txn);
	assert_int_equal(store_begin_read(r->store, &r->view_txn), 0);
	assert_int_equal(view_queue_by_name(r->view_txn, slice_str(name), weights, &q), 0);
	return q;
}

/* ---- flow control ---- */

static void run_limit(struct rig *r, enum limit_action action, const char *limit, struct msg_limit_set set)
{
	struct command_limit command = { .action = action, .set = set };

	command.set.has_limit = true;
	command.set.limit = slice_str(limit);
	rig_run(r, COMMAND_LIMIT, &command);
}

void rig_limit_set(struct rig *r, const char *limit, struct msg_limit_set set)
{
	run_limit(r, LIMIT_SET, limit, set);
}

void rig_limit_delete(struct rig *r, const char *limit)
{
	run_limit(r, LIMIT_DELETE, limit, (struct msg_limit_set){ 0 });
}

const struct msg_limit *rig_limit(struct rig *r, const char *limit)
{
	static const struct msg_limit none;
	struct slice name = slice_str(limit);

	store_abort(r->view_txn);
	r->view_txn = NULL;
	assert_int_equal(store_begin_read(r->store, &r->view_txn), 0);
	limits_view_done(&r->limits);
	r->code = view_limits(r->view_txn, r->now_ms, &name, &r->limits);
	return r->code == 0 ? &r->limits.items[0] : &none;
}

void rig_queue_limit(struct rig *r, const char *queue, const char *limit)
{
	struct msg_queue_set set = { .has_limit = limit != NULL };

	if (limit)
		set.limit = slice_str(limit);
	else
		MESSAGE_SET_NIL(queue_set, &set, limit);
	rig_queue_set(r, queue, set);
}

size_t rig_lease_many(struct rig *r, const char *const *queues, size_t count, int64_t max)
{
	struct slice names[MAX_QUEUES];
	struct msg_job_lease lease = {
		.has_queues = true, .queues = names, .queues_count = count, .has_max = true, .max = max
	};

	assert_in_range(count, 1, MAX_QUEUES);
	for (size_t i = 0; i < count; i++)
		names[i] = slice_str(queues[i]);
	rig_run(r, COMMAND_LEASE, &lease);
	return r->code == 0 ? r->answer.lease.jobs_count : 0;
}

struct uuid rig_put_many(struct rig *r, const char *queue, const char *group, size_t count)
{
	_cleanup_free_ struct put_item *items = calloc(count, sizeof(*items));
	struct command_put params = { .items = items, .count = count, .many = true };

	assert_non_null(items);
	for (size_t i = 0; i < count; i++)
		items[i].put = (struct msg_job_put){ .has_queue = true,
						     .queue = slice_str(queue),
						     .has_payload = true,
						     .payload = slice_str(group ? group : queue),
						     .has_group = group != NULL,
						     .group = slice_str(group ? group : "") };
	rig_run(r, COMMAND_PUT, &params);
	assert_int_equal(r->code, 0);
	return r->answer.put_many.jobs[0].id;
}

void rig_submit_all(struct rig *r, struct command *cmds, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		prepare(r, &cmds[i], cmds[i].kind, cmds[i].params);
		cmds[i].next = i + 1 < count ? &cmds[i + 1] : NULL;
	}
	run_batch(r, count > 0 ? cmds : NULL);
}
