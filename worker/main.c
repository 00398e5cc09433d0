/* raincheck-worker: reads its file, then hands everything to the pool on one libuv loop; SIGHUP reads it again. */
#include <curl/curl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <uv.h>

#include "proto/base/hangup.h"
#include "proto/base/log.h"
#include "proto/base/stdio.h"
#include "proto/base/text.h"
#include "proto/error.h"
#include "worker/config/issue.h"
#include "worker/config/worker_config.h"
#include "worker/dry_run.h"
#include "worker/pool.h"
#include "worker/transport/curl_loop.h"
#include "worker/worker_options.h"

#define OTHER_FILES 64 /* the broker, the log, libuv's own, spools, names being looked up */

enum { EXIT_DONE = 0, EXIT_REFUSED = 1, EXIT_USAGE = 2, EXIT_NO_CONNECTION = 5 };

struct program {
	const struct worker_options *options;
	uv_loop_t uv;
	uv_signal_t signals[3];
	struct pool *pool;
	struct worker_config *config; /* the last that was taken */
	char made_up_name[96];
	int status;
};

/* ---- the file ---- */

/* text says what is wrong, with file and line. */
static int load(const char *path, struct worker_config **ret_config, char *text, size_t size)
{
	struct issue issue = { .line = 0 };
	int rc = worker_config_load(path, ret_config, &issue);

	if (rc == 0)
		return 0;
	if (!issue.message[0])
		issue_set(&issue, 0, NULL, "%s", error_text(rc));
	issue_format(&issue, path, text, size);
	return rc;
}

/* HOST-PID, in the characters a name may have. */
static void make_up_name(char *ret, size_t size)
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

/* Flags come before the file. */
static struct pool_work work_of(const struct program *program, struct worker_config *config)
{
	const struct worker_options *o = program->options;

	return (struct pool_work){
		.config = config,
		.name = o->name	       ? o->name
			: config->name ? config->name
				       : program->made_up_name,
		.slots = o->slots > 0 ? o->slots : config->slots,
	};
}

static void start_log(const struct worker_options *o, const struct worker_config *config)
{
	log_init(o->has_log_level ? o->log_level : config->log_level,
		 o->has_log_format ? o->log_format : config->log_format);
}

/* A call holds one connection at least, two while a still is fetched beside it. */
static int check_file_limit(int64_t slots, char *text, size_t size)
{
	struct rlimit limit;
	uint64_t needed = curl_loop_files((uint64_t)slots) + OTHER_FILES;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return 0;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_max >= needed)
		return 0;
	snprintf(text, size,
		 "slots: %lld calls at once need %llu open files, and %llu are allowed: fewer slots, or raise "
		 "the limit (ulimit -Hn, LimitNOFILE=)",
		 (long long)slots, (unsigned long long)needed, (unsigned long long)limit.rlim_max);
	return ERR_CONFIG;
}

/* ---- signals ---- */

/* All or nothing: what is wrong with the file leaves the old one in force. */
static void reload(struct program *program)
{
	const struct worker_options *o = program->options;
	_cleanup_(worker_config_freep) struct worker_config *config = NULL;
	struct pool_work work;
	char text[640];
	int rc = load(o->config, &config, text, sizeof(text));

	if (rc == 0) {
		work = work_of(program, config);
		rc = check_file_limit(work.slots, text, sizeof(text));
	}
	if (rc == 0) {
		rc = pool_reload(program->pool, &work);
		snprintf(text, sizeof(text), "%s", error_text(rc));
	}
	if (rc < 0) {
		log_error("the file is not taken, the one before stays in force: %s", text);
		return;
	}
	start_log(o, config);
	if (!o->server &&
	    strcmp(config->server ? config->server : "", program->config->server ? program->config->server : "") != 0)
		log_warning("%s: server: another broker is taken at the next start only", o->config);
	log_info("%s was read again: %lld slots for %zu queues", o->config, (long long)work.slots, config->route_count);
	worker_config_free(program->config);
	program->config = TAKE_PTR(config);
}

static void signal_cb(uv_signal_t *handle, int number)
{
	struct program *program = handle->data;

	if (number == SIGHUP)
		reload(program);
	else
		pool_drain(program->pool);
}

static void watch_signals(struct program *program)
{
	static const int numbers[] = { SIGTERM, SIGINT, SIGHUP };

	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < ARRAY_SIZE(program->signals); i++) {
		uv_signal_init(&program->uv, &program->signals[i]);
		program->signals[i].data = program;
		uv_signal_start(&program->signals[i], signal_cb, numbers[i]);
	}
	hangup_release();
}

static void closed_cb(enum pool_status status, void *user)
{
	static const int exits[] = {
		[POOL_DONE] = EXIT_DONE, [POOL_REFUSED] = EXIT_REFUSED, [POOL_NO_BROKER] = EXIT_NO_CONNECTION
	};
	struct program *program = user;

	program->status = exits[status];
	hangup_hold();
	for (size_t i = 0; i < ARRAY_SIZE(program->signals); i++)
		uv_close((uv_handle_t *)&program->signals[i], NULL);
	hangup_ignore();
}

/* ---- working ---- */

/* Whoever wonders why none comes finds why. */
static void tell_webhooks(const struct worker_config *config)
{
	if (config->serves_webhooks)
		log_info("webhooks are delivered, signed with %zu secret%s", config->webhooks.key_count,
			 config->webhooks.key_count == 1 ? "" : "s");
	else if (config->is_silent_on_webhooks)
		log_info("webhooks are left to other workers: webhooks.secrets names no secret to sign them with");
}

static int work(const struct worker_options *o, struct worker_config *config)
{
	struct program program = { .options = o, .config = worker_config_ref(config), .status = EXIT_REFUSED };
	struct pool_options options = {
		.uv = &program.uv,
		.server = o->server ? o->server : config->server,
		.once = o->once,
		.closed_cb = closed_cb,
		.user = &program,
	};
	int rc;

	make_up_name(program.made_up_name, sizeof(program.made_up_name));
	options.work = work_of(&program, config);
	uv_loop_init(&program.uv);
	rc = pool_new(&options, &program.pool);
	if (rc < 0) {
		log_error("cannot start: %s", error_text(rc));
	} else {
		watch_signals(&program);
		tell_webhooks(config);
		log_info("%s %s: %lld slots for %zu queues", options.work.name, RAINCHECK_VERSION,
			 (long long)options.work.slots, config->route_count);
	}
	uv_run(&program.uv, UV_RUN_DEFAULT);
	pool_free(program.pool);
	worker_config_free(program.config);
	uv_loop_close(&program.uv);
	return program.status;
}

static int run(const struct worker_options *o)
{
	_cleanup_(worker_config_freep) struct worker_config *config = NULL;
	char text[640];
	int rc;

	rc = load(o->config, &config, text, sizeof(text));
	if (rc == 0 && !o->dry_run)
		rc = check_file_limit(o->slots > 0 ? o->slots : config->slots, text, sizeof(text));
	if (rc < 0) {
		fprintf(stderr, "raincheck-worker: %s\n", text);
		return EXIT_REFUSED;
	}
	start_log(o, config);
	if (o->dry_run) {
		hangup_release();
		return dry_run(config, o->dry_run, stdout) < 0 ? EXIT_REFUSED : EXIT_DONE;
	}
	return work(o, config);
}

int main(int argc, char **argv)
{
	struct worker_options o;
	int status;

	hangup_hold();
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
