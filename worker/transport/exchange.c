/* Time: libcurl limits the connecting; from then on a timer of our own looks whether anything moved since it was set.
 * It is not restarted for every piece but looks at the time of the last one when it fires, so a fast transfer costs
 * nothing. A transfer that the sink has paused is not silent, it is told to be.
 */
#include "worker/transport/exchange.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "proto/base/buf.h"
#include "proto/base/clean.h"
#include "proto/base/clock.h"
#include "proto/error.h"
#include "worker/transport/address_guard.h"
#include "worker/transport/curl_loop.h"
#include "worker/transport/http_request.h"
#include "worker/transport/traffic.h"
#include "worker/transport/trust.h"
#include "worker/transport/url.h"

#define USER_AGENT	"raincheck-worker/" RAINCHECK_VERSION
#define RECEIVE_BYTES	16384L /* libcurl keeps one such buffer a transfer */
#define ERROR_BODY_KEEP 65536  /* of an answer that is not 2xx: enough to say what is wrong */

struct exchange {
	struct transfer transfer;
	struct exchange_spec spec;
	struct http_request *request;
	struct curl_slist *headers;
	uv_timer_t timer;
	int64_t began_ns; /* of clock_mono_ns() */
	int64_t first_byte_us;
	int64_t last_move_at_ms;
	int64_t uploaded;
	struct buf body;
	int64_t bytes;
	bool answered; /* a first header came */
	bool in_head;  /* a header came, and not yet the empty line behind the last */
	bool judged;   /* whether the body is the sink's is decided */
	bool to_sink;
	bool paused;
	bool forbidden;
	bool held_back; /* for that, before it was begun */
	bool ready;	/* connected to the peer: through the proxy, TLS and all; from here on the request goes out */
	bool too_large;
	bool stopped;
	bool no_memory; /* for the body */
	bool well;	/* its transfer ended well */
	bool late;	/* it was not over within total_ms */
	CURLcode resume_code;
	char distrust[160]; /* why the server is not; "": it is */
	char detail[CURL_ERROR_SIZE];
};

static void move(struct exchange *x)
{
	x->last_move_at_ms = clock_mono_ms();
}

/* ---- ending ---- */

static void closed_cb(uv_handle_t *handle)
{
	struct exchange *x = CONTAINER_OF((uv_timer_t *)handle, struct exchange, timer);

	http_request_free(x->request);
	buf_done(&x->body);
	free(x);
}

static void count(struct exchange *x)
{
	if (x->spec.traffic)
		traffic_add(x->spec.traffic, x->transfer.easy, x->answered ? x->first_byte_us : 0);
}

/* Lets go of libcurl's things at once, of the rest when the timer is closed. */
static void dispose(struct exchange *x)
{
	curl_loop_give_easy(x->spec.loop, TAKE_PTR(x->transfer.easy), x->well);
	curl_slist_free_all(x->headers);
	uv_close((uv_handle_t *)&x->timer, closed_cb);
}

/* libcurl says of a single header beyond a hundred thousand bytes that there is no memory for it: in the midst of an
 * answer's head. Anywhere else it is true. */
static bool is_header_too_long(const struct exchange *x, CURLcode code, bool sent)
{
	return code == CURLE_OUT_OF_MEMORY && sent && x->in_head && x->bytes == 0;
}

static enum exchange_end end_of(const struct exchange *x, CURLcode code, bool sent)
{
	if (code == CURLE_OK)
		return EXCHANGE_ANSWERED;
	if (x->forbidden && !sent)
		return EXCHANGE_FORBIDDEN;
	if (x->too_large)
		return EXCHANGE_TOO_LARGE;
	if (x->stopped)
		return EXCHANGE_STOPPED;
	if (x->no_memory)
		return EXCHANGE_FAILED;
	switch (code) {
	case CURLE_OUT_OF_MEMORY:
		return is_header_too_long(x, code, sent) ? EXCHANGE_BROKEN : EXCHANGE_FAILED;
	case CURLE_FAILED_INIT:
	case CURLE_BAD_FUNCTION_ARGUMENT:
	case CURLE_URL_MALFORMAT:
		return EXCHANGE_FAILED;
	case CURLE_UNSUPPORTED_PROTOCOL:
		/* Also what it says of an answer that is not HTTP. */
		return sent ? EXCHANGE_BROKEN : EXCHANGE_FAILED;
	case CURLE_OPERATION_TIMEDOUT:
		return sent ? EXCHANGE_SILENT : EXCHANGE_NOT_CONNECTED;
	default:
		return sent ? EXCHANGE_BROKEN : EXCHANGE_NOT_CONNECTED;
	}
}

