/* Bytes of a job: its result (or another artifact), in pieces, and its payload.
 *
 * Into a file they go under a temporary name beside it, which becomes the file's once all is there: so a file that has
 * the name is whole.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "client/raincheck.h"
#include "proto/base/clean.h"
#include "text.h"

/* Where the bytes go. */
struct sink {
	struct cli *c;
	FILE *file;	  /* NULL: not open */
	const char *path; /* NULL: standard output */
	char *temporary;
};

static int sink_open(struct sink *s, struct cli *c)
{
	mode_t mask = umask(0);
	int fd;

	umask(mask);
	*s = (struct sink){ .c = c, .path = cli_value(c, "output") };
	if (!s->path || strcmp(s->path, "-") == 0) {
		s->path = NULL;
		s->file = c->out;
		return CLI_DONE;
	}
	if (asprintf(&s->temporary, "%s.XXXXXX", s->path) < 0) {
		s->temporary = NULL;
		return cli_failed(c, "out of memory");
	}
	fd = mkstemp(s->temporary);
	if (fd < 0)
		return cli_failed(c, "cannot write %s: %s", s->path, strerror(errno));
	fchmod(fd, 0666 & ~mask);
	s->file = fdopen(fd, "w");
	return s->file ? CLI_DONE : cli_failed(c, "cannot write %s: %s", s->path, strerror(errno));
}

static int sink_write(struct sink *s, const struct raincheck_bytes *data)
{
	if (!s->path && s->c->out_is_terminal && !text_is_printable(data->data, data->size))
		return cli_usage(s->c, "these bytes are no text for a terminal; name a file with -o, or redirect");
	if (data->size == 0 || fwrite(data->data, 1, data->size, s->file) == data->size)
		return CLI_DONE;
	/* For standard output cli_flush() tells the rest. */
	return s->path ? cli_failed(s->c, "cannot write %s: %s", s->path, strerror(errno)) : CLI_FAILED;
}

/* Takes away what is left of a file that did not become one. */
static void sink_drop(struct sink *s)
{
	if (s->path && s->file)
		fclose(s->file);
	if (s->temporary)
		unlink(s->temporary);
	free(s->temporary);
}

static int sink_finish(struct sink *s)
{
	int failed;

	if (!s->path)
		return CLI_DONE;
	failed = fclose(TAKE_PTR(s->file));
	if (failed || rename(s->temporary, s->path) < 0)
		return cli_failed(s->c, "cannot write %s: %s", s->path, strerror(errno));
	free(TAKE_PTR(s->temporary));
	return CLI_DONE;
}

/* The broker says "not found" of a job that it does not know and of one that has no such artifact alike. */
static int artifact_refused(struct cli *c, const char *id)
{
	struct raincheck_error why = *raincheck_last_error(c->rc);
	struct raincheck_job *job;
	int rc;

	if (why.code != RAINCHECK_ENOT_FOUND)
		return cli_refused(c, &why);
	rc = raincheck_get(c->rc, id, &job);
	if (rc == RAINCHECK_ENOT_FOUND || rc == RAINCHECK_EGONE)
		return cli_last_refused(c);
	if (rc == 0)
		raincheck_free(job);
	return cli_refused(c, &why);
}

static int copy_artifact(struct cli *c, struct sink *s, const char *id, const char *name)
{
	struct raincheck_artifact_read read = { .id = id, .name = name };
	struct raincheck_artifact_data *piece;
	bool more = true;
	int exit = CLI_DONE;

	while (more && exit == CLI_DONE) {
		if (raincheck_artifact_read(c->rc, &read, &piece) < 0)
			return artifact_refused(c, id);
		if (piece->offset != read.offset || (piece->data.size == 0 && read.offset < piece->size))
			exit = cli_failed(c, "the broker sent another piece than was asked for");
		else
			exit = sink_write(s, &piece->data);
		read.offset += (int64_t)piece->data.size;
		more = read.offset < piece->size;
		raincheck_free(piece);
	}
	return exit;
}

int cli_result(struct cli *c)
{
	const char *id = cli_job_id(c, c->args[0]);
	const char *name = cli_value(c, "name");
	struct sink s;
	int exit = CLI_USAGE;

	if (!id || !cli_connect(c, &exit))
		return exit;
	exit = sink_open(&s, c);
	if (exit == CLI_DONE)
		exit = copy_artifact(c, &s, id, name ? name : "result");
	if (exit == CLI_DONE)
		exit = sink_finish(&s);
	sink_drop(&s);
	return exit;
}

int cli_payload(struct cli *c)
{
	const char *id = cli_job_id(c, c->args[0]);
	struct raincheck_payload *payload;
	struct sink s;
	int exit = CLI_USAGE;

	if (!id || !cli_connect(c, &exit))
		return exit;
	if (raincheck_payload(c->rc, id, &payload) < 0)
		return cli_last_refused(c);
	exit = sink_open(&s, c);
	if (exit == CLI_DONE)
		exit = sink_write(&s, &payload->data);
	if (exit == CLI_DONE)
		exit = sink_finish(&s);
	sink_drop(&s);
	raincheck_free(payload);
	return exit;
}
