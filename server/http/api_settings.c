#include "api_settings.h"

#include <ctype.h>
#include <microhttpd.h>
#include <msgpack/zone.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "proto/base/clean.h"
#include "proto/base/text.h"
#include "proto/messages_fields.h"
#include "proto/messages_text.h"
#include "server/http/form.h"
#include "server/http/media_type.h"
#include "server/http/response.h"

#define PREFIX "Raincheck-"

/* Fields that the request has another place for. */
static const struct {
	const char *field, *header, *words;
} elsewhere[] = {
	{ "queue", NULL, "stands in the path" },
	{ "payload", NULL, "is the body of the request" },
	{ "content_type", "Content-Type", "is the header Content-Type" },
	{ "idempotency_key", "Idempotency-Key", "is the header Idempotency-Key" },
	{ "traceparent", "traceparent", "is the header traceparent" },
	{ "preview", NULL, "is the part preview of a body of multipart/form-data" },
};

const char *api_settings_elsewhere(const char *field)
{
	size_t length = strcspn(field, ".");

	for (size_t i = 0; i < ARRAY_SIZE(elsewhere); i++)
		if (strlen(elsewhere[i].field) == length && memcmp(elsewhere[i].field, field, length) == 0)
			return elsewhere[i].words;
	return NULL;
}

struct reader {
	struct msgpack_zone *arena;
	struct error_info *info;
	bool is_form;
	int types; /* Content-Types of a form */
	struct field_text texts[MESSAGE_TEXTS_MAX];
	size_t count;
	int rc; /* of the first that was refused */
};

static int refuse(struct reader *r, const char *name, const char *what)
{
	/* What is not UTF-8 is made so there. */
	r->rc = error_set(r->info, ERR_BAD_REQUEST, name, "%s", what);
	return r->rc;
}

static char *copy(struct reader *r, const char *text, size_t size)
{
	char *room = msgpack_zone_malloc(r->arena, size + 1);

	if (!room) {
		r->rc = error_set(r->info, ERR_NO_MEMORY, NULL, "%s", error_text(ERR_NO_MEMORY));
		return NULL;
	}
	memcpy(room, text, size);
	room[size] = '\0';
	return room;
}

static void add(struct reader *r, struct slice path, struct slice value)
{
	if (r->count == MESSAGE_TEXTS_MAX) {
		r->rc = error_set(r->info, ERR_TOO_LARGE, NULL, "%d settings are allowed", MESSAGE_TEXTS_MAX);
		return;
	}
	r->texts[r->count++] = (struct field_text){ .path = path, .value = value };
}

/* ---- the query ---- */

/* Undoes %XX in place; what it comes to, or −1 for a bad escape. The library has made blanks of "+". */
static ptrdiff_t unescape(char *text, size_t size)
{
	size_t out = 0;

	for (size_t i = 0; i < size; i++, out++) {
		uint8_t c = (uint8_t)text[i];

		if (c == '%') {
			if (size - i < 3 || hex_decode(slice_of(text + i + 1, 2), &c, 1) < 0)
				return -1;
			i += 2;
		}
		text[out] = (char)c;
	}
	text[out] = '\0';
	return (ptrdiff_t)out;
}

static enum MHD_Result query_cb(void *user, enum MHD_ValueKind kind, const char *key, size_t key_size,
				const char *value, size_t value_size)
{
	struct reader *r = user;
	char *name = copy(r, key, key_size), *text = value ? copy(r, value, value_size) : NULL;
	ptrdiff_t name_size = name ? unescape(name, key_size) : -1;
	ptrdiff_t size = text ? unescape(text, value_size) : -1;

	(void)kind;
	if (r->rc < 0)
		return MHD_NO;
	if (name_size <= 0 || strlen(name) != (size_t)name_size)
		refuse(r, NULL, "a name in the query is empty or has an escape that is none");
	else if (!value)
		refuse(r, name, "has no value in the query");
	else if (size < 0)
		refuse(r, name, "has an escape that is none in the query");
	else if (api_settings_elsewhere(name))
		refuse(r, name, api_settings_elsewhere(name));
	else
		add(r, slice_str(name), slice_of(text, (size_t)size));
	return r->rc < 0 ? MHD_NO : MHD_YES;
}

