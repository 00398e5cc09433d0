/* One HTTP request while it is being answered: shared by server (which owns it), api (which decides) and reply (which
 * answers).
 *
 * Touched on its connection's thread only, but for what park and renders keep in it. It lives until libmicrohttpd says
 * that the request is completed. */
#ifndef RENDER_API_REQUEST_H
#define RENDER_API_REQUEST_H

#include <microhttpd.h>
#include <stdbool.h>
#include <stddef.h>

#include "park.h"
#include "renders.h"

#define REQUEST_BODY_MAX_BYTES 65536

struct api;
struct shape;

struct request {
	struct api *api;
	struct MHD_Connection *connection;
	char *method;
	char *path;

	char *body;
	size_t body_bytes;
	size_t body_cap;
	bool body_too_large;

	/* What to do when the request runs again after it was parked. */
	enum MHD_Result (*resume_cb)(struct request *req);
	struct parked parked;
	struct render *render; /* a reference, or NULL */
	struct render_waiter waiter;
	const struct shape *shape; /* which API it is played as; NULL: this one's own */
	char id[128];		   /* with a shape: what stands for the star of its path */
	const char *key;	   /* of idempotency, where the path holds it; NULL: the header's */
	bool as_json;		   /* sync: answer URLs, not the video */
	bool misbehaves;	   /* this submit is one of those told to go wrong */
};

#endif
