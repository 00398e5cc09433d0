/* A boundary stands in the body as a line "--BOUNDARY" of its own: before each part, and with "--" behind it after the
 * last. The line break before it belongs to it and not to the part. What stands before the first and after the last is
 * nothing. */
#include "form.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "proto/error.h"

#define MEDIA_TYPE "multipart/form-data"

/* ---- small pieces of text ---- */

/* How many bytes at the beginning are of the set, or are not. */
static size_t span(struct slice s, const char *set, bool of_it)
{
	const char *p = s.data;
	size_t n = 0;

	while (n < s.size && (p[n] != '\0' && strchr(set, p[n]) != NULL) == of_it)
		n++;
	return n;
}

static struct slice skip(struct slice s, size_t n)
{
	return slice_of((const char *)s.data + n, s.size - n);
}

static struct slice head_of(struct slice s, size_t n)
{
	return slice_of(s.data, n);
}

static struct slice trim(struct slice s)
{
	const char *p;

	s = skip(s, span(s, " \t", true));
	p = s.data;
	while (s.size > 0 && (p[s.size - 1] == ' ' || p[s.size - 1] == '\t'))
		s.size--;
	return s;
}

static bool is_word(struct slice s, const char *word)
{
	return s.size == strlen(word) && strncasecmp(s.data, word, s.size) == 0;
}

/* ---- parameters: ; name=value; other="quoted \" value" ---- */

/* A quoted value without its quotation marks, its escapes as they stand. False where it does not end. */
static bool take_quoted(struct slice *rest, struct slice *ret)
{
	const char *p = rest->data;

	for (size_t i = 1; i < rest->size; i++) {
		if (p[i] == '\\')
			i++;
		else if (p[i] == '"') {
			*ret = slice_of(p + 1, i - 1);
			*rest = skip(*rest, i + 1);
			return true;
		}
	}
	return false;
}

/* Takes the next one off. False at the end, and with *ret_bad where what is there is none. */
static bool take_parameter(struct slice *rest, struct slice *ret_name, struct slice *ret_value, bool *ret_bad)
{
	size_t n;

	*rest = trim(*rest);
	if (rest->size == 0)
		return false;
	*ret_bad = *(const char *)rest->data != ';';
	*rest = *ret_bad ? *rest : trim(skip(*rest, 1));
	if (*ret_bad || rest->size == 0)
		return false;
	*ret_bad = true;
	n = span(*rest, "=; \t\"", false);
	*ret_name = head_of(*rest, n);
	*rest = skip(*rest, n);
	if (n == 0 || rest->size < 2 || *(const char *)rest->data != '=')
		return false;
	*rest = skip(*rest, 1);
	if (*(const char *)rest->data == '"') {
		*ret_bad = !take_quoted(rest, ret_value);
		return !*ret_bad;
	}
	n = span(*rest, "; \t\"", false);
	*ret_value = head_of(*rest, n);
	*rest = skip(*rest, n);
	*ret_bad = n == 0;
	return n > 0;
}

/* The parameter of that name behind a header's first word. False where it is not there exactly once, or they are none.
 */
static bool find_parameter(struct slice parameters, const char *name, struct slice *ret)
{
	struct slice this_name, value;
	bool bad = false;
	int found = 0;

	while (take_parameter(&parameters, &this_name, &value, &bad)) {
		if (!is_word(this_name, name))
			continue;
		*ret = value;
		found++;
	}
	return !bad && found == 1;
}

/* ---- the boundary ---- */

