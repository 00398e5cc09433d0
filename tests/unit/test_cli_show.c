/* What the command shows of a record that has everything, in lines and as JSON, and of records that are odd; and bytes
 * that cannot be written, or do not come as they should.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "tests/harness/cli_run.h"
#include "tests/harness/tempdir.h"

#define ID     CLI_RUN_ID
#define AT_MS  1717763400000 /* on 2024-06-07 */
#define SHA256 "0000000000000000000000000000000000000000000000000000000000000000"

/* ---- a job ---- */

static void answer_with(struct fake_broker *b, const struct msg_job *job)
{
	struct fake_request r;

	if (fake_greet(b, 10) && fake_next(b, METHOD_job_get, &r))
		fake_reply(b, &r, job);
}

static struct msg_artifact still(void)
{
	return (struct msg_artifact){ .has_name = true,
				      .name = slice_str("preview"),
				      .has_content_type = true,
				      .content_type = slice_str("image/png"),
				      .has_size = true,
				      .size = 2048,
				      .has_sha256 = true,
				      .sha256 = slice_str(SHA256) };
}

/* Dead after it had come half the way, with a still, a webhook that is on its way, and reports of the API's. */
static void full_script(struct fake_broker *b, void *arg)
{
	struct uuid id = cli_run_id();
	struct msg_job job = fake_job(&id, JOB_DEAD);
	struct msg_artifact artifact = still();
	struct pair pairs[] = { { slice_str("name"), slice_str("Ann\nEve") }, { slice_str("city"), slice_str("") } };

	(void)arg;
	job.has_group = job.has_title = job.has_note = job.has_content_type = true;
	job.group = slice_str("the-group");
	job.title = slice_str("The title");
	job.note = slice_str("number 3 in the API's line");
	job.content_type = slice_str("application/json");
	job.has_run_at_ms = job.has_started_at_ms = job.has_finished_at_ms = job.has_deadline_at_ms = true;
	job.run_at_ms = job.started_at_ms = job.finished_at_ms = job.deadline_at_ms = AT_MS;
	job.has_progress = true;
	job.progress = 0.5;
	job.has_error = true;
	job.error = (struct msg_job_error){ .has_kind = true,
					    .kind = FAIL_REJECTED,
					    .has_message = true,
					    .message = slice_str("two faces"),
					    .has_at_ms = true,
					    .at_ms = AT_MS };
	job.artifacts = &artifact;
	job.artifacts_count = 1;
	job.metadata = pairs;
	job.metadata_count = ARRAY_SIZE(pairs);
	job.has_callback = true;
	job.callback = (struct msg_callback){ .has_url = true,
					      .url = slice_str("https://x/done"),
					      .has_id = true,
					      .id = id,
					      .has_state = true,
					      .state = JOB_SCHEDULED,
					      .has_attempts = true,
					      .attempts = 2 };
	job.has_hooks = true;
	job.hooks = (struct msg_hooks){ .has_count = true,
					.count = 4,
					.has_waiting = true,
					.waiting = 1,
					.has_last_at_ms = true,
					.last_at_ms = AT_MS };
	answer_with(b, &job);
}

static void test_every_field_has_its_line(void **state)
{
	static const char *const lines[] = {
		"state:          dead\n",
		"title:          The title\n",
		"group:          the-group\n",
		"attempt:        1 of 3\n",
		"progress:       50 %\n",
		"note:           number 3 in the API's line\n",
		"started:        2024-06-0",
		"finished:       2024-06-0",
		"deadline:       2024-06-0",
		"content type:   application/json\n",
		"error:          two faces (rejected)\n",
		"artifact:       preview, image/png, 2.0 KiB\n",
		"callback:       https://x/done\n",
		"hooks:          4, the last at 2024-06-0",
		", 1 not taken yet\n",
		"metadata:       name = Ann\ufffdEve\n",
		"metadata:       city = \n",
	};
	struct ran r = run_with(full_script, NULL, "", WORDS("get", ID));

	(void)state;
	assert_int_equal(r.exit, CLI_DONE);
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		says(r.out, lines[i]);
	says(r.out, "webhook:        scheduled, 2 attempts, job " ID "\n");
	/* When it was to begin is of interest until it does. */
	assert_null(strstr(r.out, "not before"));
	ran_done(&r);
}

