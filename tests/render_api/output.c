/* What an input's "behave" says of the output's URL. */
#include "output.h"

#include <string.h>

#include "pad.h"

static const char data_prefix[] = "data:video/mp4;base64,";

static void encode_three(const unsigned char *in, size_t count, char out[4])
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	unsigned bits = (unsigned)in[0] << 16 | (count > 1 ? (unsigned)in[1] << 8 : 0) | (count > 2 ? in[2] : 0);

	out[0] = digits[bits >> 18];
	out[1] = digits[bits >> 12 & 63];
	out[2] = count > 1 ? digits[bits >> 6 & 63] : '=';
	out[3] = count > 2 ? digits[bits & 63] : '=';
}

static json_t *data_url(const unsigned char *bytes, size_t size)
{
	size_t head = strlen(data_prefix);
	_cleanup_(freep) char *text = malloc(head + (size + 2) / 3 * 4);

	if (text == NULL)
		return NULL;
	memcpy(text, data_prefix, head);
	for (size_t i = 0; i < size; i += 3)
		encode_three(bytes + i, size - i, text + head + i / 3 * 4);
	return json_stringn(text, head + (size + 2) / 3 * 4);
}

/* With its pad, which is held in memory here. */
static json_t *clip_as_data(struct clips *cs, const char *id, const struct input *in)
{
	_cleanup_(freep) unsigned char *bytes = NULL;
	size_t size, pad = (size_t)in->behave.pad_kib * 1024;
	unsigned char *grown;

	if (clip_read(cs, id, in, CLIP_VIDEO, &bytes, &size) < 0)
		return NULL;
	grown = realloc(bytes, size + pad);
	if (grown == NULL)
		return NULL;
	bytes = grown;
	pad_fill(pad, 0, bytes + size, pad);
	return data_url(bytes, size + pad);
}

json_t *output_of(struct clips *cs, const char *base_url, const char *id, const struct input *in)
{
	const char *base = in->behave.media_base[0] != '\0' ? in->behave.media_base : base_url;

	if (in->behave.data_url)
		return clip_as_data(cs, id, in);
	return json_sprintf("%s/files/%s.mp4", base, id);
}
