/* cursor.h: where a list or a change by filter goes on, as text that only the request it belongs to can use.
 *
 * A cursor is base64url(job id ‖ first 16 bytes of HMAC-SHA-256(secret, what it belongs to ‖ job id)): one that was not
 * given here, or was given for another filter, is found out. Any thread; no state.
 */
#ifndef RAINCHECK_ENGINE_CURSOR_H
#define RAINCHECK_ENGINE_CURSOR_H

#include <stdint.h>

#include "proto/base/slice.h"
#include "proto/base/uuid.h"
#include "proto/error.h"
#include "proto/messages.h"

#define CURSOR_SIZE 43 /* characters, without the 0 */

struct cursor_text {
	char text[CURSOR_SIZE + 1];
};

/* what: the method, "job.list" for instance; filter: which jobs, its all does not count. */
struct cursor_text cursor_make(const uint8_t secret[32], const char *what, const struct msg_job_filter *filter,
			       const struct uuid *id);
/* ERR_BAD_REQUEST, and the field "cursor" named, for one that does not belong here. */
int cursor_read(const uint8_t secret[32], const char *what, const struct msg_job_filter *filter, struct slice cursor,
		struct uuid *ret_id, struct error_info *info);

#endif
