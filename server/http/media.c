/* 1. In the read transaction: find the artifact; open its file, or copy its bytes where they are in the map; judge its
 *    type by the first of them.
 * 2. Outside: answer conditions, choose the range, hand the file over to be sent.
 *
 * Nothing of an artifact is trusted: see media_type.h; and none may act on a visitor's behalf should a browser ever
 * take it for a document: it gets a sandbox with nothing in it. */
#include "media.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/base/clean.h"
#include "proto/base/text.h"
#include "server/http/conditions.h"
#include "server/http/file_name.h"
#include "server/http/guests.h"
#include "server/http/media_type.h"
#include "server/http/media_url.h"
#include "server/http/response.h"
#include "server/http/site.h"
#include "server/http/visit.h"
#include "server/store/blob.h"

#define INLINE_MAX (16 << 20) /* far above what the store keeps in the map */

/* What is to be sent, free of the transaction. */
struct media {
	int fd; /* of the blob; −1: the bytes are in data */
	struct buf data;
	int64_t size;
	bool final;		       /* it can never be another under this address */
	char tag[68];		       /* with its quotes */
	char title[256];	       /* for a file name; "" where there is none */
	const struct media_type *type; /* NULL: not to be shown */
	char own_type[256];	       /* what it came with, for programs; "" for visitors */
};

static void media_done(struct media *m)
{
	if (m->fd >= 0)
		close(m->fd);
	buf_done(&m->data);
}

/* ---- files ---- */

/* So that a crowd of downloads leaves descriptors to those who come. */
struct open_file {
	struct held held;
	struct site *site;
};

static void file_closed(struct held *h)
{
	struct open_file *f = CONTAINER_OF(h, struct open_file, held);

	atomic_fetch_add(&f->site->files, 1);
	free(f);
}

/* One of those that may be open, until the request is over. */
static int take_file(const struct request *r)
{
	struct open_file *f;

	if (guests_held(r->connection))
		return 0;
	if (atomic_fetch_sub(&r->site->files, 1) <= 0) {
		atomic_fetch_add(&r->site->files, 1);
		return ERR_THROTTLED;
	}
	f = calloc(1, sizeof(*f));
	if (!f || !guests_hold(r->connection, &f->held)) {
		atomic_fetch_add(&r->site->files, 1);
		free(f);
		return ERR_NO_MEMORY;
	}
	f->held.end = file_closed;
	f->site = r->site;
	return 0;
}

/* ---- finding ---- */

static int open_bytes(const struct request *r, const struct artifact *a, struct media *m)
{
	int64_t size;
	int rc;

	if (!a->has_blob) {
		rc = buf_append(&m->data, a->data.data, a->data.size);
		return rc == 0 && (int64_t)a->data.size != a->size ? ERR_CORRUPT : rc;
	}
	rc = take_file(r);
	if (rc < 0)
		return rc;
	rc = blob_open(r->site->blobs, &a->blob, &m->fd, &size);
	if (rc < 0)
		return rc == ERR_NOT_FOUND ? ERR_GONE : rc; /* retention was quicker */
	return size == a->size ? 0 : ERR_CORRUPT;
}

static int first_bytes(const struct media *m, uint8_t room[MEDIA_SNIFF_BYTES], struct slice *ret)
{
	ssize_t n;

	if (m->fd < 0) {
		*ret = slice_of(m->data.data, m->data.size < MEDIA_SNIFF_BYTES ? m->data.size : MEDIA_SNIFF_BYTES);
		return 0;
	}
	n = pread(m->fd, room, MEDIA_SNIFF_BYTES, 0);
	if (n < 0)
		return ERR_IO;
	*ret = slice_of(room, (size_t)n);
	return 0;
}

static int judge_type(const struct artifact *a, struct media *m)
{
	uint8_t room[MEDIA_SNIFF_BYTES];
	struct slice first;
	int rc;

	m->type = media_type_find(a->content_type);
	if (!m->type)
		return 0;
	rc = first_bytes(m, room, &first);
	if (rc == 0 && !media_type_agrees(m->type, first))
		m->type = NULL;
	return rc;
}

/* A program is told what the worker said; a browser that comes there all the same gets a download. */
static void copy_type(const struct request *r, const struct artifact *a, struct media *m)
{
	if (r->job)
		snprintf(m->own_type, sizeof(m->own_type), "%.*s", SLICE_FMT(a->content_type));
}

static void copy_title(const struct msg_job *job, struct media *m)
{
	if (job->has_title)
		snprintf(m->title, sizeof(m->title), "%.*s", SLICE_FMT(job->title));
}

/* An address with the version in it is these bytes' for ever. */
static bool names_version(const struct request *r, const char *sha256)
{
	const char *v = MHD_lookup_connection_value(r->connection, MHD_GET_ARGUMENT_KIND, "v");

	return v && strlen(v) == MEDIA_VERSION_BYTES && strncmp(v, sha256, MEDIA_VERSION_BYTES) == 0;
}

static int take(const struct request *r, const struct visit *v, struct media *m)
{
	const struct msg_job *job = &v->job.job;
	struct artifact a;
	int rc;

	/* A result is published by the job's success, not by the bytes being there. */
	if (strcmp(r->name, "result") == 0 && !v->result)
		return ERR_NOT_FOUND;
	rc = view_artifact(v->txn, &v->id, slice_str(r->name), &a);
	if (rc == 0)
		rc = open_bytes(r, &a, m);
	if (rc == 0)
		rc = judge_type(&a, m);
	if (rc < 0)
		return rc;
	m->size = a.size;
	m->tag[0] = m->tag[65] = '"';
	hex_encode(a.sha256, sizeof(a.sha256), m->tag + 1);
	m->final = job->state == JOB_SUCCEEDED || names_version(r, m->tag + 1);
	copy_title(job, m);
	copy_type(r, &a, m);
	return 0;
}

