/* issue.h: what is wrong with a configuration, and where. For those that read it (yaml_index, config, secrets,
 * upstream) and for main, which prints it. Main thread; no state.
 */
#ifndef RAINCHECK_WORKER_CONFIG_ISSUE_H
#define RAINCHECK_WORKER_CONFIG_ISSUE_H

#include <stddef.h>

struct issue {
	int line;	   /* 0 where it is not known */
	char key[160];	   /* path with dots: "upstreams.runway.poll.first"; "" for the file as a whole */
	char message[320]; /* a sentence without a full stop; never holds a secret */
};

/* Fills issue and returns ERR_CONFIG, so that callers can "return issue_set(…)". */
int issue_set(struct issue *issue, int line, const char *key, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* "FILE:LINE: KEY: MESSAGE", without what is not known. */
void issue_format(const struct issue *issue, const char *file, char *ret, size_t size);

#endif
