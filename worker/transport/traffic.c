#include "worker/transport/traffic.h"

static int64_t number(CURL *easy, CURLINFO what)
{
	curl_off_t value = 0;

	curl_easy_getinfo(easy, what, &value);
	return (int64_t)value;
}

static long version(CURL *easy)
{
	long http = CURL_HTTP_VERSION_NONE;

	curl_easy_getinfo(easy, CURLINFO_HTTP_VERSION, &http);
	switch (http) {
	case CURL_HTTP_VERSION_1_0:
		return 10;
	case CURL_HTTP_VERSION_1_1:
		return 11;
	case CURL_HTTP_VERSION_2_0:
		return 20;
	default:
		return 0;
	}
}

/* libcurl's times all begin with the request; one that was not reached is 0. */
void traffic_add(struct traffic *t, CURL *easy, int64_t first_byte_us)
{
	int64_t named = number(easy, CURLINFO_NAMELOOKUP_TIME_T), connected = number(easy, CURLINFO_CONNECT_TIME_T);
	int64_t agreed = number(easy, CURLINFO_APPCONNECT_TIME_T);
	long made = 0, http = version(easy);

	curl_easy_getinfo(easy, CURLINFO_NUM_CONNECTS, &made);
	if (made > 0) {
		t->connections += made;
		t->dns_us += named;
		t->connect_us += connected > named ? connected - named : 0;
		t->tls_us += agreed > connected ? agreed - connected : 0;
	}
	if (t->requests++ == 0)
		t->first_byte_us = first_byte_us;
	t->bytes_up += number(easy, CURLINFO_SIZE_UPLOAD_T);
	t->bytes_down += number(easy, CURLINFO_SIZE_DOWNLOAD_T);
	if (http > 0)
		t->http = http;
}
