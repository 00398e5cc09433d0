#include "worker/config/worker_config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/endpoint.h"
#include "proto/base/buf.h"
#include "proto/base/text.h"
#include "proto/error.h"
#include "worker/config/check.h"
#include "worker/config/config_schema.h"
#include "worker/config/issue.h"
#include "worker/config/secrets.h"
#include "worker/config/way_out.h"
#include "worker/config/webhook_config.h"
#include "worker/config/yaml_index.h"
#include "worker/transport/trust.h"

#define FILE_MAX_BYTES (4 << 20)
#define SLOTS_MAX      100000
#define QUEUES_MAX     256 /* as many as one lease can name */

static int init_log(struct check *c, const struct raw_log *raw, struct worker_config *config)
{
	config->log_level = LOG_INFO;
	config->log_format = LOG_TEXT;
	if (raw->level && log_parse_level(raw->level, &config->log_level) < 0)
		return check_fail(c, "log.level", "\"%s\" is none of error, warning, info and debug", raw->level);
	if (raw->format && log_parse_format(raw->format, &config->log_format) < 0)
		return check_fail(c, "log.format", "\"%s\" is none of text and json", raw->format);
	return 0;
}

static int init_numbers(struct check *c, const struct raw_config *raw, struct worker_config *config)
{
	int rc;

	config->slots = raw->slots ? *raw->slots : 50;
	config->lease_ms = 30000;
	config->grace_ms = 30000;
	if (config->slots < 1 || config->slots > SLOTS_MAX)
		return check_fail(c, "slots", "it must be from 1 to %d", SLOTS_MAX);
	rc = check_duration(c, "lease", raw->lease, 1000, &config->lease_ms);
	if (rc == 0 && config->lease_ms > 86400000)
		return check_fail(c, "lease", "it must be at most 24h");
	if (rc == 0)
		rc = check_duration(c, "grace", raw->grace, 0, &config->grace_ms);
	return rc;
}

static int init_words(struct check *c, const struct raw_config *raw, struct worker_config *config)
{
	struct error_info info = { 0 };
	struct endpoint broker;
	int rc;

	rc = check_expand(c, "server", raw->server, false, &config->server);
	if (rc == 0 && config->server && endpoint_parse(config->server, &broker, &info) < 0)
		return check_fail(c, "server", "%s", info.message);
	if (rc == 0)
		rc = check_expand(c, "token", raw->token, true, &config->token);
	if (rc == 0)
		rc = check_expand(c, "name", raw->name, false, &config->name);
	if (rc == 0 && config->name && !name_valid(slice_str(config->name)))
		return check_fail(c, "name", "it must be 1 to 128 of A-Z a-z 0-9 . _ : -");
	return rc;
}

static int init_upstreams(const struct raw_config *raw, struct worker_config *config, struct issue *issue)
{
	const char *name;
	size_t n = 0;
	int rc;

	while (yaml_index_child(config->index, "upstreams", n))
		n++;
	config->upstreams = calloc(n + 1, sizeof(*config->upstreams));
	if (!config->upstreams)
		return ERR_NO_MEMORY;
	for (size_t i = 0; i < n; i++) {
		name = yaml_index_child(config->index, "upstreams", i);
		rc = upstream_init(name, raw->upstreams[i], config->index, config->secrets, &config->upstreams[i],
				   issue);
		if (rc < 0)
			return rc;
		config->upstream_count++;
	}
	return 0;
}

static int init_route(struct check *c, struct route *route, const char *queue, const char *upstream,
		      const struct worker_config *config)
{
	char key[200];

	snprintf(key, sizeof(key), "queues.%s", queue);
	if (queue[0] == '_')
		return check_fail(c, key, "it is the broker's own: for webhooks see the key webhooks");
	if (!name_valid(slice_str(queue)))
		return check_fail(c, key, "a queue is called 1 to 128 of A-Z a-z 0-9 . _ : -");
	route->queue = queue;
	route->upstream = worker_config_upstream(config, upstream ? upstream : "");
	if (!route->upstream)
		return check_fail(c, key, "there is no upstream \"%s\"", upstream ? upstream : "");
	return 0;
}

