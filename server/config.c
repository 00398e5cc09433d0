#include "config.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/text.h"
#include "proto/base/units.h"
#include "proto/error.h"
#include "proto/skim.h"
#include "server/http/gateway.h"
#include "server/net/net.h"

#define KiB 1024LL
#define MiB (1024 * KiB)
#define GiB (1024 * MiB)
#define TiB (1024 * GiB)
#define DAY (86400LL * 1000)

/* What a job's payload shares its message with when it is leased: metadata (64 entries of up to 4.2 KiB), a checkpoint
 * (64 KiB), names. One that does not fit could be put and never be leased. */
#define BESIDE_PAYLOAD (400 * KiB)

enum kind {
	KIND_TEXT,
	KIND_PATH, /* or null: none */
	KIND_SIZE,
	KIND_RESERVE,
	KIND_COUNT,
	KIND_DURATION,
	KIND_LEVEL,
	KIND_FORMAT,
	KIND_COLOUR,
	KIND_ASPECT,
	KIND_LANGUAGE,
	KIND_URL,
	KIND_HTTP,
	KIND_YES_NO
};

struct key {
	const char *name;
	enum kind kind;
	size_t offset; /* in struct config: a char *, an int64_t or a bool, as the kind says */
	int64_t low, high;
};

#define KEY(name, kind, member, low, high)                                    \
	{                                                                     \
		name, KIND_##kind, offsetof(struct config, member), low, high \
	}
#define KEY_TEXT(key, english, german) KEY("page.texts." #key, TEXT, page_texts[PAGE_TEXT_##key], 1, 512),

static const struct key keys[] = { KEY("data", TEXT, data, 1, 4000),
				   KEY("http", HTTP, http, 1, 256),
				   KEY("public_url", URL, public_url, 1, 256),
				   KEY("insecure", YES_NO, insecure, 0, 0),
				   KEY("log.level", LEVEL, log_level, 0, 0),
				   KEY("log.format", FORMAT, log_format, 0, 0),
				   KEY("store.max_bytes", SIZE, store_max_bytes, 16 * MiB, 64 * TiB),
				   KEY("store.reserve", RESERVE, store_reserve_bytes, 0, TiB),
				   KEY("store.inline_bytes", SIZE, store_inline_bytes, 0, MiB),
				   KEY("limits.message", SIZE, limit_message_bytes, 512 * KiB, GiB),
				   KEY("limits.payload", SIZE, limit_payload_bytes, 1, GiB),
				   KEY("limits.artifact", SIZE, limit_artifact_bytes, MiB, 16 * TiB),
				   KEY("limits.connections", COUNT, limit_connections, 8, 1000000),
				   KEY("limits.visitors", COUNT, limit_visitors, 8, 1000000),
				   KEY("limits.depth", COUNT, limit_depth, 8, SKIM_MAX_DEPTH),
				   KEY("limits.elements", COUNT, limit_elements, 1024, 16000000),
				   KEY("retention.result", DURATION, result_ttl_ms, 1000, INT64_MAX),
				   KEY("retention.record", DURATION, record_ttl_ms, 1000, INT64_MAX),
				   KEY("retention.tombstone", DURATION, tombstone_ttl_ms, 0, INT64_MAX),
				   KEY("page.name", TEXT, page_name, 1, 80),
				   KEY("page.accent", COLOUR, page_accent, 0, 0),
				   KEY("page.aspect", ASPECT, page_aspect, 0, 0),
				   KEY("page.lang", LANGUAGE, page_language, 0, 0),
				   KEY("page.logo", TEXT, page_logo, 1, 4000),
				   KEY("page.templates", PATH, page_templates, 1, 4000),
				   PAGE_TEXT_TABLE(KEY_TEXT) };

const char *config_key(size_t i)
{
	return i < ARRAY_SIZE(keys) ? keys[i].name : NULL;
}

