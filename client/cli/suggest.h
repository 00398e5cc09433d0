/* suggest.h: the word that somebody who mistyped one probably meant. Any thread; no state. */
#ifndef RAINCHECK_CLI_SUGGEST_H
#define RAINCHECK_CLI_SUGGEST_H

#include <stddef.h>

/* A search under way. Start with { .word = … }, offer every candidate, then read best. */
struct suggest {
	const char *word;
	const char *best; /* NULL: nothing is near enough */
	size_t distance;
};

void suggest_offer(struct suggest *s, const char *candidate);

/* How many letters to change, add, leave out, or swap with their neighbour. Words beyond 63 bytes: SIZE_MAX. */
size_t suggest_distance(const char *a, const char *b);

#endif
