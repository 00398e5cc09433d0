/* cli.h: one run of the `raincheck` command: its words, its streams, its connection, and how it ends.
 *
 * main() and the tests call cli_run(); everything else is for the command files. One thread. A command returns an exit
 * status; whoever finds an error says it (cli_usage(), cli_refused(), cli_failed()) and returns what that returns.
 */
#ifndef RAINCHECK_CLI_H
#define RAINCHECK_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct raincheck;
struct raincheck_error;

enum cli_exit {
	CLI_DONE,
	CLI_FAILED, /* refused by the broker, or failed here */
	CLI_USAGE,
	CLI_NOT_FOUND,
	CLI_NOT_ALLOWED,
	CLI_NO_CONNECTION,
	CLI_INTERRUPTED = 130 /* as a shell says it of SIGINT */
};

/* A flag: "--name VALUE", "--name=VALUE", "-l VALUE"; without value where value is NULL. */
struct cli_option {
	const char *name;
	char letter;	   /* '\0': none */
	const char *value; /* what stands for it in help; NULL: a switch */
	const char *help;
};

struct cli;

struct cli_command {
	const char *name;		  /* one or two words: "put", "queue ls" */
	const char *usage;		  /* what follows the name */
	const char *summary;		  /* a line */
	const char *details;		  /* more for `help COMMAND`; NULL: nothing */
	const struct cli_option *options; /* ended by one without name; NULL: none of its own */
	int min_args, max_args;		  /* words that are no flags */
	int (*run)(struct cli *c);
};

struct cli_given {
	const struct cli_option *option;
	const char *value;
};

struct cli {
	FILE *in, *out, *err;
	const struct cli_command *command; /* NULL: none was named */
	const char **args;
	int arg_count;
	struct cli_given *given; /* flags in the order given */
	size_t given_count;
	bool json;
	bool colour; /* out is a terminal that may be coloured */
	bool in_is_terminal;
	bool out_is_terminal;
	bool err_is_terminal;
	size_t width;	      /* columns of the terminal that out is; 0: it is none, or does not say */
	char *token;	      /* NULL: none */
	struct raincheck *rc; /* made when first needed */
};

/* Runs the command line argv and returns the exit status. Reads the environment. */
int cli_run(int argc, char **argv, FILE *in, FILE *out, FILE *err);

/* All commands, ended by one without name. */
extern const struct cli_command cli_commands[];
/* Those that every command takes, ended likewise. */
extern const struct cli_option cli_global_options[];

/* The last value given for a flag, NULL where it was not; a switch that was given has "". */
const char *cli_value(const struct cli *c, const char *name);
/* A whole number that was given: CLI_USAGE if it is none from low to high; *ret stays as it is if it was not given. */
int cli_number(struct cli *c, const char *name, long long low, long long high, long long *ret);

/* Where the broker is: as a flag says, or the environment; NULL where nobody does. */
const char *cli_named_server(const struct cli *c);
/* The same, or where it is by default. */
const char *cli_server(const struct cli *c);
/* The connection, made on the first call. NULL: it has been said why, and *ret_exit is how to end. */
struct raincheck *cli_connect(struct cli *c, int *ret_exit);

/* The command line is wrong: says so, points to help, returns CLI_USAGE. */
int cli_usage(struct cli *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Something failed here: CLI_FAILED. */
int cli_failed(struct cli *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The broker refused or could not be reached: says its words, with the field, returns the status for its code. */
int cli_refused(struct cli *c, const struct raincheck_error *error);
/* The same for what the last call over the connection found. */
int cli_last_refused(struct cli *c);
int cli_exit_of(int code);

/* The word as a job's id: NULL and said so where it is none. */
const char *cli_job_id(struct cli *c, const char *word);

/* What out has not taken by now, it is asked to. CLI_DONE also where its reader has gone; CLI_FAILED and said so where
 * it could not be written for another reason. */
int cli_flush(struct cli *c);

/* ---- the commands, a file a family ---- */

int cli_put(struct cli *c);
int cli_get(struct cli *c);
int cli_wait(struct cli *c);
int cli_link(struct cli *c);
int cli_result(struct cli *c);
int cli_payload(struct cli *c);
int cli_ls(struct cli *c);
int cli_cancel(struct cli *c);
int cli_retry(struct cli *c);
int cli_redeliver(struct cli *c);
int cli_erase(struct cli *c);
int cli_queue_ls(struct cli *c);
int cli_queue_show(struct cli *c);
int cli_queue_set(struct cli *c);
int cli_queue_pause(struct cli *c);
int cli_queue_resume(struct cli *c);
int cli_queue_purge(struct cli *c);
int cli_limit_ls(struct cli *c);
int cli_limit_show(struct cli *c);
int cli_limit_set(struct cli *c);
int cli_limit_rm(struct cli *c);
int cli_worker_ls(struct cli *c);
int cli_worker_quiet(struct cli *c);
int cli_worker_stop(struct cli *c);
int cli_stats(struct cli *c);
int cli_top(struct cli *c);
int cli_backup(struct cli *c);
int cli_check(struct cli *c);
int cli_restore(struct cli *c);
int cli_ping(struct cli *c);
int cli_version(struct cli *c);
int cli_help(struct cli *c);

#endif