static int refuse(struct config_error *error, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int refuse(struct config_error *error, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(error->text, sizeof(error->text), fmt, args);
	va_end(args);
	return ERR_CONFIG;
}

static int set_string(char **at, const char *text)
{
	char *copy = strdup(text);

	if (!copy)
		return ERR_NO_MEMORY;
	free(*at);
	*at = copy;
	return 0;
}

/* What YAML calls null reaches us as a word: no key but templates may be that. */
static bool is_null(const char *text)
{
	return strcmp(text, "") == 0 || strcmp(text, "~") == 0 || strcmp(text, "null") == 0;
}

static int set_text(const struct key *k, char **at, const char *text, struct config_error *error)
{
	size_t length = strlen(text);

	if (is_null(text))
		return refuse(error, "must not be empty");
	if (length > (size_t)k->high)
		return refuse(error, "is longer than %lld bytes", (long long)k->high);
	if (!utf8_valid(slice_str(text)))
		return refuse(error, "is not UTF-8");
	for (size_t i = 0; i < length; i++)
		if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
			return refuse(error, "has a control character in it");
	return set_string(at, text);
}

static int set_colour(char **at, const char *text, struct config_error *error)
{
	uint8_t rgb[3];

	if (text[0] != '#' || hex_decode(slice_str(text + 1), rgb, sizeof(rgb)) < 0)
		return refuse(error, "\"%.40s\" is not a colour like \"#3366ff\" (in quotes: # begins a comment)",
			      text);
	return set_string(at, text);
}

static int set_url(const struct key *k, char **at, const char *text, struct config_error *error)
{
	size_t length = strlen(text);
	char *copy;

	if (strncmp(text, "http://", 7) != 0 && strncmp(text, "https://", 8) != 0)
		return refuse(error, "\"%.80s\" does not begin with http:// or https://", text);
	if (length > (size_t)k->high)
		return refuse(error, "is longer than %lld bytes", (long long)k->high);
	for (size_t i = 0; i < length; i++)
		if ((unsigned char)text[i] <= 0x20 || (unsigned char)text[i] >= 0x7f ||
		    strchr("\"'<>\\^`{|}?#", text[i]))
			return refuse(error, "\"%.80s\" has a character in it that a link cannot begin with", text);
	while (length > 0 && text[length - 1] == '/')
		length--;
	if (text[length - 1] == ':')
		return refuse(error, "\"%.80s\" names no host", text);
	copy = strndup(text, length);
	if (!copy)
		return ERR_NO_MEMORY;
	free(*at);
	*at = copy;
	return 0;
}

static int set_size(const struct key *k, int64_t *at, const char *text, struct config_error *error)
{
	int64_t bytes;

	if (units_parse_size(slice_str(text), &bytes) < 0)
		return refuse(error, "\"%.40s\" is not a size like 64KiB or 4MiB", text);
	if (bytes < k->low || bytes > k->high)
		return refuse(error, "%s is out of range: from %s to %s", text, units_format_size(k->low).text,
			      units_format_size(k->high).text);
	*at = bytes;
	return 0;
}

static int set_duration(const struct key *k, int64_t *at, const char *text, struct config_error *error)
{
	int64_t ms;

	if (units_parse_duration(slice_str(text), &ms) < 0)
		return refuse(error, "\"%.40s\" is not a duration like 30s, 5m, 2h or 7d", text);
	if (ms < k->low)
		return refuse(error, "%s is too short: at least %s", text, units_format_duration(k->low).text);
	*at = ms;
	return 0;
}

static int set_count(const struct key *k, int64_t *at, const char *text, struct config_error *error)
{
	char *end;
	long long n = strtoll(text, &end, 10);

	if (text[0] < '0' || text[0] > '9' || *end != '\0')
		return refuse(error, "\"%.40s\" is not a whole number", text);
	if (n < k->low || n > k->high)
		return refuse(error, "%s is out of range: from %lld to %lld", text, (long long)k->low,
			      (long long)k->high);
	*at = n;
	return 0;
}

static int set_word(const struct key *k, int64_t *at, const char *text, struct config_error *error)
{
	enum log_level level;
	enum log_format format;

	if (k->kind == KIND_LEVEL) {
		if (log_parse_level(text, &level) < 0)
			return refuse(error, "\"%.40s\" is none of error, warning, info, debug", text);
		*at = level;
		return 0;
	}
	if (log_parse_format(text, &format) < 0)
		return refuse(error, "\"%.40s\" is neither text nor json", text);
	*at = format;
	return 0;
}

/* "9:16" or "9/16", kept as "9/16", which goes into a style. */
static int set_aspect(char **at, const char *text, struct config_error *error)
{
	int width = 0, height = 0, end = 0;
	char kept[24];

	/* Digits and one sign, nothing else: sscanf() alone would take blanks and a plus before a number. */
	if (text[strspn(text, "0123456789:/")] != '\0' || sscanf(text, "%4d%*1[:/]%4d%n", &width, &height, &end) != 2 ||
	    text[end] != '\0' || height < 1 || width < 1)
		return refuse(error, "\"%.40s\" is not WIDTH:HEIGHT, as 16:9 or 9:16", text);
	if (width > 3 * height || height > 3 * width)
		return refuse(error, "\"%.40s\" is out of range: from 1:3 to 3:1", text);
	snprintf(kept, sizeof(kept), "%d/%d", width, height);
	return set_string(at, kept);
}

static int set_language(int64_t *at, const char *text, struct config_error *error)
{
	enum page_language language;

	if (!page_language_find(text, &language))
		return refuse(error, "\"%.40s\" is neither en nor de; of another language set every text (page.texts)",
			      text);
	*at = language;
	return 0;
}

static int set_yes_no(bool *at, const char *text, struct config_error *error)
{
	bool yes = strcmp(text, "true") == 0;

	if (!yes && strcmp(text, "false") != 0)
		return refuse(error, "\"%.40s\" is neither true nor false", text);
	*at = yes;
	return 0;
}

static int set_http(const struct key *k, char **at, const char *text, struct config_error *error)
{
	struct error_info why;

	if (gateway_check_address(text, &why) < 0 && !is_null(text))
		return refuse(error, "%s", why.message);
	return set_text(k, at, text, error);
}

static int set_reserve(const struct key *k, int64_t *at, const char *text, struct config_error *error)
{
	if (strcmp(text, "auto") != 0)
		return set_size(k, at, text, error);
	*at = CONFIG_AUTO;
	return 0;
}

static int set(struct config *c, const struct key *k, const char *text, struct config_error *error)
{
	void *at = (char *)c + k->offset;

	switch (k->kind) {
	case KIND_TEXT:
		return set_text(k, at, text, error);
	case KIND_COLOUR:
		return set_colour(at, text, error);
	case KIND_ASPECT:
		return set_aspect(at, text, error);
	case KIND_URL:
		return set_url(k, at, text, error);
	case KIND_HTTP:
		return set_http(k, at, text, error);
	case KIND_YES_NO:
		return set_yes_no(at, text, error);
	case KIND_SIZE:
		return set_size(k, at, text, error);
	case KIND_RESERVE:
		return set_reserve(k, at, text, error);
	case KIND_COUNT:
		return set_count(k, at, text, error);
	case KIND_DURATION:
		return set_duration(k, at, text, error);
	case KIND_LEVEL:
	case KIND_FORMAT:
		return set_word(k, at, text, error);
	case KIND_LANGUAGE:
		return set_language(at, text, error);
	case KIND_PATH:
		return is_null(text) ? 0 : set_text(k, at, text, error);
	}
	return ERR_INTERNAL;
}

int config_set(struct config *c, const char *key, const char *text, struct config_error *error)
{
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (strcmp(keys[i].name, key) == 0)
			return set(c, &keys[i], text, error);
	return ERR_NOT_FOUND;
}

int config_add_listen(struct config *c, const char *address, struct config_error *error)
{
	const struct key as_text = { .high = 256 };
	struct error_info why;
	int rc;

	if (c->listen_count == CONFIG_LISTEN_MAX)
		return refuse(error, "more than %d listeners", CONFIG_LISTEN_MAX);
	if (net_check_address(address, &why) < 0 && !is_null(address))
		return refuse(error, "%s", why.message);
	rc = set_text(&as_text, &c->listen[c->listen_count], address, error);
	if (rc < 0)
		return rc;
	c->listen_count++;
	return 0;
}

void config_clear_listen(struct config *c)
{
	while (c->listen_count > 0) {
		c->listen_count--;
		free(c->listen[c->listen_count]);
		c->listen[c->listen_count] = NULL;
	}
}

int config_add_host(struct config *c, const char *host, struct config_error *error)
{
	const struct key as_text = { .high = 255 };
	int rc;

	if (c->api_hosts_count == CONFIG_HOSTS_MAX)
		return refuse(error, "more than %d hosts", CONFIG_HOSTS_MAX);
	if (gateway_check_host(host) < 0 && !is_null(host))
		return refuse(error, "\"%.80s\" is no host name or address without a port", host);
	rc = set_text(&as_text, &c->api_hosts[c->api_hosts_count], host, error);
	if (rc < 0)
		return rc;
	c->api_hosts_count++;
	return 0;
}

void config_clear_hosts(struct config *c)
{
	while (c->api_hosts_count > 0) {
		c->api_hosts_count--;
		free(c->api_hosts[c->api_hosts_count]);
		c->api_hosts[c->api_hosts_count] = NULL;
	}
}

int config_check(const struct config *c, const char **ret_key, struct config_error *error)
{
	*ret_key = "limits.payload";
	if (c->limit_payload_bytes > c->limit_message_bytes - BESIDE_PAYLOAD)
		return refuse(error, "must be at least %s smaller than limits.message",
			      units_format_size(BESIDE_PAYLOAD).text);
	*ret_key = "retention.record";
	if (c->record_ttl_ms < c->result_ttl_ms)
		return refuse(error, "must not be shorter than retention.result");
	*ret_key = "listen";
	if (c->listen_count == 0)
		return refuse(error, "must name at least one address");
	return 0;
}

/* Under systemd with StateDirectory= the service's own directory, else one beside where the broker was started. */
static const char *default_data(void)
{
	const char *state = getenv("STATE_DIRECTORY");

	return state && state[0] == '/' && !strchr(state, ':') ? state : "./raincheck-data";
}

static const char *const defaults[][2] = {
	{ "http", "127.0.0.1:7247" },	   { "log.level", "info" },	   { "log.format", "text" },
	{ "store.max_bytes", "64GiB" },	   { "store.reserve", "auto" },	   { "store.inline_bytes", "16KiB" },
	{ "limits.message", "4MiB" },	   { "limits.payload", "1MiB" },   { "limits.artifact", "4GiB" },
	{ "limits.connections", "10000" }, { "limits.visitors", "10000" }, { "limits.depth", "16" },
	{ "limits.elements", "65536" },	   { "retention.result", "7d" },   { "retention.record", "30d" },
	{ "retention.tombstone", "90d" },  { "page.name", "Raincheck" },   { "page.accent", "#3366ff" },
	{ "page.aspect", "16:9" },
};

int config_new(struct config **ret)
{
	struct config *c = calloc(1, sizeof(*c));
	struct config_error error;
	int rc;

	if (!c)
		return ERR_NO_MEMORY;
	rc = config_set(c, "data", default_data(), &error);
	for (size_t i = 0; rc == 0 && i < ARRAY_SIZE(defaults); i++)
		rc = config_set(c, defaults[i][0], defaults[i][1], &error);
	if (rc == 0)
		rc = config_add_listen(c, "127.0.0.1:7246", &error);
	if (rc < 0)
		config_free(c);
	else
		*ret = c;
	return rc;
}

void config_free(struct config *c)
{
	if (!c)
		return;
	config_clear_listen(c);
	config_clear_hosts(c);
	free(c->data);
	free(c->http);
	free(c->public_url);
	free(c->page_name);
	free(c->page_accent);
	free(c->page_aspect);
	free(c->page_logo);
	free(c->page_templates);
	for (size_t i = 0; i < PAGE_TEXTS; i++)
		free(c->page_texts[i]);
	free(c);
}
