#include <stdarg.h>
#include <stdio.h>

#include "server/engine/engine_priv.h"

int refuse(struct command *cmd, int code, const char *field, const char *fmt, ...)
{
	struct error_info info;
	char text[sizeof(info.message)];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	error_set(&info, code, field, "%s", text);
	cmd->refuse(cmd, &info);
	return 0;
}

bool is_refusal(int rc)
{
	return rc == ERR_NOT_FOUND || rc == ERR_LEASE_LOST || rc == ERR_INVALID_STATE || rc == ERR_TOO_LARGE ||
	       rc == ERR_CORRUPT || rc == ERR_DAMAGED || rc == ERR_GONE;
}

const char *refusal_text(int rc)
{
	return rc == ERR_NOT_FOUND ? "there is no such job" : error_text(rc);
}

int settle(struct command *cmd, int rc)
{
	return is_refusal(rc) ? refuse(cmd, rc, NULL, "%s", refusal_text(rc)) : rc;
}
