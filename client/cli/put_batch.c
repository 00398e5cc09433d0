/* put, many at once: jobs gather into batches of one commit each, several batches are under way at a time, and the
 * answers are counted as they come. Lines that are no job never leave; those the broker refuses are told with the rest
 * at the end, neighbours with the same reason in one line. When the connection breaks nothing more is sent: what was
 * under way may or may not have been put, and that is what is said of it. After Ctrl-C no more is read; what was read
 * still goes out, its answers are awaited for a while, and it is said how far that was.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "await.h"
#include "cli.h"
#include "client/raincheck.h"
#include "interrupt.h"
#include "progress.h"
#include "proto/base/clean.h"
#include "put.h"
#include "text.h"

#define WINDOW	     4 /* batches under way */
#define MAX_JOBS     1000
#define JOB_OVERHEAD 512 /* bytes that a job's settings take, at a guess */
#define BOM	     "\xef\xbb\xbf"

/* Neighbouring lines that were refused for the same reason. */
struct refusal {
	long long first, last;
	char message[360];
};

struct load {
	struct cli *c;
	struct progress progress;
	size_t max_bytes; /* of one batch */
	long long put;
	long long refused;
	long long unknown;     /* sent, and never answered */
	long long unsent_from; /* the first line that was to go out and did not; 0: none */
	long long line;	       /* the last one read */
	struct await await;
	struct refusal *refusals;
	size_t refusal_count;
	size_t under_way;
	int exit; /* CLI_DONE until something goes wrong */
	bool broken;
};

/* Jobs that go out together; lives until it is answered. */
struct batch {
	struct load *load;
	struct draft *drafts; /* NULL where all are the same job */
	struct raincheck_put *puts;
	long long *lines;
	size_t count;
	size_t bytes;
};

static void batch_free(struct batch *b)
{
	if (!b)
		return;
	for (size_t i = 0; b->drafts && i < b->count; i++)
		draft_done(&b->drafts[i]);
	free(b->drafts);
	free(b->puts);
	free(b->lines);
	free(b);
}

static struct batch *batch_new(struct load *l)
{
	struct batch *b = calloc(1, sizeof(*b));

	if (!b)
		return NULL;
	b->load = l;
	b->drafts = calloc(MAX_JOBS, sizeof(*b->drafts));
	b->puts = calloc(MAX_JOBS, sizeof(*b->puts));
	b->lines = calloc(MAX_JOBS, sizeof(*b->lines));
	if (b->drafts && b->puts && b->lines)
		return b;
	batch_free(b);
	return NULL;
}

/* ---- refusals ---- */

static void refuse(struct load *l, long long line, const char *message)
{
	struct refusal *last = l->refusal_count ? &l->refusals[l->refusal_count - 1] : NULL;
	struct refusal *more;

	if (l->exit == CLI_DONE)
		l->exit = CLI_FAILED;
	if (last && last->last + 1 == line && strcmp(last->message, message) == 0) {
		last->last = line;
		return;
	}
	more = realloc(l->refusals, (l->refusal_count + 1) * sizeof(*more));
	/* Without memory for the reason it is counted all the same. */
	if (!more)
		return;
	l->refusals = more;
	more[l->refusal_count] = (struct refusal){ line, line, "" };
	snprintf(more[l->refusal_count++].message, sizeof(more->message), "%s", message);
}

static void refuse_error(struct load *l, long long line, const struct raincheck_error *e)
{
	char message[360];

	l->refused += !e->sent;
	l->unknown += e->sent;
	snprintf(message, sizeof(message), "%s%s%s (%s)%s", e->field, e->field[0] ? ": " : "", e->message,
		 raincheck_error_name(e->code), e->sent ? "; it may have been put all the same" : "");
	refuse(l, line, message);
}

static int by_line(const void *a, const void *b)
{
	const struct refusal *x = a, *y = b;

	return (x->first > y->first) - (x->first < y->first);
}

static void tell_refusals(struct load *l)
{
	/* Batches are answered in any order. */
	if (l->refusal_count)
		qsort(l->refusals, l->refusal_count, sizeof(*l->refusals), by_line);
	for (size_t i = 0; i < l->refusal_count; i++) {
		const struct refusal *r = &l->refusals[i];

		if (r->first == r->last)
			fprintf(l->c->err, "line %lld: ", r->first);
		else
			fprintf(l->c->err, "lines %lld to %lld: ", r->first, r->last);
		text_print(l->c->err, r->message);
		fputc('\n', l->c->err);
	}
}

/* ---- batches ---- */

static void show_progress(struct load *l)
{
	if (l->refused > 0)
		progress_show(&l->progress, "%lld put, %lld refused", l->put, l->refused);
	else
		progress_show(&l->progress, "%lld put", l->put);
}

