/* What the fronts see: records, links, lists, queues and totals, through view.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/text.h"
#include "server/engine/view.h"
#include "server/engine/view_limits.h"
#include "tests/sim/compare.h"
#include "tests/sim/draw.h"
#include "tests/sim/tell.h"

#define JOBS_AT_ONCE 12 /* looked at each time, by chance */
#define PAGE_MAX     20

/* ---- one job ---- */

static void expect_moments(const struct model_job *j, struct msg_job *ret)
{
	ret->has_created_at_ms = true;
	ret->created_at_ms = j->created_at_ms;
	ret->has_run_at_ms = j->run_at_ms != 0;
	ret->run_at_ms = j->run_at_ms;
	ret->has_started_at_ms = j->started_at_ms != 0;
	ret->started_at_ms = j->started_at_ms;
	ret->has_finished_at_ms = j->finished_at_ms != 0;
	ret->finished_at_ms = j->finished_at_ms;
	ret->has_deadline_at_ms = j->deadline_at_ms != 0;
	ret->deadline_at_ms = j->deadline_at_ms;
}

static void expect_words(struct sim *s, const struct model_job *j, const struct msg_job *got, struct msg_job *ret)
{
	const struct model_job *told;

	ret->has_group = j->group.size > 0;
	ret->group = j->group;
	ret->has_title = j->title.size > 0;
	ret->title = j->title;
	ret->has_progress = j->has_progress;
	ret->progress = j->progress;
	ret->has_note = j->note.size > 0;
	ret->note = j->note;
	ret->has_metadata = true;
	ret->metadata = (struct pair *)(uintptr_t)j->metadata;
	ret->metadata_count = j->metadata_count;
	ret->has_payload_size = true;
	ret->payload_size = (int64_t)j->payload.size;
	ret->has_content_type = true;
	ret->content_type = j->content_type;
	ret->has_callback = j->callback_url.size > 0;
	ret->callback.has_url = true;
	ret->callback.url = j->callback_url;
	told = model_delivery(s->model, j);
	ret->callback.has_id = ret->callback.has_state = ret->callback.has_attempts = told != NULL;
	if (told) {
		ret->callback.id = told->id;
		ret->callback.state = told->state;
		ret->callback.attempts = told->attempt;
	}
	ret->has_error = j->error_at_ms != 0;
	ret->error = (struct msg_job_error){ .has_kind = true,
					     .kind = j->error_kind,
					     .has_at_ms = true,
					     .at_ms = j->error_at_ms,
					     .has_message = true,
					     .message = j->error_message.data ? j->error_message : got->error.message };
}

static void expect_artifacts(struct sim *s, const struct model_job *j, struct msg_job *ret)
{
	static struct msg_artifact artifacts[VIEW_ARTIFACTS];
	static char sums[VIEW_ARTIFACTS][64];
	const struct model_artifact *list[VIEW_ARTIFACTS];
	size_t count = model_artifacts(s->model, &j->id, list, VIEW_ARTIFACTS);

	for (size_t i = 0; i < count; i++) {
		hex_encode(list[i]->sha256, sizeof(list[i]->sha256), sums[i]);
		artifacts[i] = (struct msg_artifact){ .has_name = true,
						      .name = list[i]->name,
						      .has_content_type = true,
						      .content_type = list[i]->content_type,
						      .has_size = true,
						      .size = list[i]->size,
						      .has_sha256 = true,
						      .sha256 = slice_of(sums[i], sizeof(sums[i])) };
	}
	ret->has_artifacts = true;
	ret->artifacts = artifacts;
	ret->artifacts_count = count;
}

static struct msg_job expect_job(struct sim *s, const struct model_job *j, const struct msg_job *got)
{
	struct msg_job job = { .has_id = true, .id = j->id };

	job.has_queue = true;
	job.queue = s->model->queues[j->queue].name;
	job.has_state = job.has_attempt = job.has_max_attempts = job.has_priority = true;
	job.state = j->state;
	job.attempt = j->attempt;
	job.max_attempts = model_max_attempts(s->model, j);
	job.priority = j->priority;
	expect_moments(j, &job);
	expect_words(s, j, got, &job);
	expect_artifacts(s, j, &job);
	job.has_position = j->state == JOB_READY;
	/* Beyond the first thousand it may be an upper bound. */
	if (job.has_position) {
		job.position = model_position(s->model, j);
		if (job.position > 1000 && got->position > job.position)
			job.position = got->position;
	}
	job.has_eta_ms = model_eta(s->model, j, job.position, false, &got->eta_ms, &job.eta_ms);
	job.has_waiting_for = model_waiting_for(s->model, j, &job.waiting_for);
	job.has_link = !j->link_revoked;
	job.link = j->link_known ? slice_str(j->link) : got->link;
	return job;
}

