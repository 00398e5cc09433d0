/* A table of slots, each for whichever of its tokens was asked for last: what it saves is the thousandth look at the
 * same job within a moment, and for that it needs to hold few.
 *
 * Changes are counted by a hash of the job's id. Whoever renders reads the count before the transaction begins and
 * keeps it with the posting: a change that comes in between makes it void, and so does one of another job with the same
 * hash, which costs a rendering and nothing else. */
#include "board.h"

#include <gnutls/crypto.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "proto/base/clean.h"
#include "proto/base/clock.h"
#include "proto/error.h"
#include "server/engine/engine.h"
#include "server/engine/link.h"
#include "server/http/link_page.h"
#include "server/http/site.h"
#include "server/http/status.h"
#include "server/http/visit.h"

#define SLOTS	1024 /* of each kind */
#define LOCKS	64
#define COUNTS	4096
#define GOOD_MS 250

struct slot {
	char token[LINK_TOKEN_SIZE + 1]; /* "": nothing is posted */
	uint32_t count;			 /* of changes, when it was read */
	int64_t until_ms;		 /* by the monotonic clock */
	struct posting *posting;
};

struct board {
	uint64_t seed; /* so that nobody can choose whose slot to take */
	atomic_uint counts[COUNTS];
	pthread_mutex_t locks[LOCKS]; /* each guards every LOCKSth slot */
	struct slot slots[BOARD_KINDS][SLOTS];
};

/* ---- postings ---- */

struct posting *posting_new(void)
{
	struct posting *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	atomic_init(&p->holders, 1);
	buf_init(&p->event, STATUS_MAX_BYTES + 256);
	return p;
}

struct posting *posting_hold(struct posting *p)
{
	atomic_fetch_add_explicit(&p->holders, 1, memory_order_relaxed);
	return p;
}

void posting_release(struct posting *p)
{
	if (!p || atomic_fetch_sub_explicit(&p->holders, 1, memory_order_acq_rel) > 1)
		return;
	if (p->answer)
		MHD_destroy_response(p->answer);
	if (p->unchanged)
		MHD_destroy_response(p->unchanged);
	buf_done(&p->event);
	free(p);
}

/* ---- slots ---- */

static atomic_uint *count_of(struct board *b, const struct uuid *job)
{
	uint32_t hash;

	/* The end of a UUID is where its randomness is. */
	memcpy(&hash, job->bytes + 12, sizeof(hash));
	return &b->counts[hash % COUNTS];
}

static struct posting *find(struct board *b, struct slot *s, pthread_mutex_t *lock, const char *token)
{
	struct posting *p = NULL;

	pthread_mutex_lock(lock);
	/* A genuine token is all that can stand there: in equal time, like every comparison with one. */
	if (s->posting && gnutls_memcmp(s->token, token, sizeof(s->token)) == 0 && clock_mono_ms() < s->until_ms &&
	    atomic_load_explicit(count_of(b, &s->posting->job), memory_order_acquire) == s->count)
		p = posting_hold(s->posting);
	pthread_mutex_unlock(lock);
	return p;
}

static void keep(struct slot *s, pthread_mutex_t *lock, const char *token, uint32_t count, struct posting *p)
{
	struct posting *before;

	pthread_mutex_lock(lock);
	before = s->posting;
	memcpy(s->token, token, sizeof(s->token));
	s->count = count;
	s->until_ms = clock_mono_ms() + GOOD_MS;
	s->posting = posting_hold(p);
	pthread_mutex_unlock(lock);
	posting_release(before);
}

/* ---- rendering ---- */

static int fill(const struct request *r, const struct visit *v, enum board_kind kind, struct posting *p)
{
	p->job = v->id;
	p->final = job_state_final(v->job.job.state);
	return kind == BOARD_STATUS ? status_post(r, v, p) : link_page_post(r, v, p);
}

static int render(const struct request *r, enum board_kind kind, struct posting **ret)
{
	struct posting *p = posting_new();
	struct visit v;
	int rc;

	if (!p)
		return ERR_NO_MEMORY;
	rc = visit_begin(r, &v);
	if (rc == 0)
		rc = fill(r, &v, kind, p);
	visit_end(&v);
	if (rc < 0)
		posting_release(p);
	else
		*ret = p;
	return rc;
}

int board_get(const struct request *r, enum board_kind kind, struct posting **ret)
{
	struct board *b = r->site->board;
	size_t length = strlen(r->token);
	size_t at = XXH3_64bits_withSeed(r->token, length, b->seed) % SLOTS;
	struct slot *s = &b->slots[kind][at];
	pthread_mutex_t *lock = &b->locks[at % LOCKS];
	struct uuid job;
	uint32_t count;
	int rc;

	*ret = length == LINK_TOKEN_SIZE ? find(b, s, lock, r->token) : NULL;
	if (*ret)
		return 0;
	/* What is no token is looked up like one, for the time it takes; but kept is none. */
	if (length != LINK_TOKEN_SIZE || link_claim(slice_str(r->token), &job) < 0)
		return render(r, kind, ret);
	count = atomic_load_explicit(count_of(b, &job), memory_order_acquire);
	rc = render(r, kind, ret);
	if (rc == 0)
		keep(s, lock, r->token, count, *ret);
	return rc;
}

void board_changed(struct board *b, const struct job_event *events, size_t count)
{
	for (size_t i = 0; i < count; i++)
		atomic_fetch_add_explicit(count_of(b, &events[i].id), 1, memory_order_release);
}

/* ---- life ---- */

int board_new(struct board **ret)
{
	struct board *b = calloc(1, sizeof(*b));

	if (!b || gnutls_rnd(GNUTLS_RND_NONCE, &b->seed, sizeof(b->seed)) < 0) {
		free(b);
		return ERR_NO_MEMORY;
	}
	for (size_t i = 0; i < LOCKS; i++)
		pthread_mutex_init(&b->locks[i], NULL);
	*ret = b;
	return 0;
}

void board_free(struct board *b)
{
	if (!b)
		return;
	for (size_t kind = 0; kind < BOARD_KINDS; kind++)
		for (size_t i = 0; i < SLOTS; i++)
			posting_release(b->slots[kind][i].posting);
	for (size_t i = 0; i < LOCKS; i++)
		pthread_mutex_destroy(&b->locks[i]);
	free(b);
}
