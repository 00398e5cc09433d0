#include "parse.h"

#include <stdlib.h>
#include <string.h>

#include "suggest.h"

/* What is left to look at. */
struct words {
	char **word;
	int count;
	int at;
	bool only_args; /* "--" has been seen */
};

static const struct cli_option *find_in(const struct cli_option *options, const char *name, size_t size, char letter)
{
	for (const struct cli_option *o = options; o && o->name; o++)
		if (letter ? o->letter == letter : strlen(o->name) == size && memcmp(o->name, name, size) == 0)
			return o;
	return NULL;
}

static const struct cli_option *find_option(const struct cli *c, const char *name, size_t size, char letter)
{
	const struct cli_option *o = c->command ? find_in(c->command->options, name, size, letter) : NULL;

	return o ? o : find_in(cli_global_options, name, size, letter);
}

static int unknown_option(struct cli *c, const char *word, size_t size)
{
	char name[64];
	struct suggest s = { .word = name };

	snprintf(name, sizeof(name), "%.*s", (int)size, word);
	for (const struct cli_option *o = c->command ? c->command->options : NULL; o && o->name; o++)
		suggest_offer(&s, o->name);
	for (const struct cli_option *o = cli_global_options; o->name; o++)
		suggest_offer(&s, o->name);
	if (s.best)
		return cli_usage(c, "unknown option --%s; did you mean --%s?", name, s.best);
	return cli_usage(c, "unknown option --%s", name);
}

static int give(struct cli *c, const struct cli_option *o, const char *value, struct words *w, const char *shown)
{
	if (!o->value && value)
		return cli_usage(c, "%s takes no value", shown);
	if (o->value && !value) {
		if (w->at >= w->count)
			return cli_usage(c, "%s needs a value: %s", shown, o->value);
		value = w->word[w->at++];
	}
	c->given[c->given_count++] = (struct cli_given){ o, value ? value : "" };
	return CLI_DONE;
}

static int take_long(struct cli *c, const char *word, struct words *w)
{
	const char *name = word + 2;
	const char *equals = strchr(name, '=');
	size_t size = equals ? (size_t)(equals - name) : strlen(name);
	const struct cli_option *o = find_option(c, name, size, '\0');

	if (!o)
		return unknown_option(c, name, size);
	return give(c, o, equals ? equals + 1 : NULL, w, word);
}

static int take_short(struct cli *c, const char *word, struct words *w)
{
	const struct cli_option *o = find_option(c, NULL, 0, word[1]);
	char shown[3] = { '-', word[1], '\0' };

	if (!o)
		return cli_usage(c, "unknown option %s", shown);
	return give(c, o, word[2] ? word + 2 : NULL, w, shown);
}

/* A command of two words begins with one that is none by itself. */
static bool begins_command(const char *word)
{
	size_t size = strlen(word);

	for (const struct cli_command *k = cli_commands; k->name; k++)
		if (strncmp(k->name, word, size) == 0 && k->name[size] == ' ')
			return true;
	return false;
}

static const struct cli_command *find_command(const char *name)
{
	for (const struct cli_command *k = cli_commands; k->name; k++)
		if (strcmp(k->name, name) == 0)
			return k;
	return NULL;
}

/* "queue" alone: which of its commands? */
static int half_command(struct cli *c, const char *word)
{
	char names[256] = "";
	size_t size = strlen(word), used = 0;

	for (const struct cli_command *k = cli_commands; k->name; k++)
		if (strncmp(k->name, word, size) == 0 && k->name[size] == ' ' && used < sizeof(names))
			used += (size_t)snprintf(names + used, sizeof(names) - used, " %s", k->name + size + 1);
	return cli_usage(c, "%s needs one of:%s", word, names);
}

static int unknown_command(struct cli *c, const char *name)
{
	struct suggest s = { .word = name };

	for (const struct cli_command *k = cli_commands; k->name; k++)
		suggest_offer(&s, k->name);
	if (s.best)
		return cli_usage(c, "unknown command \"%s\"; did you mean \"%s\"?", name, s.best);
	return cli_usage(c, "unknown command \"%s\"", name);
}

static int take_command(struct cli *c, const char *word, struct words *w)
{
	char name[64];

	snprintf(name, sizeof(name), "%s", word);
	if (!find_command(word) && begins_command(word)) {
		if (w->at >= w->count || w->word[w->at][0] == '-')
			return half_command(c, word);
		snprintf(name, sizeof(name), "%s %s", word, w->word[w->at++]);
	}
	c->command = find_command(name);
	return c->command ? CLI_DONE : unknown_command(c, name);
}

static int take_word(struct cli *c, struct words *w)
{
	const char *word = w->word[w->at++];

	if (!w->only_args && strcmp(word, "--") == 0) {
		w->only_args = true;
		return CLI_DONE;
	}
	if (!w->only_args && word[0] == '-' && word[1] == '-')
		return take_long(c, word, w);
	if (!w->only_args && word[0] == '-' && word[1] != '\0')
		return take_short(c, word, w);
	if (!c->command)
		return take_command(c, word, w);
	c->args[c->arg_count++] = word;
	return CLI_DONE;
}

static int check_args(struct cli *c)
{
	const struct cli_command *k = c->command;

	if (!k || cli_value(c, "help") || cli_value(c, "version"))
		return CLI_DONE;
	if (c->arg_count < k->min_args)
		return cli_usage(c, "%s needs %s", k->name, k->usage);
	if (c->arg_count > k->max_args)
		return cli_usage(c, "%s does not take \"%s\"", k->name, c->args[k->max_args]);
	return CLI_DONE;
}

int parse_command_line(struct cli *c, int argc, char **argv)
{
	struct words w = { .word = argv, .count = argc, .at = 1 };
	int exit;

	/* Neither can have more than there are words. */
	c->args = calloc((size_t)argc + 1, sizeof(*c->args));
	c->given = calloc((size_t)argc + 1, sizeof(*c->given));
	if (!c->args || !c->given)
		return cli_failed(c, "out of memory");
	while (w.at < w.count) {
		exit = take_word(c, &w);
		if (exit != CLI_DONE)
			return exit;
	}
	return check_args(c);
}
