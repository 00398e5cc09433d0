#include "router.h"

#include <stdio.h>
#include <string.h>

#include "proto/error.h"
#include "server/http/api.h"
#include "server/http/asset.h"
#include "server/http/events.h"
#include "server/http/exchange.h"
#include "server/http/health.h"
#include "server/http/hooks.h"
#include "server/http/link_page.h"
#include "server/http/media.h"
#include "server/http/metrics.h"
#include "server/http/path.h"
#include "server/http/response.h"
#include "server/http/site.h"
#include "server/http/status.h"

static const char *allowed_methods(enum route route)
{
	switch (route) {
	case ROUTE_PUT:
	case ROUTE_RETRY:
	case ROUTE_HOOK:
		return "POST, OPTIONS";
	case ROUTE_JOB:
		return "GET, HEAD, DELETE, OPTIONS";
	default:
		return ALLOWED_METHODS;
	}
}

/* A word of the list that ends with a comma or with it. */
static bool is_allowed(enum route route, const char *method)
{
	const char *allowed = allowed_methods(route);
	size_t length = strlen(method);

	while (strncmp(allowed, method, length) != 0 || (allowed[length] != ',' && allowed[length] != '\0')) {
		allowed = strchr(allowed, ' ');
		if (!allowed)
			return false;
		allowed++;
	}
	return length > 0;
}

static enum MHD_Result refuse_method(const struct exchange *x)
{
	const unsigned status = MHD_HTTP_METHOD_NOT_ALLOWED;
	const char *allowed = allowed_methods(x->path.route);
	struct MHD_Response *response;
	char words[64];

	snprintf(words, sizeof(words), "only %s", allowed);
	response = response_problem(status, "bad_request", words);
	response_header(response, "Allow", allowed);
	return response_send(x->request.connection, status, response);
}

static enum MHD_Result serve_options(const struct exchange *x)
{
	struct MHD_Response *response = response_empty();

	response_header(response, "Allow", allowed_methods(x->path.route));
	return response_send(x->request.connection, MHD_HTTP_NO_CONTENT, response);
}

static enum MHD_Result serve(const struct request *r, enum route route)
{
	switch (route) {
	case ROUTE_PAGE:
		return link_page_serve(r);
	case ROUTE_SLASH:
		return link_page_serve_slash(r);
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
		return asset_serve(r, ASSET_LOGO);
	case ROUTE_SCRIPT:
		return asset_serve(r, ASSET_SCRIPT);
	case ROUTE_METRICS:
		return metrics_serve(r);
	default:
		break;
	}
	return response_error(r->connection, ERR_NOT_FOUND);
}

bool router_takes_body(const struct exchange *x)
{
	return (x->path.route == ROUTE_PUT || x->path.route == ROUTE_HOOK) && strcmp(x->method, "POST") == 0;
}

enum MHD_Result router_serve(struct exchange *x)
{
	enum route route = x->path.route;

	if (route == ROUTE_NONE || route == ROUTE_API_NONE || route == ROUTE_API_BROKEN)
		return route == ROUTE_NONE ? response_error(x->request.connection, ERR_NOT_FOUND) : api_serve(x);
	if (!is_allowed(route, x->method))
		return refuse_method(x);
	if (strcmp(x->method, "OPTIONS") == 0)
		return serve_options(x);
	if (route == ROUTE_HOOK)
		return hooks_serve(x);
	return route_is_api(route) ? api_serve(x) : serve(&x->request, route);
}
