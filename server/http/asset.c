#include "asset.h"

#include <stdio.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "proto/base/clean.h"
#include "proto/error.h"
#include "server/http/page_load.h"
#include "server/http/page_source.h"
#include "server/http/response.h"
#include "server/http/site.h"

#define VERSION "?v="

/* What makes one, and what it says of itself. */
struct source {
	const char *name; /* of its path */
	struct slice bytes;
	const char *type;
	const char *policy; /* NULL: it is no document */
};

void asset_path(char ret[ASSET_PATH_BYTES], const char *name, struct slice bytes)
{
	snprintf(ret, ASSET_PATH_BYTES, "../%s" VERSION "%016llx", name,
		 (unsigned long long)XXH3_64bits(bytes.data, bytes.size));
}

/* ---- making ---- */

static struct MHD_Response *make_response(const struct source *s, const char *caching)
{
	_cleanup_(buf_done) struct buf copy;
	struct MHD_Response *r;
	bool fine;

	buf_init(&copy, s->bytes.size);
	buf_append(&copy, s->bytes.data, s->bytes.size);
	r = response_new(&copy, s->type);
	fine = response_header(r, "Cache-Control", caching) &&
	       (!s->policy || response_header(r, "Content-Security-Policy", s->policy));
	if (r && !fine)
		MHD_destroy_response(TAKE_PTR(r));
	return r;
}

static int make(struct site *site, enum asset_name which, const struct source *s)
{
	struct asset *a = &site->assets[which];

	asset_path(a->path, s->name, s->bytes);
	a->of_version = make_response(s, "public, max-age=31536000, immutable");
	a->of_none = make_response(s, "public, max-age=3600");
	a->of_others = make_response(s, "no-cache");
	return a->of_version && a->of_none && a->of_others ? 0 : ERR_NO_MEMORY;
}

/* The operator's, or the dot in the operator's colour, which is the page's icon then. Never what a document could be:
 * an SVG may hold a script. */
static int make_logo(struct site *site)
{
	const struct page_files *files = site->page_files;
	bool own = files && files->logo.size > 0;
	struct source s = { .name = "logo", .policy = "sandbox; default-src 'none'; style-src 'unsafe-inline'" };
	char dot[160];

	snprintf(dot, sizeof(dot),
		 "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 8 8\">"
		 "<circle cx=\"4\" cy=\"4\" r=\"3.5\" fill=\"%s\"/></svg>",
		 site->page.accent);
	s.bytes = own ? buf_slice(&files->logo) : slice_str(dot);
	s.type = own ? files->logo_type : "image/svg+xml";
	return make(site, ASSET_LOGO, &s);
}

static int make_script(struct site *site)
{
	const struct source s = {
		.name = "page.js",
		.bytes = slice_str(page_script),
		.type = "text/javascript; charset=utf-8",
	};

	site->page.script = site->assets[ASSET_SCRIPT].path;
	return make(site, ASSET_SCRIPT, &s);
}

int assets_make(struct site *site)
{
	int rc = make_logo(site);

	if (rc == 0)
		rc = make_script(site);
	if (rc < 0)
		assets_free(site);
	return rc;
}

void assets_free(struct site *site)
{
	for (int i = 0; i < ASSETS; i++) {
		struct asset *a = &site->assets[i];
		struct MHD_Response **all[] = { &a->of_version, &a->of_none, &a->of_others };

		for (size_t n = 0; n < ARRAY_SIZE(all); n++)
			if (*all[n])
				MHD_destroy_response(TAKE_PTR(*all[n]));
	}
}

/* ---- serving ---- */

enum MHD_Result asset_serve(const struct request *r, enum asset_name which)
{
	const struct asset *a = &r->site->assets[which];
	const char *asked = MHD_lookup_connection_value(r->connection, MHD_GET_ARGUMENT_KIND, "v");
	bool current = asked && strcmp(asked, strstr(a->path, VERSION) + strlen(VERSION)) == 0;
	struct MHD_Response *response = current ? a->of_version : asked ? a->of_others : a->of_none;

	return MHD_queue_response(r->connection, MHD_HTTP_OK, response);
}
