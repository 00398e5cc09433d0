/* The worker of one's own that the README shows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/harness/stack.h"

static struct stack stack;
static struct raincheck *rc;

static int setup(void **state)
{
	(void)state;
	memset(&stack, 0, sizeof(stack));
	tempdir_make(&stack.dir);
	stack_start_broker(&stack);
	rc = stack_connect(&stack);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	raincheck_close(rc, NULL, NULL);
	stack_stop(&stack);
	return 0;
}

static char *read_all(const char *path)
{
	FILE *f = fopen(path, "r");
	char *text = calloc(1, 1 << 20);

	assert_non_null(f);
	assert_non_null(text);
	assert_true(fread(text, 1, (1 << 20) - 1, f) > 0);
	fclose(f);
	return text;
}

static void the_readme_shows_it_as_it_is(void **state)
{
	char *readme = read_all("README.md"), *example = read_all("tests/custom_worker/main.c");

	(void)state;
	if (!strstr(readme, strstr(example, "#include")))
		fail_msg("README.md does not show tests/custom_worker/main.c as it is");
	free(readme);
	free(example);
}

static void it_works(void **state)
{
	char program[512];
	const char *argv[] = { program, stack.server, NULL };
	struct raincheck_put params = { .queue = "shout", .payload = { "hello, world", 12 } };
	struct raincheck_artifact_read read = { .name = "result" };
	struct raincheck_put_result *put;
	struct raincheck_artifact_data *data;
	struct raincheck_job *job;

	(void)state;
	snprintf(program, sizeof(program), "%s", process_program("custom-worker"));
	process_start(&stack.worker, argv);
	if (raincheck_put(rc, &params, &put) < 0)
		fail_msg("%s", raincheck_last_error(rc)->message);
	assert_int_equal(raincheck_wait(rc, put->id, 60000, &job), 0);
	assert_int_equal(job->state, RAINCHECK_JOB_SUCCEEDED);
	read.id = put->id;
	assert_int_equal(raincheck_artifact_read(rc, &read, &data), 0);
	assert_int_equal(data->data.size, 12);
	assert_memory_equal(data->data.data, "HELLO, WORLD", 12);
	raincheck_free(data);
	raincheck_free(job);
	raincheck_free(put);
	process_stop(&stack.worker);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_readme_shows_it_as_it_is),
		cmocka_unit_test_setup_teardown(it_works, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
