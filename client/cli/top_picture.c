/* Three lines about the broker, then queues, limits and workers, each with as many rows as the screen has for it: what
 * one does not need the others get. Queues that have something to do come first, else all is in the order of names.
 */
#include "top_picture.h"

#include <stdlib.h>
#include <string.h>

#include "proto/base/clean.h"
#include "proto/base/units.h"
#include "table.h"
#include "text.h"
#include "top_sample.h"

#define HEADER 3
#define AROUND 2 /* lines of a table besides its rows: an empty one, and the titles */
#define FOOT   "q ends"

enum part { QUEUES, LIMITS, WORKERS, PARTS };

/* ---- rates ---- */

struct rate_text {
	char text[32];
};

/* So many a second since the sample before; "-" without one. */
static struct rate_text rate(const struct top_picture *p, int64_t now, bool known, int64_t before)
{
	int64_t ms = p->before ? p->now->at_ms - p->before->at_ms : 0;
	/* A retry takes a job out of those that are done. */
	int64_t more = now > before ? now - before : 0;
	struct rate_text r = { "-" };
	double per_second;

	if (!p->before || !known || ms <= 0)
		return r;
	per_second = (double)more * 1000 / (double)ms;
	snprintf(r.text, sizeof(r.text), per_second < 100 ? "%.1f" : "%.0f", per_second);
	return r;
}

static int64_t total_done(const struct top_sample *s)
{
	return s->stats.put_total - s->stats.jobs.scheduled - s->stats.jobs.ready - s->stats.jobs.running;
}

/* ---- the broker ---- */

/* A line, cut where the screen ends. */
static void put_line(const struct top_picture *p, FILE *out, const char *text, const char *colour)
{
	if (colour && p->colour)
		fprintf(out, "\033[%sm", colour);
	text_print_cut(out, text, p->columns > 0 ? p->columns : SIZE_MAX);
	fputs(colour && p->colour ? "\033[0m\n" : "\n", out);
}

static void draw_header(const struct top_picture *p, FILE *out)
{
	const struct raincheck_stats *s = &p->now->stats;
	const struct raincheck_counts *jobs = &s->jobs;
	const struct top_sample *b = p->before;
	char text[512];

	snprintf(text, sizeof(text), "raincheckd %s at %s   up %s   store %s of %s%s", s->version, p->server,
		 units_format_duration(s->now_ms - s->started_at_ms).text, units_format_size(s->store.used_bytes).text,
		 units_format_size(s->store.max_bytes).text, s->store.full ? ", FULL" : "");
	put_line(p, out, text, "1");
	snprintf(text, sizeof(text),
		 "jobs: %lld waiting, %lld scheduled, %lld running   put %s/s   done %s/s   dead %lld",
		 (long long)jobs->ready, (long long)jobs->scheduled, (long long)jobs->running,
		 rate(p, s->put_total, b, b ? b->stats.put_total : 0).text,
		 rate(p, total_done(p->now), b, b ? total_done(b) : 0).text, (long long)jobs->dead);
	put_line(p, out, text, NULL);
	snprintf(text, sizeof(text), "slots: %lld, %lld free, %lld wanted   backlog %s   oldest waits %s",
		 (long long)s->slots, (long long)s->slots_free, (long long)s->wanted_concurrency,
		 units_format_duration(s->backlog_ms).text,
		 s->has_oldest_ready_age_ms ? units_format_duration(s->oldest_ready_age_ms).text : "-");
	put_line(p, out, text, NULL);
}

/* ---- rows ---- */

static void add_queue(const struct top_picture *p, struct table *t, const struct top_queue *q)
{
	const struct top_queue *b = p->before ? top_sample_queue(p->before, q->name) : NULL;
	int64_t waits_ms = p->now->stats.now_ms - q->oldest_ready_at_ms;

	table_add(t, q->name);
	table_add_coloured(t, q->paused ? "paused" : NULL, "33");
	table_add_number(t, q->scheduled);
	table_add_number(t, q->ready);
	table_add_number(t, q->running);
	table_add(t, rate(p, q->put, b, b ? b->put : 0).text);
	table_add(t, rate(p, q->done, b, b ? b->done : 0).text);
	table_add(t, q->run_ms > 0 ? text_span(q->run_ms).text : NULL);
	table_add(t, q->oldest_ready_at_ms > 0 ? text_age(waits_ms).text : NULL);
	table_add(t, q->limit[0] ? q->limit : NULL);
}

