/* curl_shard.h: one multi handle of libcurl on a libuv loop: a part of a curl_loop's transfers, with connections of its
 * own. For curl_loop.c alone; loop's thread, and not from within a callback of libcurl.
 *
 * Watching a socket asks the program for no memory: the sockets are in an epoll set, and libuv watches the set. Where
 * libcurl itself fails for want of memory (or the kernel, of a set), what it knows of its sockets is no longer whole:
 * then the shard is over, all of its transfers end with CURLE_OUT_OF_MEMORY, and others take its place.
 */
#ifndef RAINCHECK_WORKER_TRANSPORT_CURL_SHARD_H
#define RAINCHECK_WORKER_TRANSPORT_CURL_SHARD_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stddef.h>

#define CURL_SHARD_TRANSFERS 100 /* as many as nearly every HTTP/2 server takes over one connection */
#define CURL_SHARD_FILES     3	 /* its own, beside the sockets of its transfers: the set, libcurl's two to wake it */

struct curl_shard;
struct transfer;
struct uv_loop_s;

/* over_cb: it must be given no more transfers; those that it has end next, and then it is gone. Never from within
 * another function of this. ERR_NO_MEMORY, ERR_IO. */
int curl_shard_new(struct uv_loop_s *uv, void (*over_cb)(struct curl_shard *shard, void *user), void *user,
		   struct curl_shard **ret_shard);

/* Closes its connections; what it is made of is freed while uv runs on. No transfer may be under way. */
void curl_shard_close(struct curl_shard *shard);

/* For how many more transfers it has room; ahead: beside such as open connections for others, which do not count. */
size_t curl_shard_room(const struct curl_shard *shard, bool ahead);

/* Starts t, whose shard this becomes. ERR_NO_MEMORY, ERR_INTERNAL. */
int curl_shard_add(struct curl_shard *shard, struct transfer *t);
/* Ends it without its callback. */
void curl_shard_remove(struct transfer *t);

#endif
