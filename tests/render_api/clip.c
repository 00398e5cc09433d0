/* Where clips live, what ffmpeg is told, and the stamp each clip gets.
 *
 * A render has a directory of its own, DIR/ID, in which ffmpeg runs, so every path on its command line is a constant of
 * this file: name.txt in, still.jpg and clip.mp4 out. Still and video are separate runs: the still takes a tenth of the
 * time and is shown while the video is made. */
#include "clip.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FFMPEG_TIMEOUT_MS 60000
#define SHOWN_CHARS_MAX	  24
#define CLIP_BYTES_MAX	  (64U << 20)
#define BAKED_ID	  "baked"

struct bytes {
	unsigned char *data;
	size_t size;
};

struct clips {
	enum clip_mode mode;
	struct bytes baked[2]; /* by enum clip_kind */
	char dir[];
};

static const char *const file_names[] = { [CLIP_STILL] = "still.jpg", [CLIP_VIDEO] = "clip.mp4" };

/* The shortest beginnings by which a file of its type is known. */
static const unsigned char bare_jpeg[] = { 0xff, 0xd8, 0xff, 0xe0, 0, 16, 'J', 'F', 'I', 'F',  0,
					   1,	 1,    0,    0,	   1, 0,  1,   0,   0,	 0xff, 0xd9 };
static const unsigned char bare_mp4[] = { 0, 0, 0, 24, 'f', 't', 'y', 'p', 'i', 's', 'o', 'm',
					  0, 0, 2, 0,  'i', 's', 'o', 'm', 'm', 'p', '4', '2' };

const char *clip_content_type(enum clip_kind kind)
{
	return kind == CLIP_STILL ? "image/jpeg" : "video/mp4";
}

static void clip_path(const struct clips *cs, const char *id, const char *file, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%s/%s%s%s", cs->dir, id, file[0] == '\0' ? "" : "/", file);
}

/* --- what is drawn ------------------------------------------------------------------------------------------------ */

static size_t utf8_bytes(unsigned char lead)
{
	return lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

/* The name as one short line: a control character would break the line or draw nothing. Returns its characters. */
static unsigned shown_name(const char *name, char *text, size_t size)
{
	unsigned chars = 0;
	size_t out = 0;

	for (const char *c = name; *c != '\0'; chars++) {
		size_t n = utf8_bytes((unsigned char)*c);

		assert(out + n + sizeof("…") <= size);
		if (chars == SHOWN_CHARS_MAX) {
			out += (size_t)sprintf(text + out, "…");
			chars++;
			break;
		}
		if (n == 1 && ((unsigned char)*c < 0x20 || *c == 0x7f))
			text[out++] = ' ';
		else
			out += (size_t)sprintf(text + out, "%.*s", (int)n, c);
		c += n;
	}
	text[out] = '\0';
	return chars;
}

/* Such that even a line of W, as wide as they are high, stays inside the picture. */
static unsigned font_size(unsigned chars)
{
	unsigned size = 620 / chars;

	return size > 64 ? 64 : size;
}

static uint32_t scale_colour(uint32_t colour, unsigned percent)
{
	uint32_t r = (colour >> 16 & 0xff) * percent / 100;
	uint32_t g = (colour >> 8 & 0xff) * percent / 100;
	uint32_t b = (colour & 0xff) * percent / 100;

	return r << 16 | g << 8 | b;
}

static bool is_bright(uint32_t colour)
{
	return 299 * (colour >> 16 & 0xff) + 587 * (colour >> 8 & 0xff) + 114 * (colour & 0xff) > 160000;
}

static void picture_source(uint32_t colour, char *text, size_t size)
{
	snprintf(text, size,
		 "gradients=s=640x360:r=25:d=2.4:n=2:c0=0x%06x:c1=0x%06x:speed=0.04:seed=7:x0=80:y0=40:x1=560:y1=320",
		 (unsigned)colour, (unsigned)scale_colour(colour, is_bright(colour) ? 75 : 35));
}

static void picture_filter(uint32_t colour, unsigned chars, char *text, size_t size)
{
	const char *ink = is_bright(colour) ? "0x1b1b1b" : "white";
	const char *shadow = is_bright(colour) ? "white@0.4" : "black@0.4";

	snprintf(text, size,
		 "drawtext=font='DejaVu Sans':text='Hello,':fontcolor=%s@0.85:fontsize=34"
		 ":x=(w-text_w)/2:y=86+6*sin(3*t),"
		 "drawtext=font='DejaVu Sans':textfile=name.txt:expansion=none:fontcolor=%s:fontsize=%u"
		 ":shadowx=2:shadowy=2:shadowcolor=%s:x=(w-text_w)/2+14*sin(2*t):y=(h-text_h)/2",
		 ink, ink, font_size(chars), shadow);
}

static int run_ffmpeg(struct child *child, const char *dir, enum clip_kind kind, const char *source, const char *filter)
{
	static const char *const video[] = { "-c:v",	 "libx264", "-preset",	 "veryfast",   "-threads", "1",
					     "-pix_fmt", "yuv420p", "-movflags", "+faststart", "clip.mp4", NULL };
	static const char *const still[] = { "-frames:v", "1", "-q:v", "3", "still.jpg", NULL };
	const char *argv[40] = {
		"ffmpeg",	   "-nostdin", "-hide_banner", "-v",	"error", "-y",	 "-threads", "1",
		"-filter_threads", "1",	       "-f",	       "lavfi", "-i",	 source, "-vf",	     filter
	};
	const char *const *output = kind == CLIP_STILL ? still : video;
	size_t n = 16;

	while (*output != NULL)
		argv[n++] = *output++;
	argv[n] = NULL;
	return child_run(child, dir, argv, FFMPEG_TIMEOUT_MS);
}

/* --- files -------------------------------------------------------------------------------------------------------- */

static int write_text(const char *path, const char *text)
{
	size_t bytes = strlen(text);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	int rc = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, bytes) != (ssize_t)bytes)
		rc = -EIO;
	close(fd);
	return rc;
}

