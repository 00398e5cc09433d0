#include "tests/harness/fault_run.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define OUTPUT_BYTES 2000
#define TEXT_BYTES   3000
#define PATIENCE_MS  10000

void fault_run_failed(struct fault_run *r, const char *fmt, ...)
{
	const struct fault_control *c = r->fault.control;
	char text[TEXT_BYTES];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	fail_msg("%s: %s\n# of %s\n# aborted by %s\n%s", r->now, text, c->caller[0] ? c->caller : "no allocation",
		 c->aborter[0] ? c->aborter : "nobody", fault_words(&r->fault));
}

int64_t fault_run_count(struct fault_run *r, bool of_start)
{
	struct life life;
	uint64_t before;

	fault_new_disk(&r->fault);
	life_init(&life, &r->fault, r->lives++);
	assert_true(fault_start(&r->fault, NULL, false));
	before = fault_calls(&r->fault, r->kinds);
	if (!of_start)
		life_run(&life);
	process_stop(&r->fault.broker);
	return (int64_t)(of_start ? before : fault_calls(&r->fault, r->kinds) - before);
}

int64_t fault_run_stride(const struct fault_run *r, int64_t calls)
{
	const char *wanted = getenv(r->setting);
	int64_t points = (int64_t)fault_setting(r->setting, (unsigned long)r->points);

	return (wanted && strcmp(wanted, "all") == 0) || points >= calls ? 1 : (calls + points - 1) / points;
}

void fault_run_arm(struct fault_run *r, const struct fault_plan *plan, const char *name)
{
	snprintf(r->now, sizeof(r->now), "%s at call %lld", name, (long long)plan->at);
	fault_arm(&r->fault, plan);
}

bool fault_run_live(struct fault_run *r, const struct fault_plan *plan, const char *name, struct life *ret)
{
	fault_new_disk(&r->fault);
	life_init(ret, &r->fault, r->lives++);
	if (!fault_start(&r->fault, NULL, false))
		fault_run_failed(r, "the broker does not start: %s", fault_status_text(r->fault.status));
	fault_run_arm(r, plan, name);
	life_run(ret);
	if (ret->wrong[0])
		fault_run_failed(r, "%s", ret->wrong);
	if (fault_met(&r->fault) > 0)
		return true;
	assert_false(ret->lost);
	process_stop(&r->fault.broker);
	return false;
}

void fault_run_verify(struct fault_run *r, struct life *life, const char *when)
{
	life_verify(life, LIFE_NOW);
	if (life->wrong[0])
		fault_run_failed(r, "%s: %s", when, life->wrong);
}

static void check_data(struct fault_run *r)
{
	char output[OUTPUT_BYTES];
	int status = fault_check(&r->fault, r->fault.data, output, sizeof(output));

	if (status != 0)
		fault_run_failed(r, "check: %s\n%s", fault_status_text(status), output);
}

void fault_run_recover(struct fault_run *r, struct life *life)
{
	fault_disarm(&r->fault);
	if (!life_try(&r->fault, r->lives++)) {
		if (fault_has_ended(&r->fault, PATIENCE_MS))
			fault_run_failed(r, "the broker ended: %s", fault_status_text(r->fault.status));
		fault_run_failed(r, "the broker does not recover");
	}
	fault_run_verify(r, life, "in the same process");
	if (fault_end(&r->fault, SIGTERM) != 0)
		fault_run_failed(r, "after SIGTERM: %s", fault_status_text(r->fault.status));
	check_data(r);
}
