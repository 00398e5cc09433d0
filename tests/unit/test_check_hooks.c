/* The checker names every kind of breach in what is kept of hooks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "proto/base/clean.h"
#include "server/store/hook_record.h"
#include "tests/harness/check_rig.h"

static struct hooks_record list;
static struct hook_record body;

static void write_list(const struct uuid *id)
{
	struct buf record;

	buf_init(&record, 65536);
	assert_int_equal(record_write_hooks(&record, &list), 0);
	checked_set(TABLE_HOOKS, key_job(id), buf_slice(&record));
	buf_done(&record);
}

static void write_body(const struct uuid *id, uint64_t number)
{
	struct buf record;

	buf_init(&record, 65536);
	assert_int_equal(record_write_hook(&record, &body), 0);
	checked_set(TABLE_HOOK_BODIES, key_hook(id, number), buf_slice(&record));
	buf_done(&record);
}

static void note_hooks(struct job *job)
{
	job->hooked = true;
}

/* Two came for the running job, and the second waits. */
static int setup(void **state)
{
	int rc = checked_setup_row(state);

	list = (struct hooks_record){ .job = checked.running, .count = 2, .last_at_ms = 5, .last = 2 };
	list.entries_count = 2;
	list.entries[0] = (struct hook_entry){ .number = 1, .received_at_ms = 4 };
	list.entries[1] = (struct hook_entry){ .number = 2, .received_at_ms = 5, .bytes = 4, .waits = true };
	body = (struct hook_record){ .job = checked.running, .number = 2, .body = slice_str("body") };
	checked_change_job(&checked.running, note_hooks);
	write_list(&checked.running);
	write_body(&checked.running, 2);
	assert_int_equal(checked_run(), 0);
	return rc;
}

static void list_flipped(void)
{
	checked_drop(TABLE_HOOK_BODIES, key_hook(&checked.running, 2));
	checked_flip(TABLE_HOOKS, key_job(&checked.running));
}

static void list_of_nobody(void)
{
	list = (struct hooks_record){ .job = checked.unknown };
	write_list(&checked.unknown);
}

static void list_of_another(void)
{
	list.job = checked.ready;
	write_list(&checked.running);
}

static void list_key_malformed(void)
{
	checked_set(TABLE_HOOKS, key_word("short"), slice_str("x"));
}

static void forget_hooks(struct job *job)
{
	job->hooked = false;
}

static void record_that_knows_of_none(void)
{
	checked_change_job(&checked.running, forget_hooks);
}

static void body_missing(void)
{
	checked_drop(TABLE_HOOK_BODIES, key_hook(&checked.running, 2));
}

static void body_flipped(void)
{
	checked_flip(TABLE_HOOK_BODIES, key_hook(&checked.running, 2));
}

static void body_of_another(void)
{
	body.job = checked.ready;
	write_body(&checked.running, 2);
}

static void body_taken(void)
{
	body.number = 1;
	write_body(&checked.running, 1);
}

static void body_key_malformed(void)
{
	checked_set(TABLE_HOOK_BODIES, key_word("short"), slice_str("x"));
}

static void waiting_for_one_that_is_over(void)
{
	checked_drop(TABLE_HOOKS, key_job(&checked.running));
	checked_drop(TABLE_HOOK_BODIES, key_hook(&checked.running, 2));
	list.job = body.job = checked.succeeded;
	checked_change_job(&checked.succeeded, note_hooks);
	write_list(&checked.succeeded);
	write_body(&checked.succeeded, 2);
}

static const struct breach_row rows[] = {
	{ "list_flipped", list_flipped, &checked.running, "hooks of job ", ": the list is damaged" },
	{ "list_of_nobody", list_of_nobody, &checked.unknown, "hooks of job ", ": the job is missing" },
	{ "list_of_another", list_of_another, &checked.running, "hooks of job ", ": the list is job " },
	{ "list_key_malformed", list_key_malformed, NULL, "hooks: a key is malformed", "" },
	{ "record_that_knows_of_none", record_that_knows_of_none, &checked.running, "hooks of job ",
	  ": its record knows of none" },
	{ "body_missing", body_missing, &checked.running, "hooks of job ", ": number 2 waits and is missing" },
	{ "body_flipped", body_flipped, &checked.running, "hook 2 of job ", ": is damaged" },
	{ "body_of_another", body_of_another, &checked.running, "hook 2 of job ", ": is number 2 of job " },
	{ "body_taken", body_taken, &checked.running, "hook 1 of job ", ": nobody waits for it" },
	{ "body_key_malformed", body_key_malformed, NULL, "bodies of hooks: a key is malformed", "" },
	{ "waiting_for_one_that_is_over", waiting_for_one_that_is_over, &checked.succeeded, "hooks of job ",
	  ": some wait, and it is succeeded" },
};

int main(void)
{
	struct CMUnitTest tests[ARRAY_SIZE(rows)];

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		tests[i] = (struct CMUnitTest){ rows[i].name, checked_breach_is_named, setup, checked_teardown,
						(void *)(uintptr_t)&rows[i] };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
