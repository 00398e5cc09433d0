#include "router.h"

#include <string.h>

#include "proto/error.h"
#include "server/http/events.h"
#include "server/http/health.h"
#include "server/http/link_page.h"
#include "server/http/media.h"
#include "server/http/path.h"
#include "server/http/response.h"
#include "server/http/site.h"
#include "server/http/status.h"

static enum MHD_Result refuse_method(struct MHD_Connection *c)
{
	const unsigned status = MHD_HTTP_METHOD_NOT_ALLOWED;
	struct MHD_Response *response = response_problem(status, "bad_request", "only " ALLOWED_METHODS);

	response_header(response, "Allow", ALLOWED_METHODS);
	return response_send(c, status, response);
}

static enum MHD_Result serve_options(struct MHD_Connection *c)
{
	struct MHD_Response *response = response_empty();

	response_header(response, "Allow", ALLOWED_METHODS);
	return response_send(c, MHD_HTTP_NO_CONTENT, response);
}

static enum MHD_Result serve(const struct request *r, enum route route)
{
	switch (route) {
	case ROUTE_PAGE:
		return link_page_serve(r);
	case ROUTE_STATUS:
		return status_serve(r);
	case ROUTE_EVENTS:
		return events_serve(r);
	case ROUTE_ARTIFACT:
		return media_serve(r);
	case ROUTE_HEALTHZ:
		return health_serve_alive(r);
	case ROUTE_READYZ:
		return health_serve_ready(r);
	case ROUTE_LOGO:
		return link_page_serve_logo(r);
	case ROUTE_NONE:
		break;
	}
	return response_error(r->connection, ERR_NOT_FOUND);
}

enum MHD_Result router_serve(struct site *site, struct MHD_Connection *c, const char *method, const char *path)
{
	struct path parsed;
	struct request r = { .site = site, .connection = c };

	path_parse(path, &parsed);
	r.token = parsed.token;
	r.name = parsed.name;
	r.head = strcmp(method, "HEAD") == 0;
	if (parsed.route == ROUTE_NONE || r.head || strcmp(method, "GET") == 0)
		return serve(&r, parsed.route);
	if (strcmp(method, "OPTIONS") == 0)
		return serve_options(c);
	return refuse_method(c);
}
