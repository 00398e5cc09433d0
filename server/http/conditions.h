/* conditions.h: what a client's If-Match, If-None-Match, Range and If-Range ask for (RFC 9110, sections 13 and 14).
 * Any thread; no state.
 */
#ifndef RAINCHECK_HTTP_CONDITIONS_H
#define RAINCHECK_HTTP_CONDITIONS_H

#include <stdbool.h>
#include <stdint.h>

/* An inclusive range of bytes. */
struct byte_range {
	int64_t first;
	int64_t last;
};

enum range_verdict {
	RANGE_WHOLE,	     /* no range, several, or none that we understand: send everything */
	RANGE_PART,	     /* one range, clipped to the size */
	RANGE_UNSATISFIABLE, /* it lies past the end */
};

/* header: the Range header's value, or NULL. ret is set for RANGE_PART. */
enum range_verdict range_parse(const char *header, int64_t size, struct byte_range *ret);

/* True where one of the header's entity tags, or "*", is tag. tag: with its quotes, "W/" before them when weak; weak
 * tags count as equal to strong ones (for If-None-Match). What is no list of tags matches nothing. */
bool etag_match_weak(const char *header, const char *tag);
/* The same, but a weak tag on either side matches nothing (for If-Match and If-Range). */
bool etag_match_strong(const char *header, const char *tag);

#endif
