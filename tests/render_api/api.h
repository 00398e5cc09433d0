/* What the API answers to which path: the three shapes (sync, poll, webhook), files, and the tests' own doors.
 *
 *   POST   /sync/render       200 with the video itself, when it is made
 *   POST   /sync/json         200 {"output":[url],"poster":url}, when it is made
 *   POST   /v1/renders        201 {"id","status":"PENDING","urls":{"get","cancel","result"}}; "webhook" in the body
 *                             is called with the status when the render has ended
 *   GET    /v1/renders/ID     {"id","status","progress","position","output":[url],"poster":url,"failure",
 *                             "failureCode"}; the last five only when there is something to say
 *   DELETE /v1/renders/ID     cancels; answers the status
 *   GET    /v1/results/ID     the video itself; 404 until it is there
 *   GET    /v1/outputs/ID     what /sync/json answers; 404 until it is there
 *   GET    /v2/renders/ID     202 with the status while it works, then 200 with the video itself, or an error
 *   GET    /v1/lookup/KEY     {"id"} of the render that was submitted with this Idempotency-Key; 404: there is none
 *   any    /shapes/NAME/…     the same in the words of a real API (shapes.h)
 *   GET    /files/ID.mp4, /files/ID.jpg
 *   GET    /stats             the counts; ?names=0 leaves "by_name" out
 *   POST   /reset             forgets the counts
 *   POST   /release           lets go on what hold and hold_body hold
 *
 * api_handle() on the connection's thread. The api keeps no state of its own. */
#ifndef RENDER_API_API_H
#define RENDER_API_API_H

#include <microhttpd.h>
#include <stdbool.h>

#include "behave.h"

struct clips;
struct park;
struct renders;
struct request;
struct stats;

struct api {
	const char *base_url;
	struct behave behave; /* process-wide */
	bool overload_hangs;  /* a sync call that failed of overload gets no answer at all */
	struct clips *clips;
	struct park *park;
	struct renders *renders;
	struct stats *stats;
};

/* Answers a request that is read to its end, or goes on with one that was parked. Returns what libmicrohttpd's access
 * handler is to return. */
enum MHD_Result api_handle(struct request *req);

/* A new connection has come with a request that is not about the counts. */
void api_visited(struct api *api);

/* Answers the video of req->render, unless it was told to be elsewhere or gone. */
enum MHD_Result api_reply_video(struct request *req);

/* Gives back what the request holds; at its end, whatever that was. */
void api_done(struct request *req);

#endif
