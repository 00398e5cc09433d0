#include "media_url.h"

#include <stdio.h>

struct media_url media_url_make(struct slice base, const char *name, const struct msg_artifact *a)
{
	struct media_url url;
	int n = snprintf(url.text, sizeof(url.text), "%.*s/%s", SLICE_FMT(base), name);

	if (a->sha256.size >= MEDIA_VERSION_BYTES && n > 0 && (size_t)n < sizeof(url.text))
		snprintf(url.text + n, sizeof(url.text) - (size_t)n, "?v=%.*s", MEDIA_VERSION_BYTES,
			 (const char *)a->sha256.data);
	return url;
}
