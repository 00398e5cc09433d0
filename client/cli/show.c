#include "show.h"

#include <string.h>

#include "proto/base/units.h"
#include "text.h"

#define INDENT	16 /* of what a line says, behind its name */
#define COLUMNS 80

const char *show_state_colour(enum raincheck_job_state state)
{
	switch (state) {
	case RAINCHECK_JOB_SUCCEEDED:
		return "32";
	case RAINCHECK_JOB_RUNNING:
		return "36";
	case RAINCHECK_JOB_DEAD:
		return "31";
	case RAINCHECK_JOB_CANCELED:
	case RAINCHECK_JOB_EXPIRED:
		return "33";
	default:
		return NULL;
	}
}

/* ---- JSON ---- */

static void set_text(json_t *o, const char *key, const char *text)
{
	json_object_set_new(o, key, text ? json_string(text) : json_null());
}

static void set_number(json_t *o, const char *key, bool has, int64_t number)
{
	json_object_set_new(o, key, has ? json_integer(number) : json_null());
}

json_t *show_run_json(const struct raincheck_run_time *run)
{
	if (run->mean_ms <= 0)
		return json_null();
	return json_pack("{s:I, s:I}", "mean", (json_int_t)run->mean_ms, "spread", (json_int_t)run->spread_ms);
}

static json_t *waiting_json(const struct raincheck_job *job)
{
	json_t *o;

	if (!job->has_waiting_for)
		return json_null();
	o = json_pack("{s:s}", "reason", raincheck_wait_reason_name(job->waiting_for));
	set_number(o, "until_at_ms", job->waiting_until_at_ms > 0, job->waiting_until_at_ms);
	return o;
}

json_t *show_eta_json(bool has, const struct raincheck_eta *eta)
{
	if (!has)
		return json_null();
	return json_pack("{s:I, s:I}", "low", (json_int_t)eta->low_ms, "high", (json_int_t)eta->high_ms);
}

static void set_times(json_t *o, const struct raincheck_job *job)
{
	set_number(o, "created_at_ms", true, job->created_at_ms);
	set_number(o, "run_at_ms", job->run_at_ms > 0, job->run_at_ms);
	set_number(o, "started_at_ms", job->started_at_ms > 0, job->started_at_ms);
	set_number(o, "finished_at_ms", job->finished_at_ms > 0, job->finished_at_ms);
	set_number(o, "deadline_at_ms", job->deadline_at_ms > 0, job->deadline_at_ms);
	json_object_set_new(o, "progress", job->has_progress ? json_real(job->progress) : json_null());
	set_text(o, "note", job->note);
	set_number(o, "position", job->has_position, job->position);
	json_object_set_new(o, "eta_ms", show_eta_json(job->has_eta, &job->eta));
	json_object_set_new(o, "waiting_for", waiting_json(job));
}

static json_t *artifacts_json(const struct raincheck_job *job)
{
	json_t *list = json_array();

	for (size_t i = 0; i < job->artifact_count; i++) {
		const struct raincheck_artifact *a = &job->artifacts[i];
		json_t *o = json_object();

		set_text(o, "name", a->name);
		set_text(o, "content_type", a->content_type);
		set_number(o, "size", true, a->size);
		set_text(o, "sha256", a->sha256);
		json_array_append_new(list, o);
	}
	return list;
}

static json_t *error_json(const struct raincheck_job_error *e)
{
	json_t *o;

	if (!e)
		return json_null();
	o = json_object();
	set_text(o, "kind", raincheck_failure_name(e->kind));
	set_text(o, "message", e->message);
	set_number(o, "at_ms", true, e->at_ms);
	return o;
}

static json_t *callback_json(const struct raincheck_callback *callback)
{
	json_t *o;

	if (!callback)
		return json_null();
	o = json_object();
	set_text(o, "url", callback->url);
	set_text(o, "id", callback->has_delivery ? callback->id : NULL);
	set_text(o, "state", callback->has_delivery ? raincheck_job_state_name(callback->state) : NULL);
	set_number(o, "attempts", callback->has_delivery, callback->attempts);
	return o;
}

static json_t *hooks_json(const struct raincheck_hooks *hooks)
{
	json_t *o;

	if (!hooks)
		return json_null();
	o = json_object();
	set_number(o, "count", true, hooks->count);
	set_number(o, "waiting", true, hooks->waiting);
	set_number(o, "last_at_ms", true, hooks->last_at_ms);
	return o;
}

