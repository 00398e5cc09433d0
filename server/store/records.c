/* Each record is a list of calls of record_bytes.h's writer and reader, the same list in the same order on both sides.
 */
#include "server/store/records.h"

#include <string.h>

#include "proto/error.h"
#include "server/store/record_bytes.h"

bool record_is_whole(struct slice bytes)
{
	struct reader r;

	return begin_read(bytes, &r) == 0;
}

/* ---- what holds its key ---- */

/* The key comes first: so it is read of any of them. */
static void begin_keyed(struct buf *out, struct slice key)
{
	begin_record(out);
	put_bytes(out, key);
}

static int begin_keyed_read(struct slice key, struct slice bytes, struct reader *ret)
{
	return begin_read(bytes, ret) == 0 && slice_equal(get_bytes(ret), key) ? 0 : ERR_CORRUPT;
}

int record_read_own_key(struct slice bytes, struct slice *ret_key)
{
	struct reader r;

	if (begin_read(bytes, &r) < 0)
		return ERR_CORRUPT;
	*ret_key = get_bytes(&r);
	return r.short_of ? ERR_CORRUPT : 0;
}

/* ---- jobs ---- */

#define JOB_HAS_PROGRESS   0x01u
#define JOB_LINK_REVOKED   0x02u
#define JOB_ARTIFACTS_GONE 0x04u
#define JOB_HAS_CALLBACK   0x08u
#define JOB_HOOKED	   0x10u

static void add_job(struct numbers *to, const struct job *j)
{
	uint32_t progress;

	memcpy(&progress, &j->progress, sizeof(progress));
	add_number(to, j->queue, 4);
	add_number(to, j->state, 1);
	add_number(to, j->priority, 1);
	add_number(to, j->error_kind, 1);
	add_number(to,
		   (j->has_progress ? JOB_HAS_PROGRESS : 0) | (j->link_revoked ? JOB_LINK_REVOKED : 0) |
			   (j->artifacts_gone ? JOB_ARTIFACTS_GONE : 0) | (j->has_callback ? JOB_HAS_CALLBACK : 0) |
			   (j->hooked ? JOB_HOOKED : 0),
		   1);
	add_number(to, j->link_generation, 2);
	add_number(to, j->attempt, 4);
	add_number(to, j->max_attempts, 4);
	add_i64(to, j->created_at_ms);
	add_i64(to, j->run_at_ms);
	add_i64(to, j->start_deadline_at_ms);
	add_i64(to, j->deadline_at_ms);
	add_i64(to, j->started_at_ms);
	add_i64(to, j->finished_at_ms);
	add_i64(to, j->lease_expires_at_ms);
	add_i64(to, j->attempt_deadline_at_ms);
	add_i64(to, j->expires_at_ms);
	add_i64(to, j->due_at_ms);
	add_number(to, j->tag, 8);
	add_i64(to, j->error_at_ms);
	add_i64(to, j->call_ms);
	add_i64(to, j->result_ttl_ms);
	add_i64(to, j->bytes);
	add_number(to, j->holder, 8);
	add_number(to, j->artifacts, 4);
	add_number(to, progress, 4);
}

int record_write_job(struct buf *out, const struct job *j)
{
	size_t start = out->size;
	struct numbers numbers;

	numbers.size = 0;
	add_job(&numbers, j);
	begin_record(out);
	put_numbers(out, &numbers);
	buf_append(out, j->lease.bytes, sizeof(j->lease.bytes));
	put_bytes(out, j->note);
	put_bytes(out, j->error_message);
	return end_record(out, start);
}

