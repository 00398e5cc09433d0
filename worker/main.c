/* raincheck-worker: reads its files, then hands everything to the pool on one libuv loop. */
#include <curl/curl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <uv.h>

#include "worker_config.h"
#include "dry_run.h"
#include "issue.h"
#include "worker_options.h"
#include "pool.h"
#include "proto/base/log.h"
#include "proto/base/stdio.h"
#include "proto/base/text.h"
#include "proto/error.h"

enum { EXIT_DONE = 0, EXIT_REFUSED = 1, EXIT_USAGE = 2 };

struct program {
	uv_loop_t uv;
	uv_signal_t signals[2];
	struct pool *pool;
	int status;
};

static void signal_cb(uv_signal_t *handle, int number)
{
	struct program *program = handle->data;

	(void)number;
	pool_drain(program->pool);
}

static void closed_cb(int status, void *user)
{
	struct program *program = user;

	program->status = status;
	for (size_t i = 0; i < ARRAY_SIZE(program->signals); i++)
		uv_close((uv_handle_t *)&program->signals[i], NULL);
}

/* HOST-PID, in the characters a name may have. */
static void default_name(char *ret, size_t size)
{
	char host[64] = "worker";

	if (gethostname(host, sizeof(host)) < 0)
		snprintf(host, sizeof(host), "worker");
	host[sizeof(host) - 1] = '\0';
	for (char *c = host; *c; c++)
		if (!name_valid(slice_of(c, 1)))
			*c = '-';
	snprintf(ret, size, "%s-%ld", host[0] ? host : "worker", (long)getpid());
}

/* A call may hold two connections and a file. */
static void raise_file_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

static void watch_signals(struct program *program)
{
	static const int numbers[] = { SIGTERM, SIGINT };

	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < ARRAY_SIZE(program->signals); i++) {
		uv_signal_init(&program->uv, &program->signals[i]);
		program->signals[i].data = program;
		uv_signal_start(&program->signals[i], signal_cb, numbers[i]);
	}
}

static int work(const struct worker_options *o, const struct worker_config *config)
{
	struct program program = { .status = EXIT_REFUSED };
	char made_up[96];
	struct pool_options options = {
		.uv = &program.uv,
		.config = config,
		.server = o->server ? o->server : config->server,
		.name = o->name	       ? o->name
			: config->name ? config->name
				       : made_up,
		.slots = o->slots > 0 ? o->slots : config->slots,
		.once = o->once,
		.closed_cb = closed_cb,
		.user = &program,
	};
	int rc;

	default_name(made_up, sizeof(made_up));
	raise_file_limit();
	uv_loop_init(&program.uv);
	rc = pool_new(&options, &program.pool);
	if (rc < 0) {
		log_error("cannot start: %s", error_text(rc));
	} else {
		watch_signals(&program);
		log_info("%s %s: %lld slots for %zu queues", options.name, RAINCHECK_VERSION, (long long)options.slots,
			 config->route_count);
	}
	uv_run(&program.uv, UV_RUN_DEFAULT);
	pool_free(program.pool);
	uv_loop_close(&program.uv);
	return program.status;
}

static int run(const struct worker_options *o)
{
	_cleanup_(worker_config_freep) struct worker_config *config = NULL;
	struct issue issue = { .line = 0 };
	char text[640];
	int rc;

	rc = worker_config_load(o->config, &config, &issue);
	if (rc < 0) {
		if (!issue.message[0])
			issue_set(&issue, 0, NULL, "%s", error_text(rc));
		issue_format(&issue, o->config, text, sizeof(text));
		fprintf(stderr, "raincheck-worker: %s\n", text);
		return EXIT_REFUSED;
	}
	log_init(o->has_log_level ? o->log_level : config->log_level,
		 o->has_log_format ? o->log_format : config->log_format);
	if (o->dry_run)
		return dry_run(config, o->dry_run, stdout) < 0 ? EXIT_REFUSED : EXIT_DONE;
	return work(o, config);
}

int main(int argc, char **argv)
{
	struct worker_options o;
	int status;

	stdio_ensure();
	if (worker_options_parse(argc, argv, &o) < 0)
		return EXIT_USAGE;
	if (o.help) {
		fputs(worker_options_help, stdout);
		return EXIT_DONE;
	}
	if (o.version) {
		puts("raincheck-worker " RAINCHECK_VERSION);
		return EXIT_DONE;
	}
	if (o.name && !name_valid(slice_str(o.name))) {
		fprintf(stderr, "raincheck-worker: --name: it must be 1 to 128 of A-Z a-z 0-9 . _ : -\n");
		return EXIT_USAGE;
	}
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return EXIT_REFUSED;
	status = run(&o);
	curl_global_cleanup();
	return status;
}