static void answered_cb(struct raincheck *rc, const struct raincheck_reply *reply, void *user)
{
	struct batch *b = user;
	struct load *l = b->load;

	l->under_way--;
	for (size_t i = 0; i < b->count; i++) {
		const struct raincheck_put_result *r = reply->code == 0 ? &reply->put_many->jobs[i] : NULL;

		if (!r) {
			refuse_error(l, b->lines[i], reply->error);
		} else if (r->error) {
			refuse_error(l, b->lines[i], r->error);
		} else {
			l->put++;
			if (l->c->json || !b->drafts)
				put_print(l->c, r, b->drafts ? b->lines[i] : 0);
		}
	}
	if (reply->code < 0) {
		l->exit = cli_exit_of(reply->code);
		l->broken = l->broken || l->exit != CLI_FAILED;
	}
	show_progress(l);
	batch_free(b);
	/* Not while the handle is being closed. */
	if (l->c->rc)
		raincheck_stop(rc);
}

/* Takes b over. */
static void send_batch(struct load *l, struct batch *b)
{
	int rc;

	while (l->under_way >= WINDOW && !l->broken && await_some(l->c, &l->await))
		;
	if (b->count == 0 || l->broken || l->under_way >= WINDOW) {
		if (b->count > 0 && l->unsent_from == 0)
			l->unsent_from = b->lines[0];
		batch_free(b);
		return;
	}
	rc = raincheck_put_many_async(l->c->rc, b->puts, b->count, answered_cb, b);
	if (rc == 0) {
		l->under_way++;
		return;
	}
	for (size_t i = 0; i < b->count; i++)
		refuse_error(l, b->lines[i], raincheck_last_error(l->c->rc));
	batch_free(b);
}

/* what: "line" or "job". */
static void tell_end(const struct load *l, const char *what)
{
	if (interrupt_came())
		fprintf(l->c->err, "raincheck: interrupted after %s %lld: %lld put\n", what,
			l->unsent_from > 0 ? l->unsent_from - 1 : l->line, l->put);
	else if (l->unsent_from > 0)
		fprintf(l->c->err, "from %s %lld on nothing was sent\n", what, l->unsent_from);
}

static int finish(struct load *l, const char *what)
{
	while (l->under_way > 0 && await_some(l->c, &l->await))
		;
	/* What is left is told to be lost, while there is still somebody to be told. */
	if (l->under_way > 0)
		raincheck_close(TAKE_PTR(l->c->rc), NULL, NULL);
	progress_clear(&l->progress);
	tell_refusals(l);
	free(l->refusals);
	tell_end(l, what);
	interrupt_unwatch();
	return interrupt_came() ? CLI_INTERRUPTED : l->exit;
}

/* Connects first, because the broker says how large a message may be. */
static int begin(struct load *l, struct cli *c)
{
	struct raincheck_ping_result *pong;
	int exit = CLI_DONE;

	*l = (struct load){ .c = c };
	if (!cli_connect(c, &exit))
		return exit;
	if (raincheck_ping(c->rc, &pong) < 0)
		return cli_last_refused(c);
	raincheck_free(pong);
	/* Half of it, because the overhead is a guess. */
	l->max_bytes = (size_t)raincheck_server(c->rc)->max_message_bytes / 2;
	/* Until here there is nothing to tell, and Ctrl-C may simply end it. */
	interrupt_watch();
	return CLI_DONE;
}

/* ---- the same job again and again ---- */

int put_repeat(struct cli *c, const struct raincheck_put *put, long long count)
{
	struct load l;
	int exit = begin(&l, c);
	size_t each = put->payload.size + put->preview.data.size + JOB_OVERHEAD;

	if (exit != CLI_DONE)
		return exit;
	progress_init(&l.progress, c->err_is_terminal && !c->out_is_terminal ? c->err : NULL, count);
	for (long long at = 0; at < count && !l.broken && !interrupt_came();) {
		struct batch *b = batch_new(&l);

		if (!b) {
			l.exit = cli_failed(c, "out of memory");
			break;
		}
		free(TAKE_PTR(b->drafts));
		while (at < count && b->count < MAX_JOBS && (b->count == 0 || b->bytes + each <= l.max_bytes)) {
			b->puts[b->count] = *put;
			b->lines[b->count++] = ++at;
			b->bytes += each;
		}
		l.line = at;
		l.progress.done = at;
		send_batch(&l, b);
	}
	return finish(&l, "job");
}

/* ---- a file ---- */

