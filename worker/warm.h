/* warm.h: connections that are open before the calls begin that need them.
 *
 * The broker says when a limit's schedule will let more calls through, and how many of them are this worker's
 * (worker.warm). A while before that (warm.ahead of the upstream, shifted by chance so that workers do not come all at
 * once) as many connections as are missing then are opened to the upstream's base_url: each by a small request of its
 * own (warm.method and warm.path, by itself HEAD /) without credentials, whose answer is thrown away, whatever it says,
 * but has to be whole within its time (upstream_aside_ms()). The connection stays in libcurl's cache, and the calls
 * take it from there. Where the API speaks HTTP/2, one bears all calls that find each other's connections
 * (curl_loop.h): one is opened for each hundred of them.
 *
 * None of this counts for anything: where it fails, that is one line of the log, and calls connect as they always do.
 * Certificates are verified as for calls. Loop's thread only.
 */
#ifndef RAINCHECK_WORKER_WARM_H
#define RAINCHECK_WORKER_WARM_H

#include <stdint.h>

struct curl_loop;
struct raincheck_notification;
struct uv_loop_s;
struct warmer;
struct worker_config;

struct warmer_options {
	struct uv_loop_s *uv;
	struct curl_loop *curl;
	int64_t most; /* connections for one upstream */
	/* How many connections to the upstream of that name lack for so many calls at once, of those that there is room
	 * for now; 0 or less for none. */
	int64_t (*lacks_cb)(const char *upstream, int64_t calls, void *user);
	void *user;
};

/* ERR_NO_MEMORY. */
int warmer_new(const struct warmer_options *options, struct warmer **ret);
/* Ends what is under way; the rest is freed while the loop runs on. Before the curl loop is closed. NULL is taken. */
void warmer_close(struct warmer *w);

/* The broker said worker.warm, at now_ms by its clock. A reference to config is kept for as long as that takes. What
 * was told already, as after a connection was lost, is not done twice. */
void warmer_told(struct warmer *w, struct worker_config *config, const struct raincheck_notification *n,
		 int64_t now_ms);

#endif
