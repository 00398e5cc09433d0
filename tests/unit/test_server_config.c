/* The broker's file and flags: what they set, and that every mistake is told with file, line and key. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "proto/base/clean.h"
#include "proto/error.h"
#include "server/config.h"
#include "server/options.h"

static struct config *fresh(void)
{
	struct config *c = NULL;

	assert_int_equal(config_new(&c), 0);
	return c;
}

static int read_yaml(struct config *c, const char *text, struct config_error *error)
{
	error->text[0] = '\0';
	return config_read_text(c, "r.yaml", text, strlen(text), error);
}

/* ---- the file ---- */

static void test_without_a_file_there_are_defaults(void **state)
{
	_cleanup_(config_freep) struct config *c = NULL;
	struct config_error error;
	const char *key;

	(void)state;
	unsetenv("STATE_DIRECTORY");
	c = fresh();
	assert_string_equal(c->data, "./raincheck-data");
	assert_int_equal(c->listen_count, 1);
	assert_string_equal(c->listen[0], "127.0.0.1:7246");
	assert_string_equal(c->http, "127.0.0.1:7247");
	assert_null(c->public_url);
	assert_false(c->insecure);
	assert_int_equal(c->store_max_bytes, 64LL << 30);
	assert_int_equal(c->store_reserve_bytes, CONFIG_AUTO);
	assert_int_equal(c->limit_message_bytes, 4 << 20);
	assert_int_equal(c->limit_payload_bytes, 1 << 20);
	assert_int_equal(c->tombstone_ttl_ms, 90LL * 86400000);
	assert_string_equal(c->page_accent, "#3366ff");
	assert_string_equal(c->page_aspect, "16/9");
	assert_int_equal(config_check(c, &key, &error), 0);
}

static void test_a_service_keeps_its_data_where_systemd_says(void **state)
{
	_cleanup_(config_freep) struct config *c = NULL;

	(void)state;
	setenv("STATE_DIRECTORY", "/var/lib/raincheck", 1);
	c = fresh();
	unsetenv("STATE_DIRECTORY");
	assert_string_equal(c->data, "/var/lib/raincheck");
}

static const char everything[] =
	"data: /srv/rc\n"
	"listen: [127.0.0.1:1, \"unix:/run/r.sock\"]\n"
	"http: 127.0.0.1:2\n"
	"public_url: https://go.example.org/x/\n"
	"insecure: true\n"
	"api: { hosts: [jobs.internal, \"::1\"] }\n"
	"log: { level: debug, format: json }\n"
	"store: { max_bytes: 1GiB, reserve: 10MiB, inline_bytes: 0 }\n"
	"limits: { message: 8MiB, payload: 2MiB, artifact: 100MiB, connections: 50, depth: 20,\n"
	"          elements: 2000 }\n"
	"retention: { result: 1h, record: 2h, tombstone: 0 }\n"
	"page:\n"
	"  name: \"Acme & Söhne\"\n"
	"  accent: \"#A0b1C2\"\n"
	"  aspect: 9:16\n"
	"  templates: null\n"
	"  texts: { waiting: \"Platz {position}\", language: de }\n";

static void test_a_file_sets_everything(void **state)
{
	_cleanup_(config_freep) struct config *c = fresh();
	struct config_error error;
	const char *key;

	(void)state;
	assert_int_equal(read_yaml(c, everything, &error), 0);
	assert_string_equal(c->data, "/srv/rc");
	assert_int_equal(c->listen_count, 2);
	assert_string_equal(c->listen[1], "unix:/run/r.sock");
	assert_string_equal(c->public_url, "https://go.example.org/x");
	assert_true(c->insecure);
	assert_int_equal(c->api_hosts_count, 2);
	assert_string_equal(c->api_hosts[1], "::1");
	assert_int_equal(c->log_level, LOG_DEBUG);
	assert_int_equal(c->log_format, LOG_JSON);
	assert_int_equal(c->store_max_bytes, 1 << 30);
	assert_int_equal(c->store_reserve_bytes, 10 << 20);
	assert_int_equal(c->store_inline_bytes, 0);
	assert_int_equal(c->limit_artifact_bytes, 100 << 20);
	assert_int_equal(c->limit_connections, 50);
	assert_int_equal(c->limit_depth, 20);
	assert_int_equal(c->limit_elements, 2000);
	assert_int_equal(c->result_ttl_ms, 3600000);
	assert_int_equal(c->tombstone_ttl_ms, 0);
	assert_string_equal(c->page_name, "Acme & Söhne");
	assert_string_equal(c->page_accent, "#A0b1C2");
	assert_string_equal(c->page_aspect, "9/16");
	assert_string_equal(c->page_texts[PAGE_TEXT_waiting], "Platz {position}");
	assert_string_equal(c->page_texts[PAGE_TEXT_language], "de");
	assert_null(c->page_texts[PAGE_TEXT_dead]);
	assert_int_equal(config_check(c, &key, &error), 0);
}

