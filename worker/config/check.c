#include "worker/config/check.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "proto/base/clean.h"
#include "proto/base/units.h"
#include "proto/error.h"
#include "worker/config/issue.h"
#include "worker/config/pointer.h"
#include "worker/config/secrets.h"
#include "worker/config/template.h"
#include "worker/config/yaml_index.h"

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

int check_template(struct check *c, const char *key, const char *word, unsigned known)
{
	char why[200];
	int rc;

	if (!word)
		return 0;
	rc = template_check(slice_str(word), c->secrets, known, why, sizeof(why));
	if (rc < 0 && rc != ERR_NO_MEMORY)
		return check_fail(c, key, "%s", why);
	return rc;
}

int check_path(struct check *c, const char *key, const char *word, unsigned known)
{
	if (!word)
		return 0;
	if (word[0] != '/')
		return check_fail(c, key, "\"%s\" is not a path: it must begin with a slash", word);
	if (strpbrk(word, " \t\r\n#"))
		return check_fail(c, key, "a path holds no blanks and no fragment");
	return check_template(c, key, word, known | TEMPLATE_IS_PATH);
}

int check_body(struct check *c, const char *key, const char *word, unsigned known, json_t **ret_body)
{
	json_error_t error;
	json_t *body;
	char why[200];
	int rc;

	if (!word)
		return 0;
	body = json_loads(word, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
	if (!body)
		return check_fail(c, key, "it is not JSON: %s (its line %d)", error.text, error.line);
	rc = template_check_json(body, c->secrets, known, why, sizeof(why));
	if (rc == 0) {
		*ret_body = body;
		return 0;
	}
	json_decref(body);
	return rc == ERR_NO_MEMORY ? rc : check_fail(c, key, "%s", why);
}

int check_method(struct check *c, const char *key, const char *word, const char *const *allowed, const char **method)
{
	char all[80] = "";

	if (!word)
		return 0;
	for (size_t i = 0; allowed[i]; i++) {
		size_t used = strlen(all);

		if (strcmp(word, allowed[i]) == 0) {
			*method = allowed[i];
			return 0;
		}
		snprintf(all + used, sizeof(all) - used, "%s%s", used ? ", " : "", allowed[i]);
	}
	return check_fail(c, key, "\"%s\" is none of %s", word, all);
}

int check_plain(struct check *c, const char *key, const char *word)
{
	for (const char *p = word ? word : ""; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			return check_fail(c, key, "it holds a control character");
	return 0;
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
