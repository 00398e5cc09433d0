/* path.h: what a request's path names. Any thread; no state. */
#ifndef RAINCHECK_HTTP_PATH_H
#define RAINCHECK_HTTP_PATH_H

#define PATH_PART_BYTES 132 /* the longest is an artifact's name of 128 */

enum route {
	ROUTE_NONE,	/* nothing that there is */
	ROUTE_PAGE,	/* /r/{token} */
	ROUTE_STATUS,	/* /r/{token}/status */
	ROUTE_EVENTS,	/* /r/{token}/events */
	ROUTE_ARTIFACT, /* /r/{token}/preview, /r/{token}/result, /r/{token}/a/{name} */
	ROUTE_HEALTHZ,
	ROUTE_READYZ,
	ROUTE_LOGO, /* /logo */
};

struct path {
	enum route route;
	char token[PATH_PART_BYTES]; /* as it stands there; "" for what cannot be one */
	char name[PATH_PART_BYTES];  /* of the artifact */
};

/* path: as it came, escapes and all, without the query. An escaped slash is no separator and an escape that is none
 * names nothing: neither can be part of a token or a name. */
void path_parse(const char *path, struct path *ret);

#endif
