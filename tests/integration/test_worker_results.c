/* Bringing results home: every way an API hands a result over, large ones with little memory, hostile and expired URLs,
 * deadlines, a broker or worker killed in the middle, and what is paid for it. Moments are chosen by events: the API
 * holds a body half way until it is told to go on, a file appears, the worker says on its log what it found.
 */
#include <dirent.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <inttypes.h>
#include <jansson.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/harness/stack.h"

#define KIB	      1024
#define MIB	      (1024 * KIB)
#define LARGE_KIB     20480
#define GROWTH_MAX_KB 12288

/* Sanitizers keep freed memory and shadow what is used: how much a process has says nothing then. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { MEMORY_TELLS = 0 };
#else
enum { MEMORY_TELLS = 1 };
#endif

/* The upstream "api" of queue "q", as far as a test wants it different. Further keys begin with a comma. */
struct shape {
	const char *top;    /* lines at the top of the file */
	const char *mode;   /* "poll" */
	const char *lines;  /* lines of the upstream: timeouts, auth, hosts; allow_private unless is_public */
	const char *path;   /* of the submit */
	const char *submit; /* more keys of submit, … */
	const char *poll;   /* … of poll, … */
	const char *result; /* … and all of result but types */
	const char *queues; /* NULL: q */
	bool is_public;
};

static struct stack stack;
static struct raincheck *rc;
static struct raincheck_job *job;
static char local_base[128]; /* the API under another name, which is another host */

/* ---- the worker ---- */

static const char *either(const char *given, const char *otherwise)
{
	return given ? given : otherwise;
}

static void configure(const struct shape *s)
{
	bool sync = s->mode && strcmp(s->mode, "sync") == 0;
	FILE *f;

	snprintf(stack.worker_config, sizeof(stack.worker_config), "%s", tempdir_file(&stack.dir, "worker.yaml"));
	f = fopen(stack.worker_config, "w");
	assert_non_null(f);
	fprintf(f, "server: %s\n%squeues: { %s }\nupstreams:\n  api:\n    base_url: %s\n    mode: %s\n%s%s",
		stack.server, either(s->top, "slots: 4\nlease: 5s\n"), either(s->queues, "q: api"), stack.api_url,
		either(s->mode, "poll"), s->is_public ? "" : "    allow_private: true\n", either(s->lines, ""));
	fprintf(f, "    submit: { path: %s%s%s }\n", either(s->path, sync ? "/sync/render" : "/v1/renders"),
		sync ? "" : ", id: /id", either(s->submit, ""));
	if (!sync)
		fprintf(f, "    poll: { first: 10ms, interval: 20ms, max: 50ms%s }\n",
			either(s->poll, ", path: \"/v1/renders/{id}\", ok: [SUCCEEDED], failed: [FAILED, CANCELLED]"));
	fprintf(f, "    result: { %s, types: [video/mp4] }\n    error: { message: /error/message }\n",
		either(s->result, sync ? "from: body" : "media: /output/0"));
	fclose(f);
}

/* At the level info, at which it says how each call ended. */
static void start_worker(const struct shape *s)
{
	char program[512];
	const char *argv[] = { program, "--config", stack.worker_config, "--log-level", "info", NULL };

	configure(s);
	snprintf(program, sizeof(program), "%s", process_program("raincheck-worker"));
	process_start_heard(&stack.worker, argv);
}

static void wait_for_log(const char *words)
{
	if (!process_wait_words(&stack.worker, words))
		fail_msg("the worker ended without having said \"%s\"", words);
}

/* ---- before and after ---- */

static int setup(void **state)
{
	(void)state;
	memset(&stack, 0, sizeof(stack));
	tempdir_make(&stack.dir);
	stack_start_api(&stack, NULL);
	stack_start_broker(&stack);
	snprintf(local_base, sizeof(local_base), "http://localhost%s", strrchr(stack.api_url, ':'));
	rc = stack_connect(&stack);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	raincheck_free(job);
	job = NULL;
	raincheck_close(rc, NULL, NULL);
	stack_stop(&stack);
	return 0;
}

/* ---- jobs ---- */

/* Puts {"name": name, "behave": {behave}} into queue and gives back its id. */
static const char *put_into(const char *queue, int64_t attempts, const char *name, const char *behave)
{
	static char id[RAINCHECK_ID_SIZE];
	struct raincheck_put params = { .queue = queue, .content_type = "application/json", .max_attempts = attempts };
	struct raincheck_put_result *result;
	char payload[1024];

	snprintf(payload, sizeof(payload), "{\"name\":\"%s\",\"behave\":{%s}}", name, behave);
	params.payload = (struct raincheck_bytes){ payload, strlen(payload) };
	params.backoff = (struct raincheck_backoff){ .has_base_ms = true, .base_ms = 10, .max_ms = 20 };
	if (raincheck_put(rc, &params, &result) < 0)
		fail_msg("%s", raincheck_last_error(rc)->message);
	memcpy(id, result->id, sizeof(id));
	raincheck_free(result);
	return id;
}

