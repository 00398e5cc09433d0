/* The table of commands and flags; help and parsing follow from it. */
#include "cli.h"

const struct cli_option cli_global_options[] = {
	{ "server", 0, "ADDR", "the broker: HOST:PORT or unix:PATH (RAINCHECK_SERVER, else 127.0.0.1:7246)" },
	{ "token-file", 0, "FILE", "a file that holds the token (RAINCHECK_TOKEN_FILE; or RAINCHECK_TOKEN itself)" },
	{ "json", 0, NULL, "print JSON instead of text" },
	{ "help", 'h', NULL, "say what a command does" },
	{ "version", 0, NULL, "print the version" },
	{ NULL, 0, NULL, NULL },
};

static const struct cli_option put_options[] = {
	{ "queue", 'q', "QUEUE", "the queue" },
	{ "data", 'd', "TEXT", "the payload itself" },
	{ "file", 'f', "FILE", "a file that holds the payload (-: standard input)" },
	{ "set", 's', "KEY=VALUE", "a setting; may be given again and again" },
	{ "count", 'n', "N", "put the same job N times" },
	{ "batch", 'b', "FILE", "put a job for each line of FILE (-: standard input), each a JSON object" },
	{ NULL, 0, NULL, NULL },
};

static const struct cli_option wait_options[] = {
	{ "timeout", 't', "S", "give up after so long: seconds, or 90s, 5m, 2h (default: never)" },
	{ NULL, 0, NULL, NULL },
};

static const struct cli_option result_options[] = {
	{ "output", 'o', "FILE", "write there instead of to standard output" },
	{ "name", 0, "NAME", "another artifact than \"result\", such as \"preview\"" },
	{ NULL, 0, NULL, NULL },
};

static const struct cli_option payload_options[] = {
	{ "output", 'o', "FILE", "write there instead of to standard output" },
	{ NULL, 0, NULL, NULL },
};

static const struct cli_option ls_options[] = {
	{ "queue", 'q', "QUEUE", "only of this queue" },
	{ "state", 's', "STATE", "only in this state: scheduled ready running succeeded dead canceled expired" },
	{ "group", 'g', "GROUP", "only of this group" },
	{ "limit", 'l', "N", "at most so many (default 50)" },
	{ NULL, 0, NULL, NULL },
};

const struct cli_command cli_commands[] = {
	{ "put", "-q QUEUE (--data TEXT | --file FILE | -) [--set KEY=VALUE]... | --batch FILE",
	  "submit a job, or one for each line of a file; prints id and link",
	  "Settings: content_type, priority (0 first to 9 last), delay_ms, run_at_ms, start_deadline_ms, deadline_ms,\n"
	  "attempt_timeout_ms, max_attempts, backoff.base_ms, backoff.factor, backoff.max_ms, backoff.jitter,\n"
	  "idempotency_key, group, title, preview=@FILE, callback_url, result_ttl_ms, metadata.KEY, traceparent.\n"
	  "Durations are milliseconds or written with their unit: delay_ms=90s.\n"
	  "\n"
	  "A line of a batch is {\"queue\": \"q\", \"payload\": ..., settings...}; a payload that is not a string is "
	  "sent\n"
	  "as its JSON text. -q and --set hold for every line that does not say otherwise. Lines that were refused "
	  "are\n"
	  "listed at the end and make the status 1; with --json each job that was put is printed.",
	  put_options, 0, 1, cli_put },
	{ "get", "ID", "show a job", NULL, NULL, 1, 1, cli_get },
	{ "wait", "ID [--timeout S]", "wait until a job has ended, then show it",
	  "The status is 0 if the job succeeded, 1 if it ended otherwise or the time was over first.", wait_options, 1,
	  1, cli_wait },
	{ "result", "ID [-o FILE]", "fetch a job's result", NULL, result_options, 1, 1, cli_result },
	{ "payload", "ID [-o FILE]", "fetch what a job was put with", NULL, payload_options, 1, 1, cli_payload },
	{ "link", "ID", "print the link of a job's page", NULL, NULL, 1, 1, cli_link },
	{ "ls", "[-q QUEUE] [--state STATE] [--group GROUP] [--limit N]", "list jobs", NULL, ls_options, 0, 0, cli_ls },
	{ "queue ls", "", "list the queues with their counts", NULL, NULL, 0, 0, cli_queue_ls },
	{ "stats", "", "show what the broker holds and does", NULL, NULL, 0, 0, cli_stats },
	{ "ping", "", "see whether the broker answers", NULL, NULL, 0, 0, cli_ping },
	{ "version", "", "print the version", NULL, NULL, 0, 0, cli_version },
	{ "help", "[COMMAND]", "say what a command does", NULL, NULL, 0, 2, cli_help },
	{ NULL, NULL, NULL, NULL, NULL, 0, 0, NULL },
};
