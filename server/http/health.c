#include "health.h"

#include <stdio.h>

#include "proto/error.h"
#include "server/engine/settings.h"
#include "server/http/response.h"
#include "server/http/site.h"
#include "server/store/store.h"
#include "server/writer/writer.h"

#define PUT_ROOM 16384 /* bytes: a small job with what its entries take */

static enum MHD_Result say(const struct request *r, unsigned status, const char *line)
{
	struct MHD_Response *response;
	struct buf body;

	buf_init(&body, 256);
	buf_append_str(&body, line);
	response = response_new(&body, "text/plain; charset=utf-8");
	buf_done(&body);
	response_header(response, "Cache-Control", "no-store");
	if (status == MHD_HTTP_SERVICE_UNAVAILABLE)
		response_header(response, "Retry-After", "5");
	return response_send(r->connection, status, response);
}

enum MHD_Result health_serve_alive(const struct request *r)
{
	return say(r, MHD_HTTP_OK, "alive\n");
}

int health_store_full(const struct site *site, bool *ret_full)
{
	int64_t reserve = site->settings->reserve_bytes, room;
	int rc = store_room(site->store, reserve + PUT_ROOM, &room);

	if (rc == 0)
		*ret_full = room < reserve + PUT_ROOM;
	return rc;
}

enum MHD_Result health_serve_ready(const struct request *r)
{
	struct writer_stats stats;
	struct store_txn *t;
	char line[128];
	bool full;

	if (atomic_load(&r->site->quiesced))
		return say(r, MHD_HTTP_SERVICE_UNAVAILABLE, "stopping\n");
	writer_stats(r->site->writer, &stats);
	if (stats.failure[0]) {
		snprintf(line, sizeof(line), "commits fail: %s\n", stats.failure);
		return say(r, MHD_HTTP_SERVICE_UNAVAILABLE, line);
	}
	if (store_begin_read(r->site->store, &t) < 0)
		return say(r, MHD_HTTP_SERVICE_UNAVAILABLE, "the store cannot be read\n");
	store_abort(t);
	if (health_store_full(r->site, &full) < 0)
		return say(r, MHD_HTTP_SERVICE_UNAVAILABLE, "the store cannot be read\n");
	if (full)
		return say(r, MHD_HTTP_SERVICE_UNAVAILABLE, "the store is full\n");
	if (store_is_barred(r->site->store))
		return say(r, MHD_HTTP_SERVICE_UNAVAILABLE,
			   "no new job can be put: a page of the store is damaged, the log says which\n");
	return say(r, MHD_HTTP_OK, "ready\n");
}
