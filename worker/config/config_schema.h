/* config_schema.h: the configuration file as libcyaml reads it: words still words, presence still visible.
 *
 * Only config and upstream look at these structs; they check the words and make typed values of them. Keys are
 * described in config_schema.c, one table a mapping. A word or list that is not given is NULL. Main thread.
 */
#ifndef RAINCHECK_WORKER_CONFIG_CONFIG_SCHEMA_H
#define RAINCHECK_WORKER_CONFIG_CONFIG_SCHEMA_H

#include <stddef.h>
#include <stdint.h>

#include "proto/base/clean.h"
#include "proto/base/slice.h"

struct issue;
struct yaml_index;

/* Enumerated words begin at 1, so that 0 is "not given". */
enum raw_mode { RAW_MODE_SYNC = 1, RAW_MODE_POLL, RAW_MODE_WEBHOOK };
enum raw_auth_kind { RAW_AUTH_NONE = 1, RAW_AUTH_HEADER, RAW_AUTH_BASIC, RAW_AUTH_JWT };
enum raw_on_unknown { RAW_UNKNOWN_FAIL = 1, RAW_UNKNOWN_RETRY, RAW_UNKNOWN_LOOKUP };
enum raw_result_from { RAW_FROM_BODY = 1, RAW_FROM_POINTER, RAW_FROM_GET };
enum raw_result_auth { RAW_RESULT_AUTH_NONE = 1, RAW_RESULT_AUTH_UPSTREAM };
enum raw_verify { RAW_VERIFY_NONE = 1, RAW_VERIFY_STANDARD, RAW_VERIFY_FAL, RAW_VERIFY_T_V1 };
enum raw_confirm { RAW_CONFIRM_POLL = 1, RAW_CONFIRM_NONE };
enum raw_bool { RAW_FALSE = 1, RAW_TRUE };

struct raw_auth {
	int kind;
	char *name;
	char *value;
	char *user;
	char *password;
	char *access_key;
	char *secret_key;
	char *ttl;
};

struct raw_timeouts {
	char *connect;
	char *attempt;
	char *start;
	char *stall;
};

struct raw_urls {
	char *status;
	char *result;
	char *cancel;
};

struct raw_part {
	char *name;
	char *value;
	char *file;
	char *filename;
	char *type;
	int optional;
};

struct raw_lookup {
	char *method;
	char *path;
	char *body;
	char *id;
	unsigned *absent;
	uint32_t absent_count;
	unsigned *tries;
	char *interval;
};

struct raw_cancel {
	char *method;
	char *path;
	char *body;
	char *timeout;
};

struct raw_submit {
	char *method;
	char *path;
	char *body;
	struct raw_part *multipart;
	uint32_t multipart_count;
	unsigned *ok;
	uint32_t ok_count;
	char *id;
	struct raw_urls urls;
	char *idempotency;
	int on_unknown;
	struct raw_lookup lookup;
};

struct raw_poll {
	char *path;
	char *first;
	char *interval;
	double *factor;
	char *max;
	double *jitter;
	char *state;
	char **pending;
	uint32_t pending_count;
	char **ok;
	uint32_t ok_count;
	char **failed;
	uint32_t failed_count;
	char *error;
	char *progress;
	char *position;
};

struct raw_result {
	int from;
	char *path;
	char *media;
	char *preview;
	char **outputs; /* pointers, in the order of the names in the index */
	int auth;
	char **types;
	uint32_t types_count;
	char *max_bytes;
};

struct raw_error {
	char *message;
	char *code;
	unsigned *retry_http;
	uint32_t retry_http_count;
	unsigned *throttle_http;
	uint32_t throttle_http_count;
	char **retry_codes;
	uint32_t retry_codes_count;
	char **throttle_codes;
	uint32_t throttle_codes_count;
	char **fatal_codes;
	uint32_t fatal_codes_count;
	char *retry_after;
	char *cap;
};

struct raw_hook {
	char *inject;
	int verify;
	char *secret;
	char **secrets;
	uint32_t secrets_count;
	char *header;
	char *keys_url;
	int confirm;
	char *id;
};

struct raw_warm {
	char *method;
	char *path;
	char *ahead;
};

struct raw_upstream {
	char *base_url;
	int mode;
	struct raw_auth auth;
	char **headers; /* values, in the order of the names in the index */
	char **allow_hosts;
	uint32_t allow_hosts_count;
	int allow_private;
	char *ca_file;
	struct raw_timeouts timeouts;
	struct raw_submit submit;
	struct raw_poll poll;
	struct raw_result result;
	struct raw_error error;
	struct raw_warm warm;
	char *warm_word; /* where it is one, and no mapping */
	struct raw_cancel cancel;
	struct raw_hook webhook_in;
	char *proxy;
	char *interface;
};

struct raw_log {
	char *level;
	char *format;
};

struct raw_webhooks {
	int serve;
	char **secrets;
	uint32_t secrets_count;
	int allow_private;
	char *timeout;
	char *proxy;
	char *interface;
	char *ca_file;
};

struct raw_config {
	char *server;
	char *token;
	char *name;
	unsigned *slots;
	char *lease;
	char *grace;
	char *ca_file;
	struct raw_log log;
	struct raw_webhooks webhooks;
	char **queues;			 /* upstream names, in the order of the queues in the index */
	struct raw_upstream **upstreams; /* in the order of their names in the index */
};

struct raw_file;

/* Reads text by the schema. index is of the same text and must outlive the file. ERR_CONFIG with issue filled;
 * ERR_NO_MEMORY. */
int raw_file_new(struct slice text, const struct yaml_index *index, struct raw_file **ret_file, struct issue *issue);
void raw_file_free(struct raw_file *f);
DEFINE_CLEANUP(struct raw_file *, raw_file_free)

const struct raw_config *raw_file_config(const struct raw_file *f);

#endif
