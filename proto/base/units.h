/* units.h: durations ("30s", "5m", "1.5h", "250ms", "7d") and sizes ("64KiB", "4MiB", "1GB", "512") as people write
 * them. A blank may stand between number and unit. Any thread; no state. */
#ifndef RAINCHECK_BASE_UNITS_H
#define RAINCHECK_BASE_UNITS_H

#include <stdint.h>

#include "slice.h"

struct units_text {
	char text[32];
};

/* Milliseconds. A number needs its unit (ms, s, m or min, h, d), but for 0. ERR_BAD_REQUEST for anything else, for
 * negative values and for more than 100 years. */
int units_parse_duration(struct slice text, int64_t *ret_ms);
/* Bytes. Units B, KiB, MiB, GiB, TiB (powers of 1024), kB, MB, GB, TB (powers of 1000); none means bytes.
 * ERR_BAD_REQUEST for anything else, for negative values and for more than 2^62. */
int units_parse_size(struct slice text, int64_t *ret_bytes);

/* "850 ms", "12 s", "3 min 20 s", "2 h 5 min", "4 d 3 h" */
struct units_text units_format_duration(int64_t ms);
/* "512 B", "1.5 KiB", "20.0 MiB" */
struct units_text units_format_size(int64_t bytes);

#endif