static const char *put(int64_t attempts, const char *name, const char *behave)
{
	return put_into("q", attempts, name, behave);
}

static void expect_end(const char *id, enum raincheck_job_state state)
{
	raincheck_free(job);
	job = NULL;
	if (raincheck_wait(rc, id, 60000, &job) < 0)
		fail_msg("%s", raincheck_last_error(rc)->message);
	if (job->state != state)
		fail_msg("the job is %s, not %s; error: %s", raincheck_job_state_name(job->state),
			 raincheck_job_state_name(state), job->error ? job->error->message : "none");
}

static void expect_failure(const char *id, enum raincheck_failure kind, const char *words)
{
	expect_end(id, RAINCHECK_JOB_DEAD);
	assert_non_null(job->error);
	if (job->error->kind != kind || !strstr(job->error->message, words))
		fail_msg("error is %s \"%s\", not %s \"%s\"", raincheck_failure_name(job->error->kind),
			 job->error->message, raincheck_failure_name(kind), words);
}

/* ---- the API's books ---- */

static json_t *stats(void)
{
	struct http_answer answer;
	char url[256];
	json_t *books;

	snprintf(url, sizeof(url), "%s/stats", stack.api_url);
	http_request(NULL, url, NULL, &answer);
	books = json_loadb(answer.body, answer.size, 0, NULL);
	http_answer_done(&answer);
	assert_non_null(books);
	return books;
}

static json_int_t counted(const char *what)
{
	json_t *books = stats();
	json_int_t n = json_integer_value(json_object_get(books, what));

	json_decref(books);
	return n;
}

/* Each test has an API of its own: what is paid is paid for its jobs. */
static void expect_counts(json_int_t submits, json_int_t paid)
{
	assert_int_equal(counted("submits"), submits);
	assert_int_equal(counted("paid"), paid);
}

static void wait_until_counted(const char *what, json_int_t n)
{
	while (counted(what) < n)
		;
}

/* What the API saw at a door; "nobody" where nobody came. */
static const char *authorization(const char *door)
{
	static char seen[256];
	json_t *books = stats();
	const char *value = json_string_value(json_object_get(json_object_get(books, "authorization"), door));

	snprintf(seen, sizeof(seen), "%s", value ? value : "nobody");
	json_decref(books);
	return seen;
}

static void release_bodies(void)
{
	struct http_answer answer;
	char url[256];

	snprintf(url, sizeof(url), "%s/release", stack.api_url);
	http_request("POST", url, NULL, &answer);
	assert_int_equal(answer.status, 200);
	http_answer_done(&answer);
}

/* ---- what came home ---- */

struct content {
	unsigned char *data;
	size_t size;
};

static void read_back(const char *id, struct content *ret)
{
	struct raincheck_artifact_read read = { .id = id, .name = "result" };
	struct raincheck_artifact_data *piece;

	*ret = (struct content){ .size = 0 };
	do {
		read.offset = (int64_t)ret->size;
		if (raincheck_artifact_read(rc, &read, &piece) < 0)
			fail_msg("%s", raincheck_last_error(rc)->message);
		if (!ret->data)
			ret->data = malloc((size_t)piece->size);
		assert_non_null(ret->data);
		assert_true(ret->size + piece->data.size <= (size_t)piece->size);
		memcpy(ret->data + ret->size, piece->data.data, piece->data.size);
		ret->size += piece->data.size;
		assert_true(piece->data.size > 0 || (int64_t)ret->size == piece->size);
		read.length = piece->size - (int64_t)ret->size;
		raincheck_free(piece);
	} while (read.length > 0);
}

static void hash(const struct content *c, char hex[RAINCHECK_SHA256_SIZE])
{
	unsigned char digest[32];

	assert_int_equal(gnutls_hash_fast(GNUTLS_DIG_SHA256, c->data, c->size, digest), 0);
	for (size_t i = 0; i < sizeof(digest); i++)
		snprintf(hex + 2 * i, 3, "%02x", digest[i]);
}

/* The pad at the end, as tests/render_api/pad.h describes it. */
static void expect_pad(const struct content *c, size_t size)
{
	const unsigned char *pad = c->data + c->size - size;

	assert_true(c->size >= size);
	if (size == 0)
		return;
	assert_memory_equal(pad + 4, "free", 4);
	for (size_t i = 0; i < size - 8; i++)
		if (pad[8 + i] != (unsigned char)(i + i / 251 + i / 65521))
			fail_msg("byte %zu of %zu is wrong", c->size - size + 8 + i, c->size);
}

