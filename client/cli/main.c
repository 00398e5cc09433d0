#include <signal.h>

#include "cli.h"
#include "proto/base/stdio.h"

int main(int argc, char **argv)
{
	stdio_ensure();
	/* A reader that has seen enough, such as head(1), is no failure: writes then fail and cli_flush() knows why. */
	signal(SIGPIPE, SIG_IGN);
	return cli_run(argc, argv, stdin, stdout, stderr);
}
