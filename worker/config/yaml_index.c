/* One entry a mapping key, in the order of the text, named by its path. A document of this kind has a few hundred keys
 * at most, so looking through all of them is quick enough. The mappings that a sequence holds are entries too, called
 * by their number from 0 on; its words are not remembered.
 */
#include "worker/config/yaml_index.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "proto/error.h"
#include "worker/config/issue.h"

#define ENTRIES_MAX 20000
#define DEPTH_MAX   16

struct entry {
	char *path;
	const char *name; /* the last part of path */
	int parent;	  /* -1 at the top */
	int line;
};

struct yaml_index {
	struct entry *entries;
	int count;
	int room;
};

struct reader {
	yaml_parser_t parser;
	struct yaml_index *index;
	struct issue *issue;
};

static int line_of(yaml_mark_t mark)
{
	return (int)mark.line + 1;
}

static int make_room(struct yaml_index *index)
{
	int room = index->room > 0 ? index->room * 2 : 64;
	struct entry *entries;

	if (index->count < index->room)
		return 0;
	entries = realloc(index->entries, (size_t)room * sizeof(*entries));
	if (!entries)
		return ERR_NO_MEMORY;
	index->entries = entries;
	index->room = room;
	return 0;
}

static bool is_child(const struct yaml_index *index, int i, int parent, const char *name)
{
	return index->entries[i].parent == parent && strcmp(index->entries[i].name, name) == 0;
}

/* Remembers a key and gives its number. */
static int add(struct reader *r, int parent, const char *name, int line, int *ret_entry)
{
	struct yaml_index *index = r->index;
	const char *above = parent >= 0 ? index->entries[parent].path : "";
	struct entry e = { .parent = parent, .line = line };

	if (index->count >= ENTRIES_MAX)
		return issue_set(r->issue, line, above, "there are more than %d keys", ENTRIES_MAX);
	for (int i = parent + 1; i < index->count; i++)
		if (is_child(index, i, parent, name))
			return issue_set(r->issue, line, index->entries[i].path, "the key is there already, in line %d",
					 index->entries[i].line);
	if (make_room(index) < 0 || asprintf(&e.path, "%s%s%s", above, parent >= 0 ? "." : "", name) < 0)
		return ERR_NO_MEMORY;
	e.name = e.path + strlen(e.path) - strlen(name);
	index->entries[index->count] = e;
	*ret_entry = index->count++;
	return 0;
}

/* The next event; what libyaml finds wrong with the text becomes an issue. */
static int next(struct reader *r, yaml_event_t *ret_event)
{
	if (yaml_parser_parse(&r->parser, ret_event))
		return 0;
	if (r->parser.error == YAML_MEMORY_ERROR)
		return ERR_NO_MEMORY;
	return issue_set(r->issue, line_of(r->parser.problem_mark), NULL, "it is not YAML: %s",
			 r->parser.problem ? r->parser.problem : "unreadable");
}

static int read_node(struct reader *r, const yaml_event_t *event, int entry, int depth);

static int read_mapping(struct reader *r, int entry, int depth)
{
	for (;;) {
		_cleanup_(yaml_event_delete) yaml_event_t key = { 0 };
		_cleanup_(yaml_event_delete) yaml_event_t value = { 0 };
		int child = -1, rc;

		rc = next(r, &key);
		if (rc < 0 || key.type == YAML_MAPPING_END_EVENT)
			return rc;
		if (key.type != YAML_SCALAR_EVENT)
			return issue_set(r->issue, line_of(key.start_mark), NULL, "a key must be a plain word");
		rc = add(r, entry, (const char *)key.data.scalar.value, line_of(key.start_mark), &child);
		if (rc < 0)
			return rc;
		rc = next(r, &value);
		if (rc < 0)
			return rc;
		rc = read_node(r, &value, child, depth + 1);
		if (rc < 0)
			return rc;
	}
}

