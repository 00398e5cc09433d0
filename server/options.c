#include "options.h"

#include <getopt.h>
#include <string.h>

#include "proto/error.h"

enum flag {
	FLAG_CONFIG = 256,
	FLAG_DATA,
	FLAG_LISTEN,
	FLAG_HTTP,
	FLAG_PUBLIC_URL,
	FLAG_LOG_LEVEL,
	FLAG_LOG_FORMAT,
	FLAG_INSECURE,
	FLAG_CHECK,
	FLAG_COMPACT,
	FLAG_RESTORE,
	FLAG_VERSION,
	FLAG_HELP
};

static const struct option flags[] = {
	{ "config", required_argument, NULL, FLAG_CONFIG },
	{ "data", required_argument, NULL, FLAG_DATA },
	{ "listen", required_argument, NULL, FLAG_LISTEN },
	{ "http", required_argument, NULL, FLAG_HTTP },
	{ "public-url", required_argument, NULL, FLAG_PUBLIC_URL },
	{ "log-level", required_argument, NULL, FLAG_LOG_LEVEL },
	{ "log-format", required_argument, NULL, FLAG_LOG_FORMAT },
	{ "insecure", no_argument, NULL, FLAG_INSECURE },
	{ "check", no_argument, NULL, FLAG_CHECK },
	{ "compact", no_argument, NULL, FLAG_COMPACT },
	{ "restore", required_argument, NULL, FLAG_RESTORE },
	{ "version", no_argument, NULL, FLAG_VERSION },
	{ "help", no_argument, NULL, FLAG_HELP },
	{ NULL, 0, NULL, 0 },
};

void options_print_usage(FILE *out)
{
	fputs("Usage: raincheckd [--config FILE] [--data DIR] [--listen ADDR:PORT|unix:PATH]… [--http ADDR:PORT]\n"
	      "                  [--public-url URL] [--log-level L] [--log-format text|json] [--insecure]\n"
	      "                  [--check | --compact | --restore BACKUP] [--version] [--help]\n"
	      "\n"
	      "  --config FILE      settings in YAML; the other flags win over it\n"
	      "  --data DIR         where everything is kept (./raincheck-data)\n"
	      "  --listen ADDRESS   for producers, workers and tools (127.0.0.1:7246); may be given several times\n"
	      "  --http ADDRESS     for links, producers and metrics (127.0.0.1:7247)\n"
	      "  --public-url URL   what links begin with, as visitors reach the HTTP address\n"
	      "  --log-level L      error, warning, info or debug (info)\n"
	      "  --log-format F     text or json (text)\n"
	      "  --insecure         allow addresses beyond loopback without tokens and TLS\n"
	      "  --check            prove the invariants of the data directory, and exit\n"
	      "  --compact          write its records anew without what is free or erased, mend what flipped bits in "
	      "keys\n"
	      "                     have broken, and exit\n"
	      "  --restore BACKUP   copy a backup to the data directory, which must be new or empty, and exit\n",
	      out);
}

static int refuse(struct config_error *error, const char *what, const char *flag)
{
	snprintf(error->text, sizeof(error->text), "%s: %.200s", what, flag);
	return ERR_BAD_REQUEST;
}

static int take(struct options *o, int flag, char *value, struct config_error *error)
{
	switch (flag) {
	case FLAG_CONFIG:
		o->config = value;
		return 0;
	case FLAG_DATA:
		o->data = value;
		return 0;
	case FLAG_LISTEN:
		if (o->listen_count == CONFIG_LISTEN_MAX)
			return refuse(error, "one listener too many", value);
		o->listen[o->listen_count++] = value;
		return 0;
	case FLAG_HTTP:
		o->http = value;
		return 0;
	case FLAG_PUBLIC_URL:
		o->public_url = value;
		return 0;
	case FLAG_LOG_LEVEL:
		o->log_level = value;
		return 0;
	case FLAG_LOG_FORMAT:
		o->log_format = value;
		return 0;
	case FLAG_INSECURE:
		o->insecure = true;
		return 0;
	case FLAG_CHECK:
		o->check = true;
		return 0;
	case FLAG_COMPACT:
		o->compact = true;
		return 0;
	case FLAG_RESTORE:
		o->restore = value;
		return 0;
	case FLAG_VERSION:
		o->version = true;
		return 0;
	default:
		o->help = true;
		return 0;
	}
}

int options_parse(int argc, char **argv, struct options *ret, struct config_error *error)
{
	struct options o = { .config = NULL };
	int flag, rc;

	optind = 0; /* starts the scan over, also the second time */
	/* "+": nothing is a flag after a word; ":": what is missing is told apart, and getopt itself is silent. */
	while ((flag = getopt_long(argc, argv, "+:h", flags, NULL)) != -1) {
		if (flag == ':')
			return refuse(error, "this flag needs a value", argv[optind - 1]);
		if (flag == '?')
			return refuse(error, "there is no such flag", argv[optind - 1]);
		rc = take(&o, flag, optarg, error);
		if (rc < 0)
			return rc;
	}
	if (optind < argc)
		return refuse(error, "this was not expected", argv[optind]);
	if (o.check + o.compact + (o.restore != NULL) > 1)
		return refuse(error, "one at a time", "--check, --compact, --restore");
	*ret = o;
	return 0;
}

static int apply(struct config *c, const char *flag, const char *key, const char *value, struct config_error *error)
{
	struct config_error why;
	int rc;

	if (!value)
		return 0;
	rc = key ? config_set(c, key, value, &why) : config_add_listen(c, value, &why);
	if (rc == ERR_CONFIG)
		snprintf(error->text, sizeof(error->text), "%s: %.900s", flag, why.text);
	return rc;
}

int options_apply(const struct options *o, struct config *c, struct config_error *error)
{
	const struct {
		const char *flag, *key, *value;
	} values[] = {
		{ "--data", "data", o->data },
		{ "--http", "http", o->http },
		{ "--public-url", "public_url", o->public_url },
		{ "--log-level", "log.level", o->log_level },
		{ "--log-format", "log.format", o->log_format },
	};
	int rc = 0;

	c->insecure = c->insecure || o->insecure;
	for (size_t i = 0; rc == 0 && i < ARRAY_SIZE(values); i++)
		rc = apply(c, values[i].flag, values[i].key, values[i].value, error);
	if (rc == 0 && o->listen_count > 0)
		config_clear_listen(c);
	for (size_t i = 0; rc == 0 && i < o->listen_count; i++)
		rc = apply(c, "--listen", NULL, o->listen[i], error);
	return rc;
}
