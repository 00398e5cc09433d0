/* top_picture.h: what `raincheck top` shows, drawn as lines of text. Any thread; no state. */
#ifndef RAINCHECK_CLI_TOP_PICTURE_H
#define RAINCHECK_CLI_TOP_PICTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct top_sample;

struct top_picture {
	const struct top_sample *now;
	const struct top_sample *before; /* what rates are counted from; NULL: there are none */
	const char *server;		 /* where the broker is */
	const char *trouble;		 /* why now is not of this moment; NULL: it is. Stands at the foot */
	size_t columns, rows; /* of the screen; 0: as many as it takes, and then without the line at its foot */
	bool colour;
};

/* False where memory did not last. */
bool top_picture_draw(const struct top_picture *p, FILE *out);

#endif
