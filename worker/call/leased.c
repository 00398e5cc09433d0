#include "worker/call/leased.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "proto/error.h"
#include "worker/call/traceparent.h"
#include "worker/config/json_text.h"

static int copy_text(const char *from, char **ret)
{
	*ret = from ? strdup(from) : NULL;
	return from && !*ret ? ERR_NO_MEMORY : 0;
}

static int copy_bytes(struct raincheck_bytes from, void **ret)
{
	*ret = malloc(from.size + 1);
	if (!*ret)
		return ERR_NO_MEMORY;
	if (from.size > 0)
		memcpy(*ret, from.data, from.size);
	return 0;
}

static int copy_metadata(const struct raincheck_leased_job *leased, struct leased *j)
{
	j->metadata = calloc(leased->metadata_count + 1, sizeof(*j->metadata));
	if (!j->metadata)
		return ERR_NO_MEMORY;
	for (size_t i = 0; i < leased->metadata_count; i++) {
		char *key = strdup(leased->metadata[i].key);
		char *value = strdup(leased->metadata[i].value);

		j->metadata[j->metadata_count++] = (struct pair){ slice_str(key), slice_str(value) };
		if (!key || !value)
			return ERR_NO_MEMORY;
	}
	return 0;
}

/* Tools put JSON under all kinds of types, so an object or an array is taken for what it is. A lone "12" is only a
 * number where the type does not say that it is something else. */
static int parse_payload(struct leased *j)
{
	bool any = !j->content_type || strcasestr(j->content_type, "json");
	int rc = json_text_read(slice_of(j->payload, j->payload_size),
				JSON_REJECT_DUPLICATES | (any ? JSON_DECODE_ANY : 0), &j->input);

	return rc == ERR_NO_MEMORY ? rc : 0;
}

static int copy(const struct raincheck_leased_job *leased, struct leased *j)
{
	void *checkpoint = NULL;
	int rc;

	memcpy(j->id, leased->id, sizeof(j->id));
	memcpy(j->lease, leased->lease, sizeof(j->lease));
	j->attempt = leased->attempt;
	j->attempt_deadline_at_ms = leased->attempt_deadline_at_ms;
	j->deadline_at_ms = leased->deadline_at_ms;
	j->payload_size = leased->payload.size;
	rc = copy_text(leased->queue, &j->queue);
	if (rc == 0)
		rc = copy_bytes(leased->payload, &j->payload);
	if (rc == 0)
		rc = copy_text(leased->content_type, &j->content_type);
	if (rc == 0)
		rc = copy_text(leased->hook_url, &j->hook_url);
	if (rc == 0 && traceparent_valid(leased->traceparent))
		rc = copy_text(leased->traceparent, &j->traceparent);
	if (rc == 0)
		rc = copy_metadata(leased, j);
	if (rc == 0 && leased->has_checkpoint) {
		rc = copy_bytes(leased->checkpoint, &checkpoint);
		j->checkpoint = slice_of(checkpoint, leased->checkpoint.size);
	}
	if (rc == 0)
		rc = parse_payload(j);
	return rc;
}

int leased_new(const struct raincheck_leased_job *leased, struct leased **ret_job)
{
	_cleanup_(leased_freep) struct leased *j = calloc(1, sizeof(*j));
	int rc;

	if (!j)
		return ERR_NO_MEMORY;
	rc = copy(leased, j);
	if (rc < 0)
		return rc;
	*ret_job = TAKE_PTR(j);
	return 0;
}

void leased_free(struct leased *j)
{
	if (!j)
		return;
	for (size_t i = 0; i < j->metadata_count; i++) {
		free((void *)(uintptr_t)j->metadata[i].key.data);
		free((void *)(uintptr_t)j->metadata[i].value.data);
	}
	free(j->metadata);
	free((void *)(uintptr_t)j->checkpoint.data);
	json_decref(j->input);
	free(j->hook_url);
	free(j->traceparent);
	free(j->content_type);
	free(j->payload);
	free(j->queue);
	free(j);
}

struct template_values leased_values(const struct leased *j)
{
	return (struct template_values){
		.input = j->input,
		.payload = slice_of(j->payload, j->payload_size),
		.job_id = j->id,
		.queue = j->queue,
		.attempt = j->attempt,
		.metadata = j->metadata,
		.metadata_count = j->metadata_count,
		.hook_url = j->hook_url,
		.traceparent = j->traceparent,
	};
}

const char *leased_content_type(const struct leased *j)
{
	bool vague = !j->content_type || strcmp(j->content_type, "application/octet-stream") == 0;

	return vague && j->input ? "application/json" : j->content_type;
}