/* In words, why it did not end well. */
static const char *detail_of(const struct exchange *x, CURLcode code, bool sent)
{
	if (x->distrust[0])
		return x->distrust;
	if (x->late)
		return "it took too long";
	if (x->no_memory)
		return error_text(ERR_NO_MEMORY);
	if (is_header_too_long(x, code, sent))
		return "a header of the answer is longer than what is read of one";
	return x->detail[0] ? x->detail : curl_easy_strerror(code);
}

static void finish(struct exchange *x, CURLcode code)
{
	CURL *easy = x->transfer.easy;
	long request_bytes = 0;
	char *type = NULL, *redirect = NULL;
	struct answer a = { .body = buf_slice(&x->body), .bytes = x->bytes, .exchange = x };

	curl_easy_getinfo(easy, CURLINFO_REQUEST_SIZE, &request_bytes);
	curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &a.status);
	curl_easy_getinfo(easy, CURLINFO_CONTENT_TYPE, &type);
	curl_easy_getinfo(easy, CURLINFO_REDIRECT_URL, &redirect);
	/* What a proxy was asked to connect to counts as bytes of a request, too. */
	a.sent = x->ready && request_bytes > 0;
	a.body_began = x->bytes > 0;
	a.content_type = type;
	a.redirect = redirect;
	a.end = end_of(x, code, a.sent);
	a.detail = detail_of(x, code, a.sent);
	uv_timer_stop(&x->timer);
	count(x);
	x->well = code == CURLE_OK;
	x->spec.done_cb(x, &a, x->spec.user);
	dispose(x);
}

static void done_cb(struct transfer *t, CURLcode code)
{
	finish(CONTAINER_OF(t, struct exchange, transfer), code);
}

void exchange_cancel(struct exchange *x)
{
	if (!x)
		return;
	if (!x->held_back)
		curl_loop_remove(&x->transfer);
	count(x);
	dispose(x);
}

bool answer_is_shared(const struct answer *a)
{
	long version = 0;

	curl_easy_getinfo(a->exchange->transfer.easy, CURLINFO_HTTP_VERSION, &version);
	return version >= CURL_HTTP_VERSION_2_0;
}

const char *answer_header(const struct answer *a, const char *name)
{
	struct curl_header *h;

	if (curl_easy_header(a->exchange->transfer.easy, name, 0, CURLH_HEADER, -1, &h) != CURLHE_OK)
		return NULL;
	return h->value;
}

/* ---- silence, and time in all ---- */

static void timer_cb(uv_timer_t *timer);

/* Of all its time. */
static int64_t time_left(const struct exchange *x)
{
	if (x->spec.total_ms <= 0)
		return INT64_MAX;
	return x->began_ns / 1000000 + x->spec.total_ms - clock_mono_ms();
}

static void set_timer(struct exchange *x, int64_t ms)
{
	int64_t left = time_left(x);

	ms = ms < left ? ms : left;
	uv_timer_start(&x->timer, timer_cb, (uint64_t)(ms > 0 ? ms : 1), 0);
}

static int64_t allowed_silence(const struct exchange *x)
{
	if (x->answered)
		return x->spec.stall_ms;
	return x->spec.connect_ms + x->spec.first_byte_ms;
}