static const struct raincheck_artifact *artifact(const char *name)
{
	for (size_t i = 0; i < job->artifact_count; i++)
		if (strcmp(job->artifacts[i].name, name) == 0)
			return &job->artifacts[i];
	return NULL;
}

/* The job has succeeded with the video made from its payload and pad_kib of pad, every byte of it. */
static void expect_video(const char *id, const char *name, size_t pad_kib)
{
	const struct raincheck_artifact *a;
	char sha256[RAINCHECK_SHA256_SIZE], key[128];
	struct content c;

	expect_end(id, RAINCHECK_JOB_SUCCEEDED);
	a = artifact("result");
	assert_non_null(a);
	assert_string_equal(a->content_type, "video/mp4");
	read_back(id, &c);
	hash(&c, sha256);
	assert_string_equal(a->sha256, sha256);
	assert_int_equal(a->size, c.size);
	assert_int_equal(c.size, 24 + 8 + (size_t)job->payload_size + pad_kib * KIB);
	assert_memory_equal(c.data + 4, "ftyp", 4);
	snprintf(key, sizeof(key), "{\"name\":\"%s\",", name);
	assert_memory_equal(c.data + 32, key, strlen(key));
	expect_pad(&c, pad_kib * KIB);
	free(c.data);
}

/* ---- every way a result is handed over, in every size ---- */

static const struct shape by_sync = { .mode = "sync" };
static const struct shape by_sync_url = {
	.mode = "sync",
	.path = "/sync/json",
	.result = "from: pointer, media: /output/0, preview: /poster",
};
static const struct shape by_poll = { .mode = "poll" };
static const struct shape by_http_state = {
	.poll = ", path: \"/v2/renders/{id}\", state: http, pending: [202], ok: [200]",
	.result = "from: body",
};
static const struct shape by_get = { .result = "from: get, path: \"/v1/results/{id}\"" };
static const struct shape by_given_get = {
	.submit = ", urls: { status: /urls/get, result: /urls/result }",
	.poll = ", ok: [SUCCEEDED]",
	.result = "from: get",
};
static const struct shape by_get_url = {
	.result = "from: get, path: \"/v1/outputs/{id}\", media: /output/0, preview: /poster",
};

/* Handed over with the completion, in one message, just one piece and a little more, several. */
static const size_t pads_kib[] = { 0, 100, 256, 3000 };

static void expect_all_sizes(const struct shape *shape, const char *behave)
{
	char name[32], switches[256];

	start_worker(shape);
	for (size_t i = 0; i < sizeof(pads_kib) / sizeof(pads_kib[0]); i++) {
		snprintf(name, sizeof(name), "n%zu", i);
		snprintf(switches, sizeof(switches), "\"delay_ms\":30,\"pad_kib\":%zu%s", pads_kib[i], behave);
		expect_video(put(1, name, switches), name, pads_kib[i]);
	}
	expect_counts(sizeof(pads_kib) / sizeof(pads_kib[0]), sizeof(pads_kib) / sizeof(pads_kib[0]));
}

static void a_body_comes_home(void **state)
{
	(void)state;
	expect_all_sizes(&by_sync, "");
}

static void a_url_in_the_answer_is_fetched(void **state)
{
	(void)state;
	expect_all_sizes(&by_sync_url, "");
	assert_non_null(artifact("preview"));
}

static void a_polled_url_is_fetched(void **state)
{
	(void)state;
	expect_all_sizes(&by_poll, "");
}

static void the_http_status_may_be_the_state(void **state)
{
	(void)state;
	expect_all_sizes(&by_http_state, "");
	expect_failure(put(1, "f", "\"fail\":{\"http\":422,\"message\":\"two faces\"}"), RAINCHECK_FAIL_REJECTED,
		       "two faces");
}

static void the_result_may_be_at_a_path_of_its_own(void **state)
{
	(void)state;
	expect_all_sizes(&by_get, "");
}

static void the_result_may_be_where_the_submit_said(void **state)
{
	(void)state;
	expect_all_sizes(&by_given_get, "");
}

static void a_path_of_its_own_may_name_the_url(void **state)
{
	(void)state;
	expect_all_sizes(&by_get_url, "");
	assert_non_null(artifact("preview"));
}

static void a_data_url_is_the_result_itself(void **state)
{
	(void)state;
	expect_all_sizes(&by_poll, ",\"data_url\":true");
	assert_int_equal(counted("fetches"), 0);
}

/* The last piece is full: what follows it is the end and no bytes. */
static void a_body_may_end_with_a_piece(void **state)
{
	const size_t whole = KIB, head = 24 + 8;
	char name[KIB], switches[64];
	size_t rest;

	(void)state;
	start_worker(&by_sync);
	for (size_t pad = 255; pad <= 1023; pad += 768) {
		snprintf(switches, sizeof(switches), "\"pad_kib\":%zu", pad);
		rest = head + strlen("{\"name\":\"\",\"behave\":{}}") + strlen(switches);
		memset(name, 'a', whole - rest);
		name[whole - rest] = '\0';
		expect_video(put(1, name, switches), name, pad);
		assert_int_equal(artifact("result")->size, (int64_t)((pad + 1) * KIB));
	}
}