static int read_all(int fd, unsigned char *data, size_t bytes)
{
	while (bytes > 0) {
		ssize_t n = read(fd, data, bytes);

		if (n <= 0)
			return -EIO;
		data += n;
		bytes -= (size_t)n;
	}
	return 0;
}

/* Reads a file with room for `extra` more bytes behind it. */
static int read_file(const char *path, size_t extra, struct bytes *ret_bytes)
{
	_cleanup_(freep) unsigned char *data = NULL;
	struct stat st;
	int fd, rc;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	rc = fstat(fd, &st) < 0 ? -errno : 0;
	if (rc == 0 && st.st_size > CLIP_BYTES_MAX)
		rc = -EFBIG;
	if (rc == 0) {
		data = malloc((size_t)st.st_size + extra);
		rc = data == NULL ? -ENOMEM : read_all(fd, data, (size_t)st.st_size);
	}
	close(fd);
	if (rc < 0)
		return rc;
	ret_bytes->size = (size_t)st.st_size;
	ret_bytes->data = TAKE_PTR(data);
	return 0;
}

static int clip_render(struct clips *cs, const char *id, const struct input *in, enum clip_kind kind,
		       struct child *child)
{
	char dir[PATH_MAX], path[PATH_MAX], text[4 * SHOWN_CHARS_MAX + 8], source[256], filter[512];
	unsigned chars = shown_name(in->name, text, sizeof(text));
	int rc;

	clip_path(cs, id, "", dir);
	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return -errno;
	clip_path(cs, id, "name.txt", path);
	rc = write_text(path, text);
	if (rc < 0)
		return rc;
	picture_source(in->colour, source, sizeof(source));
	picture_filter(in->colour, chars, filter, sizeof(filter));
	return run_ffmpeg(child, dir, kind, source, filter);
}

int clip_make(struct clips *cs, const char *id, const struct input *in, enum clip_kind kind, struct child *child)
{
	return cs->mode == CLIPS_RENDERED ? clip_render(cs, id, in, kind, child) : 0;
}

void clip_remove(struct clips *cs, const char *id)
{
	char path[PATH_MAX];

	if (cs->mode != CLIPS_RENDERED)
		return;
	clip_path(cs, id, "", path);
	dir_remove(path);
}

/* --- the stamp ---------------------------------------------------------------------------------------------------- */

#define STAMP_HEAD_BYTES 8
#define JPEG_SOI_BYTES	 2
#define JPEG_COMMENT_MAX 65533

/* A top-level box at the end: players skip what they do not know. */
static void stamp_video(struct bytes *b, const struct input *in)
{
	size_t size = in->json_bytes + STAMP_HEAD_BYTES;
	unsigned char head[STAMP_HEAD_BYTES] = {
		(unsigned char)(size >> 24),
		(unsigned char)(size >> 16),
		(unsigned char)(size >> 8),
		(unsigned char)size,
		'f',
		'r',
		'e',
		'e',
	};

	assert(b->data);
	memcpy(b->data + b->size, head, sizeof(head));
	memcpy(b->data + b->size + sizeof(head), in->json, in->json_bytes);
	b->size += size;
}

