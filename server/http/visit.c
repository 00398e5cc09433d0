#include "visit.h"

#include "proto/base/clock.h"
#include "server/http/site.h"

static const struct msg_artifact *find(const struct msg_job *job, const char *name)
{
	for (size_t i = 0; i < job->artifacts_count; i++)
		if (slice_is(job->artifacts[i].name, name))
			return &job->artifacts[i];
	return NULL;
}

/* By its id. Retention takes the artifacts before the record: that they were there is seen no more, as through a link.
 */
static int visit_job(const struct request *r, struct visit *ret)
{
	int rc;

	ret->id = *r->job;
	rc = view_job(ret->txn, r->site->settings, ret->now_ms, r->job, &ret->job);
	return rc == 0 && ret->job.record.artifacts_gone ? ERR_GONE : rc;
}

int visit_begin(const struct request *r, struct visit *ret)
{
	const struct msg_job *job = &ret->job.job;
	int rc;

	ret->txn = NULL;
	ret->now_ms = clock_wall_ms();
	rc = store_begin_read(r->site->store, &ret->txn);
	if (rc == 0 && r->job)
		rc = visit_job(r, ret);
	else if (rc == 0)
		rc = view_link(ret->txn, r->site->settings, ret->now_ms, slice_str(r->token), &ret->id, &ret->job);
	if (rc < 0)
		return rc;
	ret->preview = find(job, "preview");
	ret->result = job->state == JOB_SUCCEEDED ? find(job, "result") : NULL;
	return 0;
}

void visit_end(struct visit *v)
{
	store_abort(v->txn);
	v->txn = NULL;
}
