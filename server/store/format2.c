#include "server/store/format2.h"

#include "server/store/record_bytes.h"

#define PAUSED	0x01u
#define RECOUNT 0x02u

static struct backoff read_backoff(struct reader *r)
{
	struct backoff b;

	b.base_ms = get_i64(r);
	b.max_ms = get_i64(r);
	b.factor = get_double(r);
	b.jitter = get_double(r);
	return b;
}

int format2_read_queue(struct slice bytes, struct queue_record *ret, uint64_t *ret_last_tag)
{
	struct reader r;
	unsigned flags;

	if (begin_read(bytes, &r) < 0)
		return ERR_CORRUPT;
	*ret = (struct queue_record){ .weight = 1 };
	ret->name = get_bytes(&r);
	ret->title = get_bytes(&r);
	flags = (unsigned)get_number(&r, 1);
	ret->paused = flags & PAUSED;
	ret->recount = flags & RECOUNT;
	ret->max_jobs = get_i64(&r);
	ret->max_bytes = get_i64(&r);
	ret->max_attempts = (uint32_t)get_number(&r, 4);
	ret->backoff = read_backoff(&r);
	ret->attempt_timeout_ms = get_i64(&r);
	ret->result_ttl_ms = get_i64(&r);
	ret->bytes = get_i64(&r);
	for (int i = 0; i < JOB_STATES; i++)
		ret->counts[i] = get_i64(&r);
	for (int i = 0; i < PRIORITIES; i++)
		ret->ready[i] = get_i64(&r);
	ret->put_total = get_i64(&r);
	*ret_last_tag = get_number(&r, 8);
	/* The rate was one of leases, which says little: it is found out anew. */
	get_double(&r);
	ret->pace.run_ms = get_double(&r);
	ret->pace.spread_ms = ret->pace.run_ms / 2;
	get_i64(&r);
	get_i64(&r);
	return end_read(&r);
}
