/* Formats are grouped by how a file of them begins. A declared type that belongs to a group is believed only when the
 * bytes show the same group: an error page that calls itself a video is found out here. A type of no group (JSON, a 3D
 * model) is taken at its word.
 */
#include "worker/call/media.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "proto/base/clean.h"
#include "proto/error.h"

enum group {
	GROUP_NONE,
	GROUP_ISO,
	GROUP_JPEG,
	GROUP_PNG,
	GROUP_GIF,
	GROUP_WEBP,
	GROUP_WAV,
	GROUP_AVI,
	GROUP_EBML,
	GROUP_MP3,
	GROUP_OGG,
	GROUP_FLAC,
	GROUP_AAC
};

/* The first of a group is what its bytes are called when nothing better is known. */
static const struct {
	enum group group;
	const char *type;
} known[] = {
	{ GROUP_ISO, "video/mp4" },	    { GROUP_ISO, "audio/mp4" },	    { GROUP_ISO, "audio/x-m4a" },
	{ GROUP_ISO, "video/quicktime" },   { GROUP_ISO, "video/x-m4v" },   { GROUP_ISO, "image/avif" },
	{ GROUP_ISO, "image/heic" },	    { GROUP_ISO, "image/heif" },    { GROUP_JPEG, "image/jpeg" },
	{ GROUP_JPEG, "image/jpg" },	    { GROUP_PNG, "image/png" },	    { GROUP_PNG, "image/apng" },
	{ GROUP_GIF, "image/gif" },	    { GROUP_WEBP, "image/webp" },   { GROUP_WAV, "audio/wav" },
	{ GROUP_WAV, "audio/x-wav" },	    { GROUP_WAV, "audio/wave" },    { GROUP_WAV, "audio/vnd.wave" },
	{ GROUP_AVI, "video/x-msvideo" },   { GROUP_EBML, "video/webm" },   { GROUP_EBML, "audio/webm" },
	{ GROUP_EBML, "video/x-matroska" }, { GROUP_MP3, "audio/mpeg" },    { GROUP_MP3, "audio/mp3" },
	{ GROUP_OGG, "audio/ogg" },	    { GROUP_OGG, "video/ogg" },	    { GROUP_OGG, "application/ogg" },
	{ GROUP_FLAC, "audio/flac" },	    { GROUP_FLAC, "audio/x-flac" }, { GROUP_AAC, "audio/aac" },
};

static bool at(struct slice s, size_t offset, const char *magic, size_t size)
{
	return s.size >= offset + size && memcmp((const char *)s.data + offset, magic, size) == 0;
}