static int find(const struct request *r, struct media *m)
{
	struct visit v;
	int rc;

	rc = visit_begin(r, &v);
	if (rc == 0)
		rc = take(r, &v, m);
	visit_end(&v);
	return rc;
}

/* ---- sending ---- */

/* Also of an answer without a body: what a cache may do with what it has. */
static void caching_headers(struct MHD_Response *response, const struct media *m)
{
	response_header(response, "ETag", m->tag);
	/* Private: the address is a secret of whoever holds it, and a shared cache would outlive its being revoked. */
	response_header(response, "Cache-Control",
			m->final ? "private, max-age=31536000, immutable" : "private, max-age=5");
}

static void disposition_header(const struct request *r, struct MHD_Response *response, const struct media *m)
{
	struct file_name name;
	bool asked = MHD_lookup_connection_value_n(r->connection, MHD_GET_ARGUMENT_KIND, "download", 8, NULL, NULL) ==
		     MHD_YES;

	if (m->type && !asked && !m->own_type[0])
		return;
	file_name_make(m->title, r->name, m->type ? m->type->extension : "bin", &name);
	response_header(response, "Content-Disposition", name.disposition);
}

static void media_headers(const struct request *r, struct MHD_Response *response, const struct media *m)
{
	caching_headers(response, m);
	disposition_header(r, response, m);
	response_header(response, "Accept-Ranges", "bytes");
	response_header(response, "Content-Security-Policy", "sandbox; default-src 'none'; media-src 'self'");
	response_header(response, "Cross-Origin-Resource-Policy", "same-site");
}

static int take_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

/* The bytes of range; the media gives up its file or its copy. */
static struct MHD_Response *body_of(struct media *m, const struct byte_range *range)
{
	const char *shown = m->type ? m->type->name : "application/octet-stream";
	const char *type = m->own_type[0] ? m->own_type : shown;
	int64_t length = range->last - range->first + 1;

	if (m->fd >= 0 && length > 0)
		return response_file(take_fd(&m->fd), range->first, length, type);
	buf_truncate(&m->data, (size_t)(range->last + 1));
	buf_consume(&m->data, (size_t)range->first);
	return response_new(&m->data, type);
}

static enum MHD_Result send_part(const struct request *r, struct media *m, const struct byte_range *range)
{
	struct MHD_Response *response;
	char text[80];

	snprintf(text, sizeof(text), "bytes %lld-%lld/%lld", (long long)range->first, (long long)range->last,
		 (long long)m->size);
	response = body_of(m, range);
	response_header(response, "Content-Range", text);
	media_headers(r, response, m);
	return response_send(r->connection, MHD_HTTP_PARTIAL_CONTENT, response);
}

static enum MHD_Result send_whole(const struct request *r, struct media *m)
{
	const struct byte_range all = { 0, m->size - 1 };
	struct MHD_Response *response = body_of(m, &all);

	media_headers(r, response, m);
	return response_send(r->connection, MHD_HTTP_OK, response);
}

static enum MHD_Result send_unsatisfiable(const struct request *r, const struct media *m)
{
	const unsigned status = MHD_HTTP_RANGE_NOT_SATISFIABLE;
	struct MHD_Response *response = response_problem(status, "bad_request", "the range lies past the end");
	char text[40];

	snprintf(text, sizeof(text), "bytes */%lld", (long long)m->size);
	response_header(response, "Content-Range", text);
	return response_send(r->connection, status, response);
}

static enum MHD_Result send_not_modified(const struct request *r, const struct media *m)
{
	struct MHD_Response *response = response_not_modified(m->size);

	caching_headers(response, m);
	return response_send(r->connection, MHD_HTTP_NOT_MODIFIED, response);
}

/* RFC 9110, section 13.2.2: in this order. */
static enum MHD_Result answer(const struct request *r, struct media *m)
{
	const char *if_match = request_header(r->connection, "If-Match");
	const char *if_range = request_header(r->connection, "If-Range");
	const char *range = r->head ? NULL : request_header(r->connection, "Range");
	struct byte_range part;

	if (if_match && !etag_match_strong(if_match, m->tag))
		return response_refuse(r->connection, MHD_HTTP_PRECONDITION_FAILED, "conflict", "it is another now");
	if (etag_match_weak(request_header(r->connection, "If-None-Match"), m->tag))
		return send_not_modified(r, m);
	/* A date in If-Range matches nothing: no moment of change is told. "*" is no tag there. */
	if (if_range && (if_range[0] != '"' || !etag_match_strong(if_range, m->tag)))
		range = NULL;
	switch (range_parse(range, m->size, &part)) {
	case RANGE_PART:
		return send_part(r, m, &part);
	case RANGE_UNSATISFIABLE:
		return send_unsatisfiable(r, m);
	default:
		return send_whole(r, m);
	}
}

enum MHD_Result media_serve(const struct request *r)
{
	_cleanup_(media_done) struct media m = { .fd = -1 };
	int rc;

	buf_init(&m.data, INLINE_MAX);
	rc = find(r, &m);
	return rc < 0 ? response_error(r->connection, rc) : answer(r, &m);
}