/* A comment segment right after the start-of-image mark; one segment holds no more than 65533 bytes. */
static void stamp_still(struct bytes *b, const struct input *in)
{
	size_t comment = in->json_bytes < JPEG_COMMENT_MAX ? in->json_bytes : JPEG_COMMENT_MAX;
	unsigned char head[4] = { 0xff, 0xfe, (unsigned char)((comment + 2) >> 8), (unsigned char)(comment + 2) };
	unsigned char *at = b->data + JPEG_SOI_BYTES;

	assert(b->data);
	memmove(at + sizeof(head) + comment, at, b->size - JPEG_SOI_BYTES);
	memcpy(at, head, sizeof(head));
	memcpy(at + sizeof(head), in->json, comment);
	b->size += sizeof(head) + comment;
}

static int copy_bytes(const unsigned char *from, size_t size, size_t extra, struct bytes *ret_bytes)
{
	unsigned char *data = malloc(size + extra);

	if (data == NULL)
		return -ENOMEM;
	memcpy(data, from, size);
	ret_bytes->data = data;
	ret_bytes->size = size;
	return 0;
}

static int clip_read_plain(struct clips *cs, const char *id, enum clip_kind kind, size_t extra, struct bytes *ret_bytes)
{
	char path[PATH_MAX];

	switch (cs->mode) {
	case CLIPS_BAKED:
		return copy_bytes(cs->baked[kind].data, cs->baked[kind].size, extra, ret_bytes);
	case CLIPS_BYTES:
		if (kind == CLIP_STILL)
			return copy_bytes(bare_jpeg, sizeof(bare_jpeg), extra, ret_bytes);
		return copy_bytes(bare_mp4, sizeof(bare_mp4), extra, ret_bytes);
	case CLIPS_RENDERED:
		break;
	}
	clip_path(cs, id, file_names[kind], path);
	return read_file(path, extra, ret_bytes);
}

int clip_read(struct clips *cs, const char *id, const struct input *in, enum clip_kind kind, unsigned char **ret_bytes,
	      size_t *ret_size)
{
	struct bytes b = { 0 };
	int rc = clip_read_plain(cs, id, kind, in->json_bytes + STAMP_HEAD_BYTES, &b);

	if (rc < 0)
		return rc;
	if (kind == CLIP_STILL)
		stamp_still(&b, in);
	else
		stamp_video(&b, in);
	*ret_bytes = b.data;
	*ret_size = b.size;
	return 0;
}

/* --- start and end ------------------------------------------------------------------------------------------------ */

static int bake(struct clips *cs, struct fault *f)
{
	const struct input in = { .name = (char *)"visitor", .colour = 0x2f6fde };
	struct child child;
	char path[PATH_MAX];
	int rc = 0;

	child_init(&child);
	for (int kind = CLIP_STILL; kind <= CLIP_VIDEO && rc == 0; kind++) {
		rc = clip_render(cs, BAKED_ID, &in, (enum clip_kind)kind, &child);
		clip_path(cs, BAKED_ID, file_names[kind], path);
		if (rc == 0)
			rc = read_file(path, 0, &cs->baked[kind]);
	}
	child_done(&child);
	if (rc < 0)
		fault_set(f, rc, "ffmpeg cannot render: %s (--fake --no-ffmpeg works without it)", strerror(-rc));
	return rc;
}

int clips_new(const char *parent, enum clip_mode mode, struct clips **ret_clips, struct fault *f)
{
	struct clips *cs;
	int rc = 0;

	if (strlen(parent) > PATH_MAX / 2)
		return fault_set(f, -ENAMETOOLONG, "--dir is too long");
	cs = calloc(1, sizeof(*cs) + strlen(parent) + sizeof("/render-api-XXXXXX"));
	if (cs == NULL)
		return fault_set(f, -ENOMEM, "out of memory");
	cs->mode = mode;
	sprintf(cs->dir, "%s/render-api-XXXXXX", parent);
	if (mkdtemp(cs->dir) == NULL) {
		rc = fault_set(f, -errno, "cannot make a directory in %.160s: %s", parent, strerror(errno));
		free(cs);
		return rc;
	}
	if (mode == CLIPS_BAKED)
		rc = bake(cs, f);
	if (rc < 0) {
		clips_free(cs);
		return rc;
	}
	*ret_clips = cs;
	return 0;
}

void clips_free(struct clips *cs)
{
	if (cs == NULL)
		return;
	dir_remove(cs->dir);
	free(cs->baked[CLIP_STILL].data);
	free(cs->baked[CLIP_VIDEO].data);
	free(cs);
}
