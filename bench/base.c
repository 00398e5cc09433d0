#include "bench/base.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void die(const char *fmt, ...)
{
	va_list args;

	fputs("driver: ", stderr);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

void need(bool holds, const char *what)
{
	if (!holds)
		die("%s", what);
}

int64_t to_count(const char *text)
{
	char *end;
	long long n = strtoll(text, &end, 10);

	if (*end != '\0' || n < 1)
		die("\"%s\" is not a count", text);
	return n;
}

int64_t to_duration_ns(const char *text)
{
	char *end;
	double seconds = strtod(text, &end);

	if (*end != '\0' || !(seconds > 0 && seconds < 1e6))
		die("\"%s\" is not a number of seconds", text);
	return (int64_t)(seconds * 1e9);
}

static int compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

int64_t median(int64_t *values, size_t count)
{
	qsort(values, count, sizeof(*values), compare);
	return values[count / 2];
}

const char *payload(void)
{
	static char text[PAYLOAD_BYTES];

	/* Not one letter over and over: a peer that compresses would be spared writing. */
	for (size_t i = 0; text[PAYLOAD_BYTES - 1] == '\0' && i < PAYLOAD_BYTES; i++)
		text[i] = (char)('a' + (i * i * 7 + i * 3) % 26);
	return text;
}
