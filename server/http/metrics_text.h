/* metrics_text.h: writes lines of Prometheus' text format. What is written into out that has no room left is told by
 * out's error. Any thread; no state.
 */
#ifndef RAINCHECK_HTTP_METRICS_TEXT_H
#define RAINCHECK_HTTP_METRICS_TEXT_H

#include <stdint.h>

#include "proto/base/buf.h"
#include "proto/base/histogram.h"

/* The head of a family; its lines follow. type: "counter", "gauge" or "histogram". */
void metrics_family(struct buf *out, const char *name, const char *type, const char *help);

/* One line. labels: "queue=\"q\"", or "" for none; their values must need no escapes. */
void metrics_int(struct buf *out, const char *name, const char *labels, int64_t value);
/* A figure kept in thousandths: milliseconds as seconds. */
void metrics_milli(struct buf *out, const char *name, const char *labels, int64_t value);
void metrics_float(struct buf *out, const char *name, const char *labels, double value);
/* All lines of a histogram of which divisor make one unit. */
void metrics_histogram(struct buf *out, const char *name, const char *labels, const struct histogram_scale *scale,
		       const struct histogram *h, double divisor);

/* A family of one line. */
void metrics_gauge(struct buf *out, const char *name, const char *help, int64_t value);
void metrics_counter(struct buf *out, const char *name, const char *help, int64_t value);

#endif