static const char *limit_colour(enum raincheck_limit_state state)
{
	switch (state) {
	case RAINCHECK_LIMIT_BROKEN:
		return "31";
	case RAINCHECK_LIMIT_HELD:
	case RAINCHECK_LIMIT_PROBING:
		return "33";
	case RAINCHECK_LIMIT_FULL:
	case RAINCHECK_LIMIT_PACED:
		return "36";
	default:
		return NULL;
	}
}

static void add_limit(const struct top_picture *p, struct table *t, const struct top_limit *l)
{
	const struct top_limit *b = p->before ? top_sample_limit(p->before, l->name) : NULL;
	const struct raincheck_limit_now *n = &l->now;
	int64_t trouble = n->failed + n->throttled, held_ms = n->held_until_at_ms - p->now->stats.now_ms;
	char calls[64];

	if (n->concurrency > 0)
		snprintf(calls, sizeof(calls), "%lld/%lld%s", (long long)n->in_flight, (long long)n->concurrency,
			 l->is_adaptive ? "~" : "");
	else
		snprintf(calls, sizeof(calls), "%lld", (long long)n->in_flight);
	table_add(t, l->name);
	table_add_coloured(t, raincheck_limit_state_name(n->state), limit_colour(n->state));
	table_add(t, calls);
	table_add_number(t, n->waiting);
	table_add(t, rate(p, n->started, b, b ? b->now.started : 0).text);
	table_add(t, rate(p, trouble, b, b ? b->now.failed + b->now.throttled : 0).text);
	table_add(t, n->run.mean_ms > 0 ? text_span(n->run.mean_ms).text : NULL);
	table_add(t, n->rate > 0 ? text_rate(n->rate).text : NULL);
	table_add(t, n->held_until_at_ms > 0 ? text_age(held_ms).text : NULL);
}

static void add_worker(const struct top_picture *p, struct table *t, const struct top_worker *w)
{
	(void)p;
	table_add(t, w->name);
	table_add_coloured(t, raincheck_worker_state_name(w->state), w->state == RAINCHECK_WORKER_ACTIVE ? NULL : "33");
	if (w->has_slots)
		table_add_number(t, w->slots);
	else
		table_add(t, NULL);
	table_add_number(t, w->in_hand);
	table_add(t, w->waiting > 0 ? "yes" : "no");
	table_add(t, w->address);
	table_add(t, w->queues);
}

/* ---- tables ---- */

static bool is_idle(const struct top_queue *q)
{
	return q->scheduled + q->ready + q->running == 0;
}

static int by_use(const void *a, const void *b)
{
	const struct top_queue *x = *(const struct top_queue *const *)a, *y = *(const struct top_queue *const *)b;

	return is_idle(x) != is_idle(y) ? is_idle(x) - is_idle(y) : strcmp(x->name, y->name);
}

static bool add_queues(const struct top_picture *p, struct table *t, size_t rows)
{
	size_t count = p->now->queue_count;
	_cleanup_free_ const struct top_queue **order = calloc(count + 1, sizeof(*order));

	if (!order)
		return false;
	for (size_t i = 0; i < count; i++)
		order[i] = &p->now->queues[i];
	qsort(order, count, sizeof(const struct top_queue *), by_use);
	for (size_t i = 0; i < rows; i++)
		add_queue(p, t, order[i]);
	return true;
}

static size_t count_of(const struct top_sample *s, enum part part)
{
	return part == QUEUES ? s->queue_count : part == LIMITS ? s->limit_count : s->worker_count;
}

