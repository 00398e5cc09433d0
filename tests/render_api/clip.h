/* What a render is made of: a still (JPEG) and a video (MP4), rendered with ffmpeg or, for load, made up.
 *
 * Three ways to make them:
 *   CLIPS_RENDERED  ffmpeg draws the name over a moving picture, per request
 *   CLIPS_BAKED     one clip is rendered at the start and served to all
 *   CLIPS_BYTES     no ffmpeg at all: a few bytes with the right beginning
 * Whatever the way, the bytes served carry the request's own JSON: in a `free` box at the end of the MP4, in a comment
 * segment of the JPEG. Players skip both; a test finds there whose video it got.
 *
 * Any thread; two threads must not make the same render's clip at a time. */
#ifndef RENDER_API_CLIP_H
#define RENDER_API_CLIP_H

#include <stddef.h>

#include "child.h"
#include "input.h"
#include "util.h"

enum clip_mode { CLIPS_RENDERED, CLIPS_BAKED, CLIPS_BYTES };
enum clip_kind { CLIP_STILL, CLIP_VIDEO };

struct clips;

/* Makes a directory of its own inside parent; in CLIPS_BAKED renders the one clip. A negative errno, with a text. */
int clips_new(const char *parent, enum clip_mode mode, struct clips **ret_clips, struct fault *f);

/* Removes the directory with everything in it. */
void clips_free(struct clips *cs);

/* Makes the still or the video of the render `id`. Nothing a name contains is interpreted: the text reaches ffmpeg in a
 * file, the colour as a number. Errors of child_run(), or of the file system. */
int clip_make(struct clips *cs, const char *id, const struct input *in, enum clip_kind kind, struct child *child);

/* The bytes to serve; the caller frees them. -ENOENT when not made; -ENOMEM; -EIO. */
int clip_read(struct clips *cs, const char *id, const struct input *in, enum clip_kind kind, unsigned char **ret_bytes,
	      size_t *ret_size);

/* Removes the files of the render. */
void clip_remove(struct clips *cs, const char *id);

const char *clip_content_type(enum clip_kind kind);

#endif
