/* cli_run.h: the raincheck command run within a test, alone or against a broker that plays a script.
 *
 * One thread, one run at a time. What a run left behind is the caller's; right() and wrong() look at it and release it.
 */
#ifndef RAINCHECK_TESTS_CLI_RUN_H
#define RAINCHECK_TESTS_CLI_RUN_H

#include "client/cli/cli.h"
#include "proto/base/clean.h"
#include "tests/harness/fake_broker.h"

#define CLI_RUN_ID "0190a5c4-7d3e-7abc-8def-0123456789ab"

struct ran {
	int exit;
	char *out;
	char *err; /* of a run on a terminal: all that it showed but standard output */
};

void ran_done(struct ran *r);

/* The words of a command line, as the two arguments argc and argv. */
#define WORDS(...)                                                            \
	(int)ARRAY_SIZE(((char *[]){ "raincheck", __VA_ARGS__ })), (char *[]) \
	{                                                                     \
		"raincheck", __VA_ARGS__                                      \
	}

/* With input on standard input, which is no terminal; and with nothing there that matters. */
struct ran run_words(const char *input, int argc, char **argv);
#define RUN(...) run_words("standard input", WORDS(__VA_ARGS__))

/* Against a broker; fails the test where the script was not satisfied. */
struct ran run_with(fake_script script, void *arg, const char *input, int argc, char **argv);
/* The same with standard input from this descriptor. */
struct ran run_with_fd(fake_script script, void *arg, int fd, int argc, char **argv);
/* The same with standard input and standard error on a terminal, at which somebody has typed this. */
struct ran run_on_terminal(fake_script script, void *arg, const char *typed, int argc, char **argv);

/* Takes RAINCHECK_… out of the environment. */
void cli_run_clean_environment(void);

/* The part is in the text, or the test fails. */
void says(const char *text, const char *part);
/* It was a usage error that says this, and nothing else happened. */
void wrong(struct ran r, const char *part);
/* It was done, printed this, and complained of nothing. */
void right(struct ran r, const char *part);

struct uuid cli_run_id(void);

#endif
