/* curl_loop.h: libcurl's transfers on a libuv loop: any number at once, on one thread.
 *
 * libcurl says which sockets to watch and when to wake it (its "multi socket" interface); uv watches and wakes. Ended
 * transfers leave their connections to later ones, names that were looked up and TLS sessions are known to all, and
 * HTTP/2 is used where a server offers it over TLS: then transfers share connections. All functions belong to the
 * loop's thread. None may be called from within a callback of libcurl (header, write, …); done callbacks are none of
 * these.
 */
#ifndef RAINCHECK_WORKER_TRANSPORT_CURL_LOOP_H
#define RAINCHECK_WORKER_TRANSPORT_CURL_LOOP_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct curl_loop;
struct curl_shard;
struct trust;
struct uv_loop_s;

/* To be the first member of whoever has a transfer, or found by CONTAINER_OF. */
struct transfer {
	CURL *easy;
	/* The transfer is over and its handle free for other use. Once per curl_loop_add(), unless removed before.
	 * CURLE_OUT_OF_MEMORY also where libcurl could not go on with it and others (curl_shard.h). */
	void (*done_cb)(struct transfer *t, CURLcode code);
	/* It opens a connection for a call to come, the n-th of those that would begin now, from 1; 0: it does not. */
	size_t ahead;
	/* the loop's, while it is under way */
	struct curl_shard *shard;
	TAILQ_ENTRY(transfer) entry;
};

/* ERR_NO_MEMORY, ERR_INTERNAL. */
int curl_loop_new(struct uv_loop_s *uv, struct curl_loop **ret_loop);

/* What servers are judged by that have nothing of their own to be judged by: given, which has to live until the next
 * call of this or the loop's end; NULL: the system's certificates, which are read anew. Where those cannot be read the
 * log says so, and the ones that were read before hold. Connections that are open are judged again before they are used
 * again. */
void curl_loop_trust_by(struct curl_loop *loop, const struct trust *given);
/* The same; NULL where there are none. Until curl_loop_trust_by(). */
const struct trust *curl_loop_trust(const struct curl_loop *loop);

/* An easy handle without options, but for those that make it one of this loop's; NULL: no memory. What is given back is
 * not under way, and is used again where its transfer ended well: of one that did not, libcurl keeps things that spoil
 * the next. */
CURL *curl_loop_take_easy(struct curl_loop *loop);
void curl_loop_give_easy(struct curl_loop *loop, CURL *easy, bool ended_well);

/* Closes connections and handles; what it is made of is freed while uv runs on. No transfer may be under way and every
 * easy handle must have been given back. NULL is taken. */
void curl_loop_close(struct curl_loop *loop);

/* How many open files so many transfers at once need at least, their sockets included. */
uint64_t curl_loop_files(uint64_t transfers);

/* Starts a transfer of t->easy, whose CURLOPT_PRIVATE becomes t. ERR_NO_MEMORY, ERR_IO, ERR_INTERNAL; then there
 * is no callback. */
int curl_loop_add(struct curl_loop *loop, struct transfer *t);

/* Of the transfers that would begin now, from 1: the first after the n-th that would not share its connections. */
size_t curl_loop_next_apart(const struct curl_loop *loop, size_t n);

/* Ends a transfer under way without its callback. */
void curl_loop_remove(struct transfer *t);

#endif
