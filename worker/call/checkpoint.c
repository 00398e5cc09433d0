#include "worker/call/checkpoint.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "proto/error.h"
#include "worker/config/json_text.h"

#define VERSION 1

void checkpoint_done(struct checkpoint *c)
{
	free(c->upstream);
	free(c->id);
	free(c->status_url);
	free(c->result_url);
	free(c->cancel_url);
	free(c->media_url);
	json_decref(c->outputs);
	*c = (struct checkpoint){ 0 };
}

bool checkpoint_resumes(const struct checkpoint *c)
{
	return c->id || c->media_url;
}

void checkpoint_give_up(struct checkpoint *c)
{
	struct checkpoint next = { .upstream = TAKE_PTR(c->upstream), .n = c->n + 1 };

	checkpoint_done(c);
	*c = next;
}

/* A text that may be missing. */
static int read_text(json_t *object, const char *key, char **ret)
{
	json_t *value = json_object_get(object, key);

	if (!value)
		return 0;
	if (!json_is_string(value))
		return ERR_CORRUPT;
	*ret = strdup(json_string_value(value));
	return *ret ? 0 : ERR_NO_MEMORY;
}

static int read_outputs(json_t *outputs, struct checkpoint *c)
{
	const char *name;
	json_t *url;

	if (!outputs)
		return 0;
	if (!json_is_object(outputs))
		return ERR_CORRUPT;
	json_object_foreach(outputs, name, url)
	{
		if (!json_is_string(url))
			return ERR_CORRUPT;
	}
	c->outputs = json_incref(outputs);
	return 0;
}

static int read_object(json_t *root, struct checkpoint *c)
{
	json_t *urls = json_object_get(root, "urls");
	int rc;

	if (!json_is_object(root))
		return ERR_CORRUPT;
	if (json_integer_value(json_object_get(root, "v")) != VERSION)
		return ERR_UNSUPPORTED_VERSION;
	c->n = json_integer_value(json_object_get(root, "n"));
	c->submitting = json_is_true(json_object_get(root, "submitting"));
	c->submitted_at_ms = json_integer_value(json_object_get(root, "submitted_at_ms"));
	rc = read_text(root, "upstream", &c->upstream);
	if (rc == 0)
		rc = read_text(root, "id", &c->id);
	if (rc == 0)
		rc = read_text(urls, "status", &c->status_url);
	if (rc == 0)
		rc = read_text(urls, "result", &c->result_url);
	if (rc == 0)
		rc = read_text(urls, "cancel", &c->cancel_url);
	if (rc == 0)
		rc = read_text(urls, "media", &c->media_url);
	if (rc == 0)
		rc = read_outputs(json_object_get(root, "outputs"), c);
	return rc;
}

int checkpoint_read(struct slice text, struct checkpoint *ret)
{
	struct checkpoint c = { .n = 0 };
	json_t *root = NULL;
	int rc;

	if (text.size == 0) {
		*ret = c;
		return 0;
	}
	rc = json_text_read(text, 0, &root);
	if (rc != ERR_NO_MEMORY)
		rc = root ? read_object(root, &c) : ERR_CORRUPT;
	json_decref(root);
	if (rc < 0) {
		checkpoint_done(&c);
		return rc;
	}
	*ret = c;
	return 0;
}

/* Adds a member; NULL for one that is not there. */
static int set(json_t *object, const char *key, json_t *value)
{
	return json_object_set_new(object, key, value) < 0 ? ERR_NO_MEMORY : 0;
}

static int set_text(json_t *object, const char *key, const char *value)
{
	return value ? set(object, key, json_string(value)) : 0;
}

static int write_urls(const struct checkpoint *c, json_t *urls)
{
	int rc = set_text(urls, "status", c->status_url);

	if (rc == 0)
		rc = set_text(urls, "result", c->result_url);
	if (rc == 0)
		rc = set_text(urls, "cancel", c->cancel_url);
	if (rc == 0)
		rc = set_text(urls, "media", c->media_url);
	return rc;
}

static int write_object(const struct checkpoint *c, json_t *root, json_t *urls)
{
	int rc;

	rc = set(root, "v", json_integer(VERSION));
	if (rc == 0)
		rc = set_text(root, "upstream", c->upstream);
	if (rc == 0)
		rc = set(root, "n", json_integer(c->n));
	if (rc == 0 && c->submitting)
		rc = set(root, "submitting", json_true());
	if (rc == 0)
		rc = set_text(root, "id", c->id);
	if (rc == 0 && c->submitted_at_ms)
		rc = set(root, "submitted_at_ms", json_integer(c->submitted_at_ms));
	if (rc == 0)
		rc = write_urls(c, urls);
	if (rc == 0 && c->outputs)
		rc = json_object_set(root, "outputs", c->outputs) < 0 ? ERR_NO_MEMORY : 0;
	if (rc == 0 && json_object_size(urls) > 0)
		rc = json_object_set(root, "urls", urls) < 0 ? ERR_NO_MEMORY : 0;
	return rc;
}

int checkpoint_write(const struct checkpoint *c, char **ret_text)
{
	json_t *root = json_object();
	json_t *urls = json_object();
	int rc = root && urls ? write_object(c, root, urls) : ERR_NO_MEMORY;

	if (rc == 0)
		rc = json_text_write(root, JSON_COMPACT | JSON_PRESERVE_ORDER, ret_text);
	json_decref(urls);
	json_decref(root);
	return rc;
}
