/* A few threads, because most of the time is waiting for the disk, which syncs several files for the price of one. They
 * are started with the first still that needs one: most brokers never see any. */
#include "stills.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <pthread.h>
#include <stdlib.h>

#include "proto/base/clean.h"
#include "proto/base/clock.h"
#include "proto/error.h"
#include "server/engine/settings.h"
#include "server/http/response.h"
#include "server/store/blob.h"

#define THREADS 4

struct stills {
	const struct settings *settings;
	struct blob_store *blobs;
	pthread_mutex_t lock; /* of all that follows */
	pthread_cond_t some;  /* there is one to write, or it stops */
	struct still *first, **end;
	pthread_t threads[THREADS];
	size_t count; /* of threads */
	bool stopping;
};

int stills_new(const struct settings *settings, struct blob_store *blobs, struct stills **ret)
{
	struct stills *s = calloc(1, sizeof(*s));

	if (!s)
		return ERR_NO_MEMORY;
	s->settings = settings;
	s->blobs = blobs;
	s->end = &s->first;
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->some, NULL);
	*ret = s;
	return 0;
}

void stills_stop(struct stills *s)
{
	if (!s)
		return;
	pthread_mutex_lock(&s->lock);
	s->stopping = true;
	pthread_cond_broadcast(&s->some);
	pthread_mutex_unlock(&s->lock);
	/* No thread is started any more. */
	for (; s->count > 0; s->count--)
		pthread_join(s->threads[s->count - 1], NULL);
}

void stills_free(struct stills *s)
{
	if (!s)
		return;
	stills_stop(s);
	pthread_cond_destroy(&s->some);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

/* ---- writing and removing ---- */

static int publish(struct blob_store *blobs, struct still *still)
{
	_cleanup_(blob_closep) struct blob_writer *w = NULL;
	int rc;

	rc = blob_create(blobs, &still->staged.blob, &w);
	if (rc == 0)
		rc = blob_append(w, still->staged.data);
	if (rc == 0)
		rc = blob_publish(w, still->staged.sha256);
	still->published = rc == 0;
	if (rc < 0)
		response_log_failure(rc);
	return rc;
}

/* One that cannot be removed now is swept when the broker starts again. */
static int take_back(struct blob_store *blobs, struct still *still)
{
	(void)blob_remove(blobs, &still->staged.blob);
	still->published = false;
	return 0;
}

/* The next one, once there is one; NULL when there will be none. */
static struct still *wait_for_one(struct stills *s)
{
	struct still *still;

	pthread_mutex_lock(&s->lock);
	while (!s->first && !s->stopping)
		pthread_cond_wait(&s->some, &s->lock);
	still = s->first;
	if (still) {
		s->first = still->next;
		if (!s->first)
			s->end = &s->first;
	}
	pthread_mutex_unlock(&s->lock);
	return still;
}

static void *run(void *arg)
{
	struct stills *s = arg;
	struct still *still;

	while ((still = wait_for_one(s)))
		still->done(still, still->published ? take_back(s->blobs, still) : publish(s->blobs, still));
	return NULL;
}

/* One is enough to go on. */
static int start_threads(struct stills *s)
{
	while (s->count < THREADS && pthread_create(&s->threads[s->count], NULL, run, s) == 0)
		s->count++;
	return s->count > 0 ? 0 : ERR_NO_MEMORY;
}

static int hand_over(struct stills *s, struct still *still)
{
	int rc;

	pthread_mutex_lock(&s->lock);
	rc = s->stopping ? ERR_SHUTTING_DOWN : start_threads(s);
	if (rc == 0) {
		still->next = NULL;
		*s->end = still;
		s->end = &still->next;
		pthread_cond_signal(&s->some);
	}
	pthread_mutex_unlock(&s->lock);
	return rc;
}

static int name_blob(struct staged *staged)
{
	struct uuid_gen fresh = { 0 };
	uint8_t random[UUID_RANDOM_SIZE];

	if (gnutls_rnd(GNUTLS_RND_NONCE, random, sizeof(random)) < 0)
		return ERR_INTERNAL;
	uuid_v7(&fresh, clock_wall_ms(), random, &staged->blob);
	staged->has_blob = true;
	return 0;
}

void stills_prepare(struct stills *s, struct still *still, struct slice content_type, struct slice data,
		    void (*done)(struct still *still, int rc))
{
	int rc;

	still->staged = (struct staged){ .content_type = content_type, .data = data, .size = (int64_t)data.size };
	still->published = false;
	still->done = done;
	if (still->staged.size <= s->settings->inline_bytes) {
		blob_sha256(data, still->staged.sha256);
		done(still, 0);
		return;
	}
	rc = name_blob(&still->staged);
	if (rc == 0)
		rc = hand_over(s, still);
	if (rc < 0)
		done(still, rc);
}

void stills_settle(struct stills *s, struct still *still, void (*done)(struct still *still, int rc))
{
	/* A commit that failed may have reached the disk all the same: what it adopted is the writer's to see to. */
	if (!still->published || still->staged.adopted) {
		done(still, 0);
		return;
	}
	still->done = done;
	if (hand_over(s, still) < 0)
		done(still, take_back(s->blobs, still));
}
