/* broker_offline.h: what raincheckd does with a data directory instead of serving it: --check, --restore, --compact.
 *
 * For the main thread of a process that does nothing else. Each says what it did on standard output, what went wrong in
 * the log, and how far it is on standard error where that is a terminal.
 */
#ifndef RAINCHECK_SERVER_BROKER_OFFLINE_H
#define RAINCHECK_SERVER_BROKER_OFFLINE_H

struct config;

/* Proves the invariants of the data directory and prints each breach. 0: none; ERR_CORRUPT: some; else the error that
 * kept it from looking. Makes and changes nothing. */
int broker_check(const struct config *config);

/* Checks the backup and copies it to the data directory, which must not be there or be empty. */
int broker_restore(const struct config *config, const char *backup);

/* Writes the records of the data directory anew, see compact.h. */
int broker_compact(const struct config *config);

#endif
