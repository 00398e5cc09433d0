/* messages_json.h: a message as JSON (RFC 8259). Any thread; no state. */
#ifndef RAINCHECK_MESSAGES_JSON_H
#define RAINCHECK_MESSAGES_JSON_H

#include "messages.h"

/* Appends the struct at in as an object: the keys of the wire in the order of the table; optional fields that are not
 * there are left out, nullable ones are null. Bytes of a text that are no UTF-8 become U+FFFD. Fields of bytes, for
 * which JSON has nothing, are left out. The error of out (ERR_TOO_LARGE, ERR_NO_MEMORY). */
int message_to_json(const struct message *m, const void *in, struct buf *out);

#endif
