#include "server/store/format1.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <string.h>

#include "proto/base/text.h"
#include "proto/error.h"

#define CHECKSUM_SIZE	     8
#define DEFAULT_MAX_ATTEMPTS 5
#define DEFAULT_BASE_MS	     1000
#define DEFAULT_MAX_MS	     300000

/* ---- primitives: a reader that runs past the end goes on giving zeros and is found out once, at the end ---- */

struct reader {
	const uint8_t *at;
	size_t left;
	bool short_of;
};

static uint64_t get_number(struct reader *r, unsigned bytes)
{
	uint64_t n = 0;

	if (r->left < bytes) {
		r->short_of = true;
		return 0;
	}
	for (unsigned i = 0; i < bytes; i++)
		n |= (uint64_t)r->at[i] << (8 * i);
	r->at += bytes;
	r->left -= bytes;
	return n;
}

static int64_t get_i64(struct reader *r)
{
	return (int64_t)get_number(r, 8);
}

static double get_double(struct reader *r)
{
	uint64_t n = get_number(r, 8);
	double d;

	memcpy(&d, &n, sizeof(d));
	return d;
}

static struct slice get_bytes(struct reader *r)
{
	size_t size = get_number(r, 4);
	struct slice s;

	if (size > r->left) {
		r->short_of = true;
		return slice_of(NULL, 0);
	}
	s = slice_of(r->at, size);
	r->at += size;
	r->left -= size;
	return s;
}

static int begin_read(struct slice bytes, struct reader *ret)
{
	struct reader sum = { bytes.data, bytes.size, false };
	uint64_t stored = get_number(&sum, CHECKSUM_SIZE);

	if (sum.short_of || stored != XXH3_64bits(sum.at, sum.left))
		return ERR_CORRUPT;
	*ret = sum;
	return 0;
}

static int end_read(const struct reader *r)
{
	return r->short_of || r->left > 0 ? ERR_CORRUPT : 0;
}

/* ---- records ---- */

#define JOB_HAS_PROGRESS   0x01u
#define JOB_LINK_REVOKED   0x02u
#define JOB_ARTIFACTS_GONE 0x04u

static void read_moments(struct reader *r, struct job *ret)
{
	ret->created_at_ms = get_i64(r);
	ret->run_at_ms = get_i64(r);
	ret->start_deadline_at_ms = get_i64(r);
	ret->deadline_at_ms = get_i64(r);
	ret->started_at_ms = get_i64(r);
	ret->finished_at_ms = get_i64(r);
	ret->lease_expires_at_ms = get_i64(r);
	ret->attempt_deadline_at_ms = get_i64(r);
	ret->expires_at_ms = get_i64(r);
	ret->due_at_ms = get_i64(r);
}

int format1_read_job(struct slice bytes, struct job *ret)
{
	struct reader r;
	unsigned flags;
	uint32_t progress;

	if (begin_read(bytes, &r) < 0)
		return ERR_CORRUPT;
	*ret = (struct job){ .result_ttl_ms = -1 };
	ret->queue = (uint32_t)get_number(&r, 4);
	ret->state = (uint8_t)get_number(&r, 1);
	ret->priority = (uint8_t)get_number(&r, 1);
	ret->error_kind = (uint8_t)get_number(&r, 1);
	flags = (unsigned)get_number(&r, 1);
	ret->has_progress = flags & JOB_HAS_PROGRESS;
	ret->link_revoked = flags & JOB_LINK_REVOKED;
	ret->artifacts_gone = flags & JOB_ARTIFACTS_GONE;
	ret->link_generation = (uint16_t)get_number(&r, 2);
	ret->attempt = (uint32_t)get_number(&r, 4);
	ret->max_attempts = (uint32_t)get_number(&r, 4);
	if (ret->max_attempts == DEFAULT_MAX_ATTEMPTS)
		ret->max_attempts = 0;
	read_moments(&r, ret);
	ret->tag = get_number(&r, 8);
	ret->error_at_ms = get_i64(&r);
	ret->call_ms = get_i64(&r);
	ret->artifacts = (uint32_t)get_number(&r, 4);
	progress = (uint32_t)get_number(&r, 4);
	memcpy(&ret->progress, &progress, sizeof(progress));
	for (size_t i = 0; i < sizeof(ret->lease.bytes); i++)
		ret->lease.bytes[i] = (uint8_t)get_number(&r, 1);
	ret->note = get_bytes(&r);
	ret->error_message = get_bytes(&r);
	if (ret->state >= JOB_STATES || ret->priority >= PRIORITIES || ret->error_kind >= FAIL_KINDS)
		return ERR_CORRUPT;
	return end_read(&r);
}

