#include "confirm.h"

#include <string.h>
#include <strings.h>

bool confirm_given(const struct cli *c)
{
	return cli_value(c, "yes") != NULL;
}

int confirm_possible(struct cli *c)
{
	if (confirm_given(c) || (c->in_is_terminal && c->err_is_terminal))
		return CLI_DONE;
	return cli_usage(c, "%s asks before it does this, and there is no terminal to ask on; say --yes",
			 c->command->name);
}

void confirm_print_count(struct cli *c, const char *about, int64_t count)
{
	if (count == 0)
		fputs("No job, as things stand,", c->err);
	else
		fprintf(c->err, "%s %lld job%s", about, (long long)count, count == 1 ? "" : "s");
}

int confirm_ask(struct cli *c)
{
	char answer[16] = "";

	fputs("Go on? [y/N] ", c->err);
	fflush(c->err);
	if (!fgets(answer, sizeof(answer), c->in))
		fputc('\n', c->err);
	answer[strcspn(answer, "\r\n")] = '\0';
	if (strcasecmp(answer, "y") == 0 || strcasecmp(answer, "yes") == 0)
		return CLI_DONE;
	return cli_failed(c, "nothing was done");
}
