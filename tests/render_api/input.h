/* The body of a submit, checked once here into a typed struct that the rest of the program trusts.
 *
 * Any thread. An input does not change after it is parsed, so threads may share it. */
#ifndef RENDER_API_INPUT_H
#define RENDER_API_INPUT_H

#include <stddef.h>
#include <stdint.h>

#include "behave.h"
#include "util.h"

#define INPUT_NAME_MAX_BYTES 16384

struct input {
	char *name;	 /* UTF-8, not empty, may hold anything but NUL */
	uint32_t colour; /* 0xRRGGBB */
	char *webhook;	 /* loopback http URL, or NULL */
	struct behave behave;
	char *json; /* the body in compact form: what the results carry to prove whose they are */
	size_t json_bytes;
};

/* Parses {"name", "colour"?, "webhook"?, "behave"?, …}; other members are the caller's own and kept in json.
 * -EINVAL with a text for the client; -ENOMEM. */
int input_parse(const char *body, size_t bytes, const struct behave *defaults, struct input **ret_input,
		struct fault *f);

/* "#rrggbb", "#rgb" or one of a small set of names. -EINVAL. */
int input_parse_colour(const char *text, uint32_t *ret_colour);

void input_free(struct input *in);

static inline void input_freep(struct input **in)
{
	input_free(*in);
}

#endif