static int init_routes(struct check *c, const struct raw_config *raw, struct worker_config *config)
{
	size_t n = 0;
	int rc;

	while (yaml_index_child(config->index, "queues", n))
		n++;
	if (n == 0 && !config->serves_webhooks)
		return check_fail(c, "queues", "there are none: which queue goes to which upstream");
	if (n + config->serves_webhooks > QUEUES_MAX)
		return check_fail(c, "queues", "there are more than %d", QUEUES_MAX - config->serves_webhooks);
	config->routes = calloc(n + 1, sizeof(*config->routes));
	if (!config->routes)
		return ERR_NO_MEMORY;
	for (size_t i = 0; i < n; i++) {
		rc = init_route(c, &config->routes[i], yaml_index_child(config->index, "queues", i), raw->queues[i],
				config);
		if (rc < 0)
			return rc;
		config->route_count++;
	}
	if (config->serves_webhooks)
		config->routes[config->route_count++] = (struct route){ WEBHOOK_QUEUE, &config->delivery };
	return 0;
}

static int init(const struct raw_config *raw, struct worker_config *config, struct issue *issue)
{
	struct check c = { .index = config->index, .secrets = config->secrets, .issue = issue };
	int rc;

	rc = init_log(&c, &raw->log, config);
	if (rc == 0)
		rc = init_numbers(&c, raw, config);
	if (rc == 0)
		rc = init_words(&c, raw, config);
	if (rc == 0)
		rc = way_out_trust(&c, raw->ca_file, &config->trust);
	if (rc == 0)
		rc = init_upstreams(raw, config, issue);
	if (rc == 0)
		rc = webhook_config_init(&c, &raw->webhooks, &config->webhooks, &config->delivery,
					 &config->serves_webhooks);
	config->is_silent_on_webhooks = !config->serves_webhooks && raw->webhooks.serve == 0;
	if (rc == 0)
		rc = init_routes(&c, raw, config);
	return rc;
}

int worker_config_parse(struct slice text, struct worker_config **ret_config, struct issue *issue)
{
	_cleanup_(worker_config_freep) struct worker_config *config = calloc(1, sizeof(*config));
	int rc;

	*issue = (struct issue){ .line = 0 };
	if (!config)
		return ERR_NO_MEMORY;
	config->refs = 1;
	rc = secrets_new(&config->secrets);
	if (rc == 0)
		rc = yaml_index_new(text, &config->index, issue);
	if (rc == 0)
		rc = raw_file_new(text, config->index, &config->raw, issue);
	if (rc == 0)
		rc = init(raw_file_config(config->raw), config, issue);
	if (rc < 0)
		return rc;
	*ret_config = TAKE_PTR(config);
	return 0;
}

static int read_all(int fd, struct buf *out)
{
	uint8_t *room;
	ssize_t n;
	int rc;

	do {
		rc = buf_reserve(out, 65536, &room);
		if (rc < 0)
			return rc;
		n = read(fd, room, 65536);
		if (n < 0 && errno != EINTR)
			return ERR_IO;
		if (n > 0)
			buf_commit(out, (size_t)n);
	} while (n != 0);
	return 0;
}

int worker_config_load(const char *path, struct worker_config **ret_config, struct issue *issue)
{
	_cleanup_(buf_done) struct buf text;
	int fd, rc;

	buf_init(&text, FILE_MAX_BYTES);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		issue_set(issue, 0, NULL, "it cannot be opened: %s", strerror(errno));
		return ERR_IO;
	}
	rc = read_all(fd, &text);
	if (rc < 0)
		issue_set(issue, 0, NULL, "it cannot be read: %s",
			  rc == ERR_IO ? strerror(errno) : "it is larger than 4 MiB");
	close(fd);
	return rc < 0 ? rc : worker_config_parse(buf_slice(&text), ret_config, issue);
}

struct worker_config *worker_config_ref(struct worker_config *c)
{
	c->refs++;
	return c;
}

void worker_config_free(struct worker_config *c)
{
	if (!c || --c->refs > 0)
		return;
	for (size_t i = 0; i < c->upstream_count; i++)
		upstream_done(&c->upstreams[i]);
	upstream_done(&c->delivery);
	webhook_config_done(&c->webhooks);
	trust_free(c->trust);
	free(c->upstreams);
	free(c->routes);
	free(c->server);
	free(c->token);
	free(c->name);
	secrets_free(c->secrets);
	raw_file_free(c->raw);
	yaml_index_free(c->index);
	free(c);
}

const struct upstream *worker_config_upstream(const struct worker_config *c, const char *name)
{
	for (size_t i = 0; i < c->upstream_count; i++)
		if (strcmp(c->upstreams[i].name, name) == 0)
			return &c->upstreams[i];
	return NULL;
}

const struct upstream *worker_config_route(const struct worker_config *c, const char *queue)
{
	for (size_t i = 0; i < c->route_count; i++)
		if (strcmp(c->routes[i].queue, queue) == 0)
			return c->routes[i].upstream;
	return NULL;
}