json_t *show_job_json(const struct raincheck_job *job)
{
	json_t *o = json_object();
	json_t *metadata = json_object();

	set_text(o, "id", job->id);
	set_text(o, "queue", job->queue);
	set_text(o, "state", raincheck_job_state_name(job->state));
	set_number(o, "attempt", true, job->attempt);
	set_number(o, "max_attempts", true, job->max_attempts);
	set_number(o, "priority", true, job->priority);
	set_text(o, "group", job->group);
	set_text(o, "title", job->title);
	set_times(o, job);
	json_object_set_new(o, "error", error_json(job->error));
	json_object_set_new(o, "artifacts", artifacts_json(job));
	set_text(o, "link", job->link);
	for (size_t i = 0; i < job->metadata_count; i++)
		set_text(metadata, job->metadata[i].key, job->metadata[i].value);
	json_object_set_new(o, "metadata", metadata);
	set_number(o, "payload_size", true, job->payload_size);
	set_text(o, "content_type", job->content_type);
	json_object_set_new(o, "callback", callback_json(job->callback));
	json_object_set_new(o, "hooks", hooks_json(job->hooks));
	return o;
}

json_t *show_counts_json(const struct raincheck_counts *n)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "scheduled", (json_int_t)n->scheduled, "ready",
			 (json_int_t)n->ready, "running", (json_int_t)n->running, "succeeded", (json_int_t)n->succeeded,
			 "dead", (json_int_t)n->dead, "canceled", (json_int_t)n->canceled, "expired",
			 (json_int_t)n->expired);
}

int show_json(struct cli *c, json_t *o)
{
	if (!o)
		return cli_failed(c, "out of memory");
	/* Fifteen digits are what a double holds: with more, 0.3 is printed as 0.29999999999999999. */
	json_dumpf(o, c->out, JSON_INDENT(2) | JSON_REAL_PRECISION(15));
	fputc('\n', c->out);
	json_decref(o);
	return CLI_DONE;
}

/* ---- errors ---- */

json_t *show_error_json(const struct raincheck_error *e)
{
	json_t *o = json_pack("{s:s, s:s}", "code", raincheck_error_name(e->code), "message", e->message);

	if (e->field[0])
		set_text(o, "field", e->field);
	if (e->retry_after_ms > 0)
		set_number(o, "retry_after_ms", true, e->retry_after_ms);
	return json_pack("{s:o}", "error", o);
}

void show_error(FILE *out, const struct raincheck_error *e)
{
	if (e->field[0]) {
		text_print(out, e->field);
		fputs(": ", out);
	}
	text_print(out, e->message);
	fprintf(out, " (%s)", raincheck_error_name(e->code));
	if (e->retry_after_ms > 0)
		fprintf(out, "; come back in %s", units_format_duration(e->retry_after_ms).text);
	if (e->sent)
		fputs("; it may have been done all the same", out);
}

/* ---- tables and lines ---- */

int show_table(struct cli *c, struct table *t, uint32_t whole)
{
	table_fit(t, c->width, whole);
	if (!table_print(t, c->out))
		return cli_failed(c, "out of memory");
	return CLI_DONE;
}

static void print_name(struct cli *c, const char *name)
{
	size_t width = strlen(name) + 1;

	fprintf(c->out, "%s:%*s", name, (int)(width < INDENT ? INDENT - width : 1), "");
}

void show_line(struct cli *c, const char *name, const char *text)
{
	if (!text)
		return;
	print_name(c, name);
	text_print(c->out, text);
	fputc('\n', c->out);
}

void show_item(struct show_items *s, const char *text)
{
	size_t width = text_width(text);

	if (s->used == 0) {
		print_name(s->c, s->name);
		s->used = INDENT;
	} else if (s->used + 2 + width + 1 > COLUMNS) {
		/* One column is the comma's, should another item follow. */
		fprintf(s->c->out, ",\n%*s", INDENT, "");
		s->used = INDENT;
	} else {
		fputs(", ", s->c->out);
		s->used += 2;
	}
	text_print(s->c->out, text);
	s->used += width;
}

void show_items_end(struct show_items *s)
{
	if (s->used > 0)
		fputc('\n', s->c->out);
}

void show_line_number(struct cli *c, const char *name, int64_t number)
{
	char text[32];

	snprintf(text, sizeof(text), "%lld", (long long)number);
	show_line(c, name, text);
}

void show_run_time(struct cli *c, const struct raincheck_run_time *run)
{
	char text[96];

	if (run->mean_ms <= 0)
		return;
	snprintf(text, sizeof(text), "%s, give or take %s", units_format_duration(run->mean_ms).text,
		 units_format_duration(run->spread_ms).text);
	show_line(c, "attempts take", text);
}

void show_counts(struct cli *c, const struct raincheck_counts *n)
{
	show_line_number(c, "scheduled", n->scheduled);
	show_line_number(c, "ready", n->ready);
	show_line_number(c, "running", n->running);
	show_line_number(c, "succeeded", n->succeeded);
	show_line_number(c, "dead", n->dead);
	show_line_number(c, "canceled", n->canceled);
	show_line_number(c, "expired", n->expired);
}

static void show_moment(struct cli *c, const char *name, int64_t at_ms)
{
	if (at_ms > 0)
		show_line(c, name, text_moment(at_ms).text);
}

