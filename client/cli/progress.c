#include "progress.h"

#include <stdarg.h>

#include "proto/base/clock.h"

#define WIDTH	  30
#define REDRAW_MS 200

void progress_init(struct progress *p, FILE *out, long long total)
{
	*p = (struct progress){ .out = out, .total = total, .percent = -1 };
}

void progress_show(struct progress *p, const char *fmt, ...)
{
	long long now = clock_mono_ms();
	int percent = p->total > 0 ? (int)(100 * p->done / p->total) : 0;
	va_list args;

	if (!p->out || (percent == p->percent && now - p->drawn_ms < REDRAW_MS))
		return;
	if (percent > 100)
		percent = 100;
	p->percent = percent;
	p->drawn_ms = now;
	fputs("\r\033[K", p->out);
	if (p->total > 0) {
		int filled = percent * WIDTH / 100;

		fputc('[', p->out);
		for (int i = 0; i < WIDTH; i++)
			fputc(i < filled ? '#' : '.', p->out);
		fprintf(p->out, "] %3d %%  ", percent);
	}
	va_start(args, fmt);
	vfprintf(p->out, fmt, args);
	va_end(args);
	fflush(p->out);
}

void progress_clear(struct progress *p)
{
	if (!p->out || p->percent < 0)
		return;
	fputs("\r\033[K", p->out);
	fflush(p->out);
}
