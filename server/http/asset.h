/* asset.h: what the link's page fetches besides media, the same for every link: its script, and the logo or the
 * icon in its place.
 *
 * An asset has an address with a version in it, which changes when its bytes do: under that one it may be kept for
 * ever, and under the one without a version for an hour. Under that of another version, which a page of before an
 * upgrade may still name, or one of after it that was taken back, it is given all the same; but no cache is to keep it
 * there, where it would stand in the way of that version. Made before anything is served; then any thread.
 */
#ifndef RAINCHECK_HTTP_ASSET_H
#define RAINCHECK_HTTP_ASSET_H

#include <microhttpd.h>

#include "proto/base/slice.h"

struct request;
struct site;

#define ASSET_PATH_BYTES 48

enum asset_name { ASSET_LOGO, ASSET_SCRIPT, ASSETS };

struct asset {
	char path[ASSET_PATH_BYTES];	 /* relative to /r/ */
	struct MHD_Response *of_version; /* owned, like the others */
	struct MHD_Response *of_none;
	struct MHD_Response *of_others;
};

/* "../NAME?v=VERSION". The version is 16 digits of XXH3-64 of bytes. */
void asset_path(char ret[ASSET_PATH_BYTES], const char *name, struct slice bytes);

/* Fills site->assets from the operator's settings and files, and the script's path into site->page. ERR_NO_MEMORY, and
 * nothing is to be freed. */
int assets_make(struct site *site);
void assets_free(struct site *site);

enum MHD_Result asset_serve(const struct request *r, enum asset_name which);

#endif
