/* Parsing of the command line: the switches of the process here, those of struct behave from their own table. */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <string.h>

#define LONG_OPTIONS_MAX 48
#define FLAG_BYTES	 32

enum option_kind { OPTION_TEXT, OPTION_COUNT, OPTION_SWITCH, OPTION_DEGRADE };

struct option_row {
	const char *name;
	enum option_kind kind;
	size_t offset;
	int min;
	const char *help;
};

#define ROW(flag, k, field, least, text)                                                                               \
	{                                                                                                              \
		.name = (flag), .kind = (k), .offset = offsetof(struct options, field), .min = (least), .help = (text) \
	}

static const struct option_row rows[] = {
	ROW("listen", OPTION_TEXT, listen, 0, "ADDR:PORT to serve on (127.0.0.1:0; port 0 takes a free one)"),
	ROW("dir", OPTION_TEXT, dir, 0,
	    "where a directory for the files is made, and removed at the end ($TMPDIR or /tmp)"),
	ROW("public-url", OPTION_TEXT, public_url, 0, "what URLs in answers begin with (http://ADDR:PORT)"),
	ROW("slots", OPTION_COUNT, slots, 1, "renderings at a time, one ffmpeg each (2)"),
	ROW("fake", OPTION_SWITCH, fake, 0,
	    "render one clip at the start and serve it to all, stamped with their input"),
	ROW("no-ffmpeg", OPTION_SWITCH, no_ffmpeg, 0,
	    "with --fake: no ffmpeg at all, a few bytes that begin like a video"),
	ROW("max-in-flight", OPTION_COUNT, max_in_flight, 0,
	    "429 above N accepted renders not yet ended (0: no limit)"),
	ROW("capacity", OPTION_COUNT, capacity, 0, "with --degrade: renders in flight up to which work is not slowed"),
	ROW("degrade", OPTION_DEGRADE, degrade, 0,
	    "above the capacity C work takes (n/C)^2 as long; above 2C it takes four times\n"
	    "                           as long and fails, paid: with 503 (fail, the default), or for sync\n"
	    "                           calls without an answer (hang)"),
	ROW("keep", OPTION_COUNT, keep, 0, "ended renders remembered, with their files (10000)"),
	ROW("names-cap", OPTION_COUNT, names_cap, 0, "names counted one by one in /stats (1000000)"),
	ROW("help", OPTION_SWITCH, help, 0, "print this"),
};

struct long_options {
	struct option list[LONG_OPTIONS_MAX];
	char flags[LONG_OPTIONS_MAX][FLAG_BYTES];
};

static int takes_argument(enum option_kind kind)
{
	return kind == OPTION_SWITCH ? no_argument : kind == OPTION_DEGRADE ? optional_argument : required_argument;
}

/* The rows here first, then those of behave: an index below ARRAY_SIZE(rows) is one of ours. */
static void make_long_options(struct long_options *lo)
{
	bool needs_argument;
	const char *field;
	size_t n = 0;

	memset(lo, 0, sizeof(*lo));
	for (; n < ARRAY_SIZE(rows); n++)
		lo->list[n] = (struct option){ .name = rows[n].name, .has_arg = takes_argument(rows[n].kind) };
	for (size_t i = 0; (field = behave_field(i, &needs_argument)) != NULL && n < LONG_OPTIONS_MAX - 1; i++, n++) {
		snprintf(lo->flags[n], FLAG_BYTES, "%s", field);
		for (char *c = lo->flags[n]; *c != '\0'; c++)
			*c = *c == '_' ? '-' : *c;
		lo->list[n].name = lo->flags[n];
		lo->list[n].has_arg = needs_argument ? required_argument : optional_argument;
	}
}

static int parse_count(const struct option_row *row, const char *text, int *field, struct fault *f)
{
	char *end;
	long n;

	errno = 0;
	n = strtol(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || n < row->min || n > INT_MAX)
		return fault_set(f, -EINVAL, "--%s takes a whole number from %d, not \"%.40s\"", row->name, row->min,
				 text);
	*field = (int)n;
	return 0;
}