/* What holds it, in words. */
static void show_waiting(struct cli *c, const struct raincheck_job *job)
{
	static const char *const words[] = {
		[RAINCHECK_WAIT_PAUSED] = "its queue to be resumed",
		[RAINCHECK_WAIT_HELD] = "the API, which asked to be left alone",
		[RAINCHECK_WAIT_BREAKER] = "the API, which fails at present",
	};
	char text[160];

	if (!job->has_waiting_for || (size_t)job->waiting_for >= sizeof(words) / sizeof(words[0]))
		return;
	snprintf(text, sizeof(text), "%s%s%s", words[job->waiting_for], job->waiting_until_at_ms > 0 ? ", until " : "",
		 job->waiting_until_at_ms > 0 ? text_moment(job->waiting_until_at_ms).text : "");
	show_line(c, "waits for", text);
}

static void show_progress(struct cli *c, const struct raincheck_job *job)
{
	char text[64];

	if (job->has_position)
		show_line_number(c, "position", job->position);
	if (job->has_eta)
		show_line(c, "expected", text_eta(job->eta.low_ms, job->eta.high_ms).text);
	show_waiting(c, job);
	if (job->has_progress) {
		snprintf(text, sizeof(text), "%.0f %%", job->progress * 100);
		show_line(c, "progress", text);
	}
	show_line(c, "note", job->note);
}

static void show_hooks(struct cli *c, const struct raincheck_hooks *hooks)
{
	char text[128], waiting[48] = "";

	if (!hooks)
		return;
	if (hooks->waiting > 0)
		snprintf(waiting, sizeof(waiting), ", %lld not taken yet", (long long)hooks->waiting);
	snprintf(text, sizeof(text), "%lld, the last at %s%s", (long long)hooks->count,
		 text_moment(hooks->last_at_ms).text, waiting);
	show_line(c, "hooks", text);
}

/* What became of the webhook. */
static void show_delivery(struct cli *c, const struct raincheck_callback *callback)
{
	const char *state = raincheck_job_state_name(callback->state);
	char text[200];

	if (!callback->has_delivery)
		return;
	if (callback->state == RAINCHECK_JOB_SUCCEEDED)
		state = "delivered";
	snprintf(text, sizeof(text), "%s, %lld attempt%s, job %s", state, (long long)callback->attempts,
		 callback->attempts == 1 ? "" : "s", callback->id);
	show_line(c, "webhook", text);
}

/* Some thousand bytes long, where an API says much. */
static void show_error_of(struct cli *c, const struct raincheck_job_error *e)
{
	print_name(c, "error");
	text_print(c->out, e->message);
	fprintf(c->out, " (%s)\n", raincheck_failure_name(e->kind));
}

static void show_metadata(struct cli *c, const struct raincheck_pair *pair)
{
	print_name(c, "metadata");
	text_print(c->out, pair->key);
	fputs(" = ", c->out);
	text_print(c->out, pair->value);
	fputc('\n', c->out);
}

static void show_outcome(struct cli *c, const struct raincheck_job *job)
{
	char text[512];

	if (job->error)
		show_error_of(c, job->error);
	for (size_t i = 0; i < job->artifact_count; i++) {
		const struct raincheck_artifact *a = &job->artifacts[i];

		snprintf(text, sizeof(text), "%s, %s, %s", a->name, a->content_type, units_format_size(a->size).text);
		show_line(c, "artifact", text);
	}
	if (job->callback) {
		show_line(c, "callback", job->callback->url);
		show_delivery(c, job->callback);
	}
	show_hooks(c, job->hooks);
	for (size_t i = 0; i < job->metadata_count; i++)
		show_metadata(c, &job->metadata[i]);
}

void show_job(struct cli *c, const struct raincheck_job *job)
{
	char text[64];

	show_line(c, "id", job->id);
	show_line(c, "state", raincheck_job_state_name(job->state));
	show_line(c, "queue", job->queue);
	show_line(c, "title", job->title);
	show_line(c, "group", job->group);
	show_line(c, "link", job->link);
	snprintf(text, sizeof(text), "%lld of %lld", (long long)job->attempt, (long long)job->max_attempts);
	show_line(c, "attempt", text);
	show_line_number(c, "priority", job->priority);
	show_progress(c, job);
	show_moment(c, "created", job->created_at_ms);
	if (job->state == RAINCHECK_JOB_SCHEDULED)
		show_moment(c, "not before", job->run_at_ms);
	show_moment(c, "started", job->started_at_ms);
	show_moment(c, "finished", job->finished_at_ms);
	show_moment(c, "deadline", job->deadline_at_ms);
	show_line(c, "payload", units_format_size(job->payload_size).text);
	show_line(c, "content type", job->content_type);
	show_outcome(c, job);
}
