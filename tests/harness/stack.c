#include "tests/harness/stack.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define ARGS_MAX 32

/* Links must go on working after a restart, so the port is the same again; and nobody else may get it meanwhile. A
 * socket that is bound and does not listen keeps it from all that ask for any port, but not from the broker, which asks
 * for this one with SO_REUSEADDR. */
static void hold_http_port(struct stack *s)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(at);
	int yes = 1;

	s->http_port_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(s->http_port_fd >= 0);
	assert_int_equal(setsockopt(s->http_port_fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)), 0);
	assert_int_equal(bind(s->http_port_fd, (const struct sockaddr *)&at, size), 0);
	assert_int_equal(getsockname(s->http_port_fd, (struct sockaddr *)&at, &size), 0);
	snprintf(s->http, sizeof(s->http), "http://127.0.0.1:%u", ntohs(at.sin_port));
}

void stack_start_broker(struct stack *s)
{
	char program[512], address[128];
	const char *argv[] = { program,	 "--data", NULL,	  "--listen", s->server,
			       "--http", address,  "--log-level", "warning",  NULL };
	char data[256];

	snprintf(program, sizeof(program), "%s", process_program("raincheckd"));
	snprintf(data, sizeof(data), "%s", tempdir_file(&s->dir, "data"));
	snprintf(s->server, sizeof(s->server), "unix:%s", tempdir_file(&s->dir, "rpc.sock"));
	if (!s->http[0])
		hold_http_port(s);
	snprintf(address, sizeof(address), "%s", s->http + strlen("http://"));
	argv[2] = data;
	process_start(&s->broker, argv);
	if (!process_wait_line(&s->broker, "ready "))
		fail_msg("raincheckd did not become ready");
}

void stack_start_api(struct stack *s, const char *const *extra)
{
	char program[512];
	const char *argv[ARGS_MAX] = { program, "--dir", s->dir.path };
	size_t n = 3;

	if (!extra) {
		argv[n++] = "--fake";
		argv[n++] = "--no-ffmpeg";
	}
	for (; extra && *extra && n + 1 < ARGS_MAX; extra++)
		argv[n++] = *extra;
	snprintf(program, sizeof(program), "%s", process_program("render-api"));
	process_start(&s->api, argv);
	if (!process_wait_line(&s->api, "ready "))
		fail_msg("render-api did not become ready");
	snprintf(s->api_url, sizeof(s->api_url), "http://");
	process_line_word(&s->api, "http=", s->api_url + strlen("http://"), sizeof(s->api_url) - strlen("http://"));
}

void stack_configure_worker(struct stack *s, const char *settings)
{
	FILE *f;

	snprintf(s->worker_config, sizeof(s->worker_config), "%s", tempdir_file(&s->dir, "worker.yaml"));
	f = fopen(s->worker_config, "w");
	assert_non_null(f);
	fprintf(f,
		"server: %s\n"
		"%s"
		"queues: { sync: sync, poll: poll }\n"
		"upstreams:\n"
		"  sync:\n"
		"    base_url: %s\n"
		"    mode: sync\n"
		"    allow_private: true\n"
		"    submit: { method: POST, path: /sync/render, on_unknown: retry }\n"
		"    result: { from: body, types: [video/mp4] }\n"
		"  poll:\n"
		"    base_url: %s\n"
		"    mode: poll\n"
		"    allow_private: true\n"
		"    submit: { method: POST, path: /v1/renders, ok: [201], id: /id, on_unknown: retry }\n"
		"    poll:\n"
		"      path: /v1/renders/{id}\n"
		"      first: 10ms\n"
		"      interval: 20ms\n"
		"      max: 100ms\n"
		"      state: /status\n"
		"      pending: [PENDING, RUNNING]\n"
		"      ok: [SUCCEEDED]\n"
		"      failed: [FAILED, CANCELLED]\n"
		"      progress: /progress\n"
		"    result: { from: pointer, media: /output/0, preview: /poster, types: [video/mp4, image/*] }\n"
		"    error: { message: /failure, code: /failureCode }\n",
		s->server, settings, s->api_url, s->api_url);
	fclose(f);
}

void stack_start_worker(struct stack *s)
{
	char program[512];
	const char *argv[] = { program, "--config", s->worker_config, "--log-level", "warning", NULL };

	snprintf(program, sizeof(program), "%s", process_program("raincheck-worker"));
	process_start(&s->worker, argv);
}

