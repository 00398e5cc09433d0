#include "worker/config/secrets.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/base/buf.h"
#include "proto/error.h"

#define VALUE_MAX 65536
#define TEXT_MAX  262144
/* Masking shorter ones would blot out ordinary words, and guessing them takes no leak. */
#define MASK_MIN 4

struct secret {
	struct secret *next;
	char *name;
	char *value;
	bool secret;
	bool plain; /* no secret whatever it is used for */
};

struct secrets {
	struct secret *first;
};

int secrets_new(struct secrets **ret_secrets)
{
	struct secrets *s = calloc(1, sizeof(*s));

	if (!s)
		return ERR_NO_MEMORY;
	*ret_secrets = s;
	return 0;
}

static void secret_free(struct secret *one)
{
	if (!one)
		return;
	if (one->value)
		explicit_bzero(one->value, strlen(one->value));
	free(one->value);
	free(one->name);
	free(one);
}
DEFINE_CLEANUP(struct secret *, secret_free)

void secrets_free(struct secrets *s)
{
	if (!s)
		return;
	while (s->first) {
		struct secret *one = s->first;

		s->first = one->next;
		secret_free(one);
	}
	free(s);
}

static bool begins(struct slice s, const char *prefix, struct slice *ret_rest)
{
	size_t n = strlen(prefix);

	if (s.size <= n || memcmp(s.data, prefix, n) != 0)
		return false;
	*ret_rest = slice_of((const char *)s.data + n, s.size - n);
	return true;
}

bool secrets_names(struct slice name)
{
	struct slice rest;

	return begins(name, "env.", &rest) || begins(name, "file.", &rest);
}

static int read_all(int fd, char **ret_value)
{
	_cleanup_free_ char *value = malloc(VALUE_MAX + 1);
	size_t size = 0;

	if (!value)
		return ERR_NO_MEMORY;
	for (;;) {
		ssize_t n = read(fd, value + size, VALUE_MAX + 1 - size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return ERR_IO;
		if (n == 0)
			break;
		size += (size_t)n;
		if (size > VALUE_MAX)
			return ERR_TOO_LARGE;
	}
	if (size > 0 && value[size - 1] == '\n')
		size--;
	if (size > 0 && value[size - 1] == '\r')
		size--;
	if (memchr(value, '\0', size))
		return ERR_BAD_REQUEST;
	value[size] = '\0';
	*ret_value = TAKE_PTR(value);
	return 0;
}

static int read_file(const char *path, char **ret_value)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	int rc;

	if (fd < 0)
		return errno == ENOENT ? ERR_NOT_FOUND : ERR_IO;
	rc = read_all(fd, ret_value);
	close(fd);
	return rc;
}

/* NAME, or NAME:-TEXT; *secret becomes false where TEXT is taken. */
static const char *from_environment(const char *name, bool *secret)
{
	const char *otherwise = strstr(name, ":-"), *value;
	_cleanup_free_ char *alone = NULL;

	if (!otherwise)
		return getenv(name);
	alone = strndup(name, (size_t)(otherwise - name));
	value = alone ? getenv(alone) : NULL;
	if (value && value[0])
		return value;
	*secret = false;
	return otherwise + 2;
}

static int read_value(const char *name, bool *secret, char **ret_value)
{
	const char *value;

	if (strncmp(name, "file.", 5) == 0)
		return read_file(name + 5, ret_value);
	value = from_environment(name + 4, secret);
	if (!value)
		return ERR_NOT_FOUND;
	if (strlen(value) > VALUE_MAX)
		return ERR_TOO_LARGE;
	*ret_value = strdup(value);
	return *ret_value ? 0 : ERR_NO_MEMORY;
}

static struct secret *find(const struct secrets *s, struct slice name)
{
	for (struct secret *one = s->first; one; one = one->next)
		if (slice_is(name, one->name))
			return one;
	return NULL;
}

int secrets_load(struct secrets *s, struct slice name, bool secret)
{
	_cleanup_(secret_freep) struct secret *one = NULL;
	struct secret *known = find(s, name);
	int rc;

	if (known) {
		known->secret |= secret && !known->plain;
		return 0;
	}
	if (!secrets_names(name))
		return ERR_BAD_REQUEST;
	one = calloc(1, sizeof(*one));
	if (!one)
		return ERR_NO_MEMORY;
	one->secret = secret;
	one->name = strndup(name.data, name.size);
	if (!one->name)
		return ERR_NO_MEMORY;
	rc = read_value(one->name, &one->secret, &one->value);
	if (rc < 0)
		return rc;
	one->plain = secret && !one->secret;
	if (one->value[0] == '\0')
		return ERR_BAD_REQUEST;
	one->next = s->first;
	s->first = TAKE_PTR(one);
	return 0;
}

