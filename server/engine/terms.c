#include "server/engine/terms.h"

static const struct backoff server_backoff = { .base_ms = 1000, .max_ms = 300000, .factor = 2, .jitter = 1 };
static const struct backoff no_backoff = { .base_ms = -1, .max_ms = -1, .factor = -1, .jitter = -1 };

uint32_t terms_max_attempts(const struct job *job, const struct queue_record *q)
{
	if (job->max_attempts > 0)
		return job->max_attempts;
	return q->max_attempts > 0 ? q->max_attempts : DEFAULT_MAX_ATTEMPTS;
}

/* Takes what later says for the members of which ret says nothing. */
static void fill_backoff(struct backoff *ret, const struct backoff *later)
{
	if (ret->base_ms < 0)
		ret->base_ms = later->base_ms;
	if (ret->max_ms < 0)
		ret->max_ms = later->max_ms;
	if (ret->factor < 0)
		ret->factor = later->factor;
	if (ret->jitter < 0)
		ret->jitter = later->jitter;
}

struct backoff terms_backoff(const struct backoff *own, const struct queue_record *q)
{
	struct backoff ret = own ? *own : no_backoff;

	fill_backoff(&ret, &q->backoff);
	fill_backoff(&ret, &server_backoff);
	return ret;
}

int64_t terms_attempt_timeout_ms(const struct job_input *input, const struct queue_record *q)
{
	return input->attempt_timeout_ms > 0 ? input->attempt_timeout_ms : q->attempt_timeout_ms;
}

int64_t terms_result_ttl_ms(const struct job *job, const struct queue_record *q, const struct settings *settings)
{
	if (job->result_ttl_ms >= 0)
		return job->result_ttl_ms;
	return q->result_ttl_ms >= 0 ? q->result_ttl_ms : settings->result_ttl_ms;
}

struct queue_record terms_new_queue(struct slice name)
{
	return (struct queue_record){
		.name = name,
		.max_jobs = -1,
		.max_bytes = -1,
		.backoff = no_backoff,
		.result_ttl_ms = -1,
		.weight = 1,
	};
}
