/* worker_config.h: the worker's configuration file, checked and typed. Read at start and whenever SIGHUP asks for it,
 * on the main thread; what was made of it is only read afterwards, and lives as long as anybody has a reference: calls
 * that run keep the one that they began with. */
#ifndef RAINCHECK_WORKER_CONFIG_WORKER_CONFIG_H
#define RAINCHECK_WORKER_CONFIG_WORKER_CONFIG_H

#include <stddef.h>
#include <stdint.h>

#include "proto/base/clean.h"
#include "proto/base/log.h"
#include "worker/config/upstream.h"
#include "worker/config/webhook_config.h"

struct issue;
struct raw_file;
struct secrets;
struct trust;
struct yaml_index;

struct route {
	const char *queue;
	const struct upstream *upstream;
};

struct worker_config {
	unsigned refs;
	char *server; /* NULL: the client's default */
	char *token;  /* NULL: none */
	char *name;   /* NULL: to be made up */
	int64_t slots;
	int64_t lease_ms;
	int64_t grace_ms;
	enum log_level log_level;
	enum log_format log_format;
	struct route *routes; /* the broker's own queue of webhooks too, where they are served: the last */
	size_t route_count;
	struct upstream *upstreams;
	size_t upstream_count;
	struct webhooks webhooks;
	struct upstream delivery; /* of webhooks */
	struct trust *trust;	  /* of ca_file, for servers that no other ca_file is for; NULL: the system's */
	bool serves_webhooks;
	bool is_silent_on_webhooks; /* the file says neither that they are to be served nor not */
	struct secrets *secrets;

	/* what the words above point into */
	struct raw_file *raw;
	struct yaml_index *index;
};

/* ERR_CONFIG with issue filled; ERR_IO where the file cannot be read (then issue says why); ERR_NO_MEMORY. */
int worker_config_load(const char *path, struct worker_config **ret_config, struct issue *issue);
/* The same from a text. */
int worker_config_parse(struct slice text, struct worker_config **ret_config, struct issue *issue);
/* Another reference: c itself. */
struct worker_config *worker_config_ref(struct worker_config *c);
/* Gives up a reference; the last one frees it. NULL is taken. */
void worker_config_free(struct worker_config *c);
DEFINE_CLEANUP(struct worker_config *, worker_config_free)

/* NULL for a name that the file does not have. */
const struct upstream *worker_config_upstream(const struct worker_config *c, const char *name);
/* The upstream of a queue; NULL for one that the file does not have. */
const struct upstream *worker_config_route(const struct worker_config *c, const char *queue);

#endif
