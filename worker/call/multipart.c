#include "worker/call/multipart.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/buf.h"
#include "proto/base/clean.h"
#include "proto/base/text.h"
#include "proto/error.h"
#include "worker/call/data_url.h"
#include "worker/config/template.h"
#include "worker/config/upstream.h"

#define BODY_MAX  (256 << 20)
#define VALUE_MAX (64 << 20)

/* Random, so that no part can hold it. */
struct boundary {
	char text[33];
};

static int draw_boundary(struct boundary *ret)
{
	uint8_t bytes[16];

	if (gnutls_rnd(GNUTLS_RND_NONCE, bytes, sizeof(bytes)) < 0)
		return ERR_INTERNAL;
	hex_encode(bytes, sizeof(bytes), ret->text);
	ret->text[32] = '\0';
	return 0;
}

/* A name in quotes: of what could end it the quote is encoded as browsers do, and the rest was refused at start. */
static void append_name(struct buf *out, const char *key, const char *name)
{
	buf_printf(out, "; %s=\"", key);
	for (; *name; name++)
		buf_printf(out, *name == '"' ? "%%22" : "%c", *name);
	buf_append_str(out, "\"");
}

/* What a payload says of its type must not begin a line of its own. */
static int check_type(const struct upstream_part *p, const char *type, struct error_info *info)
{
	for (const char *c = type; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			return error_set(info, ERR_BAD_REQUEST, p->name,
					 "the type of the file of the part \"%s\" holds control characters", p->name);
	return 0;
}

static void append_head(struct buf *out, const struct boundary *b, const struct upstream_part *p, const char *type)
{
	buf_printf(out, "--%s\r\nContent-Disposition: form-data", b->text);
	append_name(out, "name", p->name);
	if (p->file) {
		append_name(out, "filename", p->filename ? p->filename : p->name);
		buf_printf(out, "\r\nContent-Type: %s", type);
	}
	buf_append_str(out, "\r\n\r\n");
}

static void append_data(struct buf *out, struct data_url *data, bool masked)
{
	struct slice piece;

	if (masked) {
		buf_printf(out, "(%lld bytes)", (long long)data_url_size(data));
		return;
	}
	while (data_url_next(data, &piece)) {
		buf_append(out, piece.data, piece.size);
		data_url_take(data, piece.size);
	}
}

/* The text of a file: a data: URL, or base64 with or without blanks and line breaks. */
static int parse_file(const struct upstream_part *p, const char *text, struct data_url **ret_data,
		      struct error_info *info)
{
	static const char prefix[] = "data:application/octet-stream;base64,";
	_cleanup_free_ char *url = NULL;
	size_t n;
	int rc;

	if (strncmp(text, "data:", 5) == 0) {
		rc = data_url_parse(text, ret_data);
	} else {
		url = malloc(sizeof(prefix) + strlen(text));
		if (!url)
			return ERR_NO_MEMORY;
		n = strlen(strcpy(url, prefix));
		for (; *text; text++)
			if (!strchr(" \t\r\n", *text))
				url[n++] = *text;
		url[n] = '\0';
		rc = n + 1 == sizeof(prefix) ? ERR_BAD_REQUEST : data_url_parse(url, ret_data);
	}
	if (rc != ERR_BAD_REQUEST)
		return rc;
	return error_set(info, rc, p->name, "the file of the part \"%s\" is neither base64 nor a data: URL", p->name);
}

static int append_payload(struct buf *out, const struct boundary *b, const struct upstream_part *p,
			  const struct template_values *v, const char *content_type, struct error_info *info)
{
	const char *type = p->type ? p->type : content_type ? content_type : "application/octet-stream";
	int rc = check_type(p, type, info);

	if (rc < 0)
		return rc;
	append_head(out, b, p, type);
	if (v->mask_secrets)
		buf_printf(out, "(%zu bytes)", v->payload.size);
	else
		buf_append(out, v->payload.data, v->payload.size);
	return buf_append_str(out, "\r\n");
}

static int append_file(struct buf *out, const struct boundary *b, const struct upstream_part *p, const char *text,
		       bool masked, struct error_info *info)
{
	struct data_url *data = NULL;
	const char *type;
	int rc = parse_file(p, text, &data, info);

	if (rc < 0)
		return rc;
	type = p->type ? p->type : data_url_type(data);
	rc = check_type(p, type, info);
	if (rc == 0) {
		append_head(out, b, p, type);
		append_data(out, data, masked);
		rc = buf_append_str(out, "\r\n");
	}
	data_url_free(data);
	return rc;
}

static int append_part(struct buf *out, const struct boundary *b, const struct upstream_part *p,
		       const struct template_values *v, const char *content_type, struct error_info *info)
{
	_cleanup_(buf_done) struct buf text;
	struct error_info missing = { .code = 0 };
	int rc;

	buf_init(&text, VALUE_MAX);
	if (p->file && strcmp(p->file, "{payload}") == 0)
		return append_payload(out, b, p, v, content_type, info);
	rc = template_fill(slice_str(p->value ? p->value : p->file), v, TEMPLATE_TEXT, &text, &missing);
	if (rc == ERR_NOT_FOUND && p->optional)
		return 0;
	if (rc < 0) {
		*info = missing;
		return rc;
	}
	rc = buf_append(&text, "", 1);
	if (rc < 0)
		return rc;
	if (p->file)
		return append_file(out, b, p, (const char *)text.data, v->mask_secrets, info);
	append_head(out, b, p, NULL);
	buf_append(out, text.data, text.size - 1);
	return buf_append_str(out, "\r\n");
}

int multipart_make(const struct upstream_submit *s, const struct template_values *values, const char *content_type,
		   char ret_type[static MULTIPART_TYPE_SIZE], char **ret_body, size_t *ret_size,
		   struct error_info *info)
{
	_cleanup_(buf_done) struct buf out;
	struct boundary b;
	int rc;

	buf_init(&out, BODY_MAX);
	rc = draw_boundary(&b);
	for (size_t i = 0; rc == 0 && i < s->part_count; i++)
		rc = append_part(&out, &b, &s->parts[i], values, content_type, info);
	if (rc == 0)
		rc = buf_printf(&out, "--%s--\r\n", b.text);
	if (rc < 0)
		return rc;
	snprintf(ret_type, MULTIPART_TYPE_SIZE, "multipart/form-data; boundary=%s", b.text);
	*ret_body = (char *)out.data;
	*ret_size = out.size;
	out.data = NULL;
	return 0;
}