static int parse_degrade(struct options *o, const char *text, struct fault *f)
{
	if (text != NULL && strcmp(text, "fail") != 0 && strcmp(text, "hang") != 0)
		return fault_set(f, -EINVAL, "--degrade takes fail or hang");
	o->degrade = true;
	o->degrade_hangs = text != NULL && strcmp(text, "hang") == 0;
	return 0;
}

static int parse_own(struct options *o, const struct option_row *row, const char *text, struct fault *f)
{
	void *field = (char *)o + row->offset;

	switch (row->kind) {
	case OPTION_TEXT:
		*(const char **)field = text;
		return 0;
	case OPTION_SWITCH:
		*(bool *)field = true;
		return 0;
	case OPTION_COUNT:
		return parse_count(row, text, field, f);
	case OPTION_DEGRADE:
		return parse_degrade(o, text, f);
	}
	return -EINVAL;
}

/* The text as JSON, or as a string when it is none; without a text `true`. */
static int parse_behave(struct options *o, const char *flag, const char *text, struct fault *f)
{
	_cleanup_(json_freep) json_t *value = NULL;
	char field[FLAG_BYTES];

	snprintf(field, sizeof(field), "%s", flag);
	for (char *c = field; *c != '\0'; c++)
		*c = *c == '-' ? '_' : *c;
	value = text == NULL ? json_true() : json_loads(text, JSON_DECODE_ANY, NULL);
	if (value == NULL)
		value = json_string(text);
	return behave_set(&o->behave, field, value, f) < 0 ? -EINVAL : 0;
}

static int check_options(const struct options *o, struct fault *f)
{
	if (o->no_ffmpeg && !o->fake)
		return fault_set(f, -EINVAL, "--no-ffmpeg goes with --fake");
	if ((o->capacity > 0) != o->degrade)
		return fault_set(f, -EINVAL, "--capacity and --degrade go together");
	if (o->slots > 256)
		return fault_set(f, -EINVAL, "--slots takes 256 at most");
	return 0;
}

int options_parse(int argc, char *argv[], struct options *ret_options, struct fault *f)
{
	struct options o = {
		.listen = "127.0.0.1:0",
		.dir = getenv("TMPDIR"),
		.slots = 2,
		.keep = 10000,
		.names_cap = 1000000,
		.behave = behave_default,
	};
	struct long_options lo;
	int index, rc = 0, c;

	if (o.dir == NULL || o.dir[0] == '\0')
		o.dir = "/tmp";
	make_long_options(&lo);
	opterr = 0;
	while (rc == 0 && (c = getopt_long(argc, argv, "", lo.list, &index)) != -1) {
		if (c != 0)
			return fault_set(f, -EINVAL, "unknown switch or missing argument: %.100s", argv[optind - 1]);
		if ((size_t)index < ARRAY_SIZE(rows))
			rc = parse_own(&o, &rows[index], optarg, f);
		else
			rc = parse_behave(&o, lo.list[index].name, optarg, f);
	}
	if (rc == 0 && optind < argc)
		rc = fault_set(f, -EINVAL, "unexpected argument: %.100s", argv[optind]);
	if (rc == 0)
		rc = check_options(&o, f);
	if (rc < 0)
		return rc;
	*ret_options = o;
	return 0;
}

void options_help(FILE *out)
{
	static const char *const argument[] = {
		[OPTION_TEXT] = " TEXT",
		[OPTION_COUNT] = " N",
		[OPTION_SWITCH] = "",
		[OPTION_DEGRADE] = "[=HOW]",
	};

	fputs("usage: render-api [SWITCH…]\n\n"
	      "A stand-in for a slow, overloaded, paid render API. Prints \"ready http=ADDR:PORT\" once it serves;\n"
	      "SIGTERM or SIGINT ends it.\n\n",
	      out);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char flag[48];

		snprintf(flag, sizeof(flag), "%s%s", rows[i].name, argument[rows[i].kind]);
		fprintf(out, "  --%-22s %s\n", flag, rows[i].help);
	}
	fputs("\nHow calls are answered; a request's \"behave\" object sets the same for itself (delay_ms for "
	      "--delay-ms):\n\n",
	      out);
	behave_help(out);
}
