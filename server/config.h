/* config.h: the broker's settings: defaults, then the operator's file, then the flags.
 *
 * For the main thread before others start; afterwards only read. Everything is checked where it comes in, so whoever
 * reads a struct config may trust it.
 */
#ifndef RAINCHECK_SERVER_CONFIG_H
#define RAINCHECK_SERVER_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/clean.h"
#include "proto/base/log.h"
#include "server/http/page_texts.h"

#define CONFIG_LISTEN_MAX 16
#define CONFIG_HOSTS_MAX  16
#define CONFIG_AUTO	  (-1) /* of store_reserve_bytes */

struct config {
	char *data;
	char *listen[CONFIG_LISTEN_MAX];
	size_t listen_count;
	char *http;
	char *public_url; /* NULL: made from the address that HTTP is bound to */
	bool insecure;	  /* allow addresses beyond loopback without tokens and TLS */

	/* Names under which the producers' API and the metrics are open to others than this machine. */
	char *api_hosts[CONFIG_HOSTS_MAX];
	size_t api_hosts_count;

	int64_t log_level;  /* enum log_level */
	int64_t log_format; /* enum log_format */

	int64_t store_max_bytes;
	int64_t store_reserve_bytes; /* or CONFIG_AUTO */
	int64_t store_inline_bytes;

	int64_t limit_message_bytes;
	int64_t limit_payload_bytes;
	int64_t limit_artifact_bytes;
	int64_t limit_connections; /* of RPC */
	int64_t limit_visitors;	   /* connections of HTTP */
	int64_t limit_depth;
	int64_t limit_elements;

	int64_t result_ttl_ms;
	int64_t record_ttl_ms;
	int64_t tombstone_ttl_ms;

	char *page_name;
	char *page_accent;
	char *page_aspect;	      /* "16/9" */
	int64_t page_language;	      /* enum page_language */
	char *page_logo;	      /* a file, NULL: none */
	char *page_templates;	      /* a folder, NULL: none */
	char *page_texts[PAGE_TEXTS]; /* NULL: the default */
};

/* A whole sentence for the operator: "FILE:LINE: KEY: what is wrong", or "--FLAG: what is wrong". */
struct config_error {
	char text[1024];
};

/* The defaults. ERR_NO_MEMORY. */
int config_new(struct config **ret);
/* NULL is taken. */
void config_free(struct config *c);
DEFINE_CLEANUP(struct config *, config_free)

/* Sets what the file says. ERR_CONFIG with the sentence, ERR_NO_MEMORY. */
int config_read_file(struct config *c, const char *path, struct config_error *error);
/* The same from memory; name stands for the file in sentences. */
int config_read_text(struct config *c, const char *name, const char *text, size_t size, struct config_error *error);

/* Sets one key, "limits.message" for instance, from text. ERR_CONFIG and what is wrong with the value, ERR_NOT_FOUND
 * for a key that there is not, ERR_NO_MEMORY. */
int config_set(struct config *c, const char *key, const char *text, struct config_error *error);
/* Adds a listener. ERR_CONFIG, ERR_NO_MEMORY. */
int config_add_listen(struct config *c, const char *address, struct config_error *error);
/* Forgets the listeners. */
void config_clear_listen(struct config *c);
/* The same for the API's hosts. */
int config_add_host(struct config *c, const char *host, struct config_error *error);
void config_clear_hosts(struct config *c);

/* What no single key can tell: settings that contradict one another. *ret_key: the one to change. ERR_CONFIG. */
int config_check(const struct config *c, const char **ret_key, struct config_error *error);

/* A key by its number, NULL past the last: for telling the operator what there is. */
const char *config_key(size_t i);

#endif
