#include "page_load.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "server/http/page_template.h"

#define TEMPLATE_MAX 262144

static int complain(const char *path, const char *what, struct error_info *info)
{
	size_t length = strlen(path);

	return error_set(info, ERR_CONFIG, NULL, "%s: %s", length > 120 ? path + length - 120 : path, what);
}

/* ERR_NOT_FOUND where it is not there. */
static int read_file(const char *path, struct buf *out, struct error_info *info)
{
	FILE *f = fopen(path, "re");
	uint8_t *room;
	int rc = 0;

	if (!f)
		return errno == ENOENT ? ERR_NOT_FOUND : complain(path, strerror(errno), info);
	while (rc == 0 && !feof(f)) {
		rc = buf_reserve(out, 1024, &room);
		if (rc == 0)
			buf_commit(out, fread(room, 1, 1024, f));
		if (ferror(f))
			rc = complain(path, strerror(errno), info);
	}
	fclose(f);
	return rc;
}

/* ---- the logo ---- */

static const char *type_of(const char *path)
{
	static const char *const types[][2] = {
		{ ".svg", "image/svg+xml" }, { ".png", "image/png" },	{ ".jpg", "image/jpeg" },
		{ ".jpeg", "image/jpeg" },   { ".webp", "image/webp" }, { ".gif", "image/gif" },
	};
	const char *dot = strrchr(path, '.');

	for (size_t i = 0; dot && i < ARRAY_SIZE(types); i++)
		if (strcasecmp(dot, types[i][0]) == 0)
			return types[i][1];
	return NULL;
}

static int load_logo(const char *path, struct page_files *f, struct error_info *info)
{
	int rc;

	f->logo_type = type_of(path);
	if (!f->logo_type)
		return complain(path, "the logo's name must end in .svg, .png, .jpg, .webp or .gif", info);
	rc = read_file(path, &f->logo, info);
	if (rc == ERR_NOT_FOUND)
		return complain(path, strerror(ENOENT), info);
	if (rc == ERR_TOO_LARGE || (rc == 0 && f->logo.size > PAGE_LOGO_MAX))
		return complain(path, "the logo is larger than 12 KiB", info);
	if (rc == 0 && f->logo.size == 0)
		return complain(path, "the logo is empty", info);
	asset_path(f->logo_path, "logo", buf_slice(&f->logo));
	return rc;
}

/* ---- templates ---- */

static int load_template(const char *folder, const char *name, enum page_kind kind, struct page_template **ret,
			 struct error_info *info)
{
	_cleanup_(buf_done) struct buf text;
	char path[4096];
	int rc;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	buf_init(&text, TEMPLATE_MAX);
	rc = read_file(path, &text, info);
	if (rc == ERR_NOT_FOUND)
		return 0;
	if (rc == ERR_TOO_LARGE)
		return complain(path, "is larger than 256 KiB", info);
	return rc < 0 ? rc : page_template_parse(path, buf_slice(&text), kind, ret, info);
}

static int load_templates(const char *folder, struct page_files *f, struct error_info *info)
{
	int rc = load_template(folder, "page.html", PAGE_OF_JOB, &f->job, info);

	if (rc == 0)
		rc = load_template(folder, "notice.html", PAGE_OF_NOTICE, &f->notice, info);
	if (rc == 0 && !f->job && !f->notice)
		return complain(folder, "has neither page.html nor notice.html in it", info);
	return rc;
}

int page_files_load(const char *logo, const char *templates, struct page_files *ret, struct error_info *info)
{
	int rc = 0;

	memset(ret, 0, sizeof(*ret));
	buf_init(&ret->logo, PAGE_LOGO_MAX + 2048);
	if (logo)
		rc = load_logo(logo, ret, info);
	if (rc == 0 && templates)
		rc = load_templates(templates, ret, info);
	if (rc < 0)
		page_files_done(ret);
	return rc;
}

void page_files_done(struct page_files *f)
{
	buf_done(&f->logo);
	page_template_free(TAKE_PTR(f->job));
	page_template_free(TAKE_PTR(f->notice));
}