/* ---- headers ---- */

/* True where name, all lower case with "_" for "-", begins with field and "_". */
static bool begins_with(const char *name, const char *field)
{
	size_t length = strlen(field);

	return strncmp(name, field, length) == 0 && name[length] == '_';
}

static bool has_field(const struct message *m, const char *name)
{
	struct field_info f;

	for (size_t i = 0; message_field(m, i, &f); i++)
		if (strcmp(f.name, name) == 0)
			return true;
	return false;
}

/* Turns "backoff_base_ms" into "backoff.base_ms", in place, and "metadata_a_b" into "metadata.a-b"; false where no such
 * field is. */
static bool find_path(char *name)
{
	struct field_info f;

	if (has_field(&MSG_job_put, name))
		return true;
	for (size_t i = 0; message_field(&MSG_job_put, i, &f); i++) {
		char *rest = name + strlen(f.name);

		if ((f.kind != FIELD_MESSAGE && f.kind != FIELD_PAIRS) || !begins_with(name, f.name))
			continue;
		if (f.kind == FIELD_MESSAGE && !has_field(f.sub, rest + 1))
			continue;
		*rest = '.';
		for (char *p = rest; f.kind == FIELD_PAIRS && *p; p++)
			if (*p == '_')
				*p = '-';
		return true;
	}
	return false;
}

static void read_setting(struct reader *r, const char *header, const char *value)
{
	char *name = copy(r, header + strlen(PREFIX), strlen(header + strlen(PREFIX)));

	for (char *p = name; p && *p; p++)
		*p = *p == '-' ? '_' : (char)tolower((unsigned char)*p);
	if (!name)
		return;
	if (!find_path(name))
		refuse(r, header, "there is no such setting");
	else if (api_settings_elsewhere(name))
		refuse(r, header, api_settings_elsewhere(name));
	else
		add(r, slice_str(name), slice_str(value));
}

/* The key may be a string of the structured field that the draft of the header says it is, or stand bare. */
static struct slice unquote(struct reader *r, const char *value)
{
	size_t size = strlen(value), out = 0;
	char *text;

	if (size < 2 || value[0] != '"' || value[size - 1] != '"')
		return slice_of(value, size);
	text = copy(r, value + 1, size - 2);
	for (size_t i = 0; text && i + 2 < size; i++) {
		if (text[i] == '\\' && i + 3 < size)
			i++;
		text[out++] = text[i];
	}
	return slice_of(text, out);
}

static enum MHD_Result header_cb(void *user, enum MHD_ValueKind kind, const char *header, const char *value)
{
	struct reader *r = user;

	(void)kind;
	if (!value)
		value = "";
	if (strncasecmp(header, PREFIX, strlen(PREFIX)) == 0)
		read_setting(r, header, value);
	for (size_t i = 0; i < ARRAY_SIZE(elsewhere); i++) {
		bool is_key = strcmp(elsewhere[i].field, "idempotency_key") == 0;

		/* Of a form its parts say what they are. */
		if (!elsewhere[i].header || strcasecmp(elsewhere[i].header, header) != 0)
			continue;
		if (r->is_form && strcmp(elsewhere[i].field, "content_type") == 0)
			r->types++;
		else
			add(r, slice_str(elsewhere[i].field), is_key ? unquote(r, value) : slice_str(value));
	}
	return r->rc < 0 ? MHD_NO : MHD_YES;
}

/* ---- a form ---- */

static bool is_part(const struct form_part *part, const char *name)
{
	return slice_is(part->name, name);
}

static void read_part(struct reader *r, const struct form_part *part)
{
	char *name;

	if (is_part(part, "preview"))
		return; /* see read_still() */
	if (is_part(part, "payload")) {
		add(r, part->name, part->data);
		if (part->content_type.size > 0)
			add(r, slice_str("content_type"), part->content_type);
		return;
	}
	name = copy(r, part->name.data, part->name.size);
	if (name && strcmp(name, "content_type") == 0)
		refuse(r, name, "is the Content-Type of the part payload");
	else if (name && api_settings_elsewhere(name))
		refuse(r, name, api_settings_elsewhere(name));
	else if (name)
		add(r, part->name, part->data);
}

