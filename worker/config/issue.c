#include "worker/config/issue.h"

#include <stdarg.h>
#include <stdio.h>

#include "proto/error.h"

int issue_set(struct issue *issue, int line, const char *key, const char *fmt, ...)
{
	va_list args;

	issue->line = line;
	snprintf(issue->key, sizeof(issue->key), "%s", key ? key : "");
	va_start(args, fmt);
	vsnprintf(issue->message, sizeof(issue->message), fmt, args);
	va_end(args);
	return ERR_CONFIG;
}

void issue_format(const struct issue *issue, const char *file, char *ret, size_t size)
{
	const char *colon = issue->key[0] ? ": " : "";

	if (issue->line > 0)
		snprintf(ret, size, "%s:%d: %s%s%s", file, issue->line, issue->key, colon, issue->message);
	else
		snprintf(ret, size, "%s: %s%s%s", file, issue->key, colon, issue->message);
}
