#include "server/net/upkeep.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/clean.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "proto/base/text.h"
#include "server/upkeep/backup.h"
#include "server/upkeep/check.h"
#include "server/net/dispatch.h"
#include "server/net/net_priv.h"
#include "server/net/session.h"

struct upkeep {
	struct net *net;
	struct request *req; /* what runs; NULL: nothing */
	void (*run)(struct upkeep *u);
	uv_thread_t thread;
	atomic_bool canceled;
	bool in_the_way; /* the thread's: it gave up because the store is to be opened anew */
	struct mail done;
};

/* ---- the thread ---- */

static void run_thread(void *arg)
{
	struct upkeep *u = arg;

	u->run(u);
	mailbox_push(&u->net->mailbox, &u->done);
}

static void done_cb(struct mail *mail)
{
	struct upkeep *u = CONTAINER_OF(mail, struct upkeep, done);

	uv_thread_join(&u->thread);
	request_done(TAKE_PTR(u->req));
}

static int refuse_second(const struct upkeep *u, struct error_info *info)
{
	const struct msg_server_backup *backup = u->req->params;

	if (u->req->method->id == METHOD_server_check)
		return error_set(info, ERR_CONFLICT, NULL, "a check is running: one work at a time");
	return error_set(info, ERR_CONFLICT, NULL, "a backup is running: one work at a time (it goes to %.*s)",
			 SLICE_FMT(backup->path));
}

static int start(struct request *req, void (*run)(struct upkeep *u), struct error_info *info)
{
	struct upkeep *u = req->net->upkeep;

	if (u->req)
		return refuse_second(u, info);
	u->req = req;
	u->run = run;
	atomic_store(&u->canceled, false);
	u->in_the_way = false;
	if (uv_thread_create(&u->thread, run_thread, u) < 0) {
		u->req = NULL;
		return error_set(info, ERR_NO_MEMORY, NULL, "%s", error_text(ERR_NO_MEMORY));
	}
	return 0;
}

/* The writer can open the store anew only when nobody reads: it comes first, for nobody can put while it waits. */
static bool in_the_way_cb(void *user)
{
	struct upkeep *u = user;

	u->in_the_way = u->in_the_way || store_is_shut(u->net->options.store);
	return u->in_the_way;
}

static bool canceled_cb(void *user)
{
	struct upkeep *u = user;

	return atomic_load(&u->canceled);
}

/* Answers with what went wrong. The operator reads of it in the log as well, whoever asked. */
static void fail(struct upkeep *u, const struct error_info *info)
{
	struct error_info why;

	if (info->code == ERR_CANCELED && u->in_the_way) {
		error_set(&why, ERR_STORE_ERROR, NULL,
			  "given up: a commit failed, and the store is opened anew; try again");
		info = &why;
	} else if (info->code == ERR_CANCELED) {
		log_info("%s was given up: nobody waits for it any more", u->req->method->name);
		request_encode_code(u->req, ERR_SHUTTING_DOWN);
		return;
	}
	log_error("%s failed: %s", u->req->method->name, info->message);
	request_encode_logged(u->req, info);
}

/* ---- server.backup ---- */

static void encode_backup(struct upkeep *u, const struct backup_result *r)
{
	const struct msg_server_backup *params = u->req->params;
	const struct msg_server_backup_result result = {
		.has_path = true,
		.path = params->path,
		.has_jobs = true,
		.jobs = r->jobs,
		.has_artifacts = true,
		.artifacts = r->artifacts,
		.has_bytes = true,
		.bytes = r->bytes,
		.has_damaged = true,
		.damaged = r->damaged,
		.has_took_ms = true,
		.took_ms = r->took_ms,
	};

	log_info("backup: %lld jobs, %lld artifacts, %lld bytes in %lld ms: %.*s", (long long)r->jobs,
		 (long long)r->artifacts, (long long)r->bytes, (long long)r->took_ms, SLICE_FMT(params->path));
	if (r->damaged > 0)
		log_warning("backup: %lld parts of jobs are damaged in the copy as they are here",
			    (long long)r->damaged);
	request_encode(u->req, &MSG_server_backup_result, &result);
}

/* The first of them only. */
static void damage_cb(void *user, const char *line)
{
	(void)user;
	log_warning("backup: %s", line);
}

static void run_backup(struct upkeep *u)
{
	const struct msg_server_backup *params = u->req->params;
	const struct backup_options options = {
		.store = u->net->options.store,
		.blobs = u->net->options.blobs,
		.path = params->path.data, /* with a 0 behind it, see upkeep_backup() */
		.canceled = canceled_cb,
		.in_the_way = in_the_way_cb,
		.damage = damage_cb,
		.user = u,
	};
	struct error_info info = { .code = 0 };
	struct backup_result result;
	int rc;

	rc = backup_run(&options, &result, &info);
	info.code = rc;
	if (rc < 0)
		fail(u, &info);
	else
		encode_backup(u, &result);
}

