#include "media_type.h"

#include <string.h>
#include <strings.h>

#include "proto/base/clean.h"

static bool has(const unsigned char *bytes, size_t size, size_t at, const char *what, size_t length)
{
	return size >= at + length && memcmp(bytes + at, what, length) == 0;
}

static bool is_jpeg(const unsigned char *b, size_t size)
{
	return has(b, size, 0, "\xff\xd8\xff", 3);
}

static bool is_png(const unsigned char *b, size_t size)
{
	return has(b, size, 0, "\x89PNG\r\n\x1a\n", 8);
}

static bool is_gif(const unsigned char *b, size_t size)
{
	return has(b, size, 0, "GIF87a", 6) || has(b, size, 0, "GIF89a", 6);
}

static bool is_webp(const unsigned char *b, size_t size)
{
	return has(b, size, 0, "RIFF", 4) && has(b, size, 8, "WEBP", 4);
}

static bool is_wav(const unsigned char *b, size_t size)
{
	return has(b, size, 0, "RIFF", 4) && has(b, size, 8, "WAVE", 4);
}

/* Everything of the ISO base media family: MP4, M4A, QuickTime; AVIF names its brand. */
static bool is_iso_media(const unsigned char *b, size_t size)
{
	return has(b, size, 4, "ftyp", 4);
}

static bool is_avif(const unsigned char *b, size_t size)
{
	return has(b, size, 4, "ftypavif", 8) || has(b, size, 4, "ftypavis", 8);
}

static bool is_matroska(const unsigned char *b, size_t size)
{
	return has(b, size, 0, "\x1a\x45\xdf\xa3", 4);
}

static bool is_ogg(const unsigned char *b, size_t size)
{
	return has(b, size, 0, "OggS", 4);
}

/* An ID3 tag, or the sync word of a frame of layer III. */
static bool is_mp3(const unsigned char *b, size_t size)
{
	return has(b, size, 0, "ID3", 3) || (size >= 2 && b[0] == 0xff && (b[1] & 0xe6) == 0xe2);
}

/* Nothing that can hold a script: no SVG, no PDF, no HTML. */
static const struct media_type types[] = {
	{ "video/mp4", "mp4", MEDIA_VIDEO, is_iso_media },
	{ "video/webm", "webm", MEDIA_VIDEO, is_matroska },
	{ "video/quicktime", "mov", MEDIA_VIDEO, is_iso_media },
	{ "video/ogg", "ogv", MEDIA_VIDEO, is_ogg },
	{ "image/jpeg", "jpg", MEDIA_IMAGE, is_jpeg },
	{ "image/png", "png", MEDIA_IMAGE, is_png },
	{ "image/webp", "webp", MEDIA_IMAGE, is_webp },
	{ "image/gif", "gif", MEDIA_IMAGE, is_gif },
	{ "image/avif", "avif", MEDIA_IMAGE, is_avif },
	{ "audio/mpeg", "mp3", MEDIA_AUDIO, is_mp3 },
	{ "audio/mp4", "m4a", MEDIA_AUDIO, is_iso_media },
	{ "audio/webm", "weba", MEDIA_AUDIO, is_matroska },
	{ "audio/ogg", "ogg", MEDIA_AUDIO, is_ogg },
	{ "audio/wav", "wav", MEDIA_AUDIO, is_wav },
};

const struct media_type *media_type_find(struct slice content_type)
{
	const char *text = content_type.data;
	size_t length = 0;

	while (length < content_type.size && text[length] != ';' && text[length] != ' ' && text[length] != '\t')
		length++;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (strlen(types[i].name) == length && strncasecmp(types[i].name, text, length) == 0)
			return &types[i];
	return NULL;
}

const struct media_type *media_type_of_picture(struct slice first)
{
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (types[i].class == MEDIA_IMAGE && media_type_agrees(&types[i], first))
			return &types[i];
	return NULL;
}

bool media_type_agrees(const struct media_type *type, struct slice first)
{
	return type->looks_like(first.data, first.size);
}

enum media_class media_class_of(struct slice content_type)
{
	const struct media_type *type = media_type_find(content_type);

	return type ? type->class : MEDIA_OTHER;
}
