/* value.h: single values as people write them. Any thread; no state.
 *
 * Each: 0, or RAINCHECK_EBAD_REQUEST where the text is none. */
#ifndef RAINCHECK_CLI_VALUE_H
#define RAINCHECK_CLI_VALUE_H

#include <stdbool.h>
#include <stdint.h>

/* "-12" */
int value_whole(const char *text, int64_t *ret);
/* "1.5", finite */
int value_number(const char *text, double *ret);
/* Milliseconds "1500", or with their unit "90s" */
int value_duration(const char *text, int64_t *ret_ms);
/* true, yes, on; false, no, off */
int value_yes_no(const char *text, bool *ret);
/* A moment of the past or future, from "2h" (so long before now_ms), "2024-06-07", "2024-06-07T12:30",
 * "2024-06-07 12:30:45", "2024-06-07T12:30:45Z" or "…+02:00" (else local time), or Unix milliseconds. */
int value_moment(const char *text, int64_t now_ms, int64_t *ret_at_ms);
/* A moment to plan for: "now", "+2h" (so long after now_ms), or as above, but not "2h", which would be over. */
int value_coming_moment(const char *text, int64_t now_ms, int64_t *ret_at_ms);
/* Calls a second, above 0, from "10", "10/s", "600/min" or "100/h". */
int value_rate(const char *text, double *ret);

#endif
