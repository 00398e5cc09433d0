/* Allocations fail in turn while the real worker carries out a job, each once, or from then on for a few: those that it
 * asks for itself, and then whoever's they are, its libraries' too.
 *
 * No signal ends it. What fails is told in words and tried again as any other failure: a job whose API knows
 * idempotency keys succeeds all the same, whatever failed; without, it succeeds or says why not, and is never bought
 * twice. When there is memory again the same process carries out the next job, with its one slot; and it ends in order
 * when it is told to, without memory too.
 *
 * ALLOCATIONS: how many points of a job of each kind are tried (25), or "all".
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "tests/harness/fault.h"
#include "tests/harness/stack.h"

#define OWN	    FAULT_BIT(FAULT_OWN)
#define ANY	    FAULT_BIT(FAULT_ALLOCATE)
#define POINTS	    25
#define LASTING	    4	   /* allocations that fail before there is memory again */
#define KEYED	    "poll" /* the queue whose API knows idempotency keys */
#define ATTEMPTS    100
#define PATIENCE_MS 30000

static struct fault fault;
static struct stack stack;
static struct raincheck *rc;

/* ---- the worker ---- */

static void start_worker(void)
{
	char command[1024], program[512];
	const char *argv[] = { "/bin/sh", "-c", command,       program,	  "--config", stack.worker_config,
			       "--name",  "w",	"--log-level", "warning", NULL };

	snprintf(program, sizeof(program), "%s", process_program("raincheck-worker"));
	snprintf(command, sizeof(command),
		 "exec env LD_PRELOAD=%s FAULT_CONTROL=%s/control FAULT_DISK=%s \"$0\" \"$@\" 2>>%s",
		 process_program("tests/libfault.so"), fault.dir.path, fault.disk, fault.words);
	process_start(&stack.worker, argv);
}

static void failed_at(int64_t point, const char *what)
{
	fail_msg("allocation %lld, asked for by %s: %s\n# aborted by %s\n# the worker's last words:\n%s",
		 (long long)point, fault.control->caller, what,
		 fault.control->aborter[0] ? fault.control->aborter : "nobody", fault_words(&fault));
}

static void expect_alive(int64_t point)
{
	int status;

	if (waitpid(stack.worker.pid, &status, WNOHANG) == 0)
		return;
	stack.worker.pid = 0;
	failed_at(point, fault_status_text(status));
}

static const char limits[] = "    allow_private: true\n"
			     "    timeouts: { connect: 20s, attempt: 20s }\n";
static const char submit[] = "    submit:\n"
			     "      path: /v1/renders\n"
			     "      body: |\n"
			     "        \"{input}\"\n"
			     "      id: /id\n"
			     "      urls: { status: /urls/get }\n";
static const char results[] = "    result: { from: pointer, media: /output/0, preview: /poster, "
			      "types: [video/mp4, image/*] }\n";
static const char states[] = "state: /status, ok: [SUCCEEDED], failed: [FAILED]";

/* One slot: a second one would hide that the first is lost. */
static void configure_worker(void)
{
	FILE *f;

	snprintf(stack.worker_config, sizeof(stack.worker_config), "%s", tempdir_file(&stack.dir, "worker.yaml"));
	f = fopen(stack.worker_config, "w");
	assert_non_null(f);
	fprintf(f, "server: %s\nslots: 1\nlease: 5s\ngrace: 0s\n", stack.server);
	fprintf(f, "queues: { sync: sync, poll: poll, hook: hook }\nupstreams:\n");
	fprintf(f,
		"  sync:\n    base_url: %s\n    mode: sync\n%s"
		"    submit: { path: /sync/render, on_unknown: fail }\n"
		"    result: { from: body, types: [video/mp4] }\n",
		stack.api_url, limits);
	fprintf(f,
		"  poll:\n    base_url: %s\n    mode: poll\n%s%s"
		"      idempotency: header:Idempotency-Key\n      on_unknown: retry\n%s"
		"    poll: { path: \"/v1/renders/{id}\", first: 10ms, interval: 10ms, max: 10ms, %s }\n",
		stack.api_url, limits, submit, results, states);
	fprintf(f,
		"  hook:\n    base_url: %s\n    mode: webhook\n%s%s      on_unknown: fail\n%s"
		"    webhook_in: { inject: \"body:/webhook\", verify: none, confirm: poll }\n"
		"    poll: { path: \"/v1/renders/{id}\", max: 1s, %s }\n",
		stack.api_url, limits, submit, results, states);
	fclose(f);
}