void stack_check(struct stack *s)
{
	char program[512], data[256], output[4096];
	const char *argv[] = { program, "--check", "--data", data, NULL };
	struct process check;
	int status;

	snprintf(program, sizeof(program), "%s", process_program("raincheckd"));
	snprintf(data, sizeof(data), "%s", tempdir_file(&s->dir, "data"));
	process_start(&check, argv);
	status = process_finish(&check, output, sizeof(output));
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		fail_msg("raincheckd --check: status 0x%x\n%s", (unsigned)status, output);
}

void stack_stop(struct stack *s)
{
	if (s->worker.pid)
		process_stop(&s->worker);
	if (s->broker.pid)
		process_stop(&s->broker);
	if (s->api.pid)
		process_stop(&s->api);
	if (s->http[0]) {
		close(s->http_port_fd);
		stack_check(s);
	}
	tempdir_remove(&s->dir);
}

struct raincheck *stack_connect(struct stack *s)
{
	struct raincheck_options options = { .server = s->server, .client = "tests" };
	struct raincheck *rc;

	assert_int_equal(raincheck_new(&options, &rc, NULL), 0);
	return rc;
}

/* ---- HTTP ---- */

struct growing {
	char *data;
	size_t size;
};

static size_t append_cb(char *bytes, size_t one, size_t count, void *user)
{
	struct growing *g = user;
	size_t n = one * count;
	char *data = realloc(g->data, g->size + n + 1);

	if (!data)
		return 0;
	memcpy(data + g->size, bytes, n);
	g->data = data;
	g->size += n;
	g->data[g->size] = '\0';
	return n;
}

static void perform(CURL *curl, const char *method, const char *url, struct curl_slist *list, struct http_answer *ret)
{
	struct growing headers = { calloc(1, 1), 0 }, body = { calloc(1, 1), 0 };
	CURLcode code;

	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, list);
	curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, append_cb);
	curl_easy_setopt(curl, CURLOPT_HEADERDATA, &headers);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, append_cb);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, &body);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT, 60L);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	if (method && strcmp(method, "HEAD") == 0)
		curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
	else if (method)
		curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
	code = curl_easy_perform(curl);
	if (code != CURLE_OK)
		fail_msg("%s %s: %s", method ? method : "GET", url, curl_easy_strerror(code));
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &ret->status);
	curl_easy_cleanup(curl);
	curl_slist_free_all(list);
	ret->headers = headers.data;
	ret->body = body.data;
	ret->size = body.size;
}

void http_request(const char *method, const char *url, const char *request_header, struct http_answer *ret)
{
	struct curl_slist *list = request_header ? curl_slist_append(NULL, request_header) : NULL;

	perform(curl_easy_init(), method, url, list, ret);
}

void http_send(const struct http_sent *sent, struct http_answer *ret)
{
	struct curl_slist *list = NULL;
	CURL *curl = curl_easy_init();

	for (size_t i = 0; sent->headers && sent->headers[i]; i++)
		list = curl_slist_append(list, sent->headers[i]);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)sent->size);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDS, sent->body ? sent->body : "");
	perform(curl, sent->method ? sent->method : "POST", sent->url, list, ret);
}

void http_answer_done(struct http_answer *a)
{
	free(a->headers);
	free(a->body);
	memset(a, 0, sizeof(*a));
}

const char *http_header(const struct http_answer *a, const char *name)
{
	static _Thread_local char value[1024];
	size_t size = strlen(name);

	for (const char *line = a->headers; line && *line; line = strchr(line, '\n'), line += line != NULL) {
		if (strncasecmp(line, name, size) != 0 || line[size] != ':')
			continue;
		line += size + 1;
		line += strspn(line, " ");
		snprintf(value, sizeof(value), "%.*s", (int)strcspn(line, "\r\n"), line);
		return value;
	}
	return "";
}

void stack_wait_for_api(const struct stack *s, const char *name, const char *what, int64_t least)
{
	struct http_answer answer;
	char url[384];

	snprintf(url, sizeof(url), "%s/stats?until=%s&least=%lld%s%s", s->api_url, what, (long long)least,
		 name ? "&name=" : "&names=0", name ? name : "");
	http_request(NULL, url, NULL, &answer);
	assert_int_equal(answer.status, 200);
	http_answer_done(&answer);
}

void stack_wait_for_metric(const struct stack *s, const char *line)
{
	char url[192], whole[192];
	bool there = false;

	snprintf(url, sizeof(url), "%s/metrics", s->http);
	snprintf(whole, sizeof(whole), "\n%s\n", line);
	while (!there) {
		struct http_answer answer;

		http_request(NULL, url, NULL, &answer);
		there = strstr(answer.body, whole) != NULL;
		http_answer_done(&answer);
	}
}
