/* Artifacts from a handler's thread: whole where they are small, else in pieces. The broker forgets an upload when the
 * connection breaks: then it begins again from the front.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/base/clean.h"
#include "runner_priv.h"

#define PIECE_BYTES  262144
#define RESTARTS_MAX 20

/* Where the bytes come from: memory, or a file. */
struct source {
	const char *data; /* NULL: fd */
	size_t size;	  /* of data */
	int fd;
	off_t base; /* where the file stood; −1: it cannot seek, and is read once */
};

struct artifact {
	struct raincheck_work *work;
	const char *name, *content_type;
	struct source source;
	char upload[RAINCHECK_TOKEN_SIZE];
};

/* Up to size bytes from offset on, in *ret_data (room, or in the source); fewer only at the end. */
static int read_source(const struct source *s, int64_t offset, char *room, size_t size, struct raincheck_bytes *ret)
{
	size_t used = 0;
	ssize_t n = 1;

	if (s->data) {
		used = s->size - (size_t)offset < size ? s->size - (size_t)offset : size;
		*ret = (struct raincheck_bytes){ s->data + offset, used };
		return 0;
	}
	while (used < size && n != 0) {
		n = s->base < 0 ? read(s->fd, room + used, size - used)
				: pread(s->fd, room + used, size - used, s->base + offset + (off_t)used);
		if (n < 0 && errno != EINTR)
			return RAINCHECK_EIO;
		used += n > 0 ? (size_t)n : 0;
	}
	*ret = (struct raincheck_bytes){ room, used };
	return 0;
}

/* ---- errands ---- */

static int start_put(struct raincheck *rc, const void *params, raincheck_cb cb, void *user)
{
	return raincheck_artifact_put_async(rc, params, cb, user);
}

static int start_begin(struct raincheck *rc, const void *params, raincheck_cb cb, void *user)
{
	return raincheck_artifact_begin_async(rc, params, cb, user);
}

static int start_write(struct raincheck *rc, const void *params, raincheck_cb cb, void *user)
{
	return raincheck_artifact_write_async(rc, params, cb, user);
}

static int start_commit(struct raincheck *rc, const void *params, raincheck_cb cb, void *user)
{
	return raincheck_artifact_commit_async(rc, params, cb, user);
}

static void keep_upload(const struct raincheck_reply *reply, void *ret)
{
	memcpy(ret, reply->upload->upload, RAINCHECK_TOKEN_SIZE);
}

static int put_whole(struct artifact *a, struct raincheck_bytes data)
{
	const struct raincheck_leased_job *job = a->work->job;
	struct raincheck_artifact_put put = { job->id, job->lease, a->name, a->content_type, data };
	struct errand e = { .start = start_put, .params = &put };

	return work_ask(a->work, &e);
}

static int begin(struct artifact *a)
{
	const struct raincheck_leased_job *job = a->work->job;
	struct raincheck_artifact_begin params = {
		.id = job->id, .lease = job->lease, .name = a->name, .content_type = a->content_type
	};
	struct errand e = { .start = start_begin, .params = &params, .keep = keep_upload, .ret = a->upload };

	return work_ask(a->work, &e);
}

static int write_piece(struct artifact *a, int64_t offset, struct raincheck_bytes data)
{
	struct raincheck_artifact_write params = { .upload = a->upload, .offset = offset, .data = data };
	struct errand e = { .start = start_write, .params = &params, .of_upload = true };

	return work_ask_once(a->work, &e);
}

static int commit(struct artifact *a)
{
	struct raincheck_artifact_commit params = { .upload = a->upload };
	struct errand e = { .start = start_commit, .params = &params, .of_upload = true };

	return work_ask_once(a->work, &e);
}

/* ---- storing ---- */

/* first is what was read already, a whole piece. */
static int store_once(struct artifact *a, char *room, struct raincheck_bytes first)
{
	struct raincheck_bytes piece = first;
	int64_t offset = 0;
	int rc = begin(a);

	while (rc == 0 && piece.size > 0) {
		rc = write_piece(a, offset, piece);
		offset += (int64_t)piece.size;
		if (rc == 0)
			rc = read_source(&a->source, offset, room, PIECE_BYTES, &piece);
	}
	return rc < 0 ? rc : commit(a);
}

/* The upload as the broker knew it is gone; these are what it says of one that it does not know. */
static bool upload_lost(int code)
{
	return code == RAINCHECK_ENO_CONNECTION || code == RAINCHECK_ETIMED_OUT || code == RAINCHECK_ENOT_FOUND ||
	       code == RAINCHECK_EGONE || code == RAINCHECK_ESHUTTING_DOWN || code == RAINCHECK_ETHROTTLED;
}

static int store(struct artifact *a)
{
	_cleanup_free_ char *room = malloc(PIECE_BYTES);
	struct raincheck_bytes first;
	int rc = room ? read_source(&a->source, 0, room, PIECE_BYTES, &first) : RAINCHECK_ENO_MEMORY;

	if (rc < 0)
		return rc;
	if (first.size < PIECE_BYTES)
		return put_whole(a, first);
	rc = store_once(a, room, first);
	for (int i = 0; i < RESTARTS_MAX && upload_lost(rc) && (a->source.data || a->source.base >= 0); i++) {
		if (raincheck_work_canceled(a->work))
			return RAINCHECK_ECANCELED;
		rc = read_source(&a->source, 0, room, PIECE_BYTES, &first);
		if (rc == 0)
			rc = store_once(a, room, first);
	}
	return rc;
}

int raincheck_work_artifact(struct raincheck_work *w, const char *name, const char *content_type, const void *data,
			    size_t size)
{
	struct artifact a = {
		.work = w,
		.name = name,
		.content_type = content_type,
		.source = { .data = data ? data : "", .size = size, .fd = -1 },
	};

	return store(&a);
}

int raincheck_work_artifact_file(struct raincheck_work *w, const char *name, const char *content_type, int fd)
{
	struct artifact a = {
		.work = w,
		.name = name,
		.content_type = content_type,
		.source = { .fd = fd, .base = lseek(fd, 0, SEEK_CUR) },
	};

	return store(&a);
}
