/* The live page has a nonce for its style and its script, drawn anew for each rendering, which all who look within a
 * moment share. That is as good as one for each answer: what a stranger could smuggle into the page would have to be in
 * what is rendered, before its nonce is drawn. The fixed pages are
 * the same for all and hold nothing of anybody's: their nonce is drawn at the start. */
#include "link_page.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "proto/base/clean.h"
#include "proto/base/text.h"
#include "proto/error.h"
#include "server/http/board.h"
#include "server/http/media_type.h"
#include "server/http/page_html.h"
#include "server/http/path.h"
#include "server/http/picture_size.h"
#include "server/http/response.h"
#include "server/http/site.h"
#include "server/http/visit.h"
#include "server/store/blob.h"

#define NONCE_BYTES	 16
#define POLICY_BYTES	 512
#define PAGE_USUAL_BYTES 8192 /* taken at once rather than by and by */
#define POLICY_REST                                                                                   \
	"img-src 'self'; media-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; " \
	"frame-ancestors 'none'"

struct nonce {
	char text[BASE64URL_SIZE(NONCE_BYTES) + 1];
};

static int nonce_make(struct nonce *ret)
{
	uint8_t random[NONCE_BYTES];

	if (gnutls_rnd(GNUTLS_RND_NONCE, random, sizeof(random)) < 0)
		return ERR_INTERNAL;
	base64url_encode(random, sizeof(random), ret->text);
	ret->text[sizeof(ret->text) - 1] = '\0';
	return 0;
}

static struct MHD_Response *dress(struct buf *body, const struct nonce *nonce)
{
	struct MHD_Response *response = response_new(body, "text/html; charset=utf-8");
	char policy[POLICY_BYTES];

	snprintf(policy, sizeof(policy),
		 "default-src 'none'; style-src 'nonce-%s'; script-src 'nonce-%s'; " POLICY_REST, nonce->text,
		 nonce->text);
	response_header(response, "Content-Security-Policy", policy);
	response_header(response, "Cache-Control", "private, no-cache");
	response_header(response, "Cross-Origin-Opener-Policy", "same-origin");
	return response;
}

static enum MHD_Result send_fixed(const struct request *r, int rc)
{
	const struct fixed_answers *fixed = &r->site->fixed;
	unsigned status = response_status_of(rc);
	struct MHD_Response *response = status == MHD_HTTP_NOT_FOUND ? fixed->unknown_page
					: status == MHD_HTTP_GONE    ? fixed->gone_page
								     : fixed->broken_page;

	response_log_failure(rc);
	return MHD_queue_response(r->connection, status, response);
}

enum MHD_Result link_page_serve(const struct request *r)
{
	_cleanup_(posting_releasep) struct posting *p = NULL;
	int rc = board_get(r, BOARD_PAGE, &p);

	return rc < 0 ? send_fixed(r, rc) : MHD_queue_response(r->connection, p->status, p->answer);
}

/* All addresses within the page are relative to where it stands without the slash. Nothing is looked up, so that this
 * says nothing of whether there is such a link. */
enum MHD_Result link_page_serve_slash(const struct request *r)
{
	struct MHD_Response *response;
	char location[PATH_PART_BYTES + 3];

	if (!name_valid(slice_str(r->token)))
		return send_fixed(r, ERR_NOT_FOUND);
	snprintf(location, sizeof(location), "../%s", r->token);
	response = response_empty();
	response_header(response, "Location", location);
	return response_send(r->connection, MHD_HTTP_PERMANENT_REDIRECT, response);
}

/* ---- what the media are ---- */

static void read_head(int fd, struct buf *head, size_t most)
{
	uint8_t *room;
	ssize_t n;

	if (buf_reserve(head, most - head->size, &room) < 0)
		return;
	n = pread(fd, room, most - head->size, (off_t)head->size);
	if (n > 0)
		buf_commit(head, (size_t)n);
}

/* The first bytes of an artifact, or all of them: as many as tell what it is, of a picture how large.
 *
 * Of a file they are read while the visit's transaction is open, which keeps pages from being used again that a commit
 * gives free meanwhile. That is no more than the store's disk does to each commit: measured on one disk, 64 KiB take
 * 15 µs from the page cache and 0.3 ms from the disk, where a commit takes 0.2 to 4 ms; and with eight readers who each
 * hold one transaction after the other for 0.4 ms, the store's file is not a tenth larger after 1500 commits, nor half
 * as large again where they hold it for 5 ms. So no page looks its job up twice to spare that. */