static bool is_boundary(struct slice s)
{
	static const char set[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'()+_,-./:=? ";
	const char *p = s.data;

	return s.size > 0 && s.size <= FORM_BOUNDARY_BYTES && span(s, set, true) == s.size && p[s.size - 1] != ' ';
}

bool form_is_announced(const char *content_type)
{
	struct slice whole = trim(slice_str(content_type ? content_type : ""));

	return is_word(head_of(whole, span(whole, "; \t", false)), MEDIA_TYPE);
}

int form_boundary(const char *content_type, struct slice *ret, struct error_info *info)
{
	struct slice whole = trim(slice_str(content_type ? content_type : ""));
	size_t n = span(whole, "; \t", false);

	if (!form_is_announced(content_type))
		return ERR_NOT_FOUND;
	if (!find_parameter(skip(whole, n), "boundary", ret) || !is_boundary(*ret))
		return error_set(info, ERR_BAD_REQUEST, "Content-Type", "%s needs one boundary of 1 to %d characters",
				 MEDIA_TYPE, FORM_BOUNDARY_BYTES);
	return 0;
}

/* ---- the parts ---- */

struct reader {
	struct slice rest; /* of the body */
	struct slice boundary;
	struct error_info *info;
};

/* name: of the part that is meant; empty: of none. */
static int refuse(const struct reader *r, struct slice name, const char *what)
{
	char field[sizeof(r->info->field)];

	if (name.size >= sizeof(field))
		name.size = sizeof(field) - 1;
	memcpy(field, name.size > 0 ? name.data : "", name.size);
	field[name.size] = '\0';
	return error_set(r->info, ERR_BAD_REQUEST, field[0] ? field : NULL, "%s", what);
}

static bool begins_with(struct slice s, const char *what, size_t size)
{
	return s.size >= size && memcmp(s.data, what, size) == 0;
}

/* Behind a boundary: the end of its line, or "--" where it is the last. */
static int end_boundary(struct reader *r, bool *ret_last)
{
	*ret_last = begins_with(r->rest, "--", 2);
	if (*ret_last)
		return 0;
	r->rest = skip(r->rest, span(r->rest, " \t", true));
	if (!begins_with(r->rest, "\r\n", 2))
		return refuse(r, slice_of(NULL, 0), "something stands behind a boundary of the form");
	r->rest = skip(r->rest, 2);
	return 0;
}

/* Takes off all up to the next boundary, and it. ret_data: what stood before it. */
static int take_to_boundary(struct reader *r, struct slice *ret_data, bool *ret_last)
{
	char line[4 + FORM_BOUNDARY_BYTES] = "\r\n--";
	const size_t size = 4 + r->boundary.size;
	const char *begin = r->rest.data, *found;

	memcpy(line + 4, r->boundary.data, r->boundary.size);
	found = r->rest.size > 0 ? memmem(begin, r->rest.size, line, size) : NULL;
	if (!found)
		return refuse(r, slice_of(NULL, 0), "the form is cut off: its last boundary is missing");
	*ret_data = head_of(r->rest, (size_t)(found - begin));
	r->rest = skip(r->rest, ret_data->size + size);
	return end_boundary(r, ret_last);
}

/* The first may stand at the very beginning. */
static int take_first_boundary(struct reader *r, bool *ret_last)
{
	struct slice nothing;

	if (begins_with(r->rest, "--", 2) && begins_with(skip(r->rest, 2), r->boundary.data, r->boundary.size)) {
		r->rest = skip(r->rest, 2 + r->boundary.size);
		return end_boundary(r, ret_last);
	}
	return take_to_boundary(r, &nothing, ret_last);
}

/* What a part's Content-Disposition says: its name, as it stands, so without what would have to be escaped. */
static int take_name(const struct reader *r, struct slice value, struct form_part *part)
{
	size_t n = span(value, "; \t", false);

	if (part->name.data)
		return refuse(r, part->name, "has two Content-Dispositions");
	if (!is_word(head_of(value, n), "form-data") || !find_parameter(skip(value, n), "name", &part->name) ||
	    part->name.size == 0)
		return refuse(r, slice_of(NULL, 0),
			      "a part of the form has no name: Content-Disposition: form-data; "
			      "name=\"…\"");
	if (span(part->name, "\\", false) < part->name.size || memchr(part->name.data, '\0', part->name.size))
		return refuse(r, slice_of(NULL, 0), "a part of the form has a name that there is not");
	return 0;
}

static int take_header(const struct reader *r, struct slice line, struct form_part *part)
{
	size_t n = span(line, ":", false);
	struct slice name = head_of(line, n), value;

	if (n == 0 || n == line.size || span(name, " \t", false) < n)
		return refuse(r, part->name, "a part of the form has a head that is none");
	value = trim(skip(line, n + 1));
	if (is_word(name, "Content-Disposition"))
		return take_name(r, value, part);
	if (is_word(name, "Content-Type")) {
		if (part->content_type.data)
			return refuse(r, part->name, "has two Content-Types");
		part->content_type = value;
	}
	if (is_word(name, "Content-Transfer-Encoding") && !is_word(value, "binary") && !is_word(value, "8bit") &&
	    !is_word(value, "7bit"))
		return refuse(r, part->name, "must be sent as it is, without Content-Transfer-Encoding");
	return 0;
}

/* Takes a part's head off, and the empty line. */
static int take_head(struct reader *r, struct form_part *part)
{
	size_t left = FORM_HEAD_BYTES;
	int rc = 0;

	while (rc == 0) {
		size_t room = r->rest.size < left ? r->rest.size : left;
		const char *end = room > 0 ? memmem(r->rest.data, room, "\r\n", 2) : NULL;
		struct slice line;

		if (!end)
			return refuse(r, part->name, "a part of the form has a head without end, or too long");
		line = head_of(r->rest, (size_t)(end - (const char *)r->rest.data));
		r->rest = skip(r->rest, line.size + 2);
		left -= line.size + 2;
		if (line.size == 0)
			break;
		rc = take_header(r, line, part);
	}
	if (rc == 0 && !part->name.data)
		return refuse(r, slice_of(NULL, 0), "a part of the form has no Content-Disposition");
	return rc;
}

static int take_part(struct reader *r, struct form_part *part, bool *ret_last)
{
	int rc;

	*part = (struct form_part){ .name = { NULL, 0 } };
	rc = take_head(r, part);
	if (rc < 0)
		return rc;
	return take_to_boundary(r, &part->data, ret_last);
}

int form_parse(struct slice body, struct slice boundary, struct form *ret, struct error_info *info)
{
	struct reader r = { .rest = body, .boundary = boundary, .info = info };
	bool last;
	int rc;

	ret->count = 0;
	rc = take_first_boundary(&r, &last);
	while (rc == 0 && !last) {
		if (ret->count == FORM_PARTS)
			return error_set(info, ERR_TOO_LARGE, NULL, "a form may have %d parts", FORM_PARTS);
		rc = take_part(&r, &ret->parts[ret->count], &last);
		ret->count += rc == 0;
	}
	return rc;
}
