#include "response.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "proto/base/clean.h"
#include "proto/base/log.h"
#include "proto/error.h"
#include "server/http/problem.h"
#include "server/store/store.h"

static const char *const common_headers[][2] = {
	{ "X-Content-Type-Options", "nosniff" },
	{ "Referrer-Policy", "no-referrer" },
	{ "X-Robots-Tag", "noindex" },
};

bool response_header(struct MHD_Response *r, const char *name, const char *value)
{
	return r && MHD_add_response_header(r, name, value) == MHD_YES;
}

/* Adds what every answer bears; gives the response up where that fails. */
static struct MHD_Response *dress(struct MHD_Response *r, const char *content_type)
{
	bool fine = r != NULL;

	for (size_t i = 0; fine && i < ARRAY_SIZE(common_headers); i++)
		fine = response_header(r, common_headers[i][0], common_headers[i][1]);
	if (fine && content_type)
		fine = response_header(r, "Content-Type", content_type);
	if (fine)
		return r;
	if (r)
		MHD_destroy_response(r);
	return NULL;
}

struct MHD_Response *response_new(struct buf *b, const char *content_type)
{
	struct MHD_Response *r;

	if (buf_error(b))
		return NULL;
	if (b->size == 0)
		return dress(MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT), content_type);
	r = MHD_create_response_from_buffer(b->size, b->data, MHD_RESPMEM_MUST_FREE);
	if (!r)
		return NULL;
	b->data = NULL;
	b->size = b->capacity = 0;
	return dress(r, content_type);
}

struct MHD_Response *response_empty(void)
{
	return dress(MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT), NULL);
}

struct MHD_Response *response_typed_empty(const char *content_type)
{
	return dress(MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT), content_type);
}

int response_write_head(struct buf *out, unsigned status, const char *content_type)
{
	time_t now = time(NULL);
	struct tm utc;
	char date[40];

	gmtime_r(&now, &utc);
	strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", &utc);
	buf_printf(out, "HTTP/1.1 %u %s\r\nDate: %s\r\nContent-Type: %s\r\n", status, MHD_get_reason_phrase_for(status),
		   date, content_type);
	for (size_t i = 0; i < ARRAY_SIZE(common_headers); i++)
		buf_printf(out, "%s: %s\r\n", common_headers[i][0], common_headers[i][1]);
	return buf_error(out);
}

static ssize_t no_bytes_cb(void *user, uint64_t offset, char *room, size_t size)
{
	(void)user;
	(void)offset;
	(void)room;
	(void)size;
	return MHD_CONTENT_READER_END_WITH_ERROR;
}

struct MHD_Response *response_not_modified(int64_t size)
{
	/* Of an empty one the library would say that the length is 0, and a cache might believe that of the body that
	 * it has. The body of this one is never asked for. */
	return dress(MHD_create_response_from_callback((uint64_t)size, 1, no_bytes_cb, NULL, NULL), NULL);
}

/* ---- files ---- */

/* Of a file, beginning at a page. */
struct piece {
	char *data;
	size_t size;
};

static void piece_free_cb(void *user)
{
	struct piece *p = user;

	if (p->data)
		munmap(p->data, p->size);
	free(p);
}

static struct piece *map_piece(int fd, int64_t from, int64_t size)
{
	struct piece *p = calloc(1, sizeof(*p));
	void *data = p ? mmap(NULL, (size_t)size, PROT_READ, MAP_SHARED, fd, from) : MAP_FAILED;

	if (data == MAP_FAILED) {
		free(p);
		return NULL;
	}
	p->data = data;
	p->size = (size_t)size;
	return p;
}

/* NULL where it cannot be mapped. Only the library reads it, by a system call: what the disk does not give back is an
 * error of that call and ends the connection, no signal. */
static struct MHD_Response *mapped(int fd, int64_t offset, int64_t length)
{
	int64_t skip = offset % sysconf(_SC_PAGESIZE);
	struct piece *p = map_piece(fd, offset - skip, skip + length);
	struct MHD_Response *r;

	if (!p)
		return NULL;
	r = MHD_create_response_from_buffer_with_free_callback_cls((size_t)length, p->data + skip, piece_free_cb, p);
	if (!r)
		piece_free_cb(p);
	return r;
}

/* From a file the library sends the head by itself, which wakes the reader for nothing, and then no more than 128 KiB a
 * turn. From memory it sends head and body at once, as far as the socket takes them: a piece that fits in there is
 * cheaper to copy. What is larger is sent from the file, with no copy and no pages mapped for each who reads slowly. */
struct MHD_Response *response_file(int fd, int64_t offset, int64_t length, const char *content_type)
{
	struct MHD_Response *r = length <= RESPONSE_MAPPED_MAX ? mapped(fd, offset, length) : NULL;
	bool keeps_fd = !r;

	if (!r)
		r = MHD_create_response_from_fd_at_offset64((uint64_t)length, fd, (uint64_t)offset);
	if (!r || !keeps_fd)
		close(fd);
	return dress(r, content_type);
}

/* ---- sending ---- */

enum MHD_Result response_send(struct MHD_Connection *c, unsigned status, struct MHD_Response *r)
{
	enum MHD_Result result;

	if (!r)
		return MHD_NO;
	result = MHD_queue_response(c, status, r);
	MHD_destroy_response(r);
	return result;
}

struct MHD_Response *response_problem(unsigned status, const char *code, const char *detail)
{
	struct error_info info;

	error_set(&info, error_from_name(slice_str(code)), NULL, "%s", detail ? detail : "");
	return problem_new(status, &info);
}

enum MHD_Result response_refuse(struct MHD_Connection *c, unsigned status, const char *code, const char *detail)
{
	return response_send(c, status, response_problem(status, code, detail));
}

unsigned response_status_of(int rc)
{
	switch (rc) {
	case ERR_NOT_FOUND:
		return MHD_HTTP_NOT_FOUND;
	case ERR_GONE:
		return MHD_HTTP_GONE;
	case ERR_STORE_ERROR:
	case ERR_DAMAGED:
	case ERR_STORE_FULL:
	case ERR_NO_MEMORY:
	case ERR_SHUTTING_DOWN:
	case ERR_THROTTLED:
		return MHD_HTTP_SERVICE_UNAVAILABLE;
	default:
		return MHD_HTTP_INTERNAL_SERVER_ERROR;
	}
}

void response_log_failure(int rc)
{
	static struct log_pause failures;
	const char *detail = rc == ERR_IO ? strerror(errno) : rc == ERR_STORE_ERROR ? store_error_detail() : "";
	struct log_unsaid unsaid;

	if (error_on_wire(rc) == ERR_STORE_ERROR && log_after_pause(&failures, &unsaid))
		log_error("an HTTP request failed: %s%s%s%s", error_text(rc), detail[0] ? ": " : "", detail,
			  unsaid.text);
}

enum MHD_Result response_error(struct MHD_Connection *c, int rc)
{
	unsigned status = response_status_of(rc);
	struct MHD_Response *r;

	response_log_failure(rc);
	r = response_problem(status, error_name(error_on_wire(rc)), error_text(rc));
	return response_send(c, status, r);
}

const char *request_header(struct MHD_Connection *c, const char *name)
{
	return MHD_lookup_connection_value(c, MHD_HEADER_KIND, name);
}