static struct backoff read_backoff(struct reader *r)
{
	struct backoff b;

	b.base_ms = get_i64(r);
	b.max_ms = get_i64(r);
	b.factor = get_double(r);
	b.jitter = get_double(r);
	if (b.base_ms == DEFAULT_BASE_MS)
		b.base_ms = -1;
	if (b.max_ms == DEFAULT_MAX_MS)
		b.max_ms = -1;
	/* The default factor was 2, the default jitter 1; a stored one is no result of arithmetic. */
	if (b.factor > 1.999999 && b.factor < 2.000001)
		b.factor = -1;
	if (b.jitter > 0.999999)
		b.jitter = -1;
	return b;
}

int format1_read_input(struct slice bytes, struct job_input *ret, int64_t *ret_result_ttl_ms)
{
	const uint8_t *pairs;
	struct reader r;

	if (begin_read(bytes, &r) < 0)
		return ERR_CORRUPT;
	memset(ret, 0, sizeof(*ret));
	ret->content_type = get_bytes(&r);
	ret->group = get_bytes(&r);
	ret->title = get_bytes(&r);
	ret->idempotency_key = get_bytes(&r);
	ret->callback_url = get_bytes(&r);
	ret->traceparent = get_bytes(&r);
	ret->attempt_timeout_ms = get_i64(&r);
	*ret_result_ttl_ms = get_i64(&r);
	ret->backoff = read_backoff(&r);
	ret->metadata_count = get_number(&r, 4);
	pairs = r.at;
	if (ret->metadata_count > FORMAT1_METADATA_MAX)
		return ERR_CORRUPT;
	for (size_t i = 0; i < 2 * ret->metadata_count; i++)
		get_bytes(&r);
	ret->metadata_bytes = slice_of(pairs, (size_t)(r.at - pairs));
	ret->payload = get_bytes(&r);
	return end_read(&r);
}

int format1_read_queue(struct slice bytes, struct queue_record *ret, uint64_t *ret_last_tag)
{
	struct reader r;

	if (begin_read(bytes, &r) < 0)
		return ERR_CORRUPT;
	*ret = (struct queue_record){ .max_jobs = -1, .max_bytes = -1, .result_ttl_ms = -1, .weight = 1 };
	ret->backoff = (struct backoff){ .base_ms = -1, .max_ms = -1, .factor = -1, .jitter = -1 };
	ret->name = get_bytes(&r);
	ret->title = get_bytes(&r);
	ret->paused = get_number(&r, 1) == 1;
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

struct slice format1_guess_name(struct slice bytes)
{
	struct reader r = { bytes.data, bytes.size, false };
	struct slice name;

	get_number(&r, CHECKSUM_SIZE);
	name = get_bytes(&r);
	return !r.short_of && name_valid(name) ? name : slice_of(NULL, 0);
}

/* It had no checksum. */
int format1_read_tombstone(struct slice bytes, int64_t *ret_at_ms)
{
	if (bytes.size != sizeof(*ret_at_ms))
		return ERR_CORRUPT;
	memcpy(ret_at_ms, bytes.data, sizeof(*ret_at_ms));
	return *ret_at_ms >= 0 ? 0 : ERR_CORRUPT;
}
