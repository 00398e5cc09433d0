/* Where an allocation fails, Jansson (2.14) says of a text that it reads nothing, or that it is invalid, or it leaves
 * out a character and goes on; of one that it writes, it may leave out the name of a member. So it is given an
 * allocator that keeps in mind whether one failed: then nothing that it made is believed. Blocks are malloc()'s all the
 * same: whatever was made before is freed as well.
 */
#include "worker/config/json_text.h"

#include <stdbool.h>
#include <stdlib.h>

#include "proto/error.h"

static bool ran_out;

static void *allocate(size_t size)
{
	void *p = malloc(size);

	ran_out |= !p;
	return p;
}

static void watch_memory(void)
{
	json_set_alloc_funcs(allocate, free);
	ran_out = false;
}

int json_text_read(struct slice text, size_t flags, json_t **ret)
{
	json_t *root;

	watch_memory();
	root = json_loadb(text.data ? text.data : "", text.size, flags, NULL);
	if (ran_out) {
		json_decref(root);
		return ERR_NO_MEMORY;
	}
	if (!root)
		return ERR_BAD_REQUEST;
	*ret = root;
	return 0;
}

int json_text_write(const json_t *value, size_t flags, char **ret)
{
	char *text;

	watch_memory();
	text = json_dumps(value, flags);
	if (!text || ran_out) {
		free(text);
		return ERR_NO_MEMORY;
	}
	*ret = text;
	return 0;
}