/* ---- jobs ---- */

static void put(const char *queue, const char *behave, char ret_id[RAINCHECK_ID_SIZE])
{
	static unsigned number;
	struct raincheck_put params = { .queue = queue, .content_type = "application/json", .max_attempts = ATTEMPTS };
	struct raincheck_put_result *result;
	char payload[128];

	snprintf(payload, sizeof(payload), "{\"name\":\"%u\",\"behave\":{%s}}", number++, behave);
	params.payload = (struct raincheck_bytes){ payload, strlen(payload) };
	params.backoff = (struct raincheck_backoff){ .has_base_ms = true, .base_ms = 1, .max_ms = 1 };
	if (raincheck_put(rc, &params, &result) < 0)
		fail_msg("%s", raincheck_last_error(rc)->message);
	memcpy(ret_id, result->id, RAINCHECK_ID_SIZE);
	raincheck_free(result);
}

static bool is_over(const struct raincheck_job *job)
{
	return job->state == RAINCHECK_JOB_SUCCEEDED || job->state == RAINCHECK_JOB_DEAD;
}

/* Until it is over, or a few allocations have failed. */
static void await_failures(const char *id)
{
	bool over;

	do {
		struct raincheck_job *job;

		if (raincheck_wait(rc, id, 20, &job) < 0)
			fail_msg("%s", raincheck_last_error(rc)->message);
		over = is_over(job);
		raincheck_free(job);
	} while (!over && fault_met(&fault) < LASTING);
}

/* Whether it has succeeded; ret_attempts: the attempts it took. */
static bool ends(const char *id, int64_t point, int64_t *ret_attempts)
{
	struct raincheck_job *job;
	bool well;

	if (raincheck_wait(rc, id, PATIENCE_MS, &job) < 0)
		fail_msg("%s", raincheck_last_error(rc)->message);
	well = job->state == RAINCHECK_JOB_SUCCEEDED;
	if (!is_over(job))
		failed_at(point, raincheck_job_state_name(job->state));
	if (!well && (!job->error || !job->error->message[0]))
		failed_at(point, "the job is dead, and nothing says why");
	*ret_attempts = job->attempt;
	raincheck_free(job);
	return well;
}

/* Every job has a name of its own: the API knows which it was paid for more than once. */
static void expect_bought_once(int64_t point)
{
	struct http_answer answer;
	char url[256];

	snprintf(url, sizeof(url), "%s/stats", stack.api_url);
	http_request(NULL, url, NULL, &answer);
	if (!strstr(answer.body, "\"duplicates\":{}") || !strstr(answer.body, "\"names_not_kept\":0"))
		failed_at(point, answer.body);
	http_answer_done(&answer);
}

/* ---- points ---- */

struct campaign {
	const char *queue;
	uint32_t kind;
	bool lasting;
};

static int64_t stride_of(int64_t calls)
{
	const char *value = getenv("ALLOCATIONS");
	int64_t points = (int64_t)fault_setting("ALLOCATIONS", POINTS);

	return (value && strcmp(value, "all") == 0) || points >= calls ? 1 : (calls + points - 1) / points;
}

static void expect_well(const char *queue, int64_t point)
{
	char id[RAINCHECK_ID_SIZE];
	int64_t attempts;

	put(queue, "\"pad_kib\":80", id);
	if (!ends(id, point, &attempts))
		failed_at(point, "a job fails though there is memory again");
	if (attempts > 1)
		failed_at(point, "a job has to be tried again though there is memory");
}

