#include "suggest.h"

#include <stdint.h>
#include <string.h>

#define MAX_WORD 63

static size_t least(size_t a, size_t b, size_t c)
{
	size_t ab = a < b ? a : b;

	return ab < c ? ab : c;
}

size_t suggest_distance(const char *a, const char *b)
{
	/* Three rows of the table of distances between prefixes: two back, the last, this one. */
	size_t rows[3][MAX_WORD + 1];
	size_t *before = rows[0], *last = rows[1], *row = rows[2];
	size_t a_size = strlen(a), b_size = strlen(b);

	if (a_size > MAX_WORD || b_size > MAX_WORD)
		return SIZE_MAX;
	for (size_t j = 0; j <= b_size; j++)
		last[j] = j;
	for (size_t i = 1; i <= a_size; i++) {
		size_t *free_row = before;

		row[0] = i;
		for (size_t j = 1; j <= b_size; j++) {
			row[j] = least(last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    before[j - 2] + 1 < row[j])
				row[j] = before[j - 2] + 1;
		}
		before = last;
		last = row;
		row = free_row;
	}
	return last[b_size];
}

void suggest_offer(struct suggest *s, const char *candidate)
{
	size_t distance = suggest_distance(s->word, candidate);
	size_t size = strlen(candidate);

	/* A third of the letters wrong is another word. */
	if (distance > 1 + size / 3 || distance >= size)
		return;
	if (!s->best || distance < s->distance) {
		s->best = candidate;
		s->distance = distance;
	}
}
