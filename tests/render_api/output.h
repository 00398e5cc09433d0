/* Where a video is to be had, as an API says it: its own URL, one on another host, or the whole of it in a data: URL.
 *
 * Any thread; no state. */
#ifndef RENDER_API_OUTPUT_H
#define RENDER_API_OUTPUT_H

#include <jansson.h>

#include "clip.h"
#include "input.h"

/* A JSON string; NULL: no memory, or (data_url) no such clip. */
json_t *output_of(struct clips *cs, const char *base_url, const char *id, const struct input *in);

#endif