/* With the connections that a worker keeps. */
static int64_t allocations_of_a_job(const struct campaign *c)
{
	int64_t before;

	expect_well(c->queue, 0);
	before = (int64_t)fault_calls(&fault, c->kind);
	expect_well(c->queue, 0);
	return (int64_t)fault_calls(&fault, c->kind) - before;
}

/* Whether the job has succeeded. */
static bool try_point(const struct campaign *c, int64_t point)
{
	const struct fault_plan plan = {
		.kinds = c->kind, .action = FAULT_FAIL, .at = point, .error = ENOMEM, .lasting = c->lasting
	};
	char id[RAINCHECK_ID_SIZE];
	int64_t attempts;
	bool well;

	fault_arm(&fault, &plan);
	put(c->queue, "\"pad_kib\":80", id);
	if (c->lasting) {
		await_failures(id);
		fault_disarm(&fault);
	}
	well = ends(id, point, &attempts);
	fault_disarm(&fault);
	expect_alive(point);
	expect_bought_once(point);
	if (!well && strcmp(c->queue, KEYED) == 0)
		failed_at(point, "a job whose call may be repeated is dead");
	return well;
}

static void survive(void **state)
{
	const struct campaign *c = *state;
	unsigned points = 0, met = 0, dead = 0;
	int64_t calls, stride;

	start_worker();
	calls = allocations_of_a_job(c);
	stride = stride_of(calls);
	for (int64_t point = 1; point <= calls; point += stride) {
		dead += !try_point(c, point);
		met += fault_met(&fault) > 0;
		points++;
		expect_well(KEYED, point);
	}
	print_message("# ALLOCATIONS: %u points of a job of %s, every %lld-th; %u were come to; %u jobs failed\n",
		      points, c->queue, (long long)stride, met, dead);
	assert_true(met > points / 2);
}

static void it_ends_without_memory(void **state)
{
	const struct fault_plan plan = {
		.kinds = ANY, .action = FAULT_FAIL, .at = 1, .error = ENOMEM, .lasting = true
	};
	char id[RAINCHECK_ID_SIZE];
	int status;

	(void)state;
	start_worker();
	expect_well(KEYED, 0);
	put("sync", "\"hang\":true", id);
	stack_wait_for_api(&stack, NULL, "submits", 2);
	fault_arm(&fault, &plan);
	status = process_end(&stack.worker, SIGTERM);
	if (status != 0)
		failed_at(1, fault_status_text(status));
}

/* ---- */

static int setup(void **state)
{
	(void)state;
	fault_open(&fault);
	memset(&stack, 0, sizeof(stack));
	tempdir_make(&stack.dir);
	stack_start_api(&stack, NULL);
	stack_start_broker(&stack);
	configure_worker();
	rc = stack_connect(&stack);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fault_disarm(&fault);
	raincheck_close(rc, NULL, NULL);
	stack_stop(&stack);
	fault_close(&fault);
	return 0;
}

#define CAMPAIGN(queue_name, kind_bit, lasts, test_name)                                                   \
	{                                                                                                  \
		.name = (test_name), .test_func = survive, .setup_func = setup, .teardown_func = teardown, \
		.initial_state = &(struct campaign)                                                        \
		{                                                                                          \
			(queue_name), (kind_bit), (lasts)                                                  \
		}                                                                                          \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CAMPAIGN("sync", OWN, false, "each of its own may fail in a call that is answered"),
		CAMPAIGN("poll", OWN, false, "each of its own may fail in a call that is polled"),
		CAMPAIGN("hook", OWN, false, "each of its own may fail in a call that is reported"),
		CAMPAIGN("poll", OWN, true, "all of its own may fail from one on"),
		CAMPAIGN("sync", ANY, false, "any may fail in a call that is answered"),
		CAMPAIGN("poll", ANY, false, "any may fail in a call that is polled"),
		CAMPAIGN("poll", ANY, true, "any may fail from one on"),
		cmocka_unit_test_setup_teardown(it_ends_without_memory, setup, teardown),
	};

	return cmocka_run_group_tests_name("worker allocations", tests, NULL, NULL);
}
