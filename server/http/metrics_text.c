#include "metrics_text.h"

#include <stdio.h>

void metrics_family(struct buf *out, const char *name, const char *type, const char *help)
{
	buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void begin(struct buf *out, const char *name, const char *labels)
{
	buf_printf(out, labels[0] ? "%s{%s} " : "%s%s ", name, labels);
}

void metrics_int(struct buf *out, const char *name, const char *labels, int64_t value)
{
	begin(out, name, labels);
	buf_printf(out, "%lld\n", (long long)value);
}

void metrics_float(struct buf *out, const char *name, const char *labels, double value)
{
	begin(out, name, labels);
	buf_printf(out, "%.15g\n", value);
}

void metrics_milli(struct buf *out, const char *name, const char *labels, int64_t value)
{
	metrics_float(out, name, labels, (double)value / 1000);
}

void metrics_histogram(struct buf *out, const char *name, const char *labels, const struct histogram_scale *scale,
		       const struct histogram *h, double divisor)
{
	const char *comma = labels[0] ? "," : "";
	int64_t count = 0;
	char line[128];

	for (size_t i = 0; i < scale->count; i++) {
		count += h->counts[i];
		buf_printf(out, "%s_bucket{%s%sle=\"%.15g\"} %lld\n", name, labels, comma,
			   (double)scale->bounds[i] / divisor, (long long)count);
	}
	count += h->counts[scale->count];
	buf_printf(out, "%s_bucket{%s%sle=\"+Inf\"} %lld\n", name, labels, comma, (long long)count);
	snprintf(line, sizeof(line), "%s_sum", name);
	metrics_float(out, line, labels, (double)h->sum / divisor);
	snprintf(line, sizeof(line), "%s_count", name);
	metrics_int(out, line, labels, count);
}

void metrics_gauge(struct buf *out, const char *name, const char *help, int64_t value)
{
	metrics_family(out, name, "gauge", help);
	metrics_int(out, name, "", value);
}

void metrics_counter(struct buf *out, const char *name, const char *help, int64_t value)
{
	metrics_family(out, name, "counter", help);
	metrics_int(out, name, "", value);
}