int record_read_job(struct slice bytes, struct job *ret)
{
	struct reader r;
	unsigned flags;
	uint32_t progress;

	if (begin_read(bytes, &r) < 0)
		return ERR_CORRUPT;
	memset(ret, 0, sizeof(*ret));
	ret->queue = (uint32_t)get_number(&r, 4);
	ret->state = (uint8_t)get_number(&r, 1);
	ret->priority = (uint8_t)get_number(&r, 1);
	ret->error_kind = (uint8_t)get_number(&r, 1);
	flags = (unsigned)get_number(&r, 1);
	ret->has_progress = flags & JOB_HAS_PROGRESS;
	ret->link_revoked = flags & JOB_LINK_REVOKED;
	ret->artifacts_gone = flags & JOB_ARTIFACTS_GONE;
	ret->has_callback = flags & JOB_HAS_CALLBACK;
	ret->hooked = flags & JOB_HOOKED;
	ret->link_generation = (uint16_t)get_number(&r, 2);
	ret->attempt = (uint32_t)get_number(&r, 4);
	ret->max_attempts = (uint32_t)get_number(&r, 4);
	ret->created_at_ms = get_i64(&r);
	ret->run_at_ms = get_i64(&r);
	ret->start_deadline_at_ms = get_i64(&r);
	ret->deadline_at_ms = get_i64(&r);
	ret->started_at_ms = get_i64(&r);
	ret->finished_at_ms = get_i64(&r);
	ret->lease_expires_at_ms = get_i64(&r);
	ret->attempt_deadline_at_ms = get_i64(&r);
	ret->expires_at_ms = get_i64(&r);
	ret->due_at_ms = get_i64(&r);
	ret->tag = get_number(&r, 8);
	ret->error_at_ms = get_i64(&r);
	ret->call_ms = get_i64(&r);
	ret->result_ttl_ms = get_i64(&r);
	ret->bytes = get_i64(&r);
	ret->holder = get_number(&r, 8);
	ret->artifacts = (uint32_t)get_number(&r, 4);
	progress = (uint32_t)get_number(&r, 4);
	memcpy(&ret->progress, &progress, sizeof(progress));
	get_array(&r, ret->lease.bytes, sizeof(ret->lease.bytes));
	ret->note = get_bytes(&r);
	ret->error_message = get_bytes(&r);
	if (ret->state >= JOB_STATES || ret->priority >= PRIORITIES || ret->error_kind >= FAIL_KINDS)
		return ERR_CORRUPT;
	return end_read(&r);
}

/* ---- inputs ---- */

static void put_backoff(struct buf *out, const struct backoff *b)
{
	put_i64(out, b->base_ms);
	put_i64(out, b->max_ms);
	put_double(out, b->factor);
	put_double(out, b->jitter);
}

static struct backoff get_backoff(struct reader *r)
{
	struct backoff b;

	b.base_ms = get_i64(r);
	b.max_ms = get_i64(r);
	b.factor = get_double(r);
	b.jitter = get_double(r);
	return b;
}

int record_write_input(struct buf *out, const struct job_input *in)
{
	size_t start = out->size;

	begin_record(out);
	put_bytes(out, in->content_type);
	put_bytes(out, in->group);
	put_bytes(out, in->title);
	put_bytes(out, in->idempotency_key);
	put_bytes(out, in->callback_url);
	put_bytes(out, in->traceparent);
	put_i64(out, in->attempt_timeout_ms);
	put_backoff(out, &in->backoff);
	put_number(out, in->metadata_count, 4);
	for (size_t i = 0; i < in->metadata_count; i++) {
		put_bytes(out, in->metadata[i].key);
		put_bytes(out, in->metadata[i].value);
	}
	put_bytes(out, in->payload);
	return end_record(out, start);
}

static int read_input(struct reader r, struct job_input *ret)
{
	const uint8_t *pairs;

	memset(ret, 0, sizeof(*ret));
	ret->content_type = get_bytes(&r);
	ret->group = get_bytes(&r);
	ret->title = get_bytes(&r);
	ret->idempotency_key = get_bytes(&r);
	ret->callback_url = get_bytes(&r);
	ret->traceparent = get_bytes(&r);
	ret->attempt_timeout_ms = get_i64(&r);
	ret->backoff = get_backoff(&r);
	ret->metadata_count = get_number(&r, 4);
	pairs = r.at;
	for (size_t i = 0; i < ret->metadata_count && !r.short_of; i++) {
		get_bytes(&r);
		get_bytes(&r);
	}
	ret->metadata_bytes = slice_of(pairs, (size_t)(r.at - pairs));
	ret->payload = get_bytes(&r);
	return end_read(&r);
}

int record_read_input(struct slice bytes, struct job_input *ret)
{
	struct reader r;

	return begin_read(bytes, &r) < 0 ? ERR_CORRUPT : read_input(r, ret);
}

int record_read_input_again(struct slice bytes, struct job_input *ret)
{
	struct reader r = { bytes.data, bytes.size, false };

	get_number(&r, CHECKSUM_SIZE);
	return read_input(r, ret);
}

size_t input_metadata(const struct job_input *in, struct pair *ret, size_t cap)
{
	struct reader r = { in->metadata_bytes.data, in->metadata_bytes.size, false };
	size_t count = in->metadata_count < cap ? in->metadata_count : cap;

	for (size_t i = 0; i < count; i++) {
		ret[i].key = get_bytes(&r);
		ret[i].value = get_bytes(&r);
	}
	return count;
}

/* ---- artifacts ---- */

