/* Answers: JSON, errors, and bytes with ranges, whole or spoilt on purpose.
 *
 * On the connection's thread, inside a callback of libmicrohttpd. All return what that callback is to return. */
#ifndef RENDER_API_REPLY_H
#define RENDER_API_REPLY_H

#include <jansson.h>
#include <microhttpd.h>
#include <stddef.h>

struct park;
struct parked;

enum reply_spoil {
	SPOIL_NOTHING,
	SPOIL_HANG_BODY,  /* half of the bytes, then silence */
	SPOIL_HOLD_BODY,  /* half of the bytes, the rest when the park releases it */
	SPOIL_TRUNCATE,	  /* half of the bytes, then the end of the connection */
	SPOIL_WRONG_TYPE, /* a page of HTML instead */
};

/* Bytes to answer, and how. */
struct reply_file {
	const char *type;
	unsigned char *bytes;
	size_t size;
	size_t pad; /* bytes of a pad (pad.h) behind them */
	enum reply_spoil spoil;
	int pause_ms; /* before each eighth */
	struct park *park;
	struct parked *parked;
};

/* Takes json over; NULL is answered as out of memory. */
enum MHD_Result reply_json(struct MHD_Connection *c, unsigned status, json_t *json);

/* What begins like JSON and stops. */
enum MHD_Result reply_bad_json(struct MHD_Connection *c, unsigned status);

/* {"error":{"code","message"}} */
enum MHD_Result reply_error(struct MHD_Connection *c, unsigned status, const char *code, const char *message);

/* The same with a Retry-After, when seconds is above 0. */
enum MHD_Result reply_retry(struct MHD_Connection *c, unsigned status, const char *code, const char *message,
			    int seconds);

/* The API's own words with a Retry-After; takes json over. */
enum MHD_Result reply_json_retry(struct MHD_Connection *c, unsigned status, json_t *json, int seconds);

/* 405 with Allow. */
enum MHD_Result reply_not_allowed(struct MHD_Connection *c, const char *allow);

/* 302 */
enum MHD_Result reply_redirect(struct MHD_Connection *c, const char *url);

/* Takes file->bytes over. A single range asked for is answered with 206 or 416. What pauses does so in the park. */
enum MHD_Result reply_bytes(struct MHD_Connection *c, const struct reply_file *file);

/* Closes the connection with a reset instead of an answer. */
enum MHD_Result reply_reset(struct MHD_Connection *c);

#endif
