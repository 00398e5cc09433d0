/* The tables of methods and words of the wire. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "proto/base/clean.h"
#include "proto/messages.h"

static void test_methods_are_found_by_their_whole_name(void **state)
{
	(void)state;
	for (int id = 0; id < METHODS; id++) {
		const struct method *m = method_get((enum method_id)id);
		char longer[64];

		assert_int_equal(m->id, id);
		assert_ptr_equal(method_find(slice_str(m->name)), m);
		assert_null(method_find(slice_of(m->name, strlen(m->name) - 1)));
		snprintf(longer, sizeof(longer), "%s ", m->name);
		assert_null(method_find(slice_str(longer)));
		assert_non_null(m->params);
		assert_non_null(m->result);
	}
	assert_null(method_find(slice_str("")));
	assert_null(method_find(slice_of(NULL, 0)));
	assert_null(method_find(slice_str("job.nope")));
	assert_null(method_find(slice_of("job.put\0", 8)));
}

static void test_who_may_call_what(void **state)
{
	static const struct {
		const char *name, *roles;
	} known[] = {
		{ "session.hello", "PWA" },  { "session.ping", "PWA" },	   { "job.put", "PA" },
		{ "job.put_many", "PA" },    { "job.lease", "WA" },	   { "job.extend", "WA" },
		{ "job.checkpoint", "WA" },  { "job.complete", "WA" },	   { "job.fail", "WA" },
		{ "job.release", "WA" },     { "job.lease_cancel", "WA" }, { "job.get", "PA" },
		{ "job.wait", "PA" },	     { "job.payload", "PA" },	   { "job.list", "A" },
		{ "artifact.put", "PWA" },   { "artifact.begin", "WA" },   { "artifact.write", "WA" },
		{ "artifact.commit", "WA" }, { "artifact.read", "PA" },	   { "queue.list", "A" },
		{ "server.stats", "A" },     { "job.cancel", "PA" },	   { "job.retry", "PA" },
		{ "job.redeliver", "PA" },   { "job.erase", "PA" },	   { "link.rotate", "PA" },
		{ "link.revoke", "PA" },     { "queue.get", "A" },	   { "queue.set", "A" },
		{ "queue.pause", "A" },	     { "queue.resume", "A" },	   { "queue.purge", "A" },
		{ "server.backup", "A" },    { "server.check", "A" },	   { "limit.list", "A" },
		{ "limit.get", "A" },	     { "limit.set", "A" },	   { "limit.delete", "A" },
		{ "worker.list", "A" },	     { "worker.quiet", "A" },	   { "worker.stop", "A" },
	};

	(void)state;
	assert_int_equal(ARRAY_SIZE(known), METHODS);
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		const struct method *m = method_find(slice_str(known[i].name));

		assert_non_null(m);
		assert_int_equal(!!(m->roles & ROLE_BIT(ROLE_PRODUCER)), strchr(known[i].roles, 'P') != NULL);
		assert_int_equal(!!(m->roles & ROLE_BIT(ROLE_WORKER)), strchr(known[i].roles, 'W') != NULL);
		assert_true(m->roles & ROLE_BIT(ROLE_ADMIN));
		assert_false(m->roles & ROLE_BIT(ROLE_NONE));
	}
}

static void assert_words(const char *const *words, size_t count, const char *all)
{
	char joined[256] = "";
	size_t n = 0;

	for (size_t i = 0; i < count; i++) {
		assert_non_null(words[i]);
		n += (size_t)snprintf(joined + n, sizeof(joined) - n, "%s ", words[i]);
	}
	assert_null(words[count]);
	assert_string_equal(joined, all);
}

static void test_words_of_the_wire(void **state)
{
	(void)state;
	assert_words(job_state_names, JOB_STATES, "scheduled ready running succeeded dead canceled expired ");
	assert_words(failure_kind_names, FAIL_KINDS, "timeout throttled unavailable invalid internal rejected ");
	assert_words(role_names, ROLES, "none producer worker admin ");
	assert_words(worker_state_names, WORKER_STATES, "active quiet stopping ");
	assert_words(extend_status_names, EXTEND_STATUSES, "ok lost cancel ");
	for (int s = 0; s < JOB_STATES; s++)
		assert_int_equal(job_state_final((enum job_state)s),
				 s != JOB_SCHEDULED && s != JOB_READY && s != JOB_RUNNING);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_methods_are_found_by_their_whole_name),
		cmocka_unit_test(test_who_may_call_what),
		cmocka_unit_test(test_words_of_the_wire),
	};

	return cmocka_run_group_tests_name("methods", tests, NULL, NULL);
}