int record_write_artifact(struct buf *out, struct slice key, const struct artifact *a)
{
	size_t start = out->size;

	begin_keyed(out, key);
	put_bytes(out, a->content_type);
	put_i64(out, a->size);
	put_i64(out, a->created_at_ms);
	buf_append(out, a->sha256, sizeof(a->sha256));
	put_number(out, a->has_blob, 1);
	if (a->has_blob)
		buf_append(out, a->blob.bytes, sizeof(a->blob.bytes));
	else
		put_bytes(out, a->data);
	return end_record(out, start);
}

int record_read_artifact(struct slice key, struct slice bytes, struct artifact *ret)
{
	struct reader r;

	if (begin_keyed_read(key, bytes, &r) < 0)
		return ERR_CORRUPT;
	memset(ret, 0, sizeof(*ret));
	ret->content_type = get_bytes(&r);
	ret->size = get_i64(&r);
	ret->created_at_ms = get_i64(&r);
	get_array(&r, ret->sha256, sizeof(ret->sha256));
	ret->has_blob = get_number(&r, 1) == 1;
	if (ret->has_blob) {
		get_array(&r, ret->blob.bytes, sizeof(ret->blob.bytes));
	} else {
		ret->data = get_bytes(&r);
	}
	if (!ret->has_blob && (int64_t)ret->data.size != ret->size)
		return ERR_CORRUPT;
	return end_read(&r);
}

/* ---- queues ---- */

#define QUEUE_PAUSED  0x01u
#define QUEUE_RECOUNT 0x02u

static void put_line(struct buf *out, const struct fair_line *line)
{
	put_number(out, line->now, 8);
	put_number(out, line->finish, 8);
	put_number(out, line->last, 8);
	put_number(out, line->grouped, 1);
}

static struct fair_line get_line(struct reader *r)
{
	struct fair_line line;

	line.now = get_number(r, 8);
	line.finish = get_number(r, 8);
	line.last = get_number(r, 8);
	line.grouped = get_number(r, 1) != 0;
	return line;
}

static void put_pace(struct buf *out, const struct pace *p)
{
	put_double(out, p->fast);
	put_double(out, p->slow);
	put_i64(out, p->at_ms);
	put_i64(out, p->since_ms);
	put_double(out, p->run_ms);
	put_double(out, p->spread_ms);
}

static struct pace get_pace(struct reader *r)
{
	struct pace p;

	p.fast = get_double(r);
	p.slow = get_double(r);
	p.at_ms = get_i64(r);
	p.since_ms = get_i64(r);
	p.run_ms = get_double(r);
	p.spread_ms = get_double(r);
	return p;
}

int record_write_queue(struct buf *out, const struct queue_record *q)
{
	size_t start = out->size;

	begin_record(out);
	put_bytes(out, q->name);
	put_bytes(out, q->title);
	put_bytes(out, q->limit);
	put_number(out, q->weight, 4);
	put_number(out, q->admit, 1);
	put_number(out, (q->paused ? QUEUE_PAUSED : 0) | (q->recount ? QUEUE_RECOUNT : 0), 1);
	put_i64(out, q->max_jobs);
	put_i64(out, q->max_bytes);
	put_number(out, q->max_attempts, 4);
	put_backoff(out, &q->backoff);
	put_i64(out, q->attempt_timeout_ms);
	put_i64(out, q->result_ttl_ms);
	put_i64(out, q->bytes);
	for (int i = 0; i < JOB_STATES; i++)
		put_i64(out, q->counts[i]);
	for (int i = 0; i < PRIORITIES; i++)
		put_i64(out, q->ready[i]);
	put_i64(out, q->put_total);
	put_i64(out, q->lease_total);
	for (int i = 0; i < PRIORITIES; i++)
		put_line(out, &q->lines[i]);
	put_pace(out, &q->pace);
	return end_record(out, start);
}

