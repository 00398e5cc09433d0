/* form.h: a body of multipart/form-data (RFC 7578) taken apart, where it stands: nothing is copied.
 *
 * Strict where two readers could see two forms in the same bytes: every part begins with a head that has one
 * Content-Disposition with one name, and the last boundary must be there, so a form that was cut off is none. Any
 * thread; no state.
 */
#ifndef RAINCHECK_HTTP_FORM_H
#define RAINCHECK_HTTP_FORM_H

#include <stdbool.h>
#include <stddef.h>

#include "proto/base/slice.h"
#include "proto/messages_text.h"

struct error_info;

#define FORM_PARTS	    (MESSAGE_TEXTS_MAX + 2)
#define FORM_BOUNDARY_BYTES 70	 /* RFC 2046, section 5.1.1 */
#define FORM_HEAD_BYTES	    2048 /* of one part */

struct form_part {
	struct slice name;
	struct slice content_type; /* empty: it says none */
	struct slice data;
};

struct form {
	struct form_part parts[FORM_PARTS];
	size_t count;
};

/* True for a Content-Type, which may be NULL, of such a body, whatever its boundary. */
bool form_is_announced(const char *content_type);
/* The boundary that a Content-Type tells, which may be NULL. ERR_NOT_FOUND where it is no multipart/form-data;
 * ERR_BAD_REQUEST, and info says why, where it is and has no boundary that can be one. */
int form_boundary(const char *content_type, struct slice *ret, struct error_info *info);

/* The parts of body, in their order, pointing into it. ERR_BAD_REQUEST, ERR_TOO_LARGE; info says what is wrong, in its
 * field of which part where that has a name. */
int form_parse(struct slice body, struct slice boundary, struct form *ret, struct error_info *info);

#endif
