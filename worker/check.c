#include "check.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "issue.h"
#include "pointer.h"
#include "proto/base/clean.h"
#include "proto/base/units.h"
#include "proto/error.h"
#include "secrets.h"
#include "template.h"
#include "yaml_index.h"

int check_fail(struct check *c, const char *key, const char *fmt, ...)
{
	char path[400], message[sizeof(c->issue->message)];
	va_list args;

	snprintf(path, sizeof(path), "%s%s%s", c->prefix, c->prefix[0] && key[0] ? "." : "", key);
	va_start(args, fmt);
	vsnprintf(message, sizeof(message), fmt, args);
	va_end(args);
	return issue_set(c->issue, yaml_index_line(c->index, path), path, "%s", message);
}

int check_unsupported(struct check *c, const char *key)
{
	return check_fail(c, key, "not supported by this version");
}

int check_duration(struct check *c, const char *key, const char *word, int64_t low_ms, int64_t *ms)
{
	int64_t value;

	if (!word)
		return 0;
	if (units_parse_duration(slice_str(word), &value) < 0)
		return check_fail(c, key, "\"%s\" is not a duration such as 500ms, 30s, 5m or 2h", word);
	if (value < low_ms)
		return check_fail(c, key, "it must be at least %lld ms", (long long)low_ms);
	*ms = value;
	return 0;
}

int check_size(struct check *c, const char *key, const char *word, int64_t *bytes)
{
	int64_t value;

	if (!word)
		return 0;
	if (units_parse_size(slice_str(word), &value) < 0 || value == 0)
		return check_fail(c, key, "\"%s\" is not a size such as 64KiB or 512MiB", word);
	*bytes = value;
	return 0;
}

int check_pointer(struct check *c, const char *key, const char *word, struct slice *pointer, bool *ret_given)
{
	if (!word)
		return 0;
	if (pointer_check(slice_str(word)) < 0)
		return check_fail(c, key, "\"%s\" is not a JSON Pointer, such as /output/0", word);
	*pointer = slice_str(word);
	if (ret_given)
		*ret_given = true;
	return 0;
}

int check_range(struct check *c, const char *key, const double *number, double low, double high, double *value)
{
	if (!number)
		return 0;
	if (!(*number >= low && *number <= high))
		return check_fail(c, key, "it must be from %g to %g", low, high);
	*value = *number;
	return 0;
}

int check_statuses(struct check *c, const char *key, const unsigned *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (list[i] < 100 || list[i] > 599)
			return check_fail(c, key, "%u is not an HTTP status", list[i]);
	return 0;
}

int check_template(struct check *c, const char *key, const char *word, bool id)
{
	char why[200];
	int rc;

	if (!word)
		return 0;
	rc = template_check(slice_str(word), c->secrets, id, why, sizeof(why));
	if (rc < 0 && rc != ERR_NO_MEMORY)
		return check_fail(c, key, "%s", why);
	return rc;
}

int check_path(struct check *c, const char *key, const char *word, bool id)
{
	if (!word)
		return 0;
	if (word[0] != '/')
		return check_fail(c, key, "\"%s\" is not a path: it must begin with a slash", word);
	if (strpbrk(word, " \t\r\n#"))
		return check_fail(c, key, "a path holds no blanks and no fragment");
	return check_template(c, key, word, id);
}

int check_header_name(struct check *c, const char *key, const char *name)
{
	/* What these say is decided by the request itself; another value would let it be read in two ways. */
	static const char *const ours[] = { "Host",    "Content-Length", "Transfer-Encoding", "Connection", "Expect",
					    "Upgrade", "Trailer" };
	static const char token[] = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

	if (name[0] == '\0' || name[strspn(name, token)] != '\0')
		return check_fail(c, key, "\"%s\" is not the name of a header", name);
	for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
		if (strcasecmp(name, ours[i]) == 0)
			return check_fail(c, key, "the header %s cannot be set", name);
	return 0;
}

int check_expand(struct check *c, const char *key, const char *word, bool secret, char **ret_text)
{
	struct slice name;
	int rc;

	if (!word)
		return 0;
	rc = secrets_expand(c->secrets, word, secret, ret_text, &name);
	if (rc == 0 && secret && strcmp(*ret_text, word) == 0)
		return secrets_add_literal(c->secrets, word);
	if (rc < 0 && rc != ERR_NO_MEMORY)
		return check_fail(c, key, "{%.*s} %s", SLICE_FMT(name), secrets_problem(rc));
	return rc;
}
