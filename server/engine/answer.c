#include "server/engine/answer.h"

#include <msgpack/zone.h>
#include <string.h>

#include "server/engine/link.h"

#define LINK_PATH "/r/"
#define HOOK_PATH "/hooks/"

/* What all of an answer's texts are made with. */
struct maker {
	const struct settings *settings;
	struct link_signer *links;
	struct msgpack_zone *arena;
};

/* Without printf, which takes longer than the rest of an answer. */
static int write_url(const struct maker *m, struct slice path, struct slice token, struct slice *ret)
{
	struct slice base = slice_str(m->settings->public_url);
	char *text = msgpack_zone_malloc_no_align(m->arena, base.size + path.size + token.size);

	if (!text)
		return ERR_NO_MEMORY;
	memcpy(text, base.data, base.size);
	memcpy(text + base.size, path.data, path.size);
	memcpy(text + base.size + path.size, token.data, token.size);
	*ret = slice_of(text, base.size + path.size + token.size);
	return 0;
}

static int finish_put(const struct maker *m, const struct put_rest *rest, struct msg_job_put_result *r)
{
	struct estimate eta = { 0 };
	struct link_token token;

	if (rest->has_outlook) {
		r->has_eta_ms = estimate_outlook(&rest->outlook, &eta);
		r->eta_ms =
			(struct msg_eta){ .has_low = true, .low = eta.low_ms, .has_high = true, .high = eta.high_ms };
	}
	r->has_link = rest->has_link;
	if (!rest->has_link)
		return 0;
	token = link_sign(m->links, &r->id, rest->link_generation);
	return write_url(m, slice_str(LINK_PATH), slice_of(token.text, LINK_TOKEN_SIZE), &r->link);
}

static int finish_puts(const struct maker *m, const struct command_put *put, void *result)
{
	struct msg_job_put_result *results = result;
	int rc = 0;

	if (put->many)
		results = ((struct msg_job_put_many_result *)result)->jobs;
	for (size_t i = 0; rc == 0 && i < put->count; i++)
		if (results[i].has_id)
			rc = finish_put(m, &put->items[i].rest, &results[i]);
	return rc;
}

static int finish_lease(const struct maker *m, struct msg_job_lease_result *result)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < result->jobs_count; i++) {
		struct msg_leased_job *job = &result->jobs[i];
		struct hook_token token = hook_sign(m->links, &job->id, (uint32_t)job->attempt);

		job->has_hook_url = true;
		rc = write_url(m, slice_str(HOOK_PATH), slice_of(token.text, HOOK_TOKEN_SIZE), &job->hook_url);
	}
	return rc;
}

int answer_finish(const struct command *cmd, void *result, const struct settings *settings, struct link_signer *links,
		  struct msgpack_zone *arena)
{
	const struct maker m = { .settings = settings, .links = links, .arena = arena };

	switch (cmd->kind) {
	case COMMAND_PUT:
		return finish_puts(&m, cmd->params, result);
	case COMMAND_LEASE:
		return finish_lease(&m, result);
	default:
		return 0;
	}
}
