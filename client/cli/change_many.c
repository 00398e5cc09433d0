/* Many jobs by filter: how many it may be about, the question, then one request after the other, each about a bounded
 * number of jobs and leading to the next by its cursor. After Ctrl-C no further one is sent; the one under way is
 * waited for, but not for long, and it is said how many jobs were changed by then.
 */
#include <string.h>

#include "await.h"
#include "change.h"
#include "confirm.h"
#include "filter.h"
#include "interrupt.h"
#include "progress.h"
#include "proto/base/clean.h"
#include "show.h"

#define SLICE 10000 /* jobs of one request */

struct sweep {
	struct cli *c;
	const struct verb *verb;
	struct raincheck_change change;
	struct progress progress;
	struct await await;
	char cursor[256];
	long long count; /* jobs changed */
	bool under_way;
	bool more; /* there may be, behind the cursor */
	int code;
	struct raincheck_error error;
};

/* ---- how many ---- */

static int64_t count_states(const struct raincheck_counts *n, unsigned states)
{
	const int64_t of[] = {
		[RAINCHECK_JOB_SCHEDULED] = n->scheduled, [RAINCHECK_JOB_READY] = n->ready,
		[RAINCHECK_JOB_RUNNING] = n->running,	  [RAINCHECK_JOB_SUCCEEDED] = n->succeeded,
		[RAINCHECK_JOB_DEAD] = n->dead,		  [RAINCHECK_JOB_CANCELED] = n->canceled,
		[RAINCHECK_JOB_EXPIRED] = n->expired,
	};
	int64_t sum = 0;

	for (size_t i = 0; i < ARRAY_SIZE(of); i++)
		if (states & (1u << i))
			sum += of[i];
	return sum;
}

/* Jobs in these states, in the filter's queue or in all: an upper bound where it asks for more than that. */
static int count(struct cli *c, const struct raincheck_filter *f, unsigned states, int64_t *ret)
{
	struct raincheck_queue *queue = NULL;
	struct raincheck_stats *stats = NULL;
	int rc = f->queue ? raincheck_queue_get(c->rc, f->queue, &queue) : raincheck_stats(c->rc, &stats);

	if (rc < 0)
		return cli_last_refused(c);
	*ret = count_states(f->queue ? &queue->counts : &stats->jobs, states);
	raincheck_free(queue);
	raincheck_free(stats);
	return CLI_DONE;
}

static int ask(struct cli *c, const struct verb *v, const struct raincheck_filter *f, int64_t expected)
{
	confirm_print_count(c, f->group || f->before_at_ms != 0 ? "At most" : "About", expected);
	fprintf(c->err, " will be %s: ", v->done);
	filter_print(c->err, f);
	fputs(".\n", c->err);
	if (v->warning)
		fprintf(c->err, "%s\n", v->warning);
	return confirm_ask(c);
}

/* ---- one request after the other ---- */

static void answered_cb(struct raincheck *rc, const struct raincheck_reply *reply, void *user)
{
	struct sweep *s = user;

	s->under_way = false;
	s->code = reply->code;
	s->more = false;
	if (reply->code < 0) {
		s->error = *reply->error;
	} else {
		s->count += reply->change->count;
		s->more = reply->change->cursor != NULL;
		snprintf(s->cursor, sizeof(s->cursor), "%s", s->more ? reply->change->cursor : "");
	}
	/* Not while the handle is being closed. */
	if (s->c->rc)
		raincheck_stop(rc);
}

static void step(struct sweep *s)
{
	s->change.cursor = s->more ? s->cursor : NULL;
	s->code = s->verb->many(s->c->rc, &s->change, answered_cb, s);
	if (s->code < 0) {
		s->error = *raincheck_last_error(s->c->rc);
		s->more = false;
		return;
	}
	s->under_way = true;
	while (s->under_way && await_some(s->c, &s->await))
		;
	/* What is left is told to be lost, while there is still somebody to be told. */
	if (s->under_way)
		raincheck_close(TAKE_PTR(s->c->rc), NULL, NULL);
	s->progress.done = s->count;
	progress_show(&s->progress, "%lld %s", s->count, s->verb->done);
}

/* ---- the end ---- */

static void print_count(const struct sweep *s)
{
	if (!s->c->json) {
		fprintf(s->c->out, "%lld %s\n", s->count, s->verb->done);
		return;
	}
	json_t *o = json_pack("{s:I, s:b}", "count", (json_int_t)s->count, "complete", s->code == 0 && !s->more);

	json_dumpf(o, s->c->out, 0);
	fputc('\n', s->c->out);
	json_decref(o);
}

static int finish(struct sweep *s)
{
	bool interrupted = interrupt_came() && (s->code < 0 || s->more);

	progress_clear(&s->progress);
	interrupt_unwatch();
	if (s->c->json || (!interrupted && (s->code == 0 || s->count > 0)))
		print_count(s);
	if (interrupted) {
		fprintf(s->c->err, "raincheck: interrupted: %lld %s%s\n", s->count, s->verb->done,
			s->code < 0 ? ", and some more may have been" : "");
		return CLI_INTERRUPTED;
	}
	return s->code < 0 ? cli_refused(s->c, &s->error) : CLI_DONE;
}

static int sweep(struct cli *c, const struct verb *v, const struct raincheck_filter *f, int64_t expected)
{
	struct sweep s = { .c = c, .verb = v, .change = { .filter = *f, .limit = SLICE } };

	progress_init(&s.progress, c->err_is_terminal ? c->err : NULL, expected);
	/* Until here Ctrl-C may simply end it. */
	interrupt_watch();
	do
		step(&s);
	while (s.more && !interrupt_came());
	return finish(&s);
}

static int check_state(struct cli *c, const struct verb *v, const struct raincheck_filter *f)
{
	if (f->has_state && !(v->states & (1u << f->state)))
		return cli_usage(c, "%s, not %s ones", v->refusal, raincheck_job_state_name(f->state));
	return CLI_DONE;
}

int change_many(struct cli *c, const struct verb *v)
{
	struct raincheck_ping_result *pong;
	struct picked picked;
	int64_t expected = 0;
	int exit = filter_read(c, &picked);

	if (exit == CLI_DONE)
		exit = check_state(c, v, &picked.filter);
	if (exit == CLI_DONE)
		exit = confirm_possible(c);
	if (exit != CLI_DONE || !cli_connect(c, &exit))
		return exit;
	/* A broker that is not there is told at once, where a request would wait for it. */
	if (raincheck_ping(c->rc, &pong) < 0)
		return cli_last_refused(c);
	raincheck_free(pong);
	/* Also without anybody to read it: a queue that is not there was probably meant to be another. */
	if (c->err_is_terminal || picked.filter.queue)
		exit = count(c, &picked.filter, picked.filter.has_state ? 1u << picked.filter.state : v->states,
			     &expected);
	if (exit == CLI_DONE && !confirm_given(c))
		exit = ask(c, v, &picked.filter, expected);
	return exit == CLI_DONE ? sweep(c, v, &picked.filter, expected) : exit;
}