static void read_first(const struct site *site, const struct artifact *a, bool picture, struct buf *head)
{
	struct picture_size size;
	int64_t whole;
	int fd;

	if (!a->has_blob) {
		buf_append(head, a->data.data, a->data.size < PICTURE_MOST_BYTES ? a->data.size : PICTURE_MOST_BYTES);
		return;
	}
	if (blob_open(site->blobs, &a->blob, &fd, &whole) < 0)
		return;
	read_head(fd, head, PICTURE_HEAD_BYTES);
	if (picture && whole > PICTURE_HEAD_BYTES && !picture_size_read(buf_slice(head), &size))
		read_head(fd, head, PICTURE_MOST_BYTES);
	close(fd);
}

static bool is_picture(const struct msg_artifact *said)
{
	const struct media_type *type = said ? media_type_find(said->content_type) : NULL;

	return type && type->class == MEDIA_IMAGE;
}

/* Who brought it said what it is, and is not believed. One that cannot be read makes no difference. */
static void look_at(const struct request *r, const struct visit *v, const struct msg_artifact *said, bool *ret_lies,
		    struct picture_size *ret_size)
{
	const struct media_type *type = said ? media_type_find(said->content_type) : NULL;
	_cleanup_(buf_done) struct buf head;
	struct artifact a;

	buf_init(&head, PICTURE_MOST_BYTES);
	if (!type || view_artifact(v->txn, &v->id, said->name, &a) < 0)
		return;
	read_first(r->site, &a, type->class == MEDIA_IMAGE, &head);
	*ret_lies = head.size > 0 && !media_type_agrees(type, buf_slice(&head));
	if (!*ret_lies && type->class == MEDIA_IMAGE)
		(void)picture_size_read(buf_slice(&head), ret_size);
}

/* ---- the page of a job ---- */

static int write_page(const struct request *r, const struct visit *v, const struct nonce *nonce, struct buf *body)
{
	struct page_content content = {
		.page = &r->site->page,
		.job = &v->job.job,
		.preview = v->preview,
		.result = v->result,
		.token = r->token,
		.nonce = nonce->text,
		.now_ms = v->now_ms,
	};
	struct picture_size result = { 0 };

	look_at(r, v, v->preview, &content.preview_lies, &content.size);
	look_at(r, v, v->result, &content.result_lies, &result);
	/* A result that is a picture is what is shown, in the still's place: that is not its size, where its own is not
	 * known. */
	if (is_picture(v->result) && !content.result_lies)
		content.size = result;
	return page_html_job(body, &content);
}

int link_page_post(const struct request *r, const struct visit *v, struct posting *p)
{
	_cleanup_(buf_done) struct buf body;
	struct nonce nonce;
	uint8_t *room;
	int rc;

	buf_init(&body, PAGE_MAX_BYTES);
	rc = buf_reserve(&body, PAGE_USUAL_BYTES, &room);
	if (rc == 0)
		rc = nonce_make(&nonce);
	if (rc == 0)
		rc = write_page(r, v, &nonce, &body);
	if (rc < 0)
		return rc;
	p->status = MHD_HTTP_OK;
	p->answer = dress(&body, &nonce);
	return p->answer ? 0 : ERR_NO_MEMORY;
}

/* ---- fixed pages ---- */

static int make_notice(const struct page_settings *page, const struct nonce *nonce, enum page_text headline,
		       enum page_text detail, struct MHD_Response **ret)
{
	_cleanup_(buf_done) struct buf body;
	int rc;

	buf_init(&body, PAGE_MAX_BYTES);
	rc = page_html_notice(&body, page, nonce->text, headline, detail);
	if (rc < 0)
		return rc;
	*ret = dress(&body, nonce);
	return *ret ? 0 : ERR_NO_MEMORY;
}

int link_page_make_fixed(struct site *site)
{
	struct fixed_answers *fixed = &site->fixed;
	const struct page_settings *page = &site->page;
	struct nonce nonce;
	int rc;

	rc = nonce_make(&nonce);
	if (rc < 0)
		return rc;
	rc = make_notice(page, &nonce, PAGE_TEXT_unknown, PAGE_TEXT_unknown_detail, &fixed->unknown_page);
	if (rc == 0)
		rc = make_notice(page, &nonce, PAGE_TEXT_gone, PAGE_TEXT_gone_detail, &fixed->gone_page);
	if (rc == 0)
		rc = make_notice(page, &nonce, PAGE_TEXT_broken, PAGE_TEXT_broken_detail, &fixed->broken_page);
	if (rc == 0 && !response_header(fixed->broken_page, "Retry-After", "5"))
		rc = ERR_NO_MEMORY;
	if (rc < 0)
		link_page_free_fixed(site);
	return rc;
}

void link_page_free_fixed(struct site *site)
{
	struct MHD_Response **all[] = { &site->fixed.unknown_page, &site->fixed.gone_page, &site->fixed.broken_page };

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		if (*all[i])
			MHD_destroy_response(*all[i]);
		*all[i] = NULL;
	}
}
