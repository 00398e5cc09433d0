/* What an attacker and a first user found: each test is one thing that went wrong once. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/harness/stack.h"
#include "tests/unit/test_net_peer.h"

static struct stack stack;
static char output[1 << 16];

static int setup(void **state)
{
	(void)state;
	memset(&stack, 0, sizeof(stack));
	tempdir_make(&stack.dir);
	stack_start_broker(&stack);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	stack_stop(&stack);
	return 0;
}

#define run(...) process_run((const char *const[]){ __VA_ARGS__, NULL }, output, sizeof(output))

/* Through a shell, which is the shortest way to close descriptors. */
static int shell(const char *format, ...) __attribute__((format(printf, 1, 2)));
static int shell(const char *format, ...)
{
	char command[2048];
	va_list ap;

	va_start(ap, format);
	vsnprintf(command, sizeof(command), format, ap);
	va_end(ap);
	return run("/bin/sh", "-c", command);
}

static void expect_exit(int status, int expected)
{
	if (!WIFEXITED(status))
		fail_msg("ended by signal %d: %s", WTERMSIG(status), output);
	if (WEXITSTATUS(status) != expected)
		fail_msg("exit status %d, not %d: %s", WEXITSTATUS(status), expected, output);
}

static void expect_said(const char *words)
{
	if (!strstr(output, words))
		fail_msg("\"%s\" is not in: %s", words, output);
}

static void write_file(const char *path, const char *content)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(content, f);
	fclose(f);
}

static void copy_path(char *ret, size_t size, const char *name)
{
	snprintf(ret, size, "%s", tempdir_file(&stack.dir, name));
}

/* ---- descriptors 0 to 2 that are not there ---- */

static void the_command_survives_closed_outputs(void **state)
{
	char program[512];

	(void)state;
	snprintf(program, sizeof(program), "%s", process_program("raincheck"));
	expect_exit(shell("exec %s --server %s put -q q --data x >&-", program, stack.server), 1);
	expect_exit(shell("exec %s --server %s put -q q --data x 2>&-", program, stack.server), 0);
	expect_exit(shell("exec %s --server %s put -q q --data x <&-", program, stack.server), 0);
}

static void the_broker_survives_a_closed_standard_error(void **state)
{
	char program[512], data[256], script[1024];
	struct process broker;

	(void)state;
	snprintf(program, sizeof(program), "%s", process_program("raincheckd"));
	copy_path(data, sizeof(data), "closed");
	snprintf(script, sizeof(script),
		 "exec %s --data %s --listen 127.0.0.1:0 --http 127.0.0.1:0 --log-level debug <&- 2>&-", program, data);
	process_start(&broker, (const char *const[]){ "/bin/sh", "-c", script, NULL });
	assert_true(process_wait_line(&broker, "ready "));
	process_stop(&broker);
}

/* ---- a store that is cut off, and one that is full ---- */

static void a_truncated_store_is_refused_with_words(void **state)
{
	char data[256], file[320];
	struct stat st;

	(void)state;
	copy_path(data, sizeof(data), "data");
	for (int i = 0; i < 20; i++)
		expect_exit(
			run(process_program("raincheck"), "--server", stack.server, "put", "-q", "q", "--data", "x"),
			0);
	process_stop(&stack.broker);
	expect_exit(shell("cp -r %s %s2 && truncate -s 32768 %s2/raincheck.mdb", data, data, data), 0);
	snprintf(file, sizeof(file), "%s2/raincheck.mdb", data);
	assert_int_equal(stat(file, &st), 0);
	snprintf(file, sizeof(file), "%s2", data);
	expect_exit(run(process_program("raincheckd"), "--check", "--data", file), 1);
	expect_said("raincheck.mdb");
	expect_exit(
		run(process_program("raincheckd"), "--data", file, "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"),
		1);
	stack_start_broker(&stack);
}

static int put_bytes(struct raincheck *rc, size_t size)
{
	static char bytes[900000];
	struct raincheck_put put = { .queue = "q", .payload = { bytes, size } };
	struct raincheck_put_result *result;
	int r = raincheck_put(rc, &put, &result);

	if (r == 0)
		raincheck_free(result);
	return r;
}

/* Leases and completes one job after the other. 0 when none is left, else the error. */
static int drain(struct raincheck *rc)
{
	static const char *const queues[] = { "q" };
	const struct raincheck_lease lease = { .queues = queues, .queue_count = 1 };
	struct raincheck_lease_result *leased;
	struct raincheck_complete complete;
	size_t count;
	int r;

	do {
		r = raincheck_lease(rc, &lease, &leased);
		if (r < 0)
			return r;
		count = leased->job_count;
		if (count > 0) {
			complete =
				(struct raincheck_complete){ .id = leased->jobs[0].id, .lease = leased->jobs[0].lease };
			r = raincheck_complete(rc, &complete, NULL);
		}
		raincheck_free(leased);
	} while (r == 0 && count > 0);
	return r;
}