static int read_sequence(struct reader *r, int entry, int depth)
{
	char number[16];

	for (int i = 0;; i++) {
		_cleanup_(yaml_event_delete) yaml_event_t value = { 0 };
		int child = entry, rc;

		rc = next(r, &value);
		if (rc < 0 || value.type == YAML_SEQUENCE_END_EVENT)
			return rc;
		snprintf(number, sizeof(number), "%d", i);
		if (value.type == YAML_MAPPING_START_EVENT || value.type == YAML_SEQUENCE_START_EVENT)
			rc = add(r, entry, number, line_of(value.start_mark), &child);
		if (rc == 0)
			rc = read_node(r, &value, child, depth + 1);
		if (rc < 0)
			return rc;
	}
}

static int read_node(struct reader *r, const yaml_event_t *event, int entry, int depth)
{
	const char *path = entry >= 0 ? r->index->entries[entry].path : "";

	if (event->type == YAML_ALIAS_EVENT)
		return issue_set(r->issue, line_of(event->start_mark), path, "aliases are not supported");
	if (depth > DEPTH_MAX)
		return issue_set(r->issue, line_of(event->start_mark), path, "it is nested too deeply");
	if (event->type == YAML_SEQUENCE_START_EVENT)
		return read_sequence(r, entry, depth);
	if (event->type == YAML_MAPPING_START_EVENT)
		return read_mapping(r, entry, depth);
	return 0;
}

/* After the mapping: nothing that would be passed over in silence. */
static int read_rest(struct reader *r)
{
	for (;;) {
		_cleanup_(yaml_event_delete) yaml_event_t event = { 0 };
		int rc = next(r, &event);

		if (rc < 0 || event.type == YAML_STREAM_END_EVENT)
			return rc;
		if (event.type == YAML_DOCUMENT_START_EVENT)
			return issue_set(r->issue, line_of(event.start_mark), NULL,
					 "a second document begins here, and only one is read");
	}
}

static int read_document(struct reader *r)
{
	for (;;) {
		_cleanup_(yaml_event_delete) yaml_event_t event = { 0 };
		int rc = next(r, &event);

		if (rc < 0)
			return rc;
		if (event.type == YAML_STREAM_START_EVENT || event.type == YAML_DOCUMENT_START_EVENT)
			continue;
		if (event.type != YAML_MAPPING_START_EVENT)
			return issue_set(r->issue, line_of(event.start_mark), NULL, "it is not a mapping of keys");
		rc = read_mapping(r, -1, 0);
		return rc < 0 ? rc : read_rest(r);
	}
}

int yaml_index_new(struct slice text, struct yaml_index **ret_index, struct issue *issue)
{
	_cleanup_(yaml_index_freep) struct yaml_index *index = calloc(1, sizeof(*index));
	struct reader r = { .index = index, .issue = issue };
	int rc;

	if (!index || !yaml_parser_initialize(&r.parser))
		return ERR_NO_MEMORY;
	yaml_parser_set_input_string(&r.parser, text.data ? text.data : (const unsigned char *)"", text.size);
	rc = read_document(&r);
	yaml_parser_delete(&r.parser);
	if (rc < 0)
		return rc;
	*ret_index = TAKE_PTR(index);
	return 0;
}

void yaml_index_free(struct yaml_index *index)
{
	if (!index)
		return;
	for (int i = 0; i < index->count; i++)
		free(index->entries[i].path);
	free(index->entries);
	free(index);
}

static int find(const struct yaml_index *index, struct slice path)
{
	for (int i = 0; i < index->count; i++)
		if (slice_is(path, index->entries[i].path))
			return i;
	return -1;
}

int yaml_index_line(const struct yaml_index *index, const char *path)
{
	for (struct slice s = slice_str(path); s.size > 0;) {
		int i = find(index, s);
		const char *dot = memrchr(s.data, '.', s.size);

		if (i >= 0)
			return index->entries[i].line;
		s.size = dot ? (size_t)(dot - path) : 0;
	}
	return 0;
}

bool yaml_index_has(const struct yaml_index *index, const char *path)
{
	return find(index, slice_str(path)) >= 0;
}

const char *yaml_index_child(const struct yaml_index *index, const char *path, size_t i)
{
	int parent = path[0] ? find(index, slice_str(path)) : -1;

	if (path[0] && parent < 0)
		return NULL;
	for (int at = 0; at < index->count; at++)
		if (index->entries[at].parent == parent && i-- == 0)
			return index->entries[at].name;
	return NULL;
}
