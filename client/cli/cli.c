#include "cli.h"

#include <errno.h>
#include <locale.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "client/raincheck.h"
#include "parse.h"
#include "proto/base/clean.h"
#include "proto/base/uuid.h"
#include "show.h"

#define MAX_TOKEN 4096

/* ---- saying ---- */

int cli_usage(struct cli *c, const char *fmt, ...)
{
	va_list args;

	fputs("raincheck: ", c->err);
	va_start(args, fmt);
	vfprintf(c->err, fmt, args);
	va_end(args);
	if (c->command)
		fprintf(c->err, "\nTry: raincheck help %s\n", c->command->name);
	else
		fputs("\nTry: raincheck help\n", c->err);
	return CLI_USAGE;
}

int cli_failed(struct cli *c, const char *fmt, ...)
{
	va_list args;

	fputs("raincheck: ", c->err);
	va_start(args, fmt);
	vfprintf(c->err, fmt, args);
	va_end(args);
	fputc('\n', c->err);
	return CLI_FAILED;
}

int cli_exit_of(int code)
{
	switch (code) {
	case 0:
		return CLI_DONE;
	case RAINCHECK_ENOT_FOUND:
	case RAINCHECK_EGONE:
		return CLI_NOT_FOUND;
	case RAINCHECK_EUNAUTHENTICATED:
	case RAINCHECK_EDENIED:
		return CLI_NOT_ALLOWED;
	case RAINCHECK_ENO_CONNECTION:
	case RAINCHECK_ETIMED_OUT:
	case RAINCHECK_EPROTOCOL:
		return CLI_NO_CONNECTION;
	default:
		return CLI_FAILED;
	}
}

int cli_refused(struct cli *c, const struct raincheck_error *e)
{
	if (c->json) {
		json_t *o = show_error_json(e);

		json_dumpf(o, c->err, 0);
		json_decref(o);
	} else {
		fputs("raincheck: ", c->err);
		show_error(c->err, e);
	}
	fputc('\n', c->err);
	return cli_exit_of(e->code);
}

int cli_last_refused(struct cli *c)
{
	return cli_refused(c, raincheck_last_error(c->rc));
}

/* A write that failed some time ago no longer says why; a pipe still does. */
static bool reader_gone(FILE *f)
{
	struct pollfd p = { .fd = fileno(f), .events = POLLOUT };

	return p.fd >= 0 && poll(&p, 1, 0) == 1 && (p.revents & (POLLERR | POLLHUP));
}

int cli_flush(struct cli *c)
{
	int error;

	errno = 0;
	if (fflush(c->out) == 0 && !ferror(c->out))
		return CLI_DONE;
	error = errno;
	if (error == EPIPE || reader_gone(c->out))
		return CLI_DONE;
	return cli_failed(c, "cannot write: %s", strerror(error ? error : EIO));
}

/* ---- flags ---- */

const char *cli_value(const struct cli *c, const char *name)
{
	for (size_t i = c->given_count; i > 0; i--)
		if (strcmp(c->given[i - 1].option->name, name) == 0)
			return c->given[i - 1].value;
	return NULL;
}

int cli_number(struct cli *c, const char *name, long long low, long long high, long long *ret)
{
	const char *text = cli_value(c, name);
	long long value;
	char *end;

	if (!text)
		return CLI_DONE;
	errno = 0;
	value = strtoll(text, &end, 10);
	if (errno || *end || end == text || value < low || value > high)
		return cli_usage(c, "--%s must be a whole number from %lld to %lld, not \"%s\"", name, low, high, text);
	*ret = value;
	return CLI_DONE;
}

const char *cli_job_id(struct cli *c, const char *word)
{
	struct uuid ignored;

	if (uuid_parse(slice_str(word), &ignored) == 0)
		return word;
	cli_usage(c, "\"%s\" is not a job's id", word);
	return NULL;
}

/* ---- the connection ---- */

/* The file's text without the blanks around it. */
static int read_token_file(struct cli *c, const char *path)
{
	char text[MAX_TOKEN + 2];
	size_t size, skip;
	FILE *f = fopen(path, "re");

	if (!f)
		return cli_usage(c, "cannot read the token file %s: %s", path, strerror(errno));
	size = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	text[size] = '\0';
	skip = strspn(text, " \t\r\n");
	size = strcspn(text + skip, " \t\r\n");
	if (size == 0 || skip + size > MAX_TOKEN)
		return cli_usage(c, "the token file %s holds no token", path);
	c->token = strndup(text + skip, size);
	explicit_bzero(text, sizeof(text));
	return c->token ? CLI_DONE : cli_failed(c, "out of memory");
}