static void compare_job(struct sim *s, const struct model_job *j, const struct msg_job *got)
{
	struct msg_job job = expect_job(s, j, got);
	char expected[4096];
	struct buf bytes;

	buf_init(&bytes, 16 << 20);
	buf_reset(&s->expected);
	if (message_encode(&MSG_job, &job, &s->expected) < 0 || message_encode(&MSG_job, got, &bytes) < 0)
		sim_fail(s, "a record cannot be encoded");
	if (!slice_equal(buf_slice(&s->expected), buf_slice(&bytes))) {
		snprintf(expected, sizeof(expected), "%s", tell_message(&MSG_job, &job));
		sim_fail(s, "a job's record\n%s", tell_difference(expected, tell_message(&MSG_job, got)));
	}
	buf_done(&bytes);
}

static void look_at_link(struct sim *s, struct store_txn *t, const char *link, int expected, const struct uuid *id)
{
	static struct job_view view;
	size_t base = strlen(s->settings.public_url) + 3;
	struct uuid got;
	int rc;

	if (link[0] == '\0')
		return;
	rc = view_link(t, &s->settings, s->now_ms, slice_str(link + base), &got, &view);
	if (rc != expected || (rc == 0 && !uuid_equal(&got, id)))
		sim_fail(s, "the link %s of %s says %s, expected %s", link, uuid_format(id).text,
			 rc < 0 ? error_name(rc) : "yes", expected < 0 ? error_name(expected) : "yes");
}

/* The present link says how the job is or that it is gone, for as long as anything is known of it; those before it and
 * a revoked one are unknown, then too. */
static void look_at_links(struct sim *s, struct store_txn *t, const struct model_job *j)
{
	int expected = j->gone || j->artifacts_gone ? ERR_GONE : 0;

	if (j->link_known)
		look_at_link(s, t, j->link, j->link_revoked ? ERR_NOT_FOUND : expected, &j->id);
	look_at_link(s, t, j->old_link, ERR_NOT_FOUND, &j->id);
}

static void look_at_bytes(struct sim *s, struct store_txn *t, const struct model_job *j)
{
	struct msg_job_payload_result payload;
	const struct model_artifact *a;
	struct artifact got;

	if (view_payload(t, &j->id, &payload) < 0 || !slice_equal(payload.data, j->payload) ||
	    !slice_equal(payload.content_type, j->content_type))
		sim_fail(s, "a payload is another");
	if (model_artifacts(s->model, &j->id, &a, 1) == 1 &&
	    (view_artifact(t, &j->id, a->name, &got) < 0 || got.size != a->size))
		sim_fail(s, "an artifact is another");
	if (view_artifact(t, &j->id, slice_str("not-there"), &got) != ERR_NOT_FOUND)
		sim_fail(s, "there is an artifact that nobody made");
}

static void look_at_job(struct sim *s, struct store_txn *t, const struct uuid *id)
{
	static struct job_view view;
	const struct model_job *j = model_find(s->model, id);
	int expected = !j ? ERR_NOT_FOUND : j->gone ? ERR_GONE : 0;
	int rc = view_job(t, &s->settings, s->now_ms, id, &view);

	if (rc != expected)
		sim_fail(s, "job.get of %s says %s, expected %s", uuid_format(id).text, rc < 0 ? error_name(rc) : "yes",
			 expected < 0 ? error_name(expected) : "yes");
	if (j)
		look_at_links(s, t, j);
	if (rc < 0)
		return;
	compare_job(s, j, &view.job);
	look_at_bytes(s, t, j);
}

/* ---- lists ---- */

static struct msg_job_list draw_list(struct sim *s)
{
	struct msg_job_filter f = draw_filter(s);

	return (struct msg_job_list){ .has_queue = f.has_queue,
				      .queue = f.queue,
				      .has_state = f.has_state,
				      .state = f.state,
				      .has_group = f.has_group,
				      .group = f.group };
}

static bool listed(const struct sim *s, const struct model_job *j, const struct msg_job_list *list)
{
	struct msg_job_filter f = { .has_queue = list->has_queue,
				    .queue = list->queue,
				    .has_state = list->has_state,
				    .state = list->state,
				    .has_group = list->has_group,
				    .group = list->group };

	return !j->gone && model_matches(s->model, j, &f);
}