int record_read_queue(struct slice bytes, struct queue_record *ret)
{
	struct reader r;
	unsigned flags;

	if (begin_read(bytes, &r) < 0)
		return ERR_CORRUPT;
	memset(ret, 0, sizeof(*ret));
	ret->name = get_bytes(&r);
	ret->title = get_bytes(&r);
	ret->limit = get_bytes(&r);
	ret->weight = (uint32_t)get_number(&r, 4);
	ret->admit = (uint8_t)get_number(&r, 1);
	flags = (unsigned)get_number(&r, 1);
	ret->paused = flags & QUEUE_PAUSED;
	ret->recount = flags & QUEUE_RECOUNT;
	ret->max_jobs = get_i64(&r);
	ret->max_bytes = get_i64(&r);
	ret->max_attempts = (uint32_t)get_number(&r, 4);
	ret->backoff = get_backoff(&r);
	ret->attempt_timeout_ms = get_i64(&r);
	ret->result_ttl_ms = get_i64(&r);
	ret->bytes = get_i64(&r);
	for (int i = 0; i < JOB_STATES; i++)
		ret->counts[i] = get_i64(&r);
	for (int i = 0; i < PRIORITIES; i++)
		ret->ready[i] = get_i64(&r);
	ret->put_total = get_i64(&r);
	ret->lease_total = get_i64(&r);
	for (int i = 0; i < PRIORITIES; i++)
		ret->lines[i] = get_line(&r);
	ret->pace = get_pace(&r);
	if (ret->weight == 0 || ret->admit >= ADMISSIONS)
		return ERR_CORRUPT;
	return end_read(&r);
}

/* ---- checkpoints, moments, due entries ---- */

int record_write_checkpoint(struct buf *out, struct slice key, struct slice data)
{
	size_t start = out->size;

	begin_keyed(out, key);
	buf_append(out, data.data, data.size);
	return end_record(out, start);
}

int record_read_checkpoint(struct slice key, struct slice bytes, struct slice *ret)
{
	struct reader r;

	if (begin_keyed_read(key, bytes, &r) < 0)
		return ERR_CORRUPT;
	*ret = slice_of(r.at, r.left);
	return 0;
}

int record_write_moment(struct buf *out, int64_t at_ms)
{
	size_t start = out->size;

	begin_record(out);
	put_i64(out, at_ms);
	return end_record(out, start);
}

int record_read_moment(struct slice bytes, int64_t *ret_at_ms)
{
	struct reader r;

	if (begin_read(bytes, &r) < 0)
		return ERR_CORRUPT;
	*ret_at_ms = get_i64(&r);
	return end_read(&r);
}

static int write_u64(struct buf *out, struct slice key, uint64_t n)
{
	size_t start = out->size;

	begin_keyed(out, key);
	put_number(out, n, 8);
	return end_record(out, start);
}

static int read_u64(struct slice key, struct slice bytes, uint64_t *ret)
{
	struct reader r;

	if (begin_keyed_read(key, bytes, &r) < 0)
		return ERR_CORRUPT;
	*ret = get_number(&r, 8);
	return end_read(&r);
}

int record_write_finish(struct buf *out, struct slice key, uint64_t finish)
{
	return write_u64(out, key, finish);
}

int record_read_finish(struct slice key, struct slice bytes, uint64_t *ret)
{
	return read_u64(key, bytes, ret);
}

int record_write_weight(struct buf *out, struct slice key, uint32_t weight)
{
	return write_u64(out, key, weight);
}

int record_read_weight(struct slice key, struct slice bytes, uint32_t *ret)
{
	uint64_t n;

	if (read_u64(key, bytes, &n) < 0 || n == 0 || n > UINT32_MAX)
		return ERR_CORRUPT;
	*ret = (uint32_t)n;
	return 0;
}

int record_write_tombstone(struct buf *out, const struct tombstone *stone)
{
	size_t start = out->size;

	begin_record(out);
	put_i64(out, stone->until_ms);
	put_number(out, stone->link_generation, 2);
	put_number(out, stone->link_revoked, 1);
	return end_record(out, start);
}

int record_read_tombstone(struct slice bytes, struct tombstone *ret)
{
	struct reader r;

	if (begin_read(bytes, &r) < 0)
		return ERR_CORRUPT;
	ret->until_ms = get_i64(&r);
	ret->link_generation = (uint16_t)get_number(&r, 2);
	ret->link_revoked = get_number(&r, 1) == 1;
	return end_read(&r);
}

struct due_value due_value_make(const struct job *j)
{
	struct due_value v;

	for (unsigned i = 0; i < 4; i++)
		v.bytes[i] = (uint8_t)(j->queue >> (8 * i));
	v.bytes[4] = j->state;
	v.bytes[5] = j->priority;
	return v;
}

int due_value_read(struct slice value, uint32_t *ret_queue, uint8_t *ret_state, uint8_t *ret_priority)
{
	struct reader r = { value.data, value.size, false };

	if (value.size != DUE_VALUE_SIZE)
		return ERR_CORRUPT;
	*ret_queue = (uint32_t)get_number(&r, 4);
	*ret_state = (uint8_t)get_number(&r, 1);
	*ret_priority = (uint8_t)get_number(&r, 1);
	return *ret_state < JOB_STATES && *ret_priority < PRIORITIES ? 0 : ERR_CORRUPT;
}