static void timer_cb(uv_timer_t *timer)
{
	struct exchange *x = CONTAINER_OF(timer, struct exchange, timer);
	int64_t left;
	curl_off_t uploaded = 0;

	if (x->held_back) {
		finish(x, CURLE_COULDNT_CONNECT);
		return;
	}
	curl_easy_getinfo(x->transfer.easy, CURLINFO_SIZE_UPLOAD_T, &uploaded);
	if (x->paused || uploaded != x->uploaded)
		move(x);
	x->uploaded = uploaded;
	if (x->resume_code != CURLE_OK) {
		curl_loop_remove(&x->transfer);
		finish(x, x->resume_code);
		return;
	}
	left = x->last_move_at_ms + allowed_silence(x) - clock_mono_ms();
	x->late = time_left(x) <= 0;
	if (left > 0 && !x->late) {
		set_timer(x, left);
		return;
	}
	curl_loop_remove(&x->transfer);
	finish(x, CURLE_OPERATION_TIMEDOUT);
}

/* ---- from libcurl ---- */

static size_t header_cb(char *data, size_t size, size_t count, void *user)
{
	struct exchange *x = user;

	move(x);
	x->in_head = size * count > 0 && data[0] != '\r' && data[0] != '\n';
	/* libcurl knows it of HTTP/1 alone. */
	if (!x->answered)
		x->first_byte_us = (clock_mono_ns() - x->began_ns) / 1000;
	if (!x->answered && x->spec.stall_ms < x->spec.connect_ms + x->spec.first_byte_ms)
		set_timer(x, x->spec.stall_ms);
	x->answered = true;
	return size * count;
}

/* Decides, when the body begins, whose it is. */
static void judge(struct exchange *x)
{
	long status = 0;

	if (x->judged)
		return;
	x->judged = true;
	curl_easy_getinfo(x->transfer.easy, CURLINFO_RESPONSE_CODE, &status);
	x->to_sink = x->spec.sink.wants && x->spec.sink.wants(x->spec.sink.user, status);
	if (!x->to_sink && (status < 200 || status > 299) && x->body.cap > ERROR_BODY_KEEP)
		x->body.cap = ERROR_BODY_KEEP;
}

static size_t to_sink(struct exchange *x, struct slice piece)
{
	curl_off_t total = -1;
	char *type = NULL;
	int rc;

	curl_easy_getinfo(x->transfer.easy, CURLINFO_CONTENT_TYPE, &type);
	curl_easy_getinfo(x->transfer.easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &total);
	rc = x->spec.sink.data(x->spec.sink.user, type, total, piece);
	x->paused = rc == SINK_PAUSE;
	x->stopped = rc == SINK_STOP;
	if (rc == SINK_PAUSE)
		return CURL_WRITEFUNC_PAUSE;
	return rc == SINK_TOOK ? piece.size : CURL_WRITEFUNC_ERROR;
}

/* An error's text may be cut; an answer that is to be read may not. */
static size_t collect(struct exchange *x, struct slice piece)
{
	size_t room = x->body.cap - x->body.size;
	size_t taken = piece.size < room ? piece.size : room;
	long status = 0;

	curl_easy_getinfo(x->transfer.easy, CURLINFO_RESPONSE_CODE, &status);
	if (taken < piece.size && status >= 200 && status <= 299) {
		x->too_large = true;
		return CURL_WRITEFUNC_ERROR;
	}
	x->no_memory = buf_append(&x->body, piece.data, taken) < 0;
	return x->no_memory ? CURL_WRITEFUNC_ERROR : piece.size;
}

static size_t write_cb(char *data, size_t size, size_t count, void *user)
{
	struct exchange *x = user;
	struct slice piece = slice_of(data, size * count);
	size_t rc;

	move(x);
	judge(x);
	rc = x->to_sink ? to_sink(x, piece) : collect(x, piece);
	if (rc == piece.size)
		x->bytes += (int64_t)piece.size;
	return rc;
}

void exchange_resume(struct exchange *x)
{
	if (!x->paused)
		return;
	x->paused = false;
	move(x);
	x->resume_code = curl_easy_pause(x->transfer.easy, CURLPAUSE_CONT);
	/* libcurl only returns what went wrong with the piece held back. The end is told from the timer as any other.
	 */
	if (x->resume_code != CURLE_OK)
		set_timer(x, 0);
}