/* The file that the documentation shows. */
static void test_the_defaults_written_out_change_nothing(void **state)
{
	_cleanup_(config_freep) struct config *c = fresh();
	struct config_error error;

	(void)state;
	assert_int_equal(
		read_yaml(c,
			  "data: ./raincheck-data\n"
			  "listen: [127.0.0.1:7246]               # or unix:/run/raincheck/rpc.sock\n"
			  "http: 127.0.0.1:7247\n"
			  "public_url: http://127.0.0.1:7247\n"
			  "log: { level: info, format: text }\n"
			  "store: { max_bytes: 64GiB, reserve: auto, inline_bytes: 16KiB }\n"
			  "limits: { message: 4MiB, payload: 1MiB, connections: 10000, depth: 16, elements: 65536 }\n"
			  "retention: { result: 7d, record: 30d, tombstone: 90d }\n"
			  "page: { name: Raincheck, accent: \"#3366ff\", templates: null, texts: {} }\n",
			  &error),
		0);
	assert_int_equal(c->limit_connections, 10000);
	assert_int_equal(c->store_reserve_bytes, CONFIG_AUTO);
}

static void test_an_empty_file_is_fine(void **state)
{
	static const char *const files[] = { "", "\n\n", "# only words\n", "---\n", "{}\n" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		_cleanup_(config_freep) struct config *c = fresh();
		struct config_error error;

		assert_int_equal(read_yaml(c, files[i], &error), 0);
		assert_string_equal(c->http, "127.0.0.1:7247");
	}
}