/* ---- large results ---- */

static long memory_kb(const char *key)
{
	char path[64], line[256];
	long kb = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%ld/status", (long)stack.worker.pid);
	f = fopen(path, "r");
	assert_non_null(f);
	while (kb < 0 && fgets(line, sizeof(line), f))
		if (strncmp(line, key, strlen(key)) == 0)
			kb = strtol(line + strlen(key), NULL, 10);
	fclose(f);
	assert_true(kb > 0);
	return kb;
}

static void expect_large(const struct shape *shape)
{
	char switches[64];
	long before, growth;

	start_worker(shape);
	/* One of four pieces first: what every call needs is there then. */
	expect_video(put(1, "small", "\"pad_kib\":1024"), "small", 1024);
	before = memory_kb("VmRSS:");
	snprintf(switches, sizeof(switches), "\"pad_kib\":%d", LARGE_KIB);
	expect_video(put(1, "large", switches), "large", LARGE_KIB);
	growth = memory_kb("VmHWM:") - before;
	if (!MEMORY_TELLS)
		print_message("# built with a sanitizer: the memory used (%ld KiB more) is not judged\n", growth);
	else if (growth > GROWTH_MAX_KB)
		fail_msg("the worker grew by %ld KiB for a result of %d KiB", growth, LARGE_KIB);
	expect_counts(2, 2);
}

static void a_large_body_takes_little_memory(void **state)
{
	(void)state;
	expect_large(&by_sync);
}

static void a_large_file_takes_little_memory(void **state)
{
	(void)state;
	expect_large(&by_poll);
}

static void a_body_that_trickles_comes_home(void **state)
{
	(void)state;
	start_worker(&by_poll);
	expect_video(put(1, "a", "\"pad_kib\":600,\"slow_body_ms\":20"), "a", 600);
}

static const char max_512k[] = "from: body, max_bytes: 512KiB";

static void what_is_larger_than_allowed_is_invalid(void **state)
{
	struct shape sync = { .mode = "sync", .result = max_512k };

	(void)state;
	start_worker(&sync);
	expect_failure(put(1, "a", "\"pad_kib\":600"), RAINCHECK_FAIL_INVALID, "max_bytes");
	assert_null(artifact("result"));
	expect_video(put(1, "b", "\"pad_kib\":500"), "b", 500);
}

static void a_data_url_larger_than_allowed_is_invalid(void **state)
{
	struct shape poll = { .result = "media: /output/0, max_bytes: 512KiB" };

	(void)state;
	start_worker(&poll);
	expect_failure(put(1, "a", "\"data_url\":true,\"pad_kib\":600"), RAINCHECK_FAIL_INVALID, "max_bytes");
}

/* ---- what cannot be kept ---- */