static curl_socket_t open_socket_cb(void *user, curlsocktype purpose, struct curl_sockaddr *address)
{
	struct exchange *x = user;

	(void)purpose;
	if (!address_is_public(&address->addr)) {
		x->forbidden = true;
		return CURL_SOCKET_BAD;
	}
	/* One of several addresses of a name may be public. */
	x->forbidden = false;
	return socket(address->family, address->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, address->protocol);
}

static bool over_tls(const struct exchange *x)
{
	return strncasecmp(x->request->url, "https:", 6) == 0;
}

/* What the proxy would be asked for is an address of the proxy's own network, or of this machine. */
static bool asks_proxy_for_private(const struct exchange *x)
{
	struct origin origin;

	return x->spec.public_only && x->request->proxy && url_origin(x->request->url, &origin) == 0 &&
	       address_host_is_private(origin.host);
}

static bool is_trusted(struct exchange *x)
{
	const struct trust *trust = x->spec.trust ? x->spec.trust : curl_loop_trust(x->spec.loop);
	struct curl_tlssessioninfo *tls = NULL;
	struct origin origin;

	snprintf(x->distrust, sizeof(x->distrust), "TLS: there is nothing to judge the server by");
	curl_easy_getinfo(x->transfer.easy, CURLINFO_TLS_SSL_PTR, &tls);
	if (!trust || !tls || tls->backend != CURLSSLBACKEND_GNUTLS || !tls->internals ||
	    url_origin(x->request->url, &origin) < 0)
		return false;
	if (trust_judge(trust, tls->internals, origin.host, x->distrust, sizeof(x->distrust)) < 0)
		return false;
	x->distrust[0] = '\0';
	return true;
}

/* Before the request goes out, also on a connection that another exchange has opened. */
static int prerequest_cb(void *user, char *ip, char *local_ip, int port, int local_port)
{
	struct exchange *x = user;

	(void)local_ip;
	(void)port;
	(void)local_port;
	if (over_tls(x) && !is_trusted(x)) {
		/* The server may show another certificate on the next one. */
		curl_easy_setopt(x->transfer.easy, CURLOPT_FORBID_REUSE, 1L);
		return CURL_PREREQFUNC_ABORT;
	}
	if (!x->spec.public_only || x->request->proxy || address_text_is_public(ip)) {
		x->ready = true;
		return CURL_PREREQFUNC_OK;
	}
	x->forbidden = true;
	return CURL_PREREQFUNC_ABORT;
}

/* ---- beginning ---- */

static int add_header_line(struct exchange *x, const char *line)
{
	struct curl_slist *list = curl_slist_append(x->headers, line);

	if (!list)
		return ERR_NO_MEMORY;
	x->headers = list;
	return 0;
}

static int set_headers(struct exchange *x)
{
	_cleanup_(buf_done) struct buf line;
	int rc = add_header_line(x, "Expect:");

	buf_init(&line, 131072);
	for (size_t i = 0; rc == 0 && i < x->request->header_count; i++) {
		const struct request_header *h = &x->request->headers[i];

		buf_reset(&line);
		/* libcurl's way of writing a header without a value. */
		buf_printf(&line, h->value[0] ? "%s: %s" : "%s;", h->name, h->value);
		buf_append(&line, "", 1);
		rc = buf_error(&line);
		if (rc == 0)
			rc = add_header_line(x, (const char *)line.data);
	}
	if (rc == 0)
		curl_easy_setopt(x->transfer.easy, CURLOPT_HTTPHEADER, x->headers);
	return rc;
}

/* What libcurl copies. Without one of these it would be another request, or would go another way. */
static int set_text(CURL *easy, CURLoption option, const char *text)
{
	CURLcode code = curl_easy_setopt(easy, option, text);

	if (code == CURLE_OK)
		return 0;
	return code == CURLE_OUT_OF_MEMORY ? ERR_NO_MEMORY : ERR_INTERNAL;
}

