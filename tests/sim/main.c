/* The simulation: the engine on a real store beside a model of it, by seeds.
 *
 * SEED=… is where it begins (else the clock says), SIM_STEPS=… how many commands there are in all; they are shared out
 * among SIM_JOBS=… processes, and in each into runs of RUN_STEPS that begin with an empty store. RUN=… plays one run
 * alone, as a failure names it; VERBOSE=1 tells its commands, COMPARE_FROM=… is the batch from which on the whole state
 * is compared after each. A failure is minimised unless MINIMISE=0.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/sim/minimise.h"
#include "tests/sim/sim.h"
#include "tests/sim/tell.h"
#include "tests/sim/texts.h"

#define DEFAULT_STEPS 5000000
#define RUN_STEPS     20000
#define JOBS_MAX      64

/* What the processes say of themselves. */
static struct stats *all;
static uint64_t first_run;

static uint64_t number_from(const char *name, uint64_t fallback)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 10) : fallback;
}

static void new_sim(struct sim *s, uint64_t run)
{
	memset(s, 0, sizeof(*s));
	s->seed = run;
	s->last_batch = UINT64_MAX;
	s->last_command = RUN_STEPS;
	s->compare_each_from = number_from("COMPARE_FROM", UINT64_MAX);
	s->verbose = number_from("VERBOSE", 0) != 0;
}

static void shorten(uint64_t run, uint64_t batch)
{
	static struct sim again;

	fflush(stdout);
	if (!number_from("MINIMISE", 1))
		return;
	new_sim(&again, run);
	minimise(&again, batch);
	fflush(stdout);
}

static void on_failure(struct sim *s, const char *what)
{
	sim_abandon(s);
	printf("# RUN=%" PRIu64 " fails in batch %" PRIu64 ", command %d:\n%s\n", s->seed, s->batch, s->index, what);
	shorten(s->seed, s->batch);
	_exit(1);
}

/* Every jobs-th run from the job-th on. */
static void work(uint64_t job, uint64_t jobs, uint64_t steps)
{
	static struct sim s;

	for (uint64_t run = first_run + job; all[job].commands < steps; run += jobs) {
		new_sim(&s, run);
		s.on_failure = on_failure;
		s.stats = &all[job];
		sim_run(&s);
	}
}

static void play_one(uint64_t run)
{
	static struct sim s;

	new_sim(&s, run);
	s.on_failure = on_failure;
	s.stats = &all[0];
	sim_run(&s);
}

/* ---- what came to pass ---- */

static void add(struct stats *sum, const struct stats *s)
{
	const uint64_t *from = (const uint64_t *)s;
	uint64_t *to = (uint64_t *)sum;

	for (size_t i = 0; i < sizeof(*s) / sizeof(*from); i++)
		to[i] += from[i];
}

static void tell(const struct stats *s, double seconds)
{
	print_message("# %" PRIu64 " commands in %" PRIu64 " batches, %.0f a second; the state compared %" PRIu64
		      " times, checked %" PRIu64 " times\n",
		      s->commands, s->batches, (double)s->commands / seconds, s->comparisons, s->checks);
	for (int i = 0; i < COMMAND_KINDS; i++)
		print_message("# %-12s %9" PRIu64 " answered %9" PRIu64 " refused %9" PRIu64 " kept\n", tell_kinds[i],
			      s->answered[i], s->refused[i], s->kept[i]);
	print_message("# batches: %" PRIu64 " commits failed, %" PRIu64 " did not though they said so, %" PRIu64
		      " broke in the middle, crashes: %" PRIu64 " before and %" PRIu64 " after the commit, %" PRIu64
		      " restarts\n",
		      s->fates[FATE_LOST], s->fates[FATE_UNSURE], s->fates[FATE_BREAKS], s->fates[FATE_CRASH],
		      s->fates[FATE_CRASH_AFTER], s->fates[FATE_RESTART]);
	print_message("# %" PRIu64 " kept commands answered later; more for one batch than it does: %" PRIu64
		      " changes by filter, %" PRIu64 " times what was due\n",
		      s->answered_late, s->broken_off, s->floods);
}

static bool ended_well(pid_t pid, const struct stats *s)
{
	int status = -1;

	if (waitpid(pid, &status, 0) == pid && WIFEXITED(status))
		return WEXITSTATUS(status) == 0;
	printf("# RUN=%" PRIu64 " ended by signal %d in batch %" PRIu64 "\n", s->run, WTERMSIG(status), s->batch);
	shorten(s->run, s->batch);
	return false;
}

static void the_engine_is_as_its_model(void **state)
{
	uint64_t steps = number_from("SIM_STEPS", DEFAULT_STEPS);
	uint64_t jobs = number_from("SIM_JOBS", (uint64_t)sysconf(_SC_NPROCESSORS_ONLN));
	bool one = getenv("RUN") != NULL;
	struct timespec began, ended;
	struct stats sum = { 0 };
	pid_t pids[JOBS_MAX];
	int failed = 0;

	(void)state;
	if (one)
		jobs = 1;
	if (jobs < 1 || jobs > JOBS_MAX)
		jobs = 1;
	clock_gettime(CLOCK_REALTIME, &began);
	first_run = number_from("SEED", (uint64_t)began.tv_nsec) * 1000000;
	print_message("# SEED=%" PRIu64 " SIM_STEPS=%" PRIu64 " SIM_JOBS=%" PRIu64 "\n", first_run / 1000000, steps,
		      jobs);
	fflush(stdout);
	for (uint64_t job = 0; job < jobs; job++) {
		pids[job] = fork();
		if (pids[job] == 0) {
			minimise_signals();
			if (one)
				play_one(number_from("RUN", 0));
			else
				work(job, jobs, steps / jobs);
			fflush(stdout);
			_exit(0);
		}
		assert_true(pids[job] > 0);
	}
	for (uint64_t job = 0; job < jobs; job++)
		failed += !ended_well(pids[job], &all[job]);
	clock_gettime(CLOCK_REALTIME, &ended);
	for (uint64_t job = 0; job < jobs; job++)
		add(&sum, &all[job]);
	tell(&sum, (double)(ended.tv_sec - began.tv_sec) + (double)(ended.tv_nsec - began.tv_nsec) / 1e9);
	assert_int_equal(failed, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_engine_is_as_its_model),
	};
	struct tempdir dir;
	int failed;

	/* One directory above all others, which are left where a process dies. */
	tempdir_make(&dir);
	setenv("TMPDIR", dir.path, 1);
	all = mmap(NULL, JOBS_MAX * sizeof(*all), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (all == MAP_FAILED)
		return 1;
	texts_init();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	tempdir_remove(&dir);
	return failed;
}
