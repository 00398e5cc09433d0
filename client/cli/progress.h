/* progress.h: a bar on a terminal, redrawn in place. One thread. */
#ifndef RAINCHECK_CLI_PROGRESS_H
#define RAINCHECK_CLI_PROGRESS_H

#include <stdio.h>

struct progress {
	FILE *out;	 /* NULL: nothing is shown */
	long long total; /* 0: not known */
	long long done;	 /* kept by the caller */
	int percent;	 /* as drawn last */
	long long drawn_ms;
};

void progress_init(struct progress *p, FILE *out, long long total);
/* Draws the bar and these words, where that would look different or a moment has gone by. */
void progress_show(struct progress *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Takes the bar away, for what is printed next. */
void progress_clear(struct progress *p);

#endif
