/* path.h: what a request's path names. Any thread; no state. */
#ifndef RAINCHECK_HTTP_PATH_H
#define RAINCHECK_HTTP_PATH_H

#include <stdbool.h>

#define PATH_PART_BYTES 132 /* the longest is an artifact's name of 128 */

enum route {
	ROUTE_NONE,	/* nothing that there is */
	ROUTE_PAGE,	/* /r/{token} */
	ROUTE_SLASH,	/* /r/{token}/, which is how some write a link down */
	ROUTE_STATUS,	/* /r/{token}/status */
	ROUTE_EVENTS,	/* /r/{token}/events */
	ROUTE_ARTIFACT, /* /r/{token}/preview, /r/{token}/result, /r/{token}/a/{name} */
	ROUTE_HOOK,	/* /hooks/{token} */
	ROUTE_HEALTHZ,
	ROUTE_READYZ,
	ROUTE_LOGO,   /* /logo */
	ROUTE_SCRIPT, /* /page.js */
	ROUTE_METRICS,
	ROUTE_OPENAPI,	    /* /v1/openapi.json */
	ROUTE_QUEUES,	    /* /v1/queues */
	ROUTE_QUEUE,	    /* /v1/queues/{queue} */
	ROUTE_PUT,	    /* /v1/queues/{queue}/jobs */
	ROUTE_JOB,	    /* /v1/jobs/{id} */
	ROUTE_RETRY,	    /* /v1/jobs/{id}/retry */
	ROUTE_JOB_ARTIFACT, /* /v1/jobs/{id}/result, /v1/jobs/{id}/artifacts/{name} */
	ROUTE_API_NONE,	    /* nothing that there is below /v1/ */
	ROUTE_API_BROKEN,   /* the same, with an escape that is none */
	ROUTES
};

struct path {
	enum route route;
	char token[PATH_PART_BYTES];   /* of a link or a hook, as it stands there; "" for what cannot be one */
	char subject[PATH_PART_BYTES]; /* the queue or the job's id of /v1/…; "" where there is none */
	char name[PATH_PART_BYTES];    /* of the artifact */
};

/* A word for each, for metrics. */
extern const char *const route_names[ROUTES];
/* True for those of the producers' API: /v1/ and all below it. */
bool route_is_api(enum route route);

/* path: as it came, escapes and all, without the query. An escaped slash is no separator and an escape that is none
 * names nothing: neither can be part of a token or a name. Escapes are undone once. */
void path_parse(const char *path, struct path *ret);

#endif
