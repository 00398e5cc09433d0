/* top: a live picture of the broker, redrawn with every answer. The broker is asked without waiting, so that keys and a
 * new size of the terminal are seen at once also while it does not answer.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "client/raincheck.h"
#include "proto/base/clean.h"
#include "proto/base/clock.h"
#include "proto/base/units.h"
#include "terminal.h"
#include "top_picture.h"
#include "top_sample.h"

#define INTERVAL_MS	1000
#define INTERVAL_MIN_MS 100
#define INTERVAL_MAX_MS 3600000
#define SLICE_MS	50   /* keys are looked for so often while an answer is awaited */
#define PATIENCE_MS	2000 /* after which it is said that none comes */

struct top {
	struct cli *c;
	int64_t interval_ms;
	struct top_sample *now, *before, *next;
	struct top_sample samples[3];
	bool has_before;
	bool asking;
	int64_t asked_at_ms;
	char trouble[256]; /* "": none */
};

/* ---- what is asked ---- */

static void ask(struct top *t)
{
	top_sample_done(t->next);
	top_sample_begin(t->next, t->c->rc);
	t->asking = true;
	t->asked_at_ms = clock_mono_ms();
}

static void turn(struct top *t)
{
	struct top_sample *oldest = t->before;

	t->before = t->now;
	t->now = t->next;
	t->next = oldest;
}

/* Waits for the first of all samples, or for one more; the exit status. */
static int ask_and_wait(struct top *t)
{
	ask(t);
	raincheck_run(t->c->rc, -1);
	t->asking = false;
	if (t->next->error.code < 0)
		return cli_refused(t->c, &t->next->error);
	turn(t);
	return CLI_DONE;
}

/* ---- what is shown ---- */

static bool draw(struct top *t, size_t columns, size_t rows, bool colour, FILE *out)
{
	struct top_picture p = {
		.now = t->now,
		.before = t->has_before ? t->before : NULL,
		.server = cli_server(t->c),
		.trouble = t->trouble[0] ? t->trouble : NULL,
		.columns = columns,
		.rows = rows,
		.colour = colour,
	};

	return top_picture_draw(&p, out);
}

static void show(struct top *t)
{
	struct terminal_size size = terminal_size();
	_cleanup_free_ char *text = NULL;
	size_t length;
	FILE *out = open_memstream(&text, &length);
	bool drawn = out && draw(t, size.columns, size.rows, t->c->colour, out);

	/* Without memory for it the picture before stays. */
	if (out && fclose(out) == 0 && drawn)
		terminal_show(text, length);
}

/* ---- a while of it ---- */

static void answered(struct top *t)
{
	t->asking = false;
	t->trouble[0] = '\0';
	if (t->next->error.code < 0) {
		snprintf(t->trouble, sizeof(t->trouble), "%s", t->next->error.message);
	} else {
		turn(t);
		t->has_before = true;
	}
	show(t);
}

/* Drawn again only where it says something new. */
static void say_trouble(struct top *t, const char *text)
{
	if (strcmp(t->trouble, text) == 0)
		return;
	snprintf(t->trouble, sizeof(t->trouble), "%s", text);
	show(t);
}

static void await_answer(struct top *t)
{
	char text[96];
	int64_t waited_ms;

	raincheck_run(t->c->rc, SLICE_MS);
	if (t->next->pending == 0) {
		answered(t);
		return;
	}
	waited_ms = clock_mono_ms() - t->asked_at_ms;
	if (waited_ms < PATIENCE_MS)
		return;
	snprintf(text, sizeof(text), "the broker has not answered for %s",
		 units_format_duration(waited_ms / 1000 * 1000).text);
	say_trouble(t, text);
}

/* False at the end. */
static bool step(struct top *t)
{
	int64_t left_ms = t->asked_at_ms + t->interval_ms - clock_mono_ms();
	char key = 0;

	if (!t->asking && left_ms <= 0)
		ask(t);
	if (t->asking)
		await_answer(t);
	switch (terminal_wait(t->asking ? 0 : t->asked_at_ms + t->interval_ms - clock_mono_ms(), &key)) {
	case TERMINAL_END:
		return false;
	case TERMINAL_KEY:
		return key != 'q' && key != 'Q';
	case TERMINAL_REDRAW:
		show(t);
		return true;
	default:
		return true;
	}
}

static int run_live(struct top *t)
{
	struct cli *c = t->c;
	int exit = ask_and_wait(t);

	if (exit != CLI_DONE)
		return exit;
	fflush(c->out);
	if (!terminal_take(c->in_is_terminal ? fileno(c->in) : -1, fileno(c->out)))
		return cli_failed(c, "this terminal cannot be taken: %s", strerror(errno));
	show(t);
	while (step(t))
		;
	terminal_give_back();
	/* What is still asked for would be written to samples that are no more. */
	if (t->asking)
		raincheck_close(TAKE_PTR(c->rc), NULL, NULL);
	return CLI_DONE;
}

/* ---- once ---- */

static int run_once(struct top *t)
{
	struct cli *c = t->c;
	int exit = ask_and_wait(t);

	if (exit == CLI_DONE && cli_value(c, "interval")) {
		poll(NULL, 0, (int)t->interval_ms);
		exit = ask_and_wait(t);
		t->has_before = true;
	}
	if (exit != CLI_DONE)
		return exit;
	return draw(t, c->width, 0, false, c->out) ? CLI_DONE : cli_failed(c, "out of memory");
}

/* ---- the command ---- */

/* "2" is seconds; with a unit it is what it says. */
static int read_interval(struct cli *c, int64_t *ret_ms)
{
	const char *text = cli_value(c, "interval");
	char with_unit[40];

	*ret_ms = INTERVAL_MS;
	if (!text)
		return CLI_DONE;
	snprintf(with_unit, sizeof(with_unit), "%ss", text);
	if ((units_parse_duration(slice_str(with_unit), ret_ms) == 0 ||
	     units_parse_duration(slice_str(text), ret_ms) == 0) &&
	    *ret_ms >= INTERVAL_MIN_MS && *ret_ms <= INTERVAL_MAX_MS)
		return CLI_DONE;
	return cli_usage(c, "--interval must be from 0.1 seconds to 1h, not \"%s\"", text);
}

static int check_terminal(struct cli *c)
{
	const char *terminal = getenv("TERM");

	if (c->json)
		return cli_usage(c, "top has no JSON; raincheck stats --json and the ls commands have");
	if (cli_value(c, "once"))
		return CLI_DONE;
	if (!c->out_is_terminal)
		return cli_usage(c, "top needs a terminal; raincheck top --once prints one picture anywhere");
	if (terminal && strcmp(terminal, "dumb") == 0)
		return cli_usage(c, "this terminal cannot show a live picture; raincheck top --once prints one");
	return CLI_DONE;
}

int cli_top(struct cli *c)
{
	struct top t = { .c = c };
	struct raincheck_ping_result *pong;
	int exit = check_terminal(c);

	if (exit == CLI_DONE)
		exit = read_interval(c, &t.interval_ms);
	if (exit != CLI_DONE || !cli_connect(c, &exit))
		return exit;
	/* A broker that is not there is told at once, where a request would wait for it. */
	if (raincheck_ping(c->rc, &pong) < 0)
		return cli_last_refused(c);
	raincheck_free(pong);
	t.now = &t.samples[0];
	t.before = &t.samples[1];
	t.next = &t.samples[2];
	exit = cli_value(c, "once") ? run_once(&t) : run_live(&t);
	for (size_t i = 0; i < ARRAY_SIZE(t.samples); i++)
		top_sample_done(&t.samples[i]);
	return exit;
}
