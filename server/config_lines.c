/* Reads libyaml's events and keeps the path to where it is as one string: "limits.message" while in the value of
 * message in limits. In a sequence the last step is the entry's number. */
#include "config_lines.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "proto/error.h"

#define PATH_MAX_BYTES 128
#define DEPTH_MAX      8
#define ENTRIES_MAX    4096

struct entry {
	char path[PATH_MAX_BYTES];
	size_t line;
};

struct config_lines {
	struct entry *entries;
	size_t count;
	size_t capacity;
	bool has_content;
};

/* A mapping or sequence that is open. */
struct level {
	bool mapping;
	bool wants_key;
	size_t index;  /* of the sequence's next entry */
	size_t length; /* of the path of the mapping or sequence itself */
};

struct walk {
	struct config_lines *lines;
	struct config_lines_error *error;
	struct level levels[DEPTH_MAX];
	size_t depth;
	size_t documents;
	char path[PATH_MAX_BYTES];
};

static int fail(struct walk *w, size_t line, const char *key, const char *message)
{
	w->error->line = line;
	snprintf(w->error->key, sizeof(w->error->key), "%s", key);
	snprintf(w->error->message, sizeof(w->error->message), "%s", message);
	return ERR_CONFIG;
}

static int remember(struct walk *w, size_t line)
{
	struct config_lines *l = w->lines;

	if (config_lines_find(l, w->path) > 0)
		return fail(w, line, w->path, "stands there twice");
	if (l->count == ENTRIES_MAX)
		return fail(w, line, "", "there are too many keys");
	if (l->count == l->capacity) {
		size_t capacity = l->capacity ? 2 * l->capacity : 64;
		struct entry *grown = realloc(l->entries, capacity * sizeof(*grown));

		if (!grown)
			return ERR_NO_MEMORY;
		l->entries = grown;
		l->capacity = capacity;
	}
	snprintf(l->entries[l->count].path, PATH_MAX_BYTES, "%s", w->path);
	l->entries[l->count++].line = line;
	return 0;
}

/* Appends a step to the path of the innermost level. */
static int step(struct walk *w, const char *name, size_t line)
{
	size_t at = w->levels[w->depth - 1].length;
	int n = snprintf(w->path + at, sizeof(w->path) - at, "%s%s", at ? "." : "", name);

	if (n < 0 || (size_t)n >= sizeof(w->path) - at)
		return fail(w, line, "", "a key is too long");
	return remember(w, line);
}

/* A value begins: in a sequence that is an entry of its own, in a mapping its key was told before. */
static int value_begins(struct walk *w, size_t line)
{
	struct level *l;
	char number[24];

	if (w->depth == 0)
		return 0;
	l = &w->levels[w->depth - 1];
	l->wants_key = true;
	if (l->mapping)
		return 0;
	snprintf(number, sizeof(number), "%zu", l->index++);
	return step(w, number, line);
}

static int open_level(struct walk *w, bool mapping, size_t line)
{
	int rc;

	if (w->depth > 0 && w->levels[w->depth - 1].mapping && w->levels[w->depth - 1].wants_key)
		return fail(w, line, "", "a key must be a word");
	rc = value_begins(w, line);
	if (rc < 0)
		return rc;
	w->lines->has_content = true;
	if (w->depth == DEPTH_MAX)
		return fail(w, line, w->path, "is nested too deeply");
	w->levels[w->depth++] = (struct level){ .mapping = mapping, .wants_key = true, .length = strlen(w->path) };
	return 0;
}

static int scalar(struct walk *w, const yaml_event_t *e, size_t line)
{
	struct level *l = w->depth > 0 ? &w->levels[w->depth - 1] : NULL;
	const char *text = (const char *)e->data.scalar.value;

	w->lines->has_content |= e->data.scalar.length > 0;
	if (!l || !l->mapping || !l->wants_key)
		return value_begins(w, line);
	if (strlen(text) != e->data.scalar.length)
		return fail(w, line, "", "a key has a NUL in it");
	l->wants_key = false;
	return step(w, text, line);
}

static int take(struct walk *w, const yaml_event_t *e)
{
	size_t line = e->start_mark.line + 1;

	switch (e->type) {
	case YAML_DOCUMENT_START_EVENT:
		return w->documents++ == 0 ? 0 : fail(w, line, "", "there must be only one document in the file");
	case YAML_MAPPING_START_EVENT:
		return open_level(w, true, line);
	case YAML_SEQUENCE_START_EVENT:
		return open_level(w, false, line);
	case YAML_MAPPING_END_EVENT:
	case YAML_SEQUENCE_END_EVENT:
		w->path[w->levels[--w->depth].length] = '\0';
		return 0;
	case YAML_SCALAR_EVENT:
		return scalar(w, e, line);
	case YAML_ALIAS_EVENT:
		return fail(w, line, w->path, "aliases are not supported");
	default:
		return 0;
	}
}

static int walk(struct walk *w, yaml_parser_t *parser)
{
	yaml_event_t event;
	bool end = false;
	int rc = 0;

	while (rc == 0 && !end) {
		if (!yaml_parser_parse(parser, &event))
			return fail(w, parser->problem_mark.line + 1, "",
				    parser->problem ? parser->problem : "no YAML");
		rc = take(w, &event);
		end = event.type == YAML_STREAM_END_EVENT;
		yaml_event_delete(&event);
	}
	return rc;
}

int config_lines_new(const char *text, size_t size, struct config_lines **ret, struct config_lines_error *error)
{
	struct config_lines *l = calloc(1, sizeof(*l));
	struct walk w = { .lines = l, .error = error };
	yaml_parser_t parser;
	int rc;

	if (!l || !yaml_parser_initialize(&parser)) {
		free(l);
		return ERR_NO_MEMORY;
	}
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, size);
	rc = walk(&w, &parser);
	yaml_parser_delete(&parser);
	if (rc < 0)
		config_lines_free(l);
	else
		*ret = l;
	return rc;
}

void config_lines_free(struct config_lines *l)
{
	if (!l)
		return;
	free(l->entries);
	free(l);
}

bool config_lines_empty(const struct config_lines *l)
{
	return !l->has_content;
}

size_t config_lines_find(const struct config_lines *l, const char *path)
{
	for (size_t i = 0; i < l->count; i++)
		if (strcmp(l->entries[i].path, path) == 0)
			return l->entries[i].line;
	return 0;
}