static void test_every_field_is_in_the_json(void **state)
{
	struct ran r = run_with(full_script, NULL, "", WORDS("get", ID, "--json"));
	const char *kind, *message, *artifact, *url, *delivery, *delivery_state, *name;
	json_int_t at, size, attempts, hooks, waiting;
	json_t *o = json_loads(r.out, 0, NULL);
	double progress;

	(void)state;
	assert_int_equal(json_unpack(o, "{s:f, s:{s:s, s:s, s:I !}, s:[{s:s, s:I}], s:{s:s, s:s, s:s, s:I !}}",
				     "progress", &progress, "error", "kind", &kind, "message", &message, "at_ms", &at,
				     "artifacts", "name", &artifact, "size", &size, "callback", "url", &url, "id",
				     &delivery, "state", &delivery_state, "attempts", &attempts),
			 0);
	assert_int_equal(json_unpack(o, "{s:{s:I, s:I, s:I !}, s:{s:s}}", "hooks", "count", &hooks, "waiting", &waiting,
				     "last_at_ms", &at, "metadata", "name", &name),
			 0);
	assert_true(progress > 0.49 && progress < 0.51);
	assert_string_equal(kind, "rejected");
	assert_string_equal(message, "two faces");
	assert_string_equal(artifact, "preview");
	assert_string_equal(url, "https://x/done");
	assert_string_equal(delivery, ID);
	assert_string_equal(delivery_state, "scheduled");
	assert_string_equal(name, "Ann\nEve");
	assert_true(at == AT_MS && size == 2048 && attempts == 2 && hooks == 4 && waiting == 1);
	json_decref(o);
	ran_done(&r);
}

/* An API may say much, and so may a producer. */
static void long_script(struct fake_broker *b, void *arg)
{
	struct uuid id = cli_run_id();
	struct msg_job job = fake_job(&id, JOB_DEAD);
	struct pair pair = { slice_str("story"), slice_str(arg) };

	job.has_error = true;
	job.error = (struct msg_job_error){
		.has_kind = true,
		.kind = FAIL_TIMEOUT,
		.has_message = true,
		.message = slice_str(arg),
		.has_at_ms = true,
	};
	job.metadata = &pair;
	job.metadata_count = 1;
	answer_with(b, &job);
}

static void test_long_words_are_shown_whole(void **state)
{
	char words[4097], line[4200];
	struct ran r;

	(void)state;
	memset(words, 'w', sizeof(words) - 1);
	words[sizeof(words) - 2] = 'e';
	words[sizeof(words) - 1] = '\0';
	r = run_with(long_script, words, "", WORDS("get", ID));
	snprintf(line, sizeof(line), "error:          %s (timeout)\n", words);
	says(r.out, line);
	snprintf(line, sizeof(line), "metadata:       story = %s\n", words);
	says(r.out, line);
	ran_done(&r);
}

/* A webhook in the state *arg, of one attempt; NULL: none was sent yet. */
static void webhook_script(struct fake_broker *b, void *arg)
{
	struct uuid id = cli_run_id();
	struct msg_job job = fake_job(&id, arg ? JOB_SUCCEEDED : JOB_SCHEDULED);

	job.has_callback = true;
	job.callback = (struct msg_callback){ .has_url = true, .url = slice_str("https://x/done") };
	if (arg) {
		job.callback.has_id = job.callback.has_state = job.callback.has_attempts = true;
		job.callback.id = id;
		job.callback.state = *(int *)arg;
		job.callback.attempts = 1;
	}
	job.has_run_at_ms = true;
	job.run_at_ms = AT_MS;
	answer_with(b, &job);
}

static void test_what_became_of_the_webhook(void **state)
{
	int sent = JOB_SUCCEEDED, dead = JOB_DEAD;
	struct ran r;

	(void)state;
	right(run_with(webhook_script, &sent, "", WORDS("get", ID)),
	      "webhook:        delivered, 1 attempt, job " ID "\n");
	right(run_with(webhook_script, &dead, "", WORDS("get", ID)), "webhook:        dead, 1 attempt, job " ID "\n");
	r = run_with(webhook_script, NULL, "", WORDS("get", ID));
	says(r.out, "callback:       https://x/done\n");
	says(r.out, "not before:     2024-06-0");
	assert_null(strstr(r.out, "webhook:"));
	ran_done(&r);
	right(run_with(webhook_script, NULL, "", WORDS("get", ID, "--json")), "\"attempts\": null");
}

/* ---- a queue ---- */

static void queue_script(struct fake_broker *b, void *arg)
{
	struct msg_queue queue = fake_queue("films");
	struct fake_request r;

	queue.has_run_ms = arg != NULL;
	queue.run_ms = (struct msg_run_time){ .has_mean = true, .mean = 38000, .has_spread = true, .spread = 4000 };
	if (fake_greet(b, 10) && fake_next(b, METHOD_queue_get, &r))
		fake_reply(b, &r, &queue);
}

static void test_how_long_attempts_take(void **state)
{
	int known;
	struct ran r;

	(void)state;
	right(run_with(queue_script, &known, "", WORDS("queue", "show", "films")),
	      "attempts take:  38 s, give or take 4 s\n");
	r = run_with(queue_script, NULL, "", WORDS("queue", "show", "films"));
	assert_null(strstr(r.out, "attempts take"));
	ran_done(&r);
}