/* Each mistake, and how the sentence about it begins. */
static const struct {
	const char *file;
	const char *says;
} mistakes[] = {
	/* unknown, double and misplaced keys */
	{ "data: x\nhtpp: 1\n", "r.yaml:2: htpp: there is no such key (there are: data, listen, http, public_url" },
	{ "limits:\n  message: 4MiB\n  messages: 4MiB\n",
	  "r.yaml:3: limits.messages: there is no such key (there are: message, payload" },
	{ "page:\n  texts:\n    waiting: x\n    wating: y\n", "r.yaml:4: page.texts.wating: there is no such key" },
	{ "data: x\nhttp: 127.0.0.1:1\ndata: y\n", "r.yaml:3: data: stands there twice" },
	{ "log: {level: info, level: info}\n", "r.yaml:1: log.level: stands there twice" },
	/* the wrong shape */
	{ "http: x\nlimits: 5\n", "r.yaml:2: limits: needs keys with values" },
	{ "limits:\n", "r.yaml:1: limits: needs keys with values" },
	{ "- a\n- b\n", "r.yaml: needs keys with values" },
	{ "just words\n", "r.yaml: needs keys with values" },
	{ "http: x\nlisten: 127.0.0.1:1\n", "r.yaml:2: listen: needs a list" },
	{ "listen: []\n", "r.yaml:1: listen: has too few entries" },
	{ "data: [a, b]\n", "r.yaml:1: data: needs a single value" },
	{ "log:\n  level:\n    a: b\n", "r.yaml:2: log.level: needs a single value" },
	/* values */
	{ "limits:\n  message: 4 potatoes\n", "r.yaml:2: limits.message: \"4 potatoes\" is not a size" },
	{ "limits:\n\n\n  message: 1KiB\n", "r.yaml:4: limits.message: 1KiB is out of range: from 512.0 KiB" },
	{ "limits: { connections: 1.5 }\n", "r.yaml:1: limits.connections: \"1.5\" is not a whole number" },
	{ "limits: { connections: 0x10 }\n", "r.yaml:1: limits.connections: \"0x10\" is not a whole number" },
	{ "limits: { connections: -1 }\n", "r.yaml:1: limits.connections: \"-1\" is not a whole number" },
	{ "limits: { connections: 99999999999999999999 }\n",
	  "r.yaml:1: limits.connections: 99999999999999999999 is out" },
	{ "limits:\n  depth: 4000\n", "r.yaml:2: limits.depth: 4000 is out of range: from 8 to 30" },
	{ "retention:\n  result: 7\n", "r.yaml:2: retention.result: \"7\" is not a duration" },
	{ "retention:\n  result: 0\n", "r.yaml:2: retention.result: 0 is too short" },
	{ "log:\n  level: loud\n", "r.yaml:2: log.level: \"loud\" is none of error, warning, info, debug" },
	{ "log:\n  format: xml\n", "r.yaml:2: log.format: \"xml\" is neither text nor json" },
	{ "store:\n  reserve: some\n", "r.yaml:2: store.reserve: \"some\" is not a size" },
	{ "page:\n  accent: red\n", "r.yaml:2: page.accent: \"red\" is not a colour" },
	{ "page:\n  accent: \"#12345g\"\n", "r.yaml:2: page.accent: \"#12345g\" is not a colour" },
	{ "page:\n  aspect: wide\n", "r.yaml:2: page.aspect: \"wide\" is not WIDTH:HEIGHT, as 16:9 or 9:16" },
	{ "page:\n  aspect: 16:9x\n", "r.yaml:2: page.aspect: \"16:9x\" is not WIDTH:HEIGHT" },
	{ "page:\n  aspect: \"16:+9\"\n", "r.yaml:2: page.aspect: \"16:+9\" is not WIDTH:HEIGHT" },
	{ "page:\n  aspect: \"16: 9\"\n", "r.yaml:2: page.aspect: \"16: 9\" is not WIDTH:HEIGHT" },
	{ "page:\n  aspect: \"16:9/\"\n", "r.yaml:2: page.aspect: \"16:9/\" is not WIDTH:HEIGHT" },
	{ "page:\n  aspect: \"16//9\"\n", "r.yaml:2: page.aspect: \"16//9\" is not WIDTH:HEIGHT" },
	{ "page:\n  aspect: -9:16\n", "r.yaml:2: page.aspect: \"-9:16\" is not WIDTH:HEIGHT" },
	{ "page:\n  aspect: 9:-16\n", "r.yaml:2: page.aspect: \"9:-16\" is not WIDTH:HEIGHT" },
	{ "page:\n  aspect: 4:0\n", "r.yaml:2: page.aspect: \"4:0\" is not WIDTH:HEIGHT" },
	{ "page:\n  aspect: 10:1\n", "r.yaml:2: page.aspect: \"10:1\" is out of range: from 1:3 to 3:1" },
	{ "page:\n  lang: fr\n", "r.yaml:2: page.lang: \"fr\" is neither en nor de; of another language" },
	{ "page:\n  name: \"a\\nb\"\n", "r.yaml:2: page.name: has a control character" },
	{ "data:\n", "r.yaml:1: data: must not be empty" },
	{ "data: null\n", "r.yaml:1: data: must not be empty" },
	{ "listen:\n  - 127.0.0.1:1\n  - ''\n", "r.yaml:3: listen.1: must not be empty" },
	{ "listen:\n  - 127.0.0.1\n", "r.yaml:2: listen.0: \"127.0.0.1\" is not HOST:PORT or unix:PATH" },
	{ "api: { hosts: [\"jobs:80\"] }\n", "r.yaml:1: api.hosts.0: \"jobs:80\" is no host name or address" },
	{ "api:\n  hosts:\n    - a\n    - \"http://x\"\n", "r.yaml:4: api.hosts.1: \"http://x\" is no host name" },
	{ "api:\n  hosts: ['']\n", "r.yaml:2: api.hosts.0: must not be empty" },
	{ "api: { hosts: x }\n", "r.yaml:1: api.hosts: needs a list" },
	{ "api: { names: [] }\n", "r.yaml:1: api.names: there is no such key" },
	{ "listen: [\"unix:\"]\n", "r.yaml:1: listen.0: unix:: the path must have 1 to" },
	{ "http: 127.0.0.1:99999\n", "r.yaml:1: http: \"127.0.0.1:99999\" is not HOST:PORT" },
	{ "insecure: perhaps\n", "r.yaml:1: insecure: \"perhaps\" is neither true nor false" },
	{ "public_url: example.org\n", "r.yaml:1: public_url: \"example.org\" does not begin with http" },
	{ "public_url: \"https://\"\n", "r.yaml:1: public_url: \"https://\" names no host" },
	{ "public_url: \"https://a b\"\n", "r.yaml:1: public_url: \"https://a b\" has a character" },
	{ "public_url: \"https://a/?x=1\"\n", "r.yaml:1: public_url: \"https://a/?x=1\" has a character" },
	/* no YAML, or more of it than is wanted */
	{ "data: x\n\tlog: y\n", "r.yaml:2: found a tab character" },
	{ "data: x\nlog: {level: info\n", "r.yaml:3: did not find expected ',' or '}'" },
	{ "data: x\nhttp: \"unclosed\n", "r.yaml:3: found unexpected end of stream" },
	{ "data: x\n---\ndata: y\n", "r.yaml:2: there must be only one document" },
	{ "data: &a x\nhttp: *a\n", "r.yaml:2: http: aliases are not supported" },
	{ "data: x\n[a]: b\n", "r.yaml:2: a key must be a word" },
	{ "a: [[[[[[[[[x]]]]]]]]]\n", "r.yaml:1: a.0.0.0.0.0.0.0: is nested too deeply" },
};

