/* yaml_index.h: where each key of a YAML text stands, and which keys stand under another.
 *
 * libcyaml checks a document against a schema, but its schemas cannot have keys that the user makes up (queues,
 * upstreams, headers), and once it has loaded a document the lines are forgotten. The index is a pass of libyaml over
 * the same text that remembers both: config builds its schema from the names, and what is found wrong later is reported
 * with the line. Used by config and upstream while they start; main thread.
 */
#ifndef RAINCHECK_WORKER_CONFIG_YAML_INDEX_H
#define RAINCHECK_WORKER_CONFIG_YAML_INDEX_H

#include <stdbool.h>
#include <stddef.h>

#include "proto/base/clean.h"
#include "proto/base/slice.h"

struct issue;
struct yaml_index;

/* Reads the first document of text. ERR_CONFIG, with issue filled, for what is not YAML, for aliases and for a key
 * doubled or not a plain word; ERR_NO_MEMORY. */
int yaml_index_new(struct slice text, struct yaml_index **ret_index, struct issue *issue);
void yaml_index_free(struct yaml_index *index);
DEFINE_CLEANUP(struct yaml_index *, yaml_index_free)

/* Line of the key at path ("a.b.c"), or of the nearest one above it that there is; 0 where there is none. */
int yaml_index_line(const struct yaml_index *index, const char *path);
bool yaml_index_has(const struct yaml_index *index, const char *path);

/* The i-th key of the mapping at path, in the order of the text; NULL past the last. Valid as long as the index. */
const char *yaml_index_child(const struct yaml_index *index, const char *path, size_t i);

#endif
