/* Delta debugging: larger pieces first, then smaller ones, down to single commands; a piece stays out when the run
 * still fails without it. What a batch draws depends on its number and the model alone, so leaving one out changes the
 * others little. Bounded in time, not in success.
 */
#include "tests/sim/minimise.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define FAILED	       3
#define NEARBY	       200 /* batches before the end in which the whole state is compared after each */
#define SECONDS_A_RUN  60
#define SECONDS_IN_ALL 90

struct search {
	struct sim sim;
	uint64_t *omitted;
	uint64_t batch; /* the run fails in it, or before */
	int runs;
	time_t until;
};

/* ---- one run ---- */

static void quiet_failure(struct sim *s, const char *what)
{
	(void)what;
	sim_abandon(s);
	_exit(FAILED);
}

static void told_failure(struct sim *s, const char *what)
{
	printf("batch %llu: %s\n", (unsigned long long)s->batch, what);
	fflush(stdout);
	sim_abandon(s);
	_exit(FAILED);
}

void minimise_signals(void)
{
	static const int signals[] = { SIGFPE, SIGILL, SIGSEGV, SIGBUS, SIGSYS };

	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		signal(signals[i], SIG_DFL);
}

static bool fails(struct search *x, bool verbose)
{
	struct sim *s = &x->sim;
	int status = 0;
	pid_t pid;

	x->runs++;
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		static struct stats stats;

		minimise_signals();
		alarm(SECONDS_A_RUN);
		setvbuf(stdout, NULL, _IOLBF, 0);
		s->stats = &stats;
		s->omitted = x->omitted;
		s->last_batch = x->batch;
		s->verbose = verbose;
		s->on_failure = verbose ? told_failure : quiet_failure;
		sim_run(s);
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return false;
	return WIFEXITED(status) ? WEXITSTATUS(status) == FAILED : WTERMSIG(status) != SIGALRM;
}

/* ---- the search ---- */

/* Leaves out bits of the batches from first to last; true where the run fails all the same. */
static bool try_without(struct search *x, uint64_t first, uint64_t last, uint64_t bits)
{
	uint64_t *before = calloc(last - first + 1, sizeof(*before));
	bool still, news = false;

	if (!before)
		abort();
	for (uint64_t i = first; i <= last; i++) {
		before[i - first] = x->omitted[i];
		news |= (x->omitted[i] | bits) != x->omitted[i];
		x->omitted[i] |= bits;
	}
	still = news && time(NULL) < x->until && fails(x, false);
	for (uint64_t i = first; i <= last && !still; i++)
		x->omitted[i] = before[i - first];
	free(before);
	return still;
}

static void drop_batches(struct search *x)
{
	for (uint64_t size = (x->batch + 1) / 2; size > 0; size /= 2)
		for (uint64_t first = 1; first < x->batch; first += size) {
			uint64_t last = first + size - 1;

			try_without(x, first, last < x->batch ? last : x->batch - 1, OMIT_ALL);
		}
}

static void drop_commands(struct search *x)
{
	for (uint64_t i = x->batch; i > 0; i--)
		for (int command = 0; command < BATCH_MAX && x->omitted[i] != OMIT_ALL; command++)
			try_without(x, i, i, (uint64_t)1 << command);
}

void minimise(const struct sim *s, uint64_t batch)
{
	struct search x = { .sim = *s, .batch = batch, .until = time(NULL) + SECONDS_IN_ALL };
	uint64_t left = 0;

	x.omitted = calloc(batch + 1, sizeof(*x.omitted));
	if (!x.omitted)
		abort();
	x.sim.compare_each_from = batch > NEARBY ? batch - NEARBY : 1;
	if (!fails(&x, false)) {
		printf("played again, it does not fail\n");
		return;
	}
	drop_batches(&x);
	drop_commands(&x);
	drop_batches(&x);
	for (uint64_t i = 1; i <= batch; i++)
		left += x.omitted[i] != OMIT_ALL;
	printf("-- the shortest that was found in %d runs: %llu batches --\n", x.runs, (unsigned long long)left);
	fails(&x, true);
	free(x.omitted);
}
