/* Jobs by id: a window of requests is under way, and their answers are told in the order of the ids. When the
 * connection breaks, and after Ctrl-C, nothing more is sent; the answers under way are waited for, after Ctrl-C not for
 * long.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "await.h"
#include "change.h"
#include "interrupt.h"
#include "proto/base/clean.h"
#include "proto/base/uuid.h"
#include "show.h"
#include "text.h"

#define WINDOW 256
#define BLANKS " \t\r\n"

struct item {
	struct run *run;
	char id[RAINCHECK_ID_SIZE];
	bool answered;
	int64_t count;
	struct raincheck_error error;
};

struct run {
	struct cli *c;
	const struct verb *verb;
	struct item *items; /* a ring of WINDOW */
	size_t told, begun; /* both count up */
	size_t under_way;   /* not answered */
	long long done;	    /* jobs changed */
	long long unknown;  /* sent, and never answered */
	struct await await;
	int exit;
	bool broken;
	bool stopped; /* before all ids had been sent */
};

static struct item *item_at(const struct run *r, size_t at)
{
	return &r->items[at % WINDOW];
}

/* ---- telling ---- */

/* One kind of failure is the status of all; where there are several it is the general one. */
static void fail(struct run *r, int exit)
{
	r->exit = r->exit == CLI_DONE || r->exit == exit ? exit : CLI_FAILED;
}

static void tell_done(struct run *r, const struct item *i)
{
	struct cli *c = r->c;

	r->done += i->count;
	if (c->json)
		fprintf(c->out, "{\"id\": \"%s\", \"count\": %lld}\n", i->id, (long long)i->count);
	else
		fprintf(c->out, "%s  %s%s\n", i->id, r->verb->done, i->count == 0 ? " already" : "");
}

static void tell_refused(struct run *r, const struct item *i)
{
	struct cli *c = r->c;

	r->unknown += i->error.sent;
	fail(r, cli_exit_of(i->error.code));
	if (c->json) {
		json_t *o = show_error_json(&i->error);

		json_object_set_new(o, "id", json_string(i->id));
		json_dumpf(o, c->err, 0);
		fputc('\n', c->err);
		json_decref(o);
		return;
	}
	fprintf(c->err, "raincheck: %s: ", i->id);
	show_error(c->err, &i->error);
	fputc('\n', c->err);
}

static void tell(struct run *r)
{
	for (; r->told < r->begun && item_at(r, r->told)->answered; r->told++) {
		const struct item *i = item_at(r, r->told);

		if (i->error.code == 0)
			tell_done(r, i);
		else
			tell_refused(r, i);
	}
}

/* ---- sending ---- */

static void answered_cb(struct raincheck *rc, const struct raincheck_reply *reply, void *user)
{
	struct item *i = user;
	struct run *r = i->run;

	r->under_way--;
	i->answered = true;
	if (reply->code < 0)
		i->error = *reply->error;
	else
		i->count = reply->change->count;
	if (cli_exit_of(reply->code) == CLI_NO_CONNECTION)
		r->broken = true;
	tell(r);
	/* Not while the handle is being closed. */
	if (r->c->rc)
		raincheck_stop(rc);
}

static void send_one(struct run *r, const char *id)
{
	struct item *i;

	while (r->begun - r->told == WINDOW && !r->broken && !interrupt_came() && await_some(r->c, &r->await))
		;
	if (r->begun - r->told == WINDOW || r->broken || interrupt_came()) {
		r->stopped = true;
		return;
	}
	i = item_at(r, r->begun++);
	*i = (struct item){ .run = r };
	snprintf(i->id, sizeof(i->id), "%s", id);
	if (r->verb->one(r->c->rc, id, answered_cb, i) < 0) {
		i->error = *raincheck_last_error(r->c->rc);
		i->answered = true;
		tell(r);
		return;
	}
	r->under_way++;
}

static void await_all(void *user)
{
	struct run *r = user;

	while (r->under_way > 0 && await_some(r->c, &r->await))
		;
	fflush(r->c->out);
}

/* ---- ids from standard input ---- */

/* The line without the blanks around it. */
static char *trim(char *text)
{
	size_t size;

	text += strspn(text, BLANKS);
	size = strlen(text);
	while (size > 0 && strchr(BLANKS, text[size - 1]))
		size--;
	text[size] = '\0';
	return text;
}

static void take_line(struct run *r, const char *text, long long line)
{
	struct uuid ignored;

	if (*text == '\0')
		return;
	if (uuid_parse(slice_str(text), &ignored) == 0) {
		send_one(r, text);
		return;
	}
	fprintf(r->c->err, "raincheck: line %lld: \"", line);
	text_print_cut(r->c->err, text, 60);
	fputs("\" is not a job's id\n", r->c->err);
	fail(r, CLI_FAILED);
}

static int read_ids(struct run *r)
{
	FILE *reader = interrupt_reader(r->c->in, await_all, r);
	FILE *f = reader ? reader : r->c->in;
	_cleanup_free_ char *text = NULL;
	size_t capacity = 0;
	long long line = 0;
	int error = 0;

	while (!r->stopped && !r->broken) {
		errno = 0;
		/* A line that was cut short by Ctrl-C is none. */
		if (getline(&text, &capacity, f) < 0 || interrupt_came()) {
			error = ferror(f) ? errno : 0;
			break;
		}
		take_line(r, trim(text), ++line);
	}
	r->stopped = r->stopped || interrupt_came() || (r->broken && !feof(f));
	if (reader)
		fclose(reader);
	if (error != 0 && !interrupt_came())
		return cli_failed(r->c, "cannot read: %s", strerror(error));
	return CLI_DONE;
}

/* ---- from begin to end ---- */

static int finish(struct run *r)
{
	bool interrupted;

	await_all(r);
	/* What is left is told to be lost, while there is still somebody to be told. */
	if (r->under_way > 0)
		raincheck_close(TAKE_PTR(r->c->rc), NULL, NULL);
	interrupted = interrupt_came() && (r->stopped || r->unknown > 0);
	interrupt_unwatch();
	free(r->items);
	if (interrupted) {
		fprintf(r->c->err, "raincheck: interrupted: %lld %s", r->done, r->verb->done);
		if (r->unknown > 0)
			fprintf(r->c->err, ", %lld not known", r->unknown);
		fputc('\n', r->c->err);
		return CLI_INTERRUPTED;
	}
	if (r->stopped)
		fprintf(r->c->err, "raincheck: of the ids behind these nothing was sent; %lld %s\n", r->done,
			r->verb->done);
	return r->exit;
}

int change_ids(struct cli *c, const struct verb *v)
{
	struct run r = { .c = c, .verb = v };
	struct raincheck_ping_result *pong;
	int exit = CLI_DONE, read = CLI_DONE;

	if (!cli_connect(c, &exit))
		return exit;
	/* A broker that is not there is told at once, where a request would wait for it. */
	if (raincheck_ping(c->rc, &pong) < 0)
		return cli_last_refused(c);
	raincheck_free(pong);
	r.items = calloc(WINDOW, sizeof(*r.items));
	if (!r.items)
		return cli_failed(c, "out of memory");
	interrupt_watch();
	if (strcmp(c->args[0], "-") == 0)
		read = read_ids(&r);
	else
		for (int i = 0; i < c->arg_count && !r.stopped; i++)
			send_one(&r, c->args[i]);
	exit = finish(&r);
	return exit != CLI_DONE ? exit : read;
}
