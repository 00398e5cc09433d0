#include "filter.h"

#include <string.h>

#include "proto/base/clean.h"
#include "proto/base/clock.h"
#include "suggest.h"
#include "text.h"
#include "value.h"

static const char *const keys[] = { "queue", "state", "group", "before" };

int filter_state(struct cli *c, const char *word, enum raincheck_job_state *ret)
{
	struct suggest s = { .word = word };

	for (int i = RAINCHECK_JOB_SCHEDULED; i <= RAINCHECK_JOB_EXPIRED; i++) {
		const char *name = raincheck_job_state_name((enum raincheck_job_state)i);

		if (strcmp(word, name) == 0) {
			*ret = (enum raincheck_job_state)i;
			return CLI_DONE;
		}
		suggest_offer(&s, name);
	}
	if (s.best)
		return cli_usage(c, "unknown state \"%s\"; did you mean %s?", word, s.best);
	return cli_usage(c, "unknown state \"%s\"", word);
}

static int take_name(struct cli *c, const char *key, const char *value, char *room, size_t size, const char **ret)
{
	if (*value == '\0' || strlen(value) >= size)
		return cli_usage(c, "--filter %s= needs a name", key);
	memcpy(room, value, strlen(value) + 1);
	*ret = room;
	return CLI_DONE;
}

static int take_pair(struct cli *c, const char *key, const char *value, struct picked *p)
{
	struct raincheck_filter *f = &p->filter;

	if ((strcmp(key, "queue") == 0 && f->queue) || (strcmp(key, "group") == 0 && f->group) ||
	    (strcmp(key, "state") == 0 && f->has_state) || (strcmp(key, "before") == 0 && f->before_at_ms != 0))
		return cli_usage(c, "--filter %s= is given twice", key);
	if (strcmp(key, "queue") == 0)
		return take_name(c, key, value, p->queue, sizeof(p->queue), &f->queue);
	if (strcmp(key, "group") == 0)
		return take_name(c, key, value, p->group, sizeof(p->group), &f->group);
	if (strcmp(key, "state") == 0) {
		f->has_state = true;
		return filter_state(c, value, &f->state);
	}
	if (value_moment(value, clock_wall_ms(), &f->before_at_ms) < 0)
		return cli_usage(c,
				 "--filter before= must be so long ago (2h), a date (2024-06-07), a time "
				 "(2024-06-07T12:30:00), or Unix milliseconds, not \"%s\"",
				 value);
	return CLI_DONE;
}

static int unknown_key(struct cli *c, const char *key)
{
	struct suggest s = { .word = key };

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		suggest_offer(&s, keys[i]);
	if (s.best)
		return cli_usage(c, "--filter knows no \"%s\"; did you mean %s?", key, s.best);
	return cli_usage(c, "--filter knows no \"%s\", but queue, state, group and before", key);
}

static int take_text(struct cli *c, char *text, struct picked *p)
{
	char *equals = strchr(text, '=');

	if (!equals || equals == text)
		return cli_usage(c, "--filter takes KEY=VALUE, not \"%s\"", text);
	*equals = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (strcmp(text, keys[i]) == 0)
			return take_pair(c, text, equals + 1, p);
	return unknown_key(c, text);
}

/* Names, states and moments have no commas in them, so several pairs may stand in one word. */
static int take_word(struct cli *c, const char *word, struct picked *p)
{
	_cleanup_free_ char *copy = strdup(word);
	int exit = CLI_DONE;
	char *rest = copy;

	if (!copy)
		return cli_failed(c, "out of memory");
	for (char *text = strsep(&rest, ","); text && exit == CLI_DONE; text = strsep(&rest, ","))
		exit = take_text(c, text, p);
	return exit;
}

int filter_read(struct cli *c, struct picked *ret)
{
	int exit = CLI_DONE;
	bool any = false;

	*ret = (struct picked){ 0 };
	ret->filter.all = cli_value(c, "all") != NULL;
	for (size_t i = 0; i < c->given_count && exit == CLI_DONE; i++) {
		if (strcmp(c->given[i].option->name, "filter") != 0)
			continue;
		any = true;
		exit = take_word(c, c->given[i].value, ret);
	}
	if (exit == CLI_DONE && any && ret->filter.all)
		return cli_usage(c, "--all is every job there is; leave it out where --filter says which");
	if (exit == CLI_DONE && !any && !ret->filter.all)
		return cli_usage(c, "which jobs? ID..., - for ids on standard input, --filter KEY=VALUE, or --all");
	return exit;
}

void filter_print(FILE *out, const struct raincheck_filter *f)
{
	const char *gap = "";

	if (f->all) {
		fputs("every job there is", out);
		return;
	}
	if (f->queue) {
		fputs("queue ", out);
		text_print(out, f->queue);
		gap = ", ";
	}
	if (f->has_state) {
		fprintf(out, "%sstate %s", gap, raincheck_job_state_name(f->state));
		gap = ", ";
	}
	if (f->group) {
		fprintf(out, "%sgroup ", gap);
		text_print(out, f->group);
		gap = ", ";
	}
	if (f->before_at_ms != 0)
		fprintf(out, "%sput before %s", gap, text_moment(f->before_at_ms).text);
}