/* The rows of a part, the last of them a word about those that are left out. */
static bool draw_part(const struct top_picture *p, enum part part, size_t rows, FILE *out)
{
	static const char *const titles[PARTS][10] = {
		[QUEUES] = { "QUEUE", "STATE", "SCHED", "READY", "RUNNING", "PUT/S", "DONE/S", "TAKES", "OLDEST",
			     "LIMIT" },
		[LIMITS] = { "LIMIT", "STATE", "CALLS", "WAITING", "CALLS/S", "FAIL/S", "TAKES", "RATE", "HELD" },
		[WORKERS] = { "WORKER", "STATE", "SLOTS", "IN HAND", "WAITS", "FROM", "QUEUES" },
	};
	static const size_t columns[PARTS] = { 10, 9, 7 };
	static const uint32_t right[PARTS] = { 0x1fc, 0x1fc, 0xc };
	size_t count = count_of(p->now, part), shown = count <= rows ? count : rows > 0 ? rows - 1 : 0;
	_cleanup_(table_done) struct table t;
	bool drawn = true;

	table_init(&t, titles[part], columns[part], right[part], p->colour);
	table_fit(&t, p->columns, 0);
	if (part == QUEUES)
		drawn = add_queues(p, &t, shown);
	for (size_t i = 0; part == LIMITS && i < shown; i++)
		add_limit(p, &t, &p->now->limits[i]);
	for (size_t i = 0; part == WORKERS && i < shown; i++)
		add_worker(p, &t, &p->now->workers[i]);
	fputc('\n', out);
	drawn = drawn && table_print(&t, out);
	if (shown < count)
		fprintf(out, "and %zu more\n", count - shown);
	return drawn;
}

/* ---- the whole ---- */

/* Rows for each part out of so many: in turn one for each that wants more. */
static void share(const size_t *wanted, size_t rows, size_t *ret)
{
	bool more = true;

	memset(ret, 0, PARTS * sizeof(*ret));
	while (rows > 0 && more) {
		more = false;
		for (int i = 0; i < PARTS && rows > 0; i++) {
			if (ret[i] == wanted[i])
				continue;
			ret[i]++;
			rows--;
			more = true;
		}
	}
}

static size_t rows_for_tables(const struct top_picture *p, size_t parts)
{
	size_t used = HEADER + 1 + parts * AROUND; /* and the foot */

	if (p->rows == 0)
		return SIZE_MAX;
	return p->rows > used ? p->rows - used : 0;
}

static bool draw_body(const struct top_picture *p, FILE *out)
{
	static const char *const nothing[PARTS] = { [QUEUES] = "no queue yet", [WORKERS] = "no worker is connected" };
	size_t wanted[PARTS], rows[PARTS], parts = 0;
	bool drawn = true;

	draw_header(p, out);
	for (int i = 0; i < PARTS; i++) {
		wanted[i] = count_of(p->now, (enum part)i);
		parts += wanted[i] > 0 || nothing[i];
	}
	share(wanted, rows_for_tables(p, parts), rows);
	for (int i = 0; i < PARTS && drawn; i++) {
		if (wanted[i] > 0) {
			drawn = draw_part(p, (enum part)i, rows[i], out);
		} else if (nothing[i]) {
			fputc('\n', out);
			put_line(p, out, nothing[i], "33");
		}
	}
	return drawn;
}

static void draw_foot(const struct top_picture *p, FILE *out)
{
	if (p->trouble)
		put_line(p, out, p->trouble, "31");
	else if (p->rows > 0)
		put_line(p, out, FOOT, "2");
}

/* As many lines of the text as there is room for above the foot, and no fewer. */
static void fill_rows(const char *text, size_t rows, FILE *out)
{
	for (size_t i = 0; i + 1 < rows; i++) {
		size_t length = strcspn(text, "\n");

		fwrite(text, 1, length, out);
		fputc('\n', out);
		text += length + (text[length] == '\n');
	}
}

bool top_picture_draw(const struct top_picture *p, FILE *out)
{
	_cleanup_free_ char *text = NULL;
	size_t size;
	FILE *body = open_memstream(&text, &size);
	bool drawn;

	if (!body)
		return false;
	drawn = draw_body(p, body);
	if (fclose(body) != 0 || !drawn)
		return false;
	if (p->rows > 0)
		fill_rows(text, p->rows, out);
	else
		fputs(text, out);
	draw_foot(p, out);
	return true;
}