static void test_every_mistake_is_told_with_its_place(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(mistakes); i++) {
		_cleanup_(config_freep) struct config *c = fresh();
		struct config_error error;

		assert_int_equal(read_yaml(c, mistakes[i].file, &error), ERR_CONFIG);
		if (strncmp(error.text, mistakes[i].says, strlen(mistakes[i].says)) != 0)
			fail_msg("\"%s\" gave \"%s\" and not \"%s\"", mistakes[i].file, error.text, mistakes[i].says);
	}
}

static void test_settings_that_contradict_each_other_are_told(void **state)
{
	_cleanup_(config_freep) struct config *c = fresh();
	struct config_error error;
	const char *key;

	(void)state;
	/* A lease has metadata and a checkpoint beside the payload. */
	assert_int_equal(config_set(c, "limits.payload", "3697KiB", &error), 0);
	assert_int_equal(config_check(c, &key, &error), ERR_CONFIG);
	assert_string_equal(key, "limits.payload");
	assert_string_equal(error.text, "must be at least 400.0 KiB smaller than limits.message");
	assert_int_equal(config_set(c, "limits.payload", "3696KiB", &error), 0);
	assert_int_equal(config_check(c, &key, &error), 0);
	assert_int_equal(config_set(c, "limits.message", "3MiB", &error), 0);
	assert_int_equal(config_check(c, &key, &error), ERR_CONFIG);
	assert_int_equal(config_set(c, "limits.message", "5MiB", &error), 0);
	assert_int_equal(config_set(c, "retention.record", "1h", &error), 0);
	assert_int_equal(config_check(c, &key, &error), ERR_CONFIG);
	assert_string_equal(key, "retention.record");
}

static void test_a_file_that_is_not_there_is_named(void **state)
{
	_cleanup_(config_freep) struct config *c = fresh();
	struct config_error error;

	(void)state;
	assert_int_equal(config_read_file(c, "/nonexistent/r.yaml", &error), ERR_CONFIG);
	assert_string_equal(error.text, "/nonexistent/r.yaml: No such file or directory");
	assert_int_equal(config_read_file(c, "/", &error), ERR_CONFIG);
	assert_non_null(strstr(error.text, "directory"));
}

static void test_a_file_is_read_from_disk(void **state)
{
	char path[] = "/tmp/test_server_config.XXXXXX";
	_cleanup_(config_freep) struct config *c = fresh();
	struct config_error error;
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, everything, strlen(everything)), strlen(everything));
	close(fd);
	assert_int_equal(config_read_file(c, path, &error), 0);
	assert_string_equal(c->data, "/srv/rc");
	unlink(path);
}

static void test_every_key_can_be_set_by_its_name(void **state)
{
	_cleanup_(config_freep) struct config *c = fresh();
	struct config_error error;
	size_t count = 0;

	(void)state;
	/* A value that none takes: but the key is known. */
	for (; config_key(count); count++)
		assert_int_not_equal(config_set(c, config_key(count), "\x01", &error), ERR_NOT_FOUND);
	assert_true(count > 20 + PAGE_TEXTS - 1);
	assert_int_equal(config_set(c, "limits.nothing", "1", &error), ERR_NOT_FOUND);
}

/* ---- flags ---- */

#define ARGV(...)	 ((char *[]){ (char *)"raincheckd", __VA_ARGS__, NULL })
#define ARGC(...)	 ((int)(sizeof(ARGV(__VA_ARGS__)) / sizeof(char *)) - 1)
#define PARSE(o, e, ...) options_parse(ARGC(__VA_ARGS__), ARGV(__VA_ARGS__), o, e)

