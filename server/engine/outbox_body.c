/* The words of the status that a link shows, with what only the producer may know besides: the id, the error as the
 * worker told it, and the metadata of the put.
 */
#include "server/engine/outbox_body.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "proto/base/buf.h"
#include "proto/error.h"
#include "server/engine/view.h"
#include "server/store/records.h"

static json_t *text(struct slice s)
{
	return s.size > 0 ? json_stringn(s.data, s.size) : json_null();
}

static json_t *url(const struct outbox_news *n, bool there, const char *name)
{
	char room[1024];

	if (!there || !n->link)
		return json_null();
	snprintf(room, sizeof(room), "%s/%s", n->link, name);
	return json_string(room);
}

static json_t *error(const struct job *job)
{
	if (job->state == JOB_SUCCEEDED || job->error_at_ms == 0)
		return json_null();
	return json_pack("{s:s, s:o}", "kind", failure_kind_names[job->error_kind], "message",
			 json_stringn(job->error_message.size ? job->error_message.data : "", job->error_message.size));
}

/* RFC 3339, to the millisecond. */
static json_t *moment(int64_t at_ms)
{
	time_t seconds = (time_t)(at_ms / 1000);
	char date[32], whole[48];
	struct tm tm;

	if (!gmtime_r(&seconds, &tm) || strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm) == 0)
		return json_null();
	snprintf(whole, sizeof(whole), "%s.%03dZ", date, (int)(at_ms % 1000));
	return json_string(whole);
}

/* *ret_fits: false where it is too long to go along. */
static json_t *metadata(const struct job_input *input, bool *ret_fits)
{
	struct pair pairs[VIEW_METADATA];
	size_t count = input_metadata(input, pairs, VIEW_METADATA);
	json_t *all = json_object();

	*ret_fits = input->metadata_bytes.size <= OUTBOX_METADATA_BYTES;
	for (size_t i = 0; all && *ret_fits && i < count; i++) {
		json_t *value = json_stringn(pairs[i].value.size ? pairs[i].value.data : "", pairs[i].value.size);

		if (json_object_setn_new(all, pairs[i].key.data, pairs[i].key.size, value) < 0) {
			json_decref(all);
			return NULL;
		}
	}
	return all;
}

static json_t *describe(const struct outbox_news *n, json_t *said, bool fits)
{
	char id[UUID_TEXT_SIZE + 1];
	json_t *data;

	memcpy(id, uuid_format(n->id).text, sizeof(id));
	data = json_pack("{s:s, s:o, s:s, s:o, s:n, s:n, s:o, s:n, s:o, s:o, s:o, s:o, s:o}", "id", id, "queue",
			 text(n->queue), "state", job_state_names[n->job->state], "title", text(n->input->title),
			 "position", "eta_ms", "progress", n->job->state == JOB_SUCCEEDED ? json_real(1) : json_null(),
			 "note", "link", n->link ? json_string(n->link) : json_null(), "preview",
			 url(n, n->has_preview, "preview"), "result", url(n, n->has_result, "result"), "error",
			 error(n->job), "metadata", fits ? json_incref(said) : json_null());
	if (data && !fits)
		json_object_set_new(data, "metadata_omitted", json_true());
	return data;
}

static int append_cb(const char *bytes, size_t size, void *user)
{
	return buf_append(user, bytes, size);
}

int outbox_body(struct buf *out, const struct outbox_news *n)
{
	char type[32];
	json_t *said, *data, *all;
	bool fits;
	int rc;

	said = metadata(n->input, &fits);
	data = said ? describe(n, said, fits) : NULL;
	snprintf(type, sizeof(type), "job.%s", job_state_names[n->job->state]);
	all = data ? json_pack("{s:s, s:o, s:o}", "type", type, "timestamp", moment(n->job->finished_at_ms), "data",
			       data)
		   : NULL;
	rc = all && json_dump_callback(all, append_cb, out, JSON_COMPACT) == 0 ? 0 : ERR_NO_MEMORY;
	json_decref(all);
	json_decref(said);
	return rc;
}