static const struct form_part *find_part(const struct form *form, const char *name)
{
	for (size_t i = 0; i < form->count; i++)
		if (is_part(&form->parts[i], name))
			return &form->parts[i];
	return NULL;
}

static void read_parts(struct reader *r, const struct form *form)
{
	if (form->count > 0 && !find_part(form, "payload"))
		refuse(r, "payload", "the form has no such part");
	for (size_t i = 0; i < form->count && r->rc == 0; i++)
		read_part(r, &form->parts[i]);
}

/* A still is judged here, where its sender is told: on a page nothing would be shown of one that is none. Its type is
 * what it says, or what its bytes are where it says nothing of worth. */
static int read_still(const struct form *form, struct msg_job_put *ret, struct error_info *info)
{
	const struct form_part *part = find_part(form, "preview");
	const struct media_type *type;

	if (!part)
		return 0;
	for (const struct form_part *other = part + 1; other < form->parts + form->count; other++)
		if (is_part(other, "preview"))
			return error_set(info, ERR_BAD_REQUEST, "preview", "is there twice");
	if (part->content_type.size == 0 || slice_is(part->content_type, "application/octet-stream"))
		type = media_type_of_picture(part->data);
	else
		type = media_type_find(part->content_type);
	if (!type || type->class != MEDIA_IMAGE || !media_type_agrees(type, part->data))
		return error_set(info, ERR_BAD_REQUEST, "preview",
				 "must be a picture (JPEG, PNG, WebP, GIF, AVIF), and of the type that it says");
	ret->has_preview = true;
	ret->preview = (struct msg_media){
		.has_content_type = true,
		.content_type = slice_str(type->name),
		.has_data = true,
		.data = part->data,
	};
	return 0;
}

/* ---- all ---- */

static int read_all(struct reader *r, struct MHD_Connection *c, const char *queue, const struct form *form)
{
	add(r, slice_str("queue"), slice_str(queue));
	if (!form || form->count == 0)
		add(r, slice_str("payload"), slice_of("", 0));
	MHD_get_connection_values(c, MHD_HEADER_KIND, header_cb, r);
	if (r->types > 1)
		refuse(r, "Content-Type", "is there twice");
	if (r->rc == 0)
		MHD_get_connection_values_n(c, MHD_GET_ARGUMENT_KIND, query_cb, r);
	if (r->rc == 0 && form)
		read_parts(r, form);
	return r->rc;
}

int api_settings_read(struct MHD_Connection *c, const char *queue, const struct form *form, struct msgpack_zone *arena,
		      struct msg_job_put *ret, struct error_info *info)
{
	struct reader *r = calloc(1, sizeof(*r));
	int rc;

	if (!r)
		return error_set(info, ERR_NO_MEMORY, NULL, "%s", error_text(ERR_NO_MEMORY));
	r->arena = arena;
	r->info = info;
	r->is_form = form != NULL;
	rc = read_all(r, c, queue, form);
	if (rc == 0)
		rc = message_decode_texts(&MSG_job_put, r->texts, r->count, arena, ret, info);
	if (rc == 0 && form)
		rc = read_still(form, ret, info);
	free(r);
	return rc;
}

int api_settings_wait(struct MHD_Connection *c, int most)
{
	const char *prefer = request_header(c, "Prefer");

	/* What a preference has behind it (";") does not matter here, and one that cannot be read is none. */
	while (prefer && *prefer) {
		prefer += strspn(prefer, " \t,");
		if (strncasecmp(prefer, "wait", 4) == 0) {
			const char *p = prefer + 4 + strspn(prefer + 4, " \t");
			size_t digits;

			p += *p == '=' ? 1 + strspn(p + 1, " \t\"") : 0;
			digits = strspn(p, "0123456789");
			if (digits > 0 && p > prefer + 4)
				return digits > 4 || atoi(p) > most ? most : atoi(p);
		}
		prefer += strcspn(prefer, ",");
	}
	return 0;
}
