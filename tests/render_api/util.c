/* The few helpers that are too long for util.h. */
#include "util.h"

#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>

int fault_set(struct fault *f, int rc, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(f->text, sizeof(f->text), format, args);
	va_end(args);
	return rc;
}

static int remove_entry_cb(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	remove(path);
	return 0;
}

void dir_remove(const char *path)
{
	nftw(path, remove_entry_cb, 16, FTW_DEPTH | FTW_PHYS);
}