static void a_full_store_lets_the_backlog_drain(void **state)
{
	char data[256], config[256], server[300], url[160], refused[512] = "";
	struct raincheck_options options = { .server = server };
	struct http_answer answer;
	struct process broker;
	struct raincheck *rc;
	long status;

	(void)state;
	copy_path(data, sizeof(data), "full");
	copy_path(config, sizeof(config), "full.yaml");
	snprintf(server, sizeof(server), "unix:%s", tempdir_file(&stack.dir, "full.sock"));
	write_file(config, "store: { max_bytes: 16MiB }\n");
	process_start(&broker, (const char *const[]){ process_program("raincheckd"), "--config", config, "--data", data,
						      "--listen", server, "--http", "127.0.0.1:0", "--log-level",
						      "error", NULL });
	assert_true(process_wait_line(&broker, "ready "));
	snprintf(url, sizeof(url), "http://");
	process_line_word(&broker, "http=", url + strlen(url), sizeof(url) - strlen(url));
	strncat(url, "/readyz", sizeof(url) - strlen(url) - 1);
	assert_int_equal(raincheck_new(&options, &rc, NULL), 0);
	for (size_t size = 900000; size > 0; size /= 10)
		while (put_bytes(rc, size) == 0)
			;
	assert_string_equal(raincheck_last_error(rc)->message, "the store is full");
	http_request(NULL, url, NULL, &answer);
	if (drain(rc) < 0)
		snprintf(refused, sizeof(refused), "%s", raincheck_last_error(rc)->message);
	raincheck_close(rc, NULL, NULL);
	process_stop(&broker);
	status = answer.status;
	http_answer_done(&answer);
	assert_string_equal(refused, "");
	assert_int_equal(status, 503);
}

/* ---- filters, cursors and paths ---- */

static void connect_peer(struct peer *p)
{
	peer_attach(p, dial(stack.server));
	peer_hello(p, false);
}

static void put_jobs(struct peer *p, const char *queue, size_t count)
{
	struct msg_job_put put = { .has_queue = true, .queue = slice_str(queue), .has_payload = true };

	/* no more at once than the system's buffers hold of the answers */
	for (size_t done = 0; done < count;) {
		size_t some = count - done < 100 ? count - done : 100;
		uint64_t first = p->last_id + 1;

		for (size_t i = 0; i < some; i++)
			peer_request(p, METHOD_job_put, &put);
		for (size_t i = 0; i < some; i++)
			assert_int_equal(peer_answer(p, first + i, METHOD_job_put, NULL), 0);
		done += some;
	}
}

static struct msg_server_stats_result stats_of(struct peer *p)
{
	struct msg_server_stats_result result;
	struct msg_empty nothing = { 0 };

	assert_int_equal(peer_call(p, METHOD_server_stats, &nothing, &result), 0);
	return result;
}

/* Each looks at every job there is and finds none; others are served meanwhile, and go on when the connection is gone.
 */
static void a_flood_of_filters_stops_nobody(void **state)
{
	enum { JOBS = 3000, FILTERS = 1000, PUTS = 20 };
	struct msg_job_change none = { .has_filter = true,
				       .filter = { .has_group = true, .group = slice_str("nobody") } };
	struct peer flood, other;

	(void)state;
	connect_peer(&other);
	put_jobs(&other, "q", JOBS);
	connect_peer(&flood);
	for (int i = 0; i < FILTERS; i++)
		peer_request(&flood, METHOD_job_erase, &none);
	for (int i = 0; i < PUTS; i++)
		put_jobs(&other, "q", 1);
	peer_close(&flood);
	while (stats_of(&other).connections > 1)
		;
	put_jobs(&other, "q", 1);
	assert_int_equal(stats_of(&other).jobs.ready, JOBS + PUTS + 1);
	peer_close(&other);
}

/* The bytes of one request, spoiled at random: the seed says how. */
static void spoil(uint8_t *bytes, size_t size, unsigned *seed)
{
	/* behind the head of the array, so that it stays a request */
	for (int i = 1 + (int)((unsigned)rand_r(seed) % 4); i > 0; i--)
		bytes[3 + (unsigned)rand_r(seed) % (size - 3)] ^= (uint8_t)(1u << (unsigned)rand_r(seed) % 8);
}

static unsigned setting(const char *name, unsigned otherwise)
{
	const char *text = getenv(name);

	return text ? (unsigned)strtoul(text, NULL, 0) : otherwise;
}

static void write_change(struct buf *out, uint64_t id, const char *cursor)
{
	struct msg_job_change change = { .has_filter = true,
					 .filter = { .has_queue = true,
						     .queue = slice_str("victims"),
						     .has_state = true,
						     .state = JOB_DEAD,
						     .has_before_at_ms = true,
						     .before_at_ms = 1 },
					 .has_limit = true,
					 .limit = 5,
					 .has_cursor = true,
					 .cursor = slice_str(cursor) };

	add_request(out, id, METHOD_job_erase, &change);
}

