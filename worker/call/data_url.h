/* data_url.h: the bytes inside a data: URL (RFC 2397), decoded piece by piece. Any thread, one at a time. */
#ifndef RAINCHECK_WORKER_CALL_DATA_URL_H
#define RAINCHECK_WORKER_CALL_DATA_URL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/slice.h"

struct data_url;

/* ERR_BAD_REQUEST for what is not a data: URL in base64 or percent-encoding; ERR_NO_MEMORY. url is copied. */
int data_url_parse(const char *url, struct data_url **ret_data);
void data_url_free(struct data_url *d);

/* The media type with parameters; "text/plain" where none is given. */
const char *data_url_type(const struct data_url *d);
/* Of the whole, decoded. */
int64_t data_url_size(const struct data_url *d);
/* The next piece, of at most 64 KiB; false at the end. Stays the next until data_url_take() takes it. */
bool data_url_next(struct data_url *d, struct slice *ret_piece);
void data_url_take(struct data_url *d, size_t size);

#endif
