#include "tests/harness/tempdir.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void tempdir_make(struct tempdir *d)
{
	const char *base = getenv("TMPDIR");

	if (!base || strlen(base) > 64)
		base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
	snprintf(d->path, sizeof(d->path), "%s/raincheck-test-XXXXXX", base);
	if (!mkdtemp(d->path)) {
		perror(d->path);
		exit(1);
	}
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

void tempdir_remove(struct tempdir *d)
{
	nftw(d->path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

const char *tempdir_file(const struct tempdir *d, const char *name)
{
	static _Thread_local char path[512];

	snprintf(path, sizeof(path), "%s/%s", d->path, name);
	return path;
}

static FILE *open_or_end(const char *path, const char *mode)
{
	FILE *f = fopen(path, mode);

	if (!f) {
		perror(path);
		exit(1);
	}
	return f;
}

void tempdir_copy(const char *from, const char *to)
{
	FILE *in = open_or_end(from, "r"), *out = open_or_end(to, "w");
	int c;

	while ((c = fgetc(in)) != EOF)
		fputc(c, out);
	fclose(in);
	if (fclose(out) != 0) {
		perror(to);
		exit(1);
	}
}