static int parse_line(struct load *l, const char *text, size_t size, struct draft *d, struct settings_error *error)
{
	json_error_t bad;
	json_t *object = json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &bad);
	int rc;

	if (!object) {
		snprintf(error->message, sizeof(error->message), "is not JSON: %.120s", bad.text);
		return RAINCHECK_EBAD_REQUEST;
	}
	/* The flags were checked before the first line; they fail for lack of memory at most. */
	rc = put_apply_flags(l->c, d) == CLI_DONE ? settings_from_json(d, object, error) : RAINCHECK_ENO_MEMORY;
	json_decref(object);
	if (rc == 0 && (!d->put.queue || !d->put.payload.data)) {
		snprintf(error->message, sizeof(error->message), "%s is missing", d->put.queue ? "payload" : "queue");
		rc = RAINCHECK_EBAD_REQUEST;
	}
	return rc;
}

/* Adds the line to *b, which goes out and is made anew where it is full. */
static bool take_line(struct load *l, struct batch **b, const char *text, size_t size, long long line)
{
	_cleanup_(draft_done) struct draft d = { 0 };
	struct settings_error error = { "out of memory" };
	size_t bytes;

	if (strspn(text, " \t\r\n") == size)
		return true;
	if (parse_line(l, text, size, &d, &error) < 0) {
		l->refused++;
		refuse(l, line, error.message);
		return true;
	}
	bytes = size + d.put.preview.data.size + JOB_OVERHEAD;
	if ((*b)->count == MAX_JOBS || ((*b)->count > 0 && (*b)->bytes + bytes > l->max_bytes)) {
		send_batch(l, *b);
		*b = batch_new(l);
		if (!*b)
			return false;
	}
	struct draft *to = &(*b)->drafts[(*b)->count];

	*to = d;
	d = (struct draft){ 0 };
	if (to->put.metadata)
		to->put.metadata = to->metadata;
	(*b)->puts[(*b)->count] = to->put;
	(*b)->lines[(*b)->count++] = line;
	(*b)->bytes += bytes;
	return true;
}

/* The next line, without the mark that some editors put before the first. False at the end, and where interrupted: a
 * line that was cut short by that is none. */
static bool next_line(struct load *l, FILE *f, char **text, size_t *capacity, size_t *ret_size)
{
	ssize_t n = interrupt_came() ? -1 : getline(text, capacity, f);

	if (n < 0 || (interrupt_came() && (*text)[n - 1] != '\n'))
		return false;
	l->progress.done += n;
	*ret_size = (size_t)n;
	if (++l->line == 1 && n >= 3 && memcmp(*text, BOM, 3) == 0) {
		*ret_size -= 3;
		memmove(*text, *text + 3, *ret_size + 1);
	}
	return true;
}

static int read_lines(struct load *l, FILE *f)
{
	struct batch *b = batch_new(l);
	_cleanup_free_ char *text = NULL;
	size_t capacity = 0, size;
	int error;

	while (b && !l->broken && next_line(l, f, &text, &capacity, &size))
		if (!take_line(l, &b, text, size, l->line))
			break;
	error = errno;
	if (b && l->broken && b->count == 0 && !feof(f))
		l->unsent_from = l->line + 1;
	if (!b)
		return cli_failed(l->c, "out of memory");
	send_batch(l, b);
	if (ferror(f) && !interrupt_came())
		return cli_failed(l->c, "cannot read: %s", strerror(error));
	return CLI_DONE;
}

static void summarise(const struct load *l)
{
	if (l->c->json)
		return;
	fprintf(l->c->out, "%lld put", l->put);
	if (l->refused > 0)
		fprintf(l->c->out, ", %lld refused", l->refused);
	if (l->unknown > 0)
		fprintf(l->c->out, ", %lld not known", l->unknown);
	fputc('\n', l->c->out);
}

static int load_file(struct load *l, FILE *f)
{
	FILE *reader = interrupt_reader(f, NULL, NULL);
	struct stat about;
	bool known = fileno(f) >= 0 && fstat(fileno(f), &about) == 0 && S_ISREG(about.st_mode);
	int exit, read;

	progress_init(&l->progress, l->c->err_is_terminal ? l->c->err : NULL, known ? about.st_size : 0);
	read = read_lines(l, reader ? reader : f);
	if (reader)
		fclose(reader);
	exit = finish(l, "line");
	summarise(l);
	return exit != CLI_DONE ? exit : read;
}

int put_batch(struct cli *c, const char *path)
{
	struct load l;
	FILE *f = strcmp(path, "-") == 0 ? c->in : fopen(path, "re");
	int exit;

	if (!f)
		return cli_failed(c, "cannot read %s: %s", path, strerror(errno));
	exit = begin(&l, c);
	if (exit == CLI_DONE)
		exit = load_file(&l, f);
	if (f != c->in)
		fclose(f);
	return exit;
}
