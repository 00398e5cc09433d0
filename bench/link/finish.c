/* Puts a job, does it, and prints its link: one whose result is a video of so many bytes.
 *
 * Usage: finish PORT BYTES   where PORT is the broker's, of RPC. The bytes begin like an MP4 and are zero from there
 * on.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/raincheck.h"

#define PIECE ((size_t)1 << 20)

static struct raincheck *rc;

static void check(int result, const char *what)
{
	if (result == 0)
		return;
	fprintf(stderr, "finish: %s: %s\n", what, raincheck_last_error(rc)->message);
	exit(1);
}

static void upload(const char *id, const char *lease, size_t size)
{
	struct raincheck_artifact_begin begin = {
		.id = id, .lease = lease, .name = "result", .content_type = "video/mp4"
	};
	char *piece = calloc(1, PIECE);
	struct raincheck_upload *place;

	if (!piece)
		exit(1);
	memcpy(piece + 4, "ftypisom", 8);
	piece[3] = 32;
	check(raincheck_artifact_begin(rc, &begin, &place), "artifact.begin");
	for (size_t at = 0; at < size; at += PIECE) {
		struct raincheck_artifact_write write = {
			.upload = place->upload,
			.offset = (int64_t)at,
			.data = { piece, size - at < PIECE ? size - at : PIECE },
		};

		check(raincheck_artifact_write(rc, &write, NULL), "artifact.write");
		memset(piece, 0, 32);
	}
	check(raincheck_artifact_commit(rc, &(struct raincheck_artifact_commit){ .upload = place->upload }, NULL),
	      "artifact.commit");
	raincheck_free(place);
	free(piece);
}

int main(int argc, char **argv)
{
	static const char *const queues[] = { "link" };
	struct raincheck_put put = { .queue = "link", .payload = { "x", 1 }, .title = "A video" };
	struct raincheck_lease lease = { .queues = queues, .queue_count = 1 };
	struct raincheck_options options = { 0 };
	struct raincheck_lease_result *leased;
	struct raincheck_put_result *job;
	char server[64];

	if (argc != 3) {
		fprintf(stderr, "usage: finish PORT BYTES\n");
		return 2;
	}
	snprintf(server, sizeof(server), "127.0.0.1:%s", argv[1]);
	options.server = server;
	check(raincheck_new(&options, &rc, NULL), "connect");
	check(raincheck_put(rc, &put, &job), "job.put");
	check(raincheck_lease(rc, &lease, &leased), "job.lease");
	upload(leased->jobs[0].id, leased->jobs[0].lease, strtoul(argv[2], NULL, 10));
	check(raincheck_complete(
		      rc, &(struct raincheck_complete){ .id = leased->jobs[0].id, .lease = leased->jobs[0].lease },
		      NULL),
	      "job.complete");
	printf("%s\n", job->link);
	raincheck_free(leased);
	raincheck_free(job);
	raincheck_close(rc, NULL, NULL);
	return 0;
}
