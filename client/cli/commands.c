/* The table of commands and flags; help and parsing follow from it. */
#include <limits.h>

#include "cli.h"

const struct cli_option cli_global_options[] = {
	{ "server", 0, "ADDR", "HOST:PORT or unix:PATH (default 127.0.0.1:7246)" },
	{ "token-file", 0, "FILE", "a file that holds the token" },
	{ "json", 0, NULL, "print JSON instead of text" },
	{ "help", 'h', NULL, "say what a command does" },
	{ "version", 0, NULL, "print the version" },
	{ NULL, 0, NULL, NULL },
};

static const struct cli_option put_options[] = {
	{ "queue", 'q', "QUEUE", "the queue" },
	{ "data", 'd', "TEXT", "the payload itself" },
	{ "file", 'f', "FILE", "a file that holds the payload (-: standard input)" },
	{ "set", 's', "KEY=VALUE", "a setting; any number of them" },
	{ "count", 'n', "N", "put the same job N times" },
	{ "batch", 'b', "FILE", "a job for each line of FILE (-: standard input)" },
	{ NULL, 0, NULL, NULL },
};

static const struct cli_option wait_options[] = {
	{ "timeout", 't', "S", "give up after so long: seconds, or 5m, 2h" },
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

static const struct cli_option link_options[] = {
	{ "rotate", 0, NULL, "make a new link; the present one ends" },
	{ "revoke", 0, NULL, "let the link end, and make none" },
	{ NULL, 0, NULL, NULL },
};

static const struct cli_option change_options[] = {
	{ "filter", 'f', "KEY=VALUE", "the jobs for which it holds; any number of them" },
	{ "all", 0, NULL, "every job there is" },
	{ "yes", 'y', NULL, "do not ask" },
	{ NULL, 0, NULL, NULL },
};

static const struct cli_option yes_options[] = {
	{ "yes", 'y', NULL, "do not ask" },
	{ NULL, 0, NULL, NULL },
};

static const struct cli_option restore_options[] = {
	{ "data", 0, "DIR", "where to; empty, or not there yet" },
	{ NULL, 0, NULL, NULL },
};

static const struct cli_option top_options[] = {
	{ "interval", 'i', "S", "refresh so often: seconds, or 500ms (default 1)" },
	{ "once", 0, NULL, "print one picture, also where there is no terminal" },
	{ NULL, 0, NULL, NULL },
};

#define FILTERS                                                                              \
	"Filters: queue, state, group, before. before is about when a job was put: before\n" \
	"so long ago (2h, 7d), a date or time (2024-06-07, 2024-06-07T12:30:00; local, or\n" \
	"with Z or +02:00), or Unix milliseconds. All that is given must hold:\n"            \
	"  --filter queue=renders,state=dead --filter before=2h\n"                           \
	"Ctrl-C ends it between two jobs and says how many there were."

static const struct cli_option ls_options[] = {
	{ "queue", 'q', "QUEUE", "only of this queue" },
	{ "state", 's', "STATE", "only in this state" },
	{ "group", 'g', "GROUP", "only of this group" },
	{ "limit", 'l', "N", "at most so many (default 50)" },
	{ NULL, 0, NULL, NULL },
};

const struct cli_command cli_commands[] = {
	{ "put", "-q QUEUE (--data TEXT | --file FILE | -) [--set KEY=VALUE]...\nraincheck put --batch FILE",
	  "submit a job, or many; prints id, link and estimate",
	  "Settings: content_type, priority (0 first to 9 last), delay_ms, run_at_ms,\n"
	  "start_deadline_ms, deadline_ms, attempt_timeout_ms, max_attempts,\n"
	  "backoff.base_ms, backoff.factor, backoff.max_ms, backoff.jitter,\n"
	  "idempotency_key, group, title, preview=@FILE, callback_url, result_ttl_ms,\n"
	  "metadata.KEY, traceparent.\n"
	  "Durations are milliseconds or written with their unit: delay_ms=90s.\n"
	  "\n"
	  "A line of a batch is {\"queue\": \"q\", \"payload\": ..., settings...}; a payload that\n"
	  "is not a string is sent as its JSON text. -q and --set hold for every line that\n"
	  "does not say otherwise. Lines that were refused are listed at the end and make\n"
	  "the status 1; with --json each job that was put is printed.",
	  put_options, 0, 1, cli_put },
	{ "get", "ID", "show a job", NULL, NULL, 1, 1, cli_get },
	{ "wait", "ID [--timeout S]", "wait until a job has ended, then show it",
	  "The status is 0 if the job succeeded, 1 if it ended otherwise or the time was\n"
	  "over first. Without --timeout it waits as long as it takes.",
	  wait_options, 1, 1, cli_wait },
	{ "result", "ID [-o FILE]", "fetch a job's result", NULL, result_options, 1, 1, cli_result },
	{ "payload", "ID [-o FILE]", "fetch what a job was put with", NULL, payload_options, 1, 1, cli_payload },
	{ "link", "ID [--rotate | --revoke]", "print the link of a job's page, or change it", NULL, link_options, 1, 1,
	  cli_link },
	{ "ls", "[-q QUEUE] [--state STATE] [--group GROUP] [--limit N]", "list jobs, the youngest first",
	  "States: scheduled ready running succeeded dead canceled expired.", ls_options, 0, 0, cli_ls },
	{ "cancel", "(ID... | - | --filter KEY=VALUE... | --all)", "end jobs that wait or run",
	  "With - the ids come from standard input, one a line. A worker that has the job\n"
	  "is told to stop. With --filter and --all it asks first.\n"
	  "\n" FILTERS,
	  change_options, 0, INT_MAX, cli_cancel },
	{ "retry", "(ID... | - | --filter KEY=VALUE... | --all)", "let dead jobs run again",
	  "With - the ids come from standard input, one a line. Attempts are counted from 0\n"
	  "again. With --filter and --all it asks first.\n"
	  "\n" FILTERS,
	  change_options, 0, INT_MAX, cli_retry },
	{ "redeliver", "(ID... | - | --filter KEY=VALUE... | --all)", "tell callback_urls once more how jobs ended",
	  "With - the ids come from standard input, one a line. A webhook keeps its id, so\n"
	  "that the receiver knows it again. With --filter and --all it asks first. What\n"
	  "waits for its next try or has failed for good: raincheck ls -q _webhooks.\n"
	  "\n" FILTERS,
	  change_options, 0, INT_MAX, cli_redeliver },
	{ "erase", "(ID... | - | --filter KEY=VALUE... | --all)", "take jobs away, with all that is stored of them",
	  "With - the ids come from standard input, one a line. Payloads, previews and\n"
	  "results go; a job's link says \"gone\" from then on. A worker that has the job is\n"
	  "told to stop. It always asks first.\n"
	  "\n" FILTERS,
	  change_options, 0, INT_MAX, cli_erase },
	{ "queue ls", "", "list the queues with their counts", NULL, NULL, 0, 0, cli_queue_ls },
	{ "queue show", "QUEUE", "show a queue's settings and counts", NULL, NULL, 1, 1, cli_queue_show },
	{ "queue set", "QUEUE KEY=VALUE...", "change a queue's settings; makes a new queue",
	  "Settings: title, paused (true or false), max_jobs and max_bytes (of unfinished\n"
	  "jobs: a put beyond is refused), max_attempts, backoff.base, backoff.factor,\n"
	  "backoff.max, backoff.jitter, attempt_timeout, result_ttl. KEY=default takes one\n"
	  "back. They hold for the jobs that are there, too, where these say nothing else.\n"
	  "  raincheck queue set renders max_jobs=10000 max_bytes=2GiB result_ttl=7d\n"
	  "\n"
	  "limit: whose budget its calls use (raincheck help limit set). weight: its share\n"
	  "when a worker asks for jobs of several queues. weights: the shares of groups\n"
	  "within it, in place of those before; a group that is not named has 1. admit:\n"
	  "always, or deadline for no job that cannot be done by its deadline.\n"
	  "  raincheck queue set renders limit=api weight=3 weights=vip:5,free:1",
	  NULL, 2, INT_MAX, cli_queue_set },
	{ "queue pause", "QUEUE", "let a queue take jobs and give none to workers", NULL, NULL, 1, 1, cli_queue_pause },
	{ "queue resume", "QUEUE", "let a paused queue give jobs to workers again", NULL, NULL, 1, 1,
	  cli_queue_resume },
	{ "queue purge", "QUEUE", "cancel all jobs of a queue that wait", "It asks first. What runs goes on.",
	  yes_options, 1, 1, cli_queue_purge },
	{ "limit ls", "", "list the limits with what holds them now",
	  "CALLS are those under way, of as many as may be now. States, the first that\n"
	  "holds: held (the API asked for a pause), broken (the breaker is open), probing\n"
	  "(it lets single calls through), full (as many calls as may be), paced (the rate\n"
	  "is used up for the moment), free.",
	  NULL, 0, 0, cli_limit_ls },
	{ "limit show", "LIMIT", "show a limit's settings and what holds it now", NULL, NULL, 1, 1, cli_limit_show },
	{ "limit set", "LIMIT KEY=VALUE...", "change a limit's settings; makes a new limit",
	  "A limit says how many calls an API is sent, whatever queues and workers they\n"
	  "come from: the queues that name it (raincheck queue set QUEUE limit=LIMIT).\n"
	  "  concurrency=50               calls at once\n"
	  "  rate=10                      that begin in a second; or 10/s, 600/min, 100/h\n"
	  "  burst=20                     that may begin at once after a pause\n"
	  "  adaptive=4..200              find out how many at once are right; or on, off\n"
	  "  adaptive.latency_target=2s   also adaptive.min, adaptive.max\n"
	  "  breaker=on                   stop for a while when many calls fail; or off\n"
	  "  breaker.window=30s           also breaker.min_calls=10,\n"
	  "                               breaker.failure_ratio=0.5, breaker.open=30s\n"
	  "  schedule=FROM..UNTIL,concurrency=100,rate=20,burst=40\n"
	  "                               others for a while; once for each while. All\n"
	  "                               together are in place of those before\n"
	  "FROM and UNTIL: 2024-06-07T18:00:00 (local, or with Z or +02:00), now, or +2h,\n"
	  "which counts from now. KEY=default takes one back: to no bound, no such\n"
	  "part, or what a breaker or an adaptive part has by itself.\n"
	  "  raincheck limit set api concurrency=50 breaker=on\n"
	  "  raincheck limit set api schedule=now..+2h,concurrency=200",
	  NULL, 2, INT_MAX, cli_limit_set },
	{ "limit rm", "LIMIT", "remove a limit that no queue uses", NULL, NULL, 1, 1, cli_limit_rm },
	{ "worker ls", "", "list the workers that are connected",
	  "IN HAND: jobs that it has leased. WAITING: its leases that wait for jobs.", NULL, 0, 0, cli_worker_ls },
	{ "worker quiet", "NAME", "let a worker lease no more and finish what it has",
	  "All that are connected under the name are told. It stays connected; only a new\n"
	  "start makes it lease again.",
	  NULL, 1, 1, cli_worker_quiet },
	{ "worker stop", "NAME", "let a worker end, as SIGTERM does",
	  "All that are connected under the name are told. It asks first. What a worker\n"
	  "cannot finish within its time of grace goes back to its queue. Told twice, it\n"
	  "gives everything back at once.",
	  yes_options, 1, 1, cli_worker_stop },
	{ "stats", "", "show what the broker holds and does",
	  "What workers may be scaled by: slots wanted are those that would be busy, were\n"
	  "there enough; the backlog is what the jobs in line will take of slots, as far\n"
	  "as is known. Queues that are paused do not count.",
	  NULL, 0, 0, cli_stats },
	{ "top", "[--interval S] [--once]", "watch queues, limits and workers, live",
	  "q or Ctrl-C ends it. CALLS are those under way, of as many as may be now; with\n"
	  "a ~ the number is learned. --once prints one picture, without rates unless\n"
	  "--interval says over what time they are to be counted.",
	  top_options, 0, 0, cli_top },
	{ "backup", "DIR", "let the broker copy all it holds",
	  "DIR is a directory on the broker's machine that is not there yet. The copy is a\n"
	  "data directory, as all was at one moment: raincheckd --data DIR serves it. The\n"
	  "broker goes on meanwhile.",
	  NULL, 1, 1, cli_backup },
	{ "check", "", "let the broker prove that what it holds is whole",
	  "Each breach is a line, and makes the status 1. The broker goes on meanwhile.", NULL, 0, 0, cli_check },
	{ "restore", "BACKUP --data DIR", "make a data directory of a backup, on this machine",
	  "Needs no broker: it runs raincheckd --restore BACKUP --data DIR, with the\n"
	  "raincheckd that lies beside this program, else with the one in PATH.",
	  restore_options, 1, 1, cli_restore },
	{ "ping", "", "see whether the broker answers", NULL, NULL, 0, 0, cli_ping },
	{ "version", "", "print the version", NULL, NULL, 0, 0, cli_version },
	{ "help", "[COMMAND]", "say what a command does", NULL, NULL, 0, 2, cli_help },
	{ NULL, NULL, NULL, NULL, NULL, 0, 0, NULL },
};
