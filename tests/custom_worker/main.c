/* A worker of one's own: takes texts from the queue "shout" and gives them back in capitals. */
#include <ctype.h>
#include <raincheck.h>
#include <stdio.h>

static int shout(struct raincheck_work *work, void *user)
{
	const struct raincheck_leased_job *job = raincheck_work_job(work);
	const unsigned char *text = job->payload.data;
	char loud[1000];

	(void)user;
	if (job->payload.size > sizeof(loud))
		return raincheck_work_fail(work, RAINCHECK_FAIL_REJECTED, 0, "more than %zu letters", sizeof(loud));
	for (size_t i = 0; i < job->payload.size; i++) {
		if (raincheck_work_canceled(work))
			return RAINCHECK_ECANCELED;
		loud[i] = (char)toupper(text[i]);
		raincheck_work_progress(work, (double)i / (double)job->payload.size, "shouting");
	}
	return raincheck_work_result(work, "text/plain", loud, job->payload.size);
}

int main(int argc, char **argv)
{
	static const char *const queues[] = { "shout" };
	struct raincheck_runner_options options = {
		.server = argc > 1 ? argv[1] : NULL,
		.name = "shouter",
		.queues = queues,
		.queue_count = 1,
		.threads = 4,
		.stop_on_signals = true,
		.handler = shout,
	};
	struct raincheck_error error = { 0 };
	struct raincheck_runner *runner = NULL;

	if (raincheck_runner_new(&options, &runner, &error) == 0)
		raincheck_runner_run(runner, &error);
	raincheck_runner_free(runner);
	if (error.code < 0)
		fprintf(stderr, "%s\n", error.message);
	return error.code < 0;
}
