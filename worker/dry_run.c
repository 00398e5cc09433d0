#include "worker/dry_run.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "proto/base/buf.h"
#include "proto/error.h"
#include "worker/call/call_request.h"
#include "worker/call/leased.h"
#include "worker/config/secrets.h"
#include "worker/config/worker_config.h"
#include "worker/transport/http_request.h"

#define EXAMPLE_ID   "00000000-0000-7000-8000-000000000000"
#define METADATA_MAX 64
#define MASKED_MAX   (64 << 20)

static int complain(const char *path, const char *what)
{
	fprintf(stderr, "raincheck-worker: %s: %s\n", path, what);
	return ERR_BAD_REQUEST;
}

static const char *text_of(json_t *file, const char *key, const char *otherwise)
{
	json_t *value = json_object_get(file, key);

	return json_is_string(value) ? json_string_value(value) : otherwise;
}

/* The payload's bytes as a producer would put them. The caller frees *ret. */
static int payload_of(json_t *file, struct raincheck_leased_job *leased, char **ret)
{
	json_t *payload = json_object_get(file, "payload");
	bool raw = leased->content_type && !strcasestr(leased->content_type, "json");

	if (json_is_string(payload) && raw)
		*ret = strdup(json_string_value(payload));
	else
		*ret = json_dumps(payload, JSON_ENCODE_ANY | JSON_COMPACT);
	if (!*ret)
		return ERR_NO_MEMORY;
	leased->payload = (struct raincheck_bytes){ *ret, strlen(*ret) };
	return 0;
}

static size_t metadata_of(json_t *file, struct raincheck_pair pairs[static METADATA_MAX])
{
	const char *key;
	json_t *value;
	size_t n = 0;

	json_object_foreach(json_object_get(file, "metadata"), key, value)
	{
		if (n < METADATA_MAX && json_is_string(value))
			pairs[n++] = (struct raincheck_pair){ key, json_string_value(value) };
	}
	return n;
}

static int make_job(json_t *file, struct leased **ret_job)
{
	struct raincheck_pair pairs[METADATA_MAX];
	json_t *attempt = json_object_get(file, "attempt");
	struct raincheck_leased_job leased = {
		.queue = text_of(file, "queue", ""),
		.content_type = text_of(file, "content_type", NULL),
		.hook_url = text_of(file, "hook_url", NULL),
		.attempt = json_is_integer(attempt) ? json_integer_value(attempt) : 1,
		.metadata = pairs,
		.metadata_count = metadata_of(file, pairs),
	};
	_cleanup_free_ char *payload = NULL;
	int rc;

	snprintf(leased.id, sizeof(leased.id), "%s", text_of(file, "id", EXAMPLE_ID));
	rc = payload_of(file, &leased, &payload);
	return rc < 0 ? rc : leased_new(&leased, ret_job);
}

/* Values are masked where they are put in; what stands in the file as it is, is masked here. */
static int print(const struct worker_config *config, const struct http_request *r, FILE *out)
{
	_cleanup_(buf_done) struct buf masked;
	_cleanup_free_ char *text = NULL;
	size_t size = 0;
	FILE *memory = open_memstream(&text, &size);
	bool whole;

	buf_init(&masked, MASKED_MAX);
	if (!memory)
		return ERR_NO_MEMORY;
	http_request_print(r, memory);
	whole = !ferror(memory);
	if (fclose(memory) != 0 || !whole || !text)
		return ERR_NO_MEMORY;
	if (secrets_mask(config->secrets, slice_of(text, size), &masked) < 0)
		return buf_error(&masked);
	fwrite(masked.data, 1, masked.size, out);
	return 0;
}

static int show(const struct worker_config *config, const char *path, json_t *file, FILE *out)
{
	_cleanup_(http_request_freep) struct http_request *r = NULL;
	_cleanup_(leased_freep) struct leased *job = NULL;
	struct error_info info = { .code = 0 };
	struct template_values values;
	const struct upstream *u;
	int rc;

	if (!json_is_object(file) || !json_is_string(json_object_get(file, "queue")) ||
	    !json_object_get(file, "payload"))
		return complain(path, "it is not an object with queue and payload");
	u = worker_config_route(config, text_of(file, "queue", ""));
	if (!u)
		return complain(path, "the configuration has no such queue");
	rc = make_job(file, &job);
	if (rc < 0)
		return rc;
	values = leased_values(job);
	values.secrets = config->secrets;
	values.mask_secrets = true;
	values.key = job->id;
	rc = call_request_submit(u, &values, leased_content_type(job), &r, &info);
	if (rc < 0)
		return complain(path, info.code ? info.message : error_text(rc));
	return print(config, r, out);
}

int dry_run(const struct worker_config *config, const char *path, FILE *out)
{
	json_error_t error;
	json_t *file = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
	int rc;

	if (!file)
		return complain(path, error.text);
	rc = show(config, path, file, out);
	if (rc == ERR_NO_MEMORY)
		complain(path, error_text(rc));
	json_decref(file);
	return rc;
}
