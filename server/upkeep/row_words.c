#include "server/upkeep/row_words.h"

#include <stdio.h>

#include "proto/base/text.h"
#include "server/store/copy.h"
#include "server/store/keys.h"

#define NAME_SHOWN 128 /* characters: the longest name there is */
#define KEY_SHOWN  40  /* bytes */
#define ESCAPED	   4   /* characters: \xHH */

struct name_words {
	char text[NAME_SHOWN + ESCAPED + 1];
};

static struct name_words name_words(struct slice name)
{
	struct name_words w = { .text = "" };
	size_t at = 0;

	for (size_t i = 0; i < name.size && at < NAME_SHOWN; i++) {
		unsigned char c = ((const unsigned char *)name.data)[i];

		at += (size_t)snprintf(w.text + at, sizeof(w.text) - at, c > ' ' && c <= '~' ? "%c" : "\\x%02x", c);
	}
	return w;
}

static bool group_words(enum store_table table, struct slice key, struct row_words *w)
{
	const char *what = table == TABLE_WEIGHTS ? "weight" : "place in line";
	struct slice group;
	uint8_t priority;
	uint32_t queue;

	if (key_read_group(key, &queue, &priority, &group) < 0)
		return false;
	/* A weight is for every priority, and its key holds 0 there. */
	if (table == TABLE_WEIGHTS && priority == 0)
		snprintf(w->text, sizeof(w->text), "%s of group %s in queue %u", what, name_words(group).text, queue);
	else
		snprintf(w->text, sizeof(w->text), "%s of group %s in queue %u, priority %u", what,
			 name_words(group).text, queue, priority);
	return true;
}

static bool known_words(enum store_table table, struct slice key, struct row_words *w)
{
	struct slice name;
	struct uuid job;

	switch (table) {
	case TABLE_ARTIFACTS:
		if (key_read_artifact(key, &job, &name) < 0)
			return false;
		snprintf(w->text, sizeof(w->text), "artifact %s of job %s", name_words(name).text,
			 uuid_format(&job).text);
		return true;
	case TABLE_CHECKPOINTS:
		if (key_read_job(key, &job) < 0)
			return false;
		snprintf(w->text, sizeof(w->text), "checkpoint of job %s", uuid_format(&job).text);
		return true;
	case TABLE_LIMITS:
		snprintf(w->text, sizeof(w->text), "limit %s", name_words(key).text);
		return true;
	case TABLE_GROUPS:
	case TABLE_WEIGHTS:
		return group_words(table, key, w);
	default:
		return false;
	}
}

struct row_words row_words(enum store_table table, struct slice key)
{
	size_t shown = key.size < KEY_SHOWN ? key.size : KEY_SHOWN;
	char hex[2 * KEY_SHOWN + 1];
	struct row_words w;

	if (known_words(table, key, &w))
		return w;
	hex_encode(key.data, shown, hex);
	hex[2 * shown] = '\0';
	snprintf(w.text, sizeof(w.text), "%s, key %s%s", copy_table_name(table), hex, shown < key.size ? "…" : "");
	return w;
}
