/* render-api: a stand-in for the slow, overloaded, paid external API, for demos, tests and benches.
 *
 * Renders a personal clip from {"name","colour"} with ffmpeg (or, with --fake, makes believe), in the shapes such APIs
 * have: one long call, submit and poll, submit and webhook (api.h). It can be told to misbehave in every way the worker
 * must survive (behave.h), to bend and break under load (renders.h), and it keeps the books by which a test proves what
 * was paid (stats.h). What it knows is in memory and gone when it ends.
 *
 * Threads: main waits for a signal; two serve HTTP (server.h); --slots render (pool.h); one looks after suspended
 * connections (park.h); four deliver webhooks (hook.h). */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "api.h"
#include "clip.h"
#include "hook.h"
#include "options.h"
#include "park.h"
#include "renders.h"
#include "server.h"
#include "stats.h"
#include "util.h"

struct program {
	struct options options;
	char address[64];
	char base_url[256];
	int listen_fd;
	struct stats *stats;
	struct clips *clips;
	struct hooks *hooks;
	struct renders *renders;
	struct park *park;
	struct api api;
	struct server *server;
};

/* Before any thread starts, so that all of them inherit it and only main takes these signals. */
static void block_signals(sigset_t *ret_set)
{
	sigemptyset(ret_set);
	sigaddset(ret_set, SIGTERM);
	sigaddset(ret_set, SIGINT);
	pthread_sigmask(SIG_BLOCK, ret_set, NULL);
	signal(SIGPIPE, SIG_IGN);
}

static int start_listening(struct program *p, struct fault *f)
{
	const char *public_url = p->options.public_url;
	int rc = server_listen(p->options.listen, &p->listen_fd, p->address, f);

	if (rc < 0)
		return rc;
	if (public_url != NULL && strlen(public_url) >= sizeof(p->base_url))
		return fault_set(f, -EINVAL, "--public-url is too long");
	if (public_url != NULL)
		strcpy(p->base_url, public_url);
	else
		snprintf(p->base_url, sizeof(p->base_url), "http://%s", p->address);
	return 0;
}

static int start_renders(struct program *p)
{
	const struct options *o = &p->options;
	const struct renders_config config = {
		.slots = (unsigned)o->slots,
		.max_in_flight = (size_t)o->max_in_flight,
		.capacity = (size_t)o->capacity,
		.keep = (size_t)o->keep,
		.base_url = p->base_url,
		.clips = p->clips,
		.stats = p->stats,
		.hooks = p->hooks,
	};

	return renders_new(&config, &p->renders);
}

static int start_server(struct program *p)
{
	int rc;

	p->api = (struct api){
		.base_url = p->base_url,
		.behave = p->options.behave,
		.overload_hangs = p->options.degrade_hangs,
		.clips = p->clips,
		.park = p->park,
		.renders = p->renders,
		.stats = p->stats,
	};
	rc = server_start(p->listen_fd, &p->api, &p->server);
	if (rc == 0)
		p->listen_fd = -1;
	return rc;
}

static int program_start(struct program *p, struct fault *f)
{
	const struct options *o = &p->options;
	enum clip_mode mode = !o->fake ? CLIPS_RENDERED : o->no_ffmpeg ? CLIPS_BYTES : CLIPS_BAKED;
	int rc;

	rc = start_listening(p, f);
	if (rc == 0)
		rc = clips_new(o->dir, mode, &p->clips, f);
	if (rc < 0)
		return rc;
	rc = stats_new((size_t)o->names_cap, &p->stats);
	if (rc == 0)
		rc = hooks_new(p->stats, &p->hooks);
	if (rc == 0)
		rc = start_renders(p);
	if (rc == 0)
		rc = park_new(&p->park);
	if (rc == 0)
		rc = start_server(p);
	return rc < 0 ? fault_set(f, rc, "cannot start: %s", strerror(-rc)) : 0;
}

/* Backwards, also after half a start. The park goes before the server, which must not be stopped with suspended
 * connections; the renders after it, because requests use them to their end; the hooks after the renders, which feed
 * them. */
static void program_stop(struct program *p)
{
	if (p->park != NULL)
		park_stop(p->park);
	server_stop(p->server);
	if (p->renders != NULL)
		renders_stop(p->renders);
	if (p->hooks != NULL)
		hooks_stop(p->hooks);
	renders_free(p->renders);
	hooks_free(p->hooks);
	park_free(p->park);
	clips_free(p->clips);
	stats_free(p->stats);
	if (p->listen_fd >= 0)
		close(p->listen_fd);
}

int main(int argc, char *argv[])
{
	static struct program program = { .listen_fd = -1 };
	struct fault f = { .text = "" };
	sigset_t signals;
	int rc, signal_number;

	if (options_parse(argc, argv, &program.options, &f) < 0) {
		fprintf(stderr, "render-api: %s (see --help)\n", f.text);
		return 2;
	}
	if (program.options.help) {
		options_help(stdout);
		return 0;
	}
	block_signals(&signals);
	rc = program_start(&program, &f);
	if (rc < 0) {
		fprintf(stderr, "render-api: %s\n", f.text);
	} else {
		printf("ready http=%s\n", program.address);
		fflush(stdout);
		sigwait(&signals, &signal_number);
	}
	program_stop(&program);
	return rc < 0 ? 1 : 0;
}