/* ISO base media files say in their brand which of the family they are. */
static const char *iso_type(struct slice s)
{
	static const struct {
		const char *brand;
		const char *type;
	} brands[] = {
		{ "qt  ", "video/quicktime" }, { "M4A ", "audio/mp4" },	 { "avif", "image/avif" },
		{ "avis", "image/avif" },      { "heic", "image/heic" }, { "mif1", "image/heif" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(brands); i++)
		if (at(s, 8, brands[i].brand, 4))
			return brands[i].type;
	return "video/mp4";
}

/* MPEG audio frames: eleven set bits, then a version and a layer. AAC in ADTS has the same sync with layer 0. */
static const char *frame_type(struct slice s)
{
	const unsigned char *b = s.data;

	if (s.size < 2 || b[0] != 0xff)
		return NULL;
	if ((b[1] & 0xf6) == 0xf0)
		return "audio/aac";
	return (b[1] & 0xe0) == 0xe0 && (b[1] & 0x18) != 0x08 && (b[1] & 0x06) != 0 ? "audio/mpeg" : NULL;
}

static const char *ebml_type(struct slice s)
{
	struct slice head = slice_of(s.data, s.size < MEDIA_HEAD_BYTES ? s.size : MEDIA_HEAD_BYTES);

	return memmem(head.data, head.size, "webm", 4) ? "video/webm" : "video/x-matroska";
}

const char *media_sniff(struct slice s)
{
	if (at(s, 4, "ftyp", 4))
		return iso_type(s);
	if (at(s, 0, "\xff\xd8\xff", 3))
		return "image/jpeg";
	if (at(s, 0, "\x89PNG\r\n\x1a\n", 8))
		return "image/png";
	if (at(s, 0, "GIF87a", 6) || at(s, 0, "GIF89a", 6))
		return "image/gif";
	if (at(s, 0, "RIFF", 4) && at(s, 8, "WEBP", 4))
		return "image/webp";
	if (at(s, 0, "RIFF", 4) && at(s, 8, "WAVE", 4))
		return "audio/wav";
	if (at(s, 0, "RIFF", 4) && at(s, 8, "AVI ", 4))
		return "video/x-msvideo";
	if (at(s, 0, "\x1a\x45\xdf\xa3", 4))
		return ebml_type(s);
	if (at(s, 0, "ID3", 3))
		return "audio/mpeg";
	if (at(s, 0, "OggS", 4))
		return "audio/ogg";
	if (at(s, 0, "fLaC", 4))
		return "audio/flac";
	return frame_type(s);
}

static enum group group_of(const char *type)
{
	for (size_t i = 0; type && i < ARRAY_SIZE(known); i++)
		if (strcasecmp(known[i].type, type) == 0)
			return known[i].group;
	return GROUP_NONE;
}

bool media_matches(const char *type, const char *pattern)
{
	size_t n = strlen(pattern);

	if (strcmp(pattern, "*") == 0 || strcmp(pattern, "*/*") == 0)
		return true;
	if (n > 2 && strcmp(pattern + n - 2, "/*") == 0)
		return strncasecmp(type, pattern, n - 1) == 0;
	return strcasecmp(type, pattern) == 0;
}

/* The declared type without parameters, in lower case; "" where it says nothing. */
static void plain_type(const char *declared, char ret[static MEDIA_TYPE_SIZE])
{
	static const char *const generic[] = { "application/octet-stream", "binary/octet-stream",
					       "application/x-binary", "application/binary" };
	size_t n = declared ? strcspn(declared, "; \t") : 0;

	if (n >= MEDIA_TYPE_SIZE)
		n = 0;
	for (size_t i = 0; i < n; i++)
		ret[i] = declared[i] >= 'A' && declared[i] <= 'Z' ? (char)(declared[i] - 'A' + 'a') : declared[i];
	ret[n] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(generic); i++)
		if (strcmp(ret, generic[i]) == 0)
			ret[0] = '\0';
}

static bool wanted(const char *type, const char *const *types, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (media_matches(type, types[i]))
			return true;
	return count == 0;
}

int media_judge(const char *name, const char *declared, struct slice head, const char *const *types, size_t type_count,
		char ret_type[static MEDIA_TYPE_SIZE], char *why, size_t size)
{
	const char *shown = media_sniff(head);
	char type[MEDIA_TYPE_SIZE];

	/* Nobody pays for nothing. */
	if (head.size == 0) {
		snprintf(why, size, "the %s is empty", name);
		return ERR_BAD_REQUEST;
	}
	plain_type(declared, type);
	if (type[0] == '\0')
		snprintf(type, sizeof(type), "%s", shown ? shown : "application/octet-stream");
	if (!wanted(type, types, type_count)) {
		snprintf(why, size, "the %s is %s, which is not one of the types wanted", name, type);
		return ERR_BAD_REQUEST;
	}
	if (group_of(type) != GROUP_NONE && group_of(type) != group_of(shown)) {
		snprintf(why, size, "the %s is called %s but begins like %s", name, type,
			 shown ? shown : "something else");
		return ERR_BAD_REQUEST;
	}
	memcpy(ret_type, type, sizeof(type));
	return 0;
}