int upkeep_backup(struct request *req, struct error_info *info)
{
	struct msg_server_backup *params = req->params;
	char *path;

	if (memchr(params->path.data, '\0', params->path.size))
		return error_set(info, ERR_BAD_REQUEST, "path", "has a NUL in it");
	/* What the peer takes for here is not what the broker would. */
	if (((const char *)params->path.data)[0] != '/')
		return error_set(info, ERR_BAD_REQUEST, "path", "must begin with /: it is on the broker's machine");
	path = request_alloc(req, params->path.size + 1);
	if (!path)
		return error_set(info, ERR_NO_MEMORY, NULL, "%s", error_text(ERR_NO_MEMORY));
	memcpy(path, params->path.data, params->path.size);
	params->path.data = path;
	return start(req, run_backup, info);
}

/* ---- server.check ---- */

/* What a check has found so far, as far as an answer has room. */
struct findings {
	struct upkeep *upkeep;
	struct msg_breach *lines; /* MAX_BATCH of them */
	size_t count;
	size_t room; /* bytes that lines may still take */
};

/* What is stored of a damaged record may be no text. */
static void copy_line(const char *line, size_t size, char *ret)
{
	bool is_text = utf8_valid(slice_of(line, size));

	for (size_t i = 0; i < size; i++)
		ret[i] = (char)(is_text || (line[i] & 0x80) == 0 ? line[i] : '?');
}

static void found_cb(void *user, enum check_kind kind, const char *line)
{
	struct findings *f = user;
	size_t size = strlen(line);
	char *copy;

	if (kind == CHECK_NOTICE || f->count == MAX_BATCH || size > f->room)
		return;
	copy = request_alloc(f->upkeep->req, size);
	if (!copy)
		return;
	copy_line(line, size, copy);
	f->lines[f->count++] = (struct msg_breach){ .has_text = true, .text = slice_of(copy, size) };
	f->room -= size;
}

static bool found_canceled_cb(void *user)
{
	const struct findings *f = user;

	return in_the_way_cb(f->upkeep) || canceled_cb(f->upkeep);
}

static void encode_check(const struct findings *f, const struct check_result *r, int64_t took_ms)
{
	const struct msg_server_check_result result = {
		.has_jobs = true,
		.jobs = r->jobs,
		.has_artifacts = true,
		.artifacts = r->artifacts,
		.has_breaches = true,
		.breaches = r->breaches,
		.has_set_aside = true,
		.set_aside = r->set_aside,
		.has_lines = true,
		.lines = f->lines,
		.lines_count = f->count,
		.has_took_ms = true,
		.took_ms = took_ms,
	};

	if (f->count > 0)
		log_error("check: %lld breaches, %lld jobs set aside, first: %.*s", (long long)r->breaches,
			  (long long)r->set_aside, SLICE_FMT(f->lines[0].text));
	request_encode(f->upkeep->req, &MSG_server_check_result, &result);
}

static void run_check(struct upkeep *u)
{
	struct findings found = { .upkeep = u, .room = u->net->options.limits.message / 2 };
	const struct check_options options = {
		.store = u->net->options.store,
		.blobs = u->net->options.blobs,
		.report = found_cb,
		.canceled = found_canceled_cb,
		.user = &found,
	};
	int64_t began_ms = clock_mono_ms();
	struct check_result result;
	struct error_info info;
	int rc;

	found.lines = request_alloc(u->req, MAX_BATCH * sizeof(*found.lines));
	rc = found.lines ? check_store(&options, &result) : ERR_NO_MEMORY;
	if (rc < 0) {
		error_set(&info, rc, NULL, "%s%s%s", error_text(rc), rc == ERR_STORE_ERROR ? ": " : "",
			  rc == ERR_STORE_ERROR ? store_error_detail() : "");
		fail(u, &info);
		return;
	}
	encode_check(&found, &result, clock_mono_ms() - began_ms);
}

int upkeep_check(struct request *req, struct error_info *info)
{
	return start(req, run_check, info);
}

/* ---- the whole ---- */

void upkeep_cancel(struct upkeep *u, const struct session *s)
{
	if (u->req && u->req->session == s)
		atomic_store(&u->canceled, true);
}

int upkeep_new(struct net *net, struct upkeep **ret)
{
	struct upkeep *u = calloc(1, sizeof(*u));

	if (!u)
		return ERR_NO_MEMORY;
	u->net = net;
	u->done.take = done_cb;
	*ret = u;
	return 0;
}

void upkeep_free(struct upkeep *u)
{
	if (!u)
		return;
	assert(!u->req);
	free(u);
}