/* ---- bytes ---- */

/* A piece of the video; *arg says what is wrong with it. */
enum piece { PIECE_WELL, PIECE_SHIFTED, PIECE_EMPTY };

static void piece_script(struct fake_broker *b, void *arg)
{
	enum piece kind = *(enum piece *)arg;
	struct msg_artifact_read_result piece = {
		.has_content_type = true,
		.content_type = slice_str("video/mp4"),
		.has_size = true,
		.size = 4,
		.has_offset = true,
		.offset = kind == PIECE_SHIFTED ? 1 : 0,
		.has_data = true,
		.data = kind == PIECE_EMPTY ? slice_of("", 0) : slice_of("\0\1\2\3", 4),
	};
	struct fake_request r;

	if (!fake_greet(b, 10))
		return;
	if (fake_any(b, &r))
		fake_reply(b, &r, &piece);
}

static void test_another_piece_than_was_asked_for(void **state)
{
	enum piece kinds[] = { PIECE_SHIFTED, PIECE_EMPTY };
	struct tempdir dir;
	char path[256];
	struct ran r;

	(void)state;
	tempdir_make(&dir);
	snprintf(path, sizeof(path), "%s", tempdir_file(&dir, "video"));
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		r = run_with(piece_script, &kinds[i], "", WORDS("result", ID, "-o", path));
		assert_int_equal(r.exit, CLI_FAILED);
		says(r.err, "another piece than was asked for");
		assert_int_equal(access(path, F_OK), -1);
		ran_done(&r);
	}
	tempdir_remove(&dir);
}

/* Into a folder that is not there, for which nothing is even asked of a broker; and in the place of a folder. */
static void test_bytes_that_cannot_be_written(void **state)
{
	enum piece well = PIECE_WELL;
	struct tempdir dir;
	char path[256], inner[300];
	struct ran r;

	(void)state;
	tempdir_make(&dir);
	snprintf(path, sizeof(path), "%s", tempdir_file(&dir, "folder"));
	snprintf(inner, sizeof(inner), "%s/video", path);
	r = RUN("result", ID, "-o", inner);
	assert_int_equal(r.exit, CLI_FAILED);
	says(r.err, "cannot write ");
	says(r.err, "folder/video: No such file or directory");
	ran_done(&r);
	assert_int_equal(mkdir(path, 0700), 0);
	r = run_with(piece_script, &well, "", WORDS("result", ID, "-o", path));
	assert_int_equal(r.exit, CLI_FAILED);
	says(r.err, "cannot write ");
	says(r.err, "s a directory");
	ran_done(&r);
	assert_int_equal(rmdir(path), 0);
	tempdir_remove(&dir);
}

static void payload_script(struct fake_broker *b, void *arg)
{
	struct msg_job_payload_result payload = { .has_data = true, .data = slice_of("\0\1\2\3", 4) };
	struct fake_request r;

	if (!fake_greet(b, 10) || !fake_next(b, METHOD_job_payload, &r))
		return;
	if (arg)
		fake_refuse(b, &r, ERR_GONE, "id", "the job was erased");
	else
		fake_reply(b, &r, &payload);
}

/* Of a job that is gone no file is begun, and one that was there stays as it was. */
static void test_payload_into_a_file(void **state)
{
	struct tempdir dir;
	char path[256], bytes[8];
	int gone;
	struct ran r;
	FILE *f;

	(void)state;
	tempdir_make(&dir);
	snprintf(path, sizeof(path), "%s", tempdir_file(&dir, "input"));
	r = run_with(payload_script, NULL, "", WORDS("payload", ID, "-o", path));
	assert_int_equal(r.exit, CLI_DONE);
	ran_done(&r);
	r = run_with(payload_script, &gone, "", WORDS("payload", ID, "-o", path));
	assert_int_equal(r.exit, CLI_NOT_FOUND);
	says(r.err, "id: the job was erased (gone)");
	ran_done(&r);
	f = fopen(path, "r");
	assert_non_null(f);
	assert_int_equal(fread(bytes, 1, sizeof(bytes), f), 4);
	assert_memory_equal(bytes, "\0\1\2\3", 4);
	fclose(f);
	tempdir_remove(&dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_field_has_its_line),
		cmocka_unit_test(test_every_field_is_in_the_json),
		cmocka_unit_test(test_long_words_are_shown_whole),
		cmocka_unit_test(test_what_became_of_the_webhook),
		cmocka_unit_test(test_how_long_attempts_take),
		cmocka_unit_test(test_another_piece_than_was_asked_for),
		cmocka_unit_test(test_bytes_that_cannot_be_written),
		cmocka_unit_test(test_payload_into_a_file),
	};

	cli_run_clean_environment();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
