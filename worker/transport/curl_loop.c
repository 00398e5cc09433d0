/* libcurl goes through every connection to a host whenever a transfer to it begins, and through every connection there
 * is whenever one ends: with ten thousand, that is all that it does. So the transfers are dealt out to shards of at
 * most CURL_SHARD_TRANSFERS (curl_shard.h), each with connections of its own. A transfer goes to the first with room:
 * few transfers are all in the first, where they find each other's connections, and one that takes the place of another
 * finds that one's. What does not depend on the number, names and TLS sessions, the shards share.
 */
#include "worker/transport/curl_loop.h"

#include <stdlib.h>
#include <string.h>

#include "proto/base/log.h"
#include "proto/error.h"
#include "worker/transport/curl_shard.h"
#include "worker/transport/trust.h"

#define IDLE_EASY_MAX 256

struct curl_loop {
	struct uv_loop_s *uv;
	CURLSH *share;
	const struct trust *given; /* the caller's; NULL: what holds is … */
	struct trust *system;	   /* … this; NULL: there is none */
	struct curl_shard **shards;
	size_t shard_count;
	CURL *idle[IDLE_EASY_MAX];
	size_t idle_count;
};

/* ---- shards ---- */

static void shard_over_cb(struct curl_shard *shard, void *user)
{
	struct curl_loop *loop = user;
	size_t i = 0;

	while (loop->shards[i] != shard)
		i++;
	loop->shard_count--;
	memmove(&loop->shards[i], &loop->shards[i + 1], (loop->shard_count - i) * sizeof(loop->shards[0]));
}

static int add_shard(struct curl_loop *loop)
{
	struct curl_shard **shards = realloc(loop->shards, (loop->shard_count + 1) * sizeof(*shards));
	int rc;

	if (!shards)
		return ERR_NO_MEMORY;
	loop->shards = shards;
	rc = curl_shard_new(loop->uv, shard_over_cb, loop, &shards[loop->shard_count]);
	if (rc == 0)
		loop->shard_count++;
	return rc;
}

/* For how many transfers the i-th has room. Those that are to be opened ahead do not look at one another: of two
 * upstreams' there may be more than are dealt out to one shard. */
static size_t room_in(const struct curl_loop *loop, size_t i, bool ahead)
{
	return i < loop->shard_count ? curl_shard_room(loop->shards[i], ahead) : CURL_SHARD_TRANSFERS;
}

size_t curl_loop_next_apart(const struct curl_loop *loop, size_t n)
{
	size_t after = 0;

	for (size_t i = 0; after < n; i++)
		after += room_in(loop, i, true);
	return after + 1;
}

/* The first with room; of a connection that is opened ahead, the one that its call will find. */
static int find_shard(struct curl_loop *loop, size_t ahead, struct curl_shard **ret_shard)
{
	for (size_t i = 0;; i++) {
		size_t room;

		if (i == loop->shard_count) {
			int rc = add_shard(loop);

			if (rc < 0)
				return rc;
		}
		room = room_in(loop, i, ahead > 0);
		if (room > 0 && ahead <= room) {
			*ret_shard = loop->shards[i];
			return 0;
		}
		ahead -= ahead > 0 ? room : 0;
	}
}

/* ---- easy handles ---- */

CURL *curl_loop_take_easy(struct curl_loop *loop)
{
	CURL *easy = loop->idle_count > 0 ? loop->idle[--loop->idle_count] : curl_easy_init();

	if (easy)
		curl_easy_setopt(easy, CURLOPT_SHARE, loop->share);
	return easy;
}

void curl_loop_give_easy(struct curl_loop *loop, CURL *easy, bool ended_well)
{
	if (!easy)
		return;
	if (!ended_well || loop->idle_count == IDLE_EASY_MAX) {
		curl_easy_cleanup(easy);
		return;
	}
	curl_easy_reset(easy);
	loop->idle[loop->idle_count++] = easy;
}

/* ---- the loop ---- */

const struct trust *curl_loop_trust(const struct curl_loop *loop)
{
	return loop->given ? loop->given : loop->system;
}

void curl_loop_trust_by(struct curl_loop *loop, const struct trust *given)
{
	struct trust *system = NULL;

	loop->given = given;
	if (given)
		return;
	if (trust_new(NULL, &system) == 0) {
		trust_free(loop->system);
		loop->system = system;
	} else if (loop->system) {
		log_warning("the system's certificates cannot be read: those that were read before stay in force");
	} else {
		log_warning("the system has no certificates: only servers that a ca_file is for can be called over "
			    "TLS");
	}
}

int curl_loop_new(struct uv_loop_s *uv, struct curl_loop **ret_loop)
{
	struct curl_loop *loop = calloc(1, sizeof(*loop));

	if (!loop)
		return ERR_NO_MEMORY;
	loop->uv = uv;
	loop->share = curl_share_init();
	if (!loop->share) {
		free(loop);
		return ERR_NO_MEMORY;
	}
	/* One thread: nothing has to be locked. */
	curl_share_setopt(loop->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS);
	curl_share_setopt(loop->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
	*ret_loop = loop;
	return 0;
}

void curl_loop_close(struct curl_loop *loop)
{
	if (!loop)
		return;
	while (loop->idle_count > 0)
		curl_easy_cleanup(loop->idle[--loop->idle_count]);
	for (size_t i = 0; i < loop->shard_count; i++)
		curl_shard_close(loop->shards[i]);
	curl_share_cleanup(loop->share);
	trust_free(loop->system);
	free(loop->shards);
	free(loop);
}

uint64_t curl_loop_files(uint64_t transfers)
{
	return transfers + (transfers + CURL_SHARD_TRANSFERS - 1) / CURL_SHARD_TRANSFERS * CURL_SHARD_FILES;
}

int curl_loop_add(struct curl_loop *loop, struct transfer *t)
{
	struct curl_shard *shard = NULL;
	int rc = find_shard(loop, t->ahead, &shard);

	return rc < 0 ? rc : curl_shard_add(shard, t);
}

void curl_loop_remove(struct transfer *t)
{
	curl_shard_remove(t);
}
