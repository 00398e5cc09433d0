/* traffic.h: what a call's requests took, in phases, added up: for the line of the log that tells of it. Loop's thread.
 */
#ifndef RAINCHECK_WORKER_TRANSPORT_TRAFFIC_H
#define RAINCHECK_WORKER_TRANSPORT_TRAFFIC_H

#include <curl/curl.h>
#include <stdint.h>

/* Zeroed: nothing yet. Times in microseconds. */
struct traffic {
	int64_t requests;      /* that were begun */
	int64_t connections;   /* that were made for them; others were there already */
	int64_t dns_us;	       /* these three where a connection was made: name looked up, … */
	int64_t connect_us;    /* … connected, … */
	int64_t tls_us;	       /* … TLS agreed on */
	int64_t first_byte_us; /* of the first request: from its begin to the first byte of the answer; 0: none came */
	int64_t bytes_up;      /* of bodies */
	int64_t bytes_down;
	long http; /* of the last answer: 10, 11, 20; 0: none came */
};

/* Adds one request, over or broken off, whose answer began so long after it did; 0: it did not. */
void traffic_add(struct traffic *t, CURL *easy, int64_t first_byte_us);

#endif
