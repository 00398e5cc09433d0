/* page_load.h: what the operator keeps in files for the link's page: the logo and the templates. Before anything
 * serves.
 */
#ifndef RAINCHECK_HTTP_PAGE_LOAD_H
#define RAINCHECK_HTTP_PAGE_LOAD_H

#include <stddef.h>

#include "proto/base/buf.h"
#include "proto/base/clean.h"
#include "proto/error.h"
#include "server/http/asset.h"

#define PAGE_LOGO_MAX 12288 /* so that the whole page stays small */

struct page_template;

struct page_files {
	struct buf logo;		    /* empty: none */
	const char *logo_type;		    /* "image/svg+xml" */
	char logo_path[ASSET_PATH_BYTES];   /* see asset.h; "" for none */
	struct page_template *job, *notice; /* NULL: none */
};

/* logo: a file, templates: a folder with page.html, notice.html or both; NULL for none. ERR_CONFIG with a whole
 * sentence that names file and line, ERR_NO_MEMORY. */
int page_files_load(const char *logo, const char *templates, struct page_files *ret, struct error_info *info);
void page_files_done(struct page_files *f);

#endif