static int set_texts(CURL *easy, const struct http_request *r)
{
	bool is_head = strcmp(r->method, "HEAD") == 0;
	int rc = set_text(easy, CURLOPT_URL, r->url);

	if (rc == 0)
		rc = set_text(easy, CURLOPT_PROXY, r->proxy ? r->proxy : "");
	if (rc == 0)
		rc = set_text(easy, CURLOPT_NOPROXY, "");
	if (rc == 0)
		rc = set_text(easy, CURLOPT_INTERFACE, r->interface);
	if (rc == 0)
		rc = set_text(easy, CURLOPT_USERAGENT, USER_AGENT);
	if (rc == 0 && !is_head)
		rc = set_text(easy, CURLOPT_CUSTOMREQUEST, r->method);
	if (rc == 0 && r->user)
		rc = set_text(easy, CURLOPT_USERNAME, r->user);
	if (rc == 0 && r->user)
		rc = set_text(easy, CURLOPT_PASSWORD, r->password);
	return rc;
}

static void set_method(CURL *easy, const struct http_request *r)
{
	if (r->has_body) {
		curl_easy_setopt(easy, CURLOPT_POST, 1L);
		curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body_size);
		curl_easy_setopt(easy, CURLOPT_POSTFIELDS, r->body ? r->body : "");
	} else {
		curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
	}
	/* Or it would wait for the body that the answer's headers tell of. */
	if (strcmp(r->method, "HEAD") == 0)
		curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
	if (r->user)
		curl_easy_setopt(easy, CURLOPT_HTTPAUTH, CURLAUTH_BASIC);
}

/* trust.h says why; is_trusted() does it. The name in the certificate libcurl compares all the same. */
static void leave_judging_to_us(CURL *easy)
{
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
	curl_easy_setopt(easy, CURLOPT_CAINFO, NULL);
	curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
}

static void set_options(struct exchange *x)
{
	CURL *easy = x->transfer.easy;

	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, x->detail);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, RECEIVE_BYTES);
	curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, RECEIVE_BYTES);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)x->spec.connect_ms);
	curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
	/* ".." in a path that somebody else chose is theirs to resolve, not ours to rewrite. */
	curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
	/* Over TLS the server says whether a connection serves many at once (HTTP/2): so the first one is waited for.
	 */
	curl_easy_setopt(easy, CURLOPT_PIPEWAIT, over_tls(x) ? 1L : 0L);
	curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, x->spec.fresh ? 1L : 0L);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, header_cb);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, x);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, write_cb);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, x);
	curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, prerequest_cb);
	curl_easy_setopt(easy, CURLOPT_PREREQDATA, x);
	if (x->spec.public_only && !x->request->proxy) {
		curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket_cb);
		curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, x);
	}
	if (over_tls(x))
		leave_judging_to_us(easy);
}

static int prepare(struct exchange *x)
{
	int rc;

	set_options(x);
	set_method(x->transfer.easy, x->request);
	rc = set_texts(x->transfer.easy, x->request);
	return rc < 0 ? rc : set_headers(x);
}

int exchange_start(const struct exchange_spec *spec, struct http_request *request, struct exchange **ret_exchange)
{
	struct exchange *x = calloc(1, sizeof(*x));
	int rc;

	if (!x)
		return ERR_NO_MEMORY;
	x->spec = *spec;
	x->request = request;
	x->transfer.done_cb = done_cb;
	x->transfer.ahead = spec->ahead;
	x->transfer.easy = curl_loop_take_easy(spec->loop);
	if (!x->transfer.easy) {
		free(x);
		return ERR_NO_MEMORY;
	}
	buf_init(&x->body, spec->body_cap);
	uv_timer_init(spec->uv, &x->timer);
	move(x);
	x->began_ns = clock_mono_ns();
	x->forbidden = x->held_back = asks_proxy_for_private(x);
	rc = prepare(x);
	if (rc == 0 && !x->held_back)
		rc = curl_loop_add(spec->loop, &x->transfer);
	if (rc < 0) {
		x->request = NULL;
		dispose(x);
		return rc;
	}
	set_timer(x, x->held_back ? 0 : allowed_silence(x));
	*ret_exchange = x;
	return 0;
}