static int find_token(struct cli *c)
{
	const char *file = cli_value(c, "token-file");
	const char *token = getenv("RAINCHECK_TOKEN");

	if (file)
		return read_token_file(c, file);
	if (token && *token) {
		c->token = strdup(token);
		return c->token ? CLI_DONE : cli_failed(c, "out of memory");
	}
	file = getenv("RAINCHECK_TOKEN_FILE");
	return file && *file ? read_token_file(c, file) : CLI_DONE;
}

const char *cli_named_server(const struct cli *c)
{
	const char *given = cli_value(c, "server"), *environment = getenv("RAINCHECK_SERVER");

	if (given)
		return given;
	return environment && *environment ? environment : NULL;
}

const char *cli_server(const struct cli *c)
{
	const char *named = cli_named_server(c);

	return named ? named : RAINCHECK_DEFAULT_SERVER;
}

struct raincheck *cli_connect(struct cli *c, int *ret_exit)
{
	struct raincheck_options options = { .client = "raincheck" };
	struct raincheck_error error;
	int rc;

	if (c->rc)
		return c->rc;
	*ret_exit = find_token(c);
	if (*ret_exit != CLI_DONE)
		return NULL;
	options.token = c->token;
	options.server = cli_named_server(c);
	rc = raincheck_new(&options, &c->rc, &error);
	if (rc == RAINCHECK_EBAD_REQUEST)
		*ret_exit = cli_usage(c, "\"%s\" is not an address: %s", options.server, error.message);
	else if (rc < 0)
		*ret_exit = cli_refused(c, &error);
	return rc < 0 ? NULL : c->rc;
}

/* ---- one run ---- */

static bool is_terminal(FILE *f)
{
	int fd = fileno(f);

	return fd >= 0 && isatty(fd);
}

/* What the user has set comes first. */
static size_t terminal_width(FILE *f)
{
	const char *columns = getenv("COLUMNS");
	long set = columns ? strtol(columns, NULL, 10) : 0;
	struct winsize size;

	if (set > 0)
		return (size_t)set;
	return ioctl(fileno(f), TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

static void look_around(struct cli *c)
{
	const char *no_colour = getenv("NO_COLOR");
	const char *terminal = getenv("TERM");

	c->in_is_terminal = is_terminal(c->in);
	c->out_is_terminal = is_terminal(c->out);
	c->err_is_terminal = is_terminal(c->err);
	c->width = c->out_is_terminal ? terminal_width(c->out) : 0;
	c->colour = c->out_is_terminal && !(no_colour && *no_colour) && !(terminal && strcmp(terminal, "dumb") == 0);
}

static int dispatch(struct cli *c)
{
	if (cli_value(c, "help"))
		return cli_help(c);
	if (cli_value(c, "version"))
		return cli_version(c);
	if (c->command)
		return c->command->run(c);
	cli_help(c);
	return cli_usage(c, "a command is missing");
}

static int run(struct cli *c, int argc, char **argv)
{
	int exit = parse_command_line(c, argc, argv);
	int flushed;

	if (exit != CLI_DONE)
		return exit;
	c->json = cli_value(c, "json") != NULL;
	exit = dispatch(c);
	flushed = cli_flush(c);
	return exit != CLI_DONE ? exit : flushed;
}

int cli_run(int argc, char **argv, FILE *in, FILE *out, FILE *err)
{
	struct cli c = { .in = in, .out = out, .err = err };
	/* Only so that the widths of characters are known; numbers and messages stay as they are. */
	locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
	locale_t before = utf8 ? uselocale(utf8) : (locale_t)0;
	int exit;

	look_around(&c);
	exit = run(&c, argc, argv);
	raincheck_close(c.rc, NULL, NULL);
	if (c.token)
		explicit_bzero(c.token, strlen(c.token));
	free(c.token);
	free(c.args);
	free(c.given);
	if (utf8) {
		uselocale(before);
		freelocale(utf8);
	}
	return exit;
}
