#include <string.h>

#include "cli.h"
#include "suggest.h"

static void print_options(FILE *out, const struct cli_option *options)
{
	for (const struct cli_option *o = options; o && o->name; o++) {
		char flag[64];

		snprintf(flag, sizeof(flag), "%c%c%s--%s%s%s", o->letter ? '-' : ' ', o->letter ? o->letter : ' ',
			 o->letter ? ", " : "  ", o->name, o->value ? " " : "", o->value ? o->value : "");
		fprintf(out, "  %-24s  %s\n", flag, o->help);
	}
}

static void print_command(FILE *out, const struct cli_command *k)
{
	fprintf(out, "raincheck %s%s%s\n\n%c%s.\n", k->name, *k->usage ? " " : "", k->usage,
		k->summary[0] >= 'a' && k->summary[0] <= 'z' ? k->summary[0] - 'a' + 'A' : k->summary[0],
		k->summary + 1);
	if (k->details)
		fprintf(out, "\n%s\n", k->details);
	if (k->options) {
		fputc('\n', out);
		print_options(out, k->options);
	}
	fputs("\nFor every command:\n", out);
	print_options(out, cli_global_options);
}

static void print_all(FILE *out)
{
	fputs("raincheck [OPTIONS] COMMAND ...   talks to a Raincheck broker\n\n", out);
	for (const struct cli_command *k = cli_commands; k->name; k++)
		fprintf(out, "  %-12s  %s\n", k->name, k->summary);
	fputs("\nFor every command:\n", out);
	print_options(out, cli_global_options);
	fputs("\nEnvironment, where no flag says it: RAINCHECK_SERVER, RAINCHECK_TOKEN,\n"
	      "RAINCHECK_TOKEN_FILE.\n"
	      "\nStatus: 0 done, 1 refused or failed, 2 usage, 3 not found, 4 not allowed,\n"
	      "5 no connection, 130 interrupted.\n",
	      out);
}

/* The commands that begin with this word: "queue" for "queue ls" and the others. False where there are none. */
static bool print_family(FILE *out, const char *word)
{
	size_t size = strlen(word);
	bool any = false;

	for (const struct cli_command *k = cli_commands; k->name; k++) {
		if (strncmp(k->name, word, size) != 0 || k->name[size] != ' ')
			continue;
		fprintf(out, "  %-12s  %s\n", k->name, k->summary);
		any = true;
	}
	if (any)
		fprintf(out, "\nMore about one: raincheck help %s ...\n", word);
	return any;
}

int cli_help(struct cli *c)
{
	char name[64];
	struct suggest s = { .word = name };
	bool asked = c->command && strcmp(c->command->name, "help") == 0;

	if (!c->command || (asked && c->arg_count == 0)) {
		print_all(c->command || cli_value(c, "help") ? c->out : c->err);
		return CLI_DONE;
	}
	if (!asked) {
		print_command(c->out, c->command);
		return CLI_DONE;
	}
	snprintf(name, sizeof(name), "%s%s%s", c->args[0], c->arg_count > 1 ? " " : "",
		 c->arg_count > 1 ? c->args[1] : "");
	for (const struct cli_command *k = cli_commands; k->name; k++) {
		if (strcmp(k->name, name) == 0) {
			print_command(c->out, k);
			return CLI_DONE;
		}
		suggest_offer(&s, k->name);
	}
	if (print_family(c->out, name))
		return CLI_DONE;
	if (s.best)
		return cli_usage(c, "unknown command \"%s\"; did you mean \"%s\"?", name, s.best);
	return cli_usage(c, "unknown command \"%s\"", name);
}

int cli_version(struct cli *c)
{
	fprintf(c->out, c->json ? "{\"version\": \"%s\"}\n" : "raincheck %s\n", RAINCHECK_VERSION);
	return CLI_DONE;
}
