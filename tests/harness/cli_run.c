#include "tests/harness/cli_run.h"

#include <fcntl.h>
#include <pty.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include <cmocka.h>

void ran_done(struct ran *r)
{
	free(r->out);
	free(r->err);
	*r = (struct ran){ 0 };
}

void cli_run_clean_environment(void)
{
	unsetenv("RAINCHECK_SERVER");
	unsetenv("RAINCHECK_TOKEN");
	unsetenv("RAINCHECK_TOKEN_FILE");
}

struct uuid cli_run_id(void)
{
	struct uuid u;

	uuid_parse(slice_str(CLI_RUN_ID), &u);
	return u;
}

static struct ran run_from(FILE *in, int argc, char **argv)
{
	struct ran r = { 0 };
	size_t out_size, err_size;
	FILE *out = open_memstream(&r.out, &out_size);
	FILE *err = open_memstream(&r.err, &err_size);

	r.exit = cli_run(argc, argv, in, out, err);
	fclose(out);
	fclose(err);
	return r;
}

struct ran run_words(const char *input, int argc, char **argv)
{
	_cleanup_free_ char *copy = strdup(input);
	FILE *in = fmemopen(copy, strlen(input), "r");
	struct ran r = run_from(in, argc, argv);

	fclose(in);
	return r;
}

/* ---- with a broker ---- */

static struct fake_broker *start(fake_script script, void *arg)
{
	struct fake_broker *b = fake_broker_start(NULL, script, arg);

	assert_non_null(b);
	setenv("RAINCHECK_SERVER", fake_broker_address(b), 1);
	return b;
}

static void stop(struct fake_broker *b)
{
	unsetenv("RAINCHECK_SERVER");
	assert_string_equal(fake_broker_stop(b), "");
}

struct ran run_with(fake_script script, void *arg, const char *input, int argc, char **argv)
{
	struct fake_broker *b = start(script, arg);
	struct ran r = run_words(input, argc, argv);

	stop(b);
	return r;
}

struct ran run_with_fd(fake_script script, void *arg, int fd, int argc, char **argv)
{
	struct fake_broker *b = start(script, arg);
	FILE *in = fdopen(dup(fd), "r");
	struct ran r = run_from(in, argc, argv);

	fclose(in);
	stop(b);
	return r;
}

/* What was shown; a terminal holds some kilobytes, which is enough for what a command says. */
static char *read_shown(int terminal)
{
	char *text = calloc(1, 65536);
	size_t used = 0;
	ssize_t n;

	fcntl(terminal, F_SETFL, O_NONBLOCK);
	while (used < 65535 && (n = read(terminal, text + used, 65535 - used)) > 0)
		used += (size_t)n;
	return text;
}

struct ran run_on_terminal(fake_script script, void *arg, const char *typed, int argc, char **argv)
{
	struct fake_broker *b = start(script, arg);
	struct ran r = { 0 };
	struct termios mode;
	size_t out_size;
	int terminal, fd;
	FILE *in, *out, *err;

	assert_int_equal(openpty(&terminal, &fd, NULL, NULL, NULL), 0);
	/* What is typed is not shown: only what the command says is looked at. */
	tcgetattr(fd, &mode);
	mode.c_lflag &= ~(tcflag_t)ECHO;
	mode.c_oflag &= ~(tcflag_t)OPOST;
	tcsetattr(fd, TCSANOW, &mode);
	assert_int_equal(write(terminal, typed, strlen(typed)), strlen(typed));
	in = fdopen(fd, "r");
	err = fdopen(dup(fd), "w");
	out = open_memstream(&r.out, &out_size);
	r.exit = cli_run(argc, argv, in, out, err);
	fclose(out);
	fclose(err);
	r.err = read_shown(terminal);
	fclose(in);
	close(terminal);
	stop(b);
	return r;
}

/* ---- looking at it ---- */

void says(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("\"%s\" is not in \"%s\"", part, text);
}

void wrong(struct ran r, const char *part)
{
	assert_int_equal(r.exit, CLI_USAGE);
	says(r.err, part);
	assert_string_equal(r.out, "");
	ran_done(&r);
}

void right(struct ran r, const char *part)
{
	assert_int_equal(r.exit, CLI_DONE);
	says(r.out, part);
	assert_string_equal(r.err, "");
	ran_done(&r);
}