int secrets_add_literal(struct secrets *s, const char *value)
{
	_cleanup_(secret_freep) struct secret *one = calloc(1, sizeof(*one));

	if (!one)
		return ERR_NO_MEMORY;
	one->secret = true;
	one->name = strdup("");
	one->value = strdup(value);
	if (!one->name || !one->value)
		return ERR_NO_MEMORY;
	one->next = s->first;
	s->first = TAKE_PTR(one);
	return 0;
}

int secrets_add_passing(struct secrets *s, const char *owner, const char *value)
{
	struct secret **at = &s->first;
	_cleanup_free_ char *name = NULL;
	unsigned kept = 0;
	int rc;

	/* No name of a placeholder begins so. */
	if (asprintf(&name, "passing %s", owner) < 0)
		return ERR_NO_MEMORY;
	rc = secrets_add_literal(s, value);
	if (rc < 0)
		return rc;
	free(s->first->name);
	s->first->name = TAKE_PTR(name);
	while (*at) {
		struct secret *one = *at;

		if (strcmp(one->name, s->first->name) == 0 && ++kept > 2) {
			*at = one->next;
			secret_free(one);
		} else {
			at = &one->next;
		}
	}
	return 0;
}

const char *secrets_problem(int code)
{
	switch (code) {
	case ERR_NOT_FOUND:
		return "is not there";
	case ERR_BAD_REQUEST:
		return "is empty, or holds a NUL";
	case ERR_TOO_LARGE:
		return "is larger than 64 KiB";
	case ERR_NO_MEMORY:
		return "does not fit into memory";
	default:
		return "cannot be read";
	}
}

const char *secrets_get(const struct secrets *s, struct slice name)
{
	const struct secret *one = find(s, name);

	return one ? one->value : NULL;
}

/* The next {env.…} or {file.…} at or after *at; false when there is none. */
static bool next_name(const char *at, const char **ret_open, struct slice *ret_name)
{
	for (const char *open = strchr(at, '{'); open; open = strchr(open + 1, '{')) {
		const char *close = strchr(open, '}');

		if (!close)
			return false;
		*ret_open = open;
		*ret_name = slice_of(open + 1, (size_t)(close - open - 1));
		if (secrets_names(*ret_name))
			return true;
	}
	return false;
}

int secrets_expand(struct secrets *s, const char *text, bool secret, char **ret_text, struct slice *ret_name)
{
	_cleanup_(buf_done) struct buf out;
	struct slice name;
	const char *open;
	int rc;

	buf_init(&out, TEXT_MAX);
	while (next_name(text, &open, &name)) {
		rc = secrets_load(s, name, secret);
		if (rc < 0) {
			if (ret_name)
				*ret_name = name;
			return rc;
		}
		buf_append(&out, text, (size_t)(open - text));
		buf_append_str(&out, secrets_get(s, name));
		text = (const char *)name.data + name.size + 1;
	}
	buf_append(&out, text, strlen(text) + 1);
	if (buf_error(&out))
		return buf_error(&out);
	*ret_text = (char *)out.data;
	out.data = NULL;
	return 0;
}

/* The longest secret that text begins with, so that one that is part of another does not leave its end standing. */
static size_t secret_at(const struct secrets *s, const char *text, size_t left)
{
	size_t longest = 0;

	for (const struct secret *one = s->first; one; one = one->next) {
		size_t n = strlen(one->value);

		if (one->secret && n >= MASK_MIN && n <= left && n > longest && memcmp(text, one->value, n) == 0)
			longest = n;
	}
	return longest;
}

int secrets_mask(const struct secrets *s, struct slice text, struct buf *out)
{
	const char *p = text.data;

	for (size_t i = 0; i < text.size;) {
		size_t n = secret_at(s, p + i, text.size - i);

		if (n > 0) {
			buf_append_str(out, SECRET_MASK);
			i += n;
		} else {
			buf_append(out, p + i, 1);
			i++;
		}
	}
	return buf_error(out);
}
