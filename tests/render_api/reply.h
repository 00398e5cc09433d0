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
	SPOIL_TRUNCATE,	  /* half of the bytes, then the end of the connection */
	SPOIL_WRONG_TYPE, /* a page of HTML instead */
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

/* 405 with Allow. */
enum MHD_Result reply_not_allowed(struct MHD_Connection *c, const char *allow);

/* Takes bytes over. A single range asked for is answered with 206 or 416. SPOIL_HANG_BODY waits in the park. */
enum MHD_Result reply_bytes(struct MHD_Connection *c, const char *type, unsigned char *bytes, size_t size,
			    enum reply_spoil spoil, struct park *park, struct parked *parked);

/* Closes the connection with a reset instead of an answer. */
enum MHD_Result reply_reset(struct MHD_Connection *c);

#endif
