/* base.h: what every command of the bench driver needs: ending with a sentence, and the middle of many figures.
 * One thread. */
#ifndef RAINCHECK_BENCH_BASE_H
#define RAINCHECK_BENCH_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BENCH_QUEUE   "bench"
#define PAYLOAD_BYTES 256

/* Prints "driver: " and the sentence to standard error and ends with status 1. */
_Noreturn void die(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The same where it does not hold. */
void need(bool holds, const char *what);

/* A whole number of an argument, at least 1; dies otherwise. */
int64_t to_count(const char *text);
/* Seconds of an argument as nanoseconds; dies otherwise. */
int64_t to_duration_ns(const char *text);

/* Sorts the values. */
int64_t median(int64_t *values, size_t count);

/* What every job carries: PAYLOAD_BYTES bytes of printable text. */
const char *payload(void);

#endif