/* Whatever a filter or cursor is made of: an answer or a closed connection, and not one job the fewer. */
static void spoiled_filters_and_cursors_change_nothing(void **state)
{
	static const char *const cursors[] = { "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "../../etc/passwd",
					       "%n%s" };
	unsigned seed = setting("ATTACK_SEED", 7), count = setting("ATTACK_COUNT", 600), answered = 0;
	struct peer p, other;
	struct buf out;

	(void)state;
	print_message("# ATTACK_SEED=%u ATTACK_COUNT=%u\n", seed, count);
	connect_peer(&other);
	put_jobs(&other, "q", 50);
	connect_peer(&p);
	buf_init(&out, 4096);
	for (unsigned i = 0; i < count; i++) {
		struct rpc_envelope e;

		buf_reset(&out);
		write_change(&out, i, cursors[i % ARRAY_SIZE(cursors)]);
		spoil(out.data, out.size, &seed);
		/* what it may wait for still, if it is no longer whole, never comes */
		if (!peer_try_send(&p, out.data, out.size) || shutdown(p.fd, SHUT_WR) < 0)
			fail_msg("the connection was gone before anything was said");
		answered += peer_try_read(&p, &e);
		peer_close(&p);
		connect_peer(&p);
	}
	assert_true(answered > 0);
	assert_int_equal(stats_of(&other).jobs.ready, 50);
	buf_done(&out);
	peer_close(&p);
	peer_close(&other);
}

/* A copy goes where there is nothing, or nowhere. */
static void a_backup_overwrites_nothing(void **state)
{
	char data[256], full[256], link[256], file[300], long_path[4096];
	const char *paths[] = { data, full, link, file, "/dev/null", "/proc/self/x", "/", long_path, "relative", "" };
	struct peer p;

	(void)state;
	copy_path(data, sizeof(data), "data");
	copy_path(full, sizeof(full), "full");
	copy_path(link, sizeof(link), "link");
	snprintf(file, sizeof(file), "%s/keep", full);
	memset(long_path, 'x', sizeof(long_path) - 1);
	long_path[0] = '/';
	long_path[sizeof(long_path) - 1] = '\0';
	assert_int_equal(mkdir(full, 0700), 0);
	write_file(file, "mine");
	assert_int_equal(symlink(full, link), 0);
	connect_peer(&p);
	put_jobs(&p, "q", 1);
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		struct msg_server_backup params = { .has_path = true, .path = slice_str(paths[i]) };

		assert_true(peer_call(&p, METHOD_server_backup, &params, NULL) < 0);
	}
	expect_exit(shell("test \"$(ls -A %s)\" = keep && test \"$(cat %s)\" = mine", full, file), 0);
	put_jobs(&p, "q", 1);
	peer_close(&p);
	expect_exit(shell("ls -A %s/.. | grep -q partial", full), 1);
}

/* ---- the command ---- */

static void a_line_of_a_batch_without_payload_is_refused(void **state)
{
	char batch[256];

	(void)state;
	copy_path(batch, sizeof(batch), "b.ndjson");
	write_file(batch, "{\"queue\": \"q\"}\n");
	expect_exit(run(process_program("raincheck"), "--server", stack.server, "put", "--batch", batch), 1);
	expect_said("line 1: payload");
}

/* ---- configuration ---- */

static void every_flag_has_its_key(void **state)
{
	char config[256], data[256];
	struct process broker;

	(void)state;
	copy_path(config, sizeof(config), "insecure.yaml");
	copy_path(data, sizeof(data), "insecure");
	write_file(config, "insecure: true\n");
	process_start(&broker, (const char *const[]){ process_program("raincheckd"), "--config", config, "--data", data,
						      "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--log-level",
						      "error", NULL });
	assert_true(process_wait_line(&broker, "ready "));
	process_stop(&broker);
}

static void a_bad_broker_address_of_the_worker_says_where(void **state)
{
	char config[256];

	(void)state;
	copy_path(config, sizeof(config), "w.yaml");
	write_file(config, "server: 127.0.0.1:99999\n"
			   "queues: { q: u }\n"
			   "upstreams: { u: { base_url: http://127.0.0.1:1, mode: sync, submit: { path: / }, result: { "
			   "from: body } } }\n");
	expect_exit(run(process_program("raincheck-worker"), "--config", config, "--once"), 1);
	expect_said("w.yaml:1: server");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_flood_of_filters_stops_nobody),
		T(spoiled_filters_and_cursors_change_nothing),
		T(a_backup_overwrites_nothing),
		T(the_command_survives_closed_outputs),
		T(the_broker_survives_a_closed_standard_error),
		T(a_truncated_store_is_refused_with_words),
		T(a_full_store_lets_the_backlog_drain),
		T(a_line_of_a_batch_without_payload_is_refused),
		T(every_flag_has_its_key),
		T(a_bad_broker_address_of_the_worker_says_where),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
