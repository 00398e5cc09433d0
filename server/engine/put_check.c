#include "server/engine/put_check.h"

#include <strings.h>

#include "proto/error.h"
#include "proto/messages.h"
#include "server/engine/settings.h"

static bool is_http(struct slice url)
{
	const char *text = url.data;

	return (url.size > 7 && strncasecmp(text, "http://", 7) == 0) ||
	       (url.size > 8 && strncasecmp(text, "https://", 8) == 0);
}

/* It goes into another server's request line and log. */
static bool has_blank_or_control(struct slice url)
{
	const uint8_t *p = url.data;

	for (size_t i = 0; i < url.size; i++)
		if (p[i] <= 0x20 || p[i] == 0x7f || (p[i] == 0xc2 && p[i + 1] <= 0xa0)) /* UTF-8 has a byte after c2 */
			return true;
	return false;
}

int put_check(const struct settings *settings, const struct msg_job_put *put, struct error_info *info)
{
	if (put->has_delay_ms && put->has_run_at_ms)
		return error_set(info, ERR_BAD_REQUEST, "run_at_ms", "contradicts delay_ms: give one of them");
	if (put->has_callback_url && !is_http(put->callback_url))
		return error_set(info, ERR_BAD_REQUEST, "callback_url", "must begin with http:// or https://");
	if (put->has_callback_url && has_blank_or_control(put->callback_url))
		return error_set(info, ERR_BAD_REQUEST, "callback_url", "has a space or a control character in it");
	if (put->has_preview && (int64_t)put->preview.data.size > settings->artifact_bytes)
		return error_set(info, ERR_TOO_LARGE, "preview.data", "has %zu bytes, %lld are allowed",
				 put->preview.data.size, (long long)settings->artifact_bytes);
	return 0;
}