/* One page, from the job before at on; moves at. */
static bool compare_page(struct sim *s, struct store_txn *t, struct msg_job_list *list, size_t cap, size_t *at)
{
	static struct job_view views[PAGE_MAX];
	static struct cursor_text cursor;
	struct error_info info;
	struct list_place place;
	size_t count = 0;
	bool more = false;

	if (view_list_begin(&s->settings, list, &place, &info) < 0)
		sim_fail(s, "a list does not go on: %s", info.message);
	if (view_list(t, &s->settings, s->now_ms, &place, views, cap, &count, &more) < 0)
		sim_fail(s, "a list cannot be read");
	for (size_t i = 0; i < count; i++) {
		while (*at > 0 && !listed(s, &s->model->jobs[*at - 1], list))
			(*at)--;
		if (*at == 0 || !uuid_equal(&s->model->jobs[*at - 1].id, &views[i].job.id))
			sim_fail(s, "a list shows another job than expected");
		compare_job(s, &s->model->jobs[--*at], &views[i].job);
	}
	cursor = view_list_cursor(&s->settings, &place);
	list->has_cursor = true;
	list->cursor = slice_str(cursor.text);
	return more;
}

static void compare_list(struct sim *s, struct store_txn *t)
{
	struct msg_job_list list = draw_list(s);
	size_t at = s->model->jobs_count;
	size_t cap = 1 + (size_t)draw_below(s, PAGE_MAX);

	for (int pages = 0; compare_page(s, t, &list, cap, &at); pages++)
		if (pages > MODEL_JOBS)
			sim_fail(s, "a list does not end");
	while (at > 0 && !listed(s, &s->model->jobs[at - 1], &list))
		at--;
	if (at > 0)
		sim_fail(s, "a list leaves a job out");
}

/* ---- queues ---- */

static void compare_queue_views(struct sim *s, struct store_txn *t)
{
	struct msg_counts totals;
	static struct group_weight weights[MAX_WEIGHTS];
	struct queues_view queues;
	int64_t number, put_total, sum = 0;

	if (view_queues(t, &queues) < 0 || queues.count != s->model->queues_count)
		sim_fail(s, "there are other queues than expected");
	for (size_t i = 0; i < queues.count; i++) {
		struct msg_queue expected, named;

		model_describe_queue(s->model, (int)i, &expected);
		if (view_queue_by_name(t, expected.queue, weights, &named) < 0)
			sim_fail(s, "a queue is not found by its name");
		sum += expected.put_total;
		for (int both = 0; both < 2; both++) {
			const struct msg_queue *got = both == 0 ? &queues.items[i] : &named;
			char text[2048];

			snprintf(text, sizeof(text), "%s", tell_message(&MSG_queue, &expected));
			if (strcmp(text, tell_message(&MSG_queue, got)) != 0)
				sim_fail(s, "a queue\n%s", tell_difference(text, tell_message(&MSG_queue, got)));
		}
	}
	if (view_totals(t, &totals, &number, &put_total) < 0 || number != (int64_t)queues.count || put_total != sum)
		sim_fail(s, "the totals are not the sums");
	queues_view_done(&queues);
}

/* ---- limits ---- */

static void compare_limits(struct sim *s, struct store_txn *t)
{
	struct limits_view limits;

	if (view_limits(t, s->now_ms, NULL, &limits) < 0 || limits.count != s->model->limits_count)
		sim_fail(s, "there are other limits than expected");
	for (size_t i = 0; i < limits.count; i++) {
		int number = model_find_limit(s->model, limits.items[i].limit);
		struct msg_limit expected;
		char text[4096];

		if (number < 0)
			sim_fail(s, "a limit nobody made: %.*s", SLICE_FMT(limits.items[i].limit));
		model_describe_limit(s->model, number, &expected);
		snprintf(text, sizeof(text), "%s", tell_message(&MSG_limit, &expected));
		if (strcmp(text, tell_message(&MSG_limit, &limits.items[i])) != 0)
			sim_fail(s, "a limit\n%s", tell_difference(text, tell_message(&MSG_limit, &limits.items[i])));
	}
	limits_view_done(&limits);
}

void compare_views(struct sim *s, struct store_txn *t)
{
	for (int i = 0; i < JOBS_AT_ONCE; i++) {
		struct uuid id = draw_id(s);

		look_at_job(s, t, &id);
	}
	compare_list(s, t);
	compare_queue_views(s, t);
	compare_limits(s, t);
}