static void test_flags_are_read(void **state)
{
	struct options o;
	struct config_error error;

	(void)state;
	assert_int_equal(PARSE(&o, &error, (char *)"--config", (char *)"f", (char *)"--listen=a:1", (char *)"--listen",
			       (char *)"b:2", (char *)"--insecure", (char *)"--check", (char *)"--log-level",
			       (char *)"debug"),
			 0);
	assert_string_equal(o.config, "f");
	assert_int_equal(o.listen_count, 2);
	assert_string_equal(o.listen[0], "a:1");
	assert_string_equal(o.listen[1], "b:2");
	assert_true(o.insecure && o.check && !o.version && !o.help);
	assert_string_equal(o.log_level, "debug");
	assert_null(o.data);
}

static void test_what_is_no_flag_is_refused_and_named(void **state)
{
	struct options o;
	struct config_error error;

	(void)state;
	assert_int_equal(PARSE(&o, &error, (char *)"--dta", (char *)"x"), ERR_BAD_REQUEST);
	assert_string_equal(error.text, "there is no such flag: --dta");
	assert_int_equal(PARSE(&o, &error, (char *)"--data"), ERR_BAD_REQUEST);
	assert_string_equal(error.text, "this flag needs a value: --data");
	assert_int_equal(PARSE(&o, &error, (char *)"serve"), ERR_BAD_REQUEST);
	assert_string_equal(error.text, "this was not expected: serve");
	assert_int_equal(PARSE(&o, &error, (char *)"-x"), ERR_BAD_REQUEST);
	assert_int_equal(PARSE(&o, &error, (char *)"--check=yes"), ERR_BAD_REQUEST);
}

static void test_flags_win_over_the_file(void **state)
{
	_cleanup_(config_freep) struct config *c = fresh();
	const struct options o = { .data = "/other",
				   .insecure = true,
				   .http = "127.0.0.1:9",
				   .listen = { "127.0.0.1:3", "127.0.0.1:4" },
				   .listen_count = 2,
				   .log_level = "error" };
	struct config_error error;

	(void)state;
	assert_int_equal(read_yaml(c, everything, &error), 0);
	c->insecure = false;
	assert_int_equal(options_apply(&o, c, &error), 0);
	assert_true(c->insecure);
	assert_string_equal(c->data, "/other");
	assert_string_equal(c->http, "127.0.0.1:9");
	assert_int_equal(c->listen_count, 2);
	assert_string_equal(c->listen[0], "127.0.0.1:3");
	assert_int_equal(c->log_level, LOG_ERROR);
	assert_int_equal(c->log_format, LOG_JSON); /* of the file, for no flag said otherwise */
	assert_string_equal(c->public_url, "https://go.example.org/x");
}

static void test_a_bad_value_names_its_flag(void **state)
{
	_cleanup_(config_freep) struct config *c = fresh();
	const struct options level = { .log_level = "loud" }, url = { .public_url = "ftp://x" };
	const struct options listen = { .listen = { "nonsense" }, .listen_count = 1 }, http = { .http = "::1:80" };
	struct config_error error;

	(void)state;
	assert_int_equal(options_apply(&level, c, &error), ERR_CONFIG);
	assert_string_equal(error.text, "--log-level: \"loud\" is none of error, warning, info, debug");
	assert_int_equal(options_apply(&url, c, &error), ERR_CONFIG);
	assert_non_null(strstr(error.text, "--public-url: "));
	assert_int_equal(options_apply(&listen, c, &error), ERR_CONFIG);
	assert_string_equal(error.text, "--listen: \"nonsense\" is not HOST:PORT or unix:PATH");
	assert_int_equal(options_apply(&http, c, &error), ERR_CONFIG);
	assert_string_equal(error.text, "--http: \"::1:80\" is not HOST:PORT");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_without_a_file_there_are_defaults),
		cmocka_unit_test(test_a_service_keeps_its_data_where_systemd_says),
		cmocka_unit_test(test_a_file_sets_everything),
		cmocka_unit_test(test_the_defaults_written_out_change_nothing),
		cmocka_unit_test(test_an_empty_file_is_fine),
		cmocka_unit_test(test_every_mistake_is_told_with_its_place),
		cmocka_unit_test(test_settings_that_contradict_each_other_are_told),
		cmocka_unit_test(test_a_file_that_is_not_there_is_named),
		cmocka_unit_test(test_a_file_is_read_from_disk),
		cmocka_unit_test(test_every_key_can_be_set_by_its_name),
		cmocka_unit_test(test_flags_are_read),
		cmocka_unit_test(test_what_is_no_flag_is_refused_and_named),
		cmocka_unit_test(test_flags_win_over_the_file),
		cmocka_unit_test(test_a_bad_value_names_its_flag),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