static void without_room_for_the_body_the_attempt_fails(void **state)
{
	struct rlimit limit, small;

	(void)state;
	/* Writing beyond it is an error, and not a signal, for the worker too. */
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	small = (struct rlimit){ .rlim_cur = MIB, .rlim_max = limit.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	start_worker(&by_sync);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	signal(SIGXFSZ, SIG_DFL);
	expect_failure(put(1, "a", "\"pad_kib\":2048"), RAINCHECK_FAIL_INTERNAL, "in a temporary file");
	expect_video(put(1, "b", "\"pad_kib\":700"), "b", 700);
}

static void without_a_folder_for_the_body_the_attempt_fails(void **state)
{
	(void)state;
	setenv("TMPDIR", "/nowhere", 1);
	start_worker(&by_sync);
	unsetenv("TMPDIR");
	expect_failure(put(1, "a", "\"pad_kib\":600"), RAINCHECK_FAIL_INTERNAL, "temporary file");
}

/* ---- a broker killed in the middle of an upload ---- */

static size_t uploaded_so_far(void)
{
	DIR *dir = opendir(tempdir_file(&stack.dir, "data/blobs/tmp"));
	struct dirent *entry;
	struct stat st;
	size_t size = 0;

	while (dir && (entry = readdir(dir)))
		if (entry->d_name[0] != '.' && fstatat(dirfd(dir), entry->d_name, &st, 0) == 0)
			size += (size_t)st.st_size;
	if (dir)
		closedir(dir);
	return size;
}

/* Half of the 4 MiB is out; of these the broker has all whole pieces. */
static void wait_until_half_is_stored(void)
{
	wait_until_counted("held", 1);
	while (uploaded_so_far() < 2 * MIB - 256 * KIB)
		;
}

static const char held_once[] = "\"pad_kib\":4096,\"hold_body\":true,\"times\":1";

static void expect_survival(const struct shape *shape, bool back_before_the_rest)
{
	char id[RAINCHECK_ID_SIZE];

	start_worker(shape);
	snprintf(id, sizeof(id), "%s", put(2, "a", held_once));
	wait_until_half_is_stored();
	process_end(&stack.broker, SIGKILL);
	wait_for_log("no connection to the broker");
	if (!back_before_the_rest)
		release_bodies();
	stack_start_broker(&stack);
	if (back_before_the_rest)
		release_bodies();
	expect_video(id, "a", 4096);
	expect_counts(1, 1);
}

/* The body of a paid answer is kept, so that the attempt itself goes on. */
static void a_body_survives_the_brokers_crash(void **state)
{
	(void)state;
	expect_survival(&by_sync, true);
	assert_int_equal(job->attempt, 1);
}

static void a_body_that_comes_while_the_broker_is_away_survives(void **state)
{
	(void)state;
	expect_survival(&by_sync, false);
	assert_int_equal(job->attempt, 1);
}

/* A file is asked for a second time. */
static void a_file_survives_the_brokers_crash(void **state)
{
	(void)state;
	expect_survival(&by_poll, true);
	assert_int_equal(job->attempt, 1);
	assert_int_equal(counted("fetches"), 2);
}

/* What only the poll's own answer holds is polled for again. */
static void an_answer_to_a_poll_survives_the_brokers_crash(void **state)
{
	(void)state;
	expect_survival(&by_http_state, true);
	assert_int_equal(job->attempt, 1);
}

/* ---- a lease lost in the middle of a fetch ---- */

static void nothing_is_written_after_the_lease_is_lost(void **state)
{
	static const char *const queues[] = { "q" };
	struct raincheck_lease take = { .queues = queues, .queue_count = 1, .lease_ms = 60000, .wait_ms = 60000 };
	struct raincheck_complete complete = { .result = { "text/plain", { "mine", 4 } } };
	struct shape one_slot = { .top = "slots: 1\nlease: 1s\n" };
	struct raincheck_lease_result *lease;
	struct content c;
	const char *id;

	(void)state;
	start_worker(&one_slot);
	id = put(3, "a", held_once);
	wait_until_half_is_stored();
	kill(stack.worker.pid, SIGSTOP);
	assert_int_equal(raincheck_lease(rc, &take, &lease), 0);
	assert_int_equal(lease->job_count, 1);
	assert_string_equal(lease->jobs[0].id, id);
	assert_int_equal(lease->jobs[0].attempt, 2);
	kill(stack.worker.pid, SIGCONT);
	release_bodies();
	wait_for_log("outcome=\"lost\"");
	assert_int_equal(raincheck_get(rc, id, &job), 0);
	assert_int_equal(job->state, RAINCHECK_JOB_RUNNING);
	assert_int_equal(job->artifact_count, 0);

	complete.id = id;
	complete.lease = lease->jobs[0].lease;
	assert_int_equal(raincheck_complete(rc, &complete, NULL), 0);
	raincheck_free(lease);
	expect_end(id, RAINCHECK_JOB_SUCCEEDED);
	read_back(id, &c);
	assert_int_equal(c.size, 4);
	assert_memory_equal(c.data, "mine", 4);
	free(c.data);
}

/* ---- where a result may be ---- */

/* The API asks for a bearer, and the file may have it too. */
static const char bearer[] = "    auth: { kind: header, name: Authorization, value: \"Bearer {env.TEST_API_KEY}\" }\n"
			     "    allow_hosts: [localhost]\n";
static const char with_credentials[] = "media: /output/0, auth: upstream";

static void credentials_stay_with_the_api(void **state)
{
	struct shape s = { .lines = bearer, .result = with_credentials };
	char switches[256];

	(void)state;
	setenv("TEST_API_KEY", "key-for-the-api", 1);
	start_worker(&s);
	unsetenv("TEST_API_KEY");
	/* They do not follow a redirect, least of all to another host, … */
	snprintf(switches, sizeof(switches), "\"redirects\":1,\"redirect_base\":\"%s\"", local_base);
	expect_video(put(1, "a", switches), "a", 0);
	assert_string_equal(authorization("submit"), "Bearer key-for-the-api");
	assert_string_equal(authorization("poll"), "Bearer key-for-the-api");
	assert_string_equal(authorization("file"), "Bearer key-for-the-api");
	assert_string_equal(authorization("moved"), "");
	/* … and are not sent to another host in the first place. */
	snprintf(switches, sizeof(switches), "\"media_base\":\"%s\"", local_base);
	expect_video(put(1, "b", switches), "b", 0);
	assert_string_equal(authorization("file"), "");
}

static void files_get_no_credentials_unasked(void **state)
{
	struct shape s = { .lines = bearer };

	(void)state;
	setenv("TEST_API_KEY", "key-for-the-api", 1);
	start_worker(&s);
	unsetenv("TEST_API_KEY");
	expect_video(put(1, "a", ""), "a", 0);
	assert_string_equal(authorization("poll"), "Bearer key-for-the-api");
	assert_string_equal(authorization("file"), "");
}

static void redirects_are_followed_but_not_for_ever(void **state)
{
	(void)state;
	start_worker(&by_poll);
	expect_video(put(1, "a", "\"redirects\":5,\"pad_kib\":300"), "a", 300);
	expect_failure(put(1, "b", "\"redirects\":1000"), RAINCHECK_FAIL_INVALID, "redirected");
	assert_int_equal(counted("fetches"), 12);
}

static void other_hosts_are_not_fetched_from(void **state)
{
	char switches[256];

	(void)state;
	start_worker(&by_poll);
	snprintf(switches, sizeof(switches), "\"media_base\":\"%s\"", local_base);
	expect_failure(put(3, "a", switches), RAINCHECK_FAIL_REJECTED, "allow_hosts");
	snprintf(switches, sizeof(switches), "\"redirects\":1,\"redirect_base\":\"%s\"", local_base);
	expect_failure(put(3, "b", switches), RAINCHECK_FAIL_REJECTED, "allow_hosts");
	assert_string_equal(authorization("moved"), "nobody");
	expect_failure(put(1, "c", "\"media_base\":\"file:///etc\""), RAINCHECK_FAIL_INVALID, "fetched");
	assert_int_equal(job->attempt, 1);
	expect_counts(3, 3);
}

static void private_addresses_are_not_fetched_from(void **state)
{
	struct shape s = { .is_public = true, .lines = "    allow_hosts: [localhost]\n" };
	char switches[256];

	(void)state;
	start_worker(&s);
	expect_failure(put(3, "a", ""), RAINCHECK_FAIL_REJECTED, "allow_private");
	snprintf(switches, sizeof(switches), "\"media_base\":\"%s\"", local_base);
	expect_failure(put(3, "b", switches), RAINCHECK_FAIL_REJECTED, "allow_private");
	assert_string_equal(authorization("file"), "nobody");
}

static void an_expired_url_is_asked_for_again(void **state)
{
	(void)state;
	start_worker(&by_poll);
	expect_video(put(1, "a", "\"expire_times\":2"), "a", 0);
	assert_int_equal(counted("fetches"), 3);
	/* Not for ever in one attempt; the next takes the same call up. */
	expect_video(put(2, "b", "\"expire_times\":3"), "b", 0);
	assert_int_equal(job->attempt, 2);
	expect_counts(2, 2);
}

/* The answer to a sync submit that named the URL was the only one: there is another call to make. */
static void an_expired_url_of_a_sync_call_is_called_for_again(void **state)
{
	(void)state;
	start_worker(&by_sync_url);
	expect_video(put(2, "a", "\"expire_times\":1"), "a", 0);
	assert_int_equal(job->attempt, 2);
	expect_counts(2, 2);
}

/* ---- deadlines ---- */

static void an_attempt_that_takes_too_long_is_a_timeout(void **state)
{
	struct shape s = { .lines = "    timeouts: { attempt: 200ms }\n" };

	(void)state;
	start_worker(&s);
	expect_failure(put(1, "a", "\"delay_ms\":3600000"), RAINCHECK_FAIL_TIMEOUT, "took too long");
}

static void a_call_that_does_not_begin_is_a_timeout(void **state)
{
	struct shape s = {
		.lines = "    timeouts: { start: 200ms }\n",
		.poll = ", path: \"/v1/renders/{id}\", pending: [PENDING, RUNNING, RENDERING], ok: [SUCCEEDED]",
	};

	(void)state;
	start_worker(&s);
	expect_failure(put(1, "a", "\"delay_ms\":3600000"), RAINCHECK_FAIL_TIMEOUT, "did not begin");
}

/* From when the provider works, the attempt's time counts and not the start's. */
static void a_call_that_has_begun_has_the_attempts_time(void **state)
{
	struct shape s = {
		.lines = "    timeouts: { start: 60s, attempt: 200ms }\n",
		.poll = ", path: \"/v1/renders/{id}\", pending: [PENDING, RUNNING], ok: [SUCCEEDED]",
	};

	(void)state;
	start_worker(&s);
	expect_failure(put(1, "a", "\"delay_ms\":3600000"), RAINCHECK_FAIL_TIMEOUT, "took too long");
}

static void a_file_that_stalls_is_a_timeout(void **state)
{
	struct shape s = { .lines = "    timeouts: { stall: 500ms }\n" };

	(void)state;
	start_worker(&s);
	expect_failure(put(1, "a", "\"pad_kib\":600,\"hang_body\":true"), RAINCHECK_FAIL_TIMEOUT, "silent");
	expect_counts(1, 1);
}

static void a_sync_call_has_the_starts_time_to_answer(void **state)
{
	struct shape s = { .mode = "sync", .lines = "    timeouts: { connect: 1s, start: 200ms }\n" };

	(void)state;
	start_worker(&s);
	expect_failure(put(1, "a", "\"delay_ms\":3600000"), RAINCHECK_FAIL_TIMEOUT, "silent");
}

/* ---- submits whose outcome is not known ---- */

static const char keyed[] = ", idempotency: \"header:Idempotency-Key\"";
static const struct shape unknown_fails = { .submit = ", on_unknown: fail" };
static const struct shape unknown_retries = { .submit = ", on_unknown: retry" };
static const struct shape unknown_is_keyed = { .submit = keyed };

static void a_lost_answer_may_be_the_end(void **state)
{
	(void)state;
	start_worker(&unknown_fails);
	expect_failure(put(3, "a", "\"reset\":\"paid\",\"times\":1"), RAINCHECK_FAIL_REJECTED, "on_unknown: fail");
	assert_int_equal(job->attempt, 1);
	expect_counts(1, 1);
}

static void a_lost_answer_may_be_paid_for_again(void **state)
{
	(void)state;
	start_worker(&unknown_retries);
	expect_video(put(3, "a", "\"reset\":\"paid\",\"times\":1"), "a", 0);
	assert_int_equal(job->attempt, 2);
	expect_counts(2, 2);
}

static void a_key_makes_a_lost_answer_free(void **state)
{
	(void)state;
	start_worker(&unknown_is_keyed);
	expect_video(put(3, "a", "\"reset\":\"paid\",\"times\":1"), "a", 0);
	assert_int_equal(job->attempt, 2);
	expect_counts(2, 1);
}

/* The API has accepted the call and not answered when the worker is killed; another takes the job up. */
static const char *kill_in_the_submit(const char *submit)
{
	struct shape s = { .submit = submit, .top = "slots: 4\nlease: 1s\n" };
	const char *id;

	start_worker(&s);
	id = put(3, "a", "\"hang\":true,\"times\":1");
	wait_until_counted("paid", 1);
	process_end(&stack.worker, SIGKILL);
	start_worker(&s);
	return id;
}

static void a_worker_killed_in_the_submit_may_be_the_end(void **state)
{
	(void)state;
	expect_failure(kill_in_the_submit(", on_unknown: fail"), RAINCHECK_FAIL_REJECTED, "on_unknown: fail");
	assert_int_equal(job->attempt, 2);
	expect_counts(1, 1);
}

static void a_worker_killed_in_the_submit_may_be_paid_for_again(void **state)
{
	(void)state;
	expect_video(kill_in_the_submit(", on_unknown: retry"), "a", 0);
	expect_counts(2, 2);
}

static void a_key_makes_a_worker_killed_in_the_submit_free(void **state)
{
	(void)state;
	expect_video(kill_in_the_submit(keyed), "a", 0);
	expect_counts(2, 1);
}

/* ---- credentials in what people read ---- */

/* Ends the worker, and gives back whether anything it said holds the word. */
static bool worker_said(const char *word)
{
	static char log[1 << 20];
	int status;

	kill(stack.worker.pid, SIGTERM);
	status = process_finish(&stack.worker, log, sizeof(log));
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	assert_non_null(strstr(log, "outcome="));
	return strstr(log, word) != NULL;
}

/* An API that repeats what it was sent does not make the worker say it. */
static void expect_secrecy(const char *auth, const char *sent, const char *secret)
{
	struct shape s = { .lines = auth };

	setenv("TEST_API_KEY", "open-sesame-4711", 1);
	start_worker(&s);
	unsetenv("TEST_API_KEY");
	expect_video(put(1, "a", ""), "a", 0);
	assert_string_equal(authorization("submit"), sent);
	assert_string_equal(authorization("poll"), sent);
	assert_string_equal(authorization("file"), "");
	expect_failure(put(1, "b", "\"http_status\":401,\"echo_auth\":true"), RAINCHECK_FAIL_REJECTED, "***");
	if (strstr(job->error->message, secret))
		fail_msg("the secret is in \"%s\"", job->error->message);
	assert_false(worker_said(secret));
}

static void a_header_authenticates_and_is_not_told(void **state)
{
	(void)state;
	expect_secrecy("    auth: { kind: header, name: Authorization, value: \"Bearer {env.TEST_API_KEY}\" }\n",
		       "Bearer open-sesame-4711", "open-sesame");
}

static void basic_authentication_is_sent_and_not_told(void **state)
{
	(void)state;
	expect_secrecy("    auth: { kind: basic, user: ada, password: \"{env.TEST_API_KEY}\" }\n",
		       "Basic YWRhOm9wZW4tc2VzYW1lLTQ3MTE=", "YWRhOm9wZW4tc2VzYW1l");
}

/* ---- slots ---- */

static void queues_share_the_slots(void **state)
{
	char ids[9][RAINCHECK_ID_SIZE], queue[8];
	json_int_t most;

	(void)state;
	for (int i = 0; i < 9; i++) {
		snprintf(queue, sizeof(queue), "q%d", i % 3);
		snprintf(ids[i], sizeof(ids[i]), "%s", put_into(queue, 1, "a", "\"delay_ms\":30"));
	}
	start_worker(&(struct shape){ .top = "slots: 2\nlease: 5s\n", .queues = "q0: api, q1: api, q2: api" });
	for (int i = 0; i < 9; i++)
		expect_end(ids[i], RAINCHECK_JOB_SUCCEEDED);
	most = counted("max_in_flight");
	assert_true(most >= 1 && most <= 2);
	expect_counts(9, 9);
}

/* ---- the command line ---- */

static void expect_usage(int status, const char *flag, const char *value, const char *words)
{
	const char *argv[] = { process_program("raincheck-worker"), flag, value, NULL };
	char output[8192];
	int wait_status = process_run(argv, output, sizeof(output));

	assert_true(WIFEXITED(wait_status));
	if (WEXITSTATUS(wait_status) != status || !strstr(output, words))
		fail_msg("%s %s: status %d, not %d; it says \"%s\", not \"%s\"", flag, value ? value : "",
			 WEXITSTATUS(wait_status), status, output, words);
}

static void the_command_line_is_checked(void **state)
{
	(void)state;
	expect_usage(0, "--help", NULL, "--dry-run");
	expect_usage(0, "--version", NULL, "raincheck-worker 0");
	expect_usage(2, "--slots", "0", "from 1 to 100000");
	expect_usage(2, "--slots", "100001", "from 1 to 100000");
	expect_usage(2, "--slots", "4x", "from 1 to 100000");
	expect_usage(2, "--log-level", "loud", "error, warning, info or debug");
	expect_usage(2, "--log-format", "xml", "text or json");
	expect_usage(2, "--no-such", "thing", "--no-such");
	expect_usage(2, "stray", NULL, "stray");
	expect_usage(2, "--slots", "4", "--config");
	expect_usage(1, "--config", "/nowhere/worker.yaml", "/nowhere/worker.yaml");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_body_comes_home),
		T(a_url_in_the_answer_is_fetched),
		T(a_polled_url_is_fetched),
		T(the_http_status_may_be_the_state),
		T(the_result_may_be_at_a_path_of_its_own),
		T(the_result_may_be_where_the_submit_said),
		T(a_path_of_its_own_may_name_the_url),
		T(a_data_url_is_the_result_itself),
		T(a_body_may_end_with_a_piece),
		T(a_large_body_takes_little_memory),
		T(a_large_file_takes_little_memory),
		T(a_body_that_trickles_comes_home),
		T(what_is_larger_than_allowed_is_invalid),
		T(a_data_url_larger_than_allowed_is_invalid),
		T(without_room_for_the_body_the_attempt_fails),
		T(without_a_folder_for_the_body_the_attempt_fails),
		T(a_body_survives_the_brokers_crash),
		T(a_body_that_comes_while_the_broker_is_away_survives),
		T(a_file_survives_the_brokers_crash),
		T(an_answer_to_a_poll_survives_the_brokers_crash),
		T(nothing_is_written_after_the_lease_is_lost),
		T(credentials_stay_with_the_api),
		T(files_get_no_credentials_unasked),
		T(redirects_are_followed_but_not_for_ever),
		T(other_hosts_are_not_fetched_from),
		T(private_addresses_are_not_fetched_from),
		T(an_expired_url_is_asked_for_again),
		T(an_expired_url_of_a_sync_call_is_called_for_again),
		T(an_attempt_that_takes_too_long_is_a_timeout),
		T(a_call_that_does_not_begin_is_a_timeout),
		T(a_call_that_has_begun_has_the_attempts_time),
		T(a_file_that_stalls_is_a_timeout),
		T(a_sync_call_has_the_starts_time_to_answer),
		T(a_lost_answer_may_be_the_end),
		T(a_lost_answer_may_be_paid_for_again),
		T(a_key_makes_a_lost_answer_free),
		T(a_worker_killed_in_the_submit_may_be_the_end),
		T(a_worker_killed_in_the_submit_may_be_paid_for_again),
		T(a_key_makes_a_worker_killed_in_the_submit_free),
		T(a_header_authenticates_and_is_not_told),
		T(basic_authentication_is_sent_and_not_told),
		T(queues_share_the_slots),
		T(the_command_line_is_checked),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
