#include "worker/config/pointer.h"

#include <stdbool.h>
#include <string.h>

#include "proto/base/clean.h"
#include "proto/base/text.h"
#include "proto/error.h"

#define TOKENS_MAX 32
#define TOKEN_MAX  256

int pointer_check(struct slice text)
{
	const char *p = text.data;
	size_t tokens = 0, length = 0;

	if ((text.size > 0 && p[0] != '/') || !utf8_valid(text))
		return ERR_BAD_REQUEST;
	for (size_t i = 0; i < text.size; i++) {
		if (p[i] == '~' && (i + 1 == text.size || (p[i + 1] != '0' && p[i + 1] != '1')))
			return ERR_BAD_REQUEST;
		length = p[i] == '/' ? 0 : length + 1;
		if (p[i] == '\0' || length >= TOKEN_MAX || (p[i] == '/' && ++tokens > TOKENS_MAX))
			return ERR_BAD_REQUEST;
	}
	return 0;
}

/* Takes the first token off text, unescaped and NUL-terminated. */
static void take_token(struct slice *text, char ret[static TOKEN_MAX])
{
	const char *p = (const char *)text->data + 1;
	size_t left = text->size - 1, at = 0;

	for (; left > 0 && *p != '/' && at + 1 < TOKEN_MAX; p++, left--) {
		if (*p == '~' && left > 1) {
			p++;
			left--;
			ret[at++] = *p == '0' ? '~' : '/';
		} else {
			ret[at++] = *p;
		}
	}
	ret[at] = '\0';
	*text = slice_of(p, left);
}

/* RFC 6901: digits without a leading zero. "-" names the element after the last, which is never there. */
static bool array_index(const char *token, size_t *ret)
{
	size_t value = 0;

	if (token[0] == '\0' || (token[0] == '0' && token[1] != '\0') || strlen(token) > 9)
		return false;
	for (; *token; token++) {
		if (*token < '0' || *token > '9')
			return false;
		value = value * 10 + (size_t)(*token - '0');
	}
	*ret = value;
	return true;
}

static json_t *find_any(json_t *root, struct slice rest)
{
	const char *key;
	json_t *child, *found;
	size_t i;

	if (json_is_array(root)) {
		json_array_foreach(root, i, child)
		{
			found = pointer_find(child, rest);
			if (found)
				return found;
		}
		return NULL;
	}
	json_object_foreach(root, key, child)
	{
		found = pointer_find(child, rest);
		if (found)
			return found;
	}
	return NULL;
}

static json_t *step(json_t *root, const char *token)
{
	size_t i;

	if (json_is_object(root))
		return json_object_get(root, token);
	if (json_is_array(root) && array_index(token, &i))
		return json_array_get(root, i);
	return NULL;
}

json_t *pointer_find(json_t *root, struct slice text)
{
	char token[TOKEN_MAX];

	while (root && text.size > 0) {
		take_token(&text, token);
		/* A member that is really called "*" comes before the wildcard. */
		if (strcmp(token, "*") == 0 && !json_object_get(root, "*"))
			return find_any(root, text);
		root = step(root, token);
	}
	return root;
}

/* The child to go on into, made if it may be. */
static json_t *step_or_make(json_t *root, const char *token)
{
	json_t *child = step(root, token);

	if (child || !json_is_object(root))
		return child;
	if (json_object_set_new(root, token, json_object()) < 0)
		return NULL;
	return json_object_get(root, token);
}

int pointer_set(json_t *root, struct slice text, json_t *value)
{
	char token[TOKEN_MAX];
	size_t i;
	int rc;

	if (!value)
		return ERR_NO_MEMORY;
	if (text.size == 0) {
		json_decref(value);
		return ERR_BAD_REQUEST;
	}
	for (take_token(&text, token); text.size > 0; take_token(&text, token)) {
		root = step_or_make(root, token);
		if (!root) {
			json_decref(value);
			return ERR_BAD_REQUEST;
		}
	}
	if (json_is_object(root))
		return json_object_set_new(root, token, value) < 0 ? ERR_NO_MEMORY : 0;
	rc = json_is_array(root) && array_index(token, &i) && i < json_array_size(root) ? 0 : ERR_BAD_REQUEST;
	if (rc == 0)
		return json_array_set_new(root, i, value) < 0 ? ERR_NO_MEMORY : 0;
	json_decref(value);
	return rc;
}
