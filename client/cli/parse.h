/* parse.h: from the words of the command line to a command, its flags and its other words. One thread. */
#ifndef RAINCHECK_CLI_PARSE_H
#define RAINCHECK_CLI_PARSE_H

#include "cli.h"

/* Fills c's command, args and given, which stay c's to free. Global flags may stand anywhere, those of a command after
 * its name. CLI_DONE, or CLI_USAGE and said so. */
int parse_command_line(struct cli *c, int argc, char **argv);

#endif
