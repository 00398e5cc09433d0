#include "server/engine/cursor.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/text.h"

#define MAC_SIZE 16

struct text {
	uint8_t bytes[1024];
	size_t size;
};

/* With its length before it, so that no two filters give the same bytes. */
static void add(struct text *t, const void *data, size_t size)
{
	uint16_t length = (uint16_t)size;

	if (sizeof(t->bytes) - t->size < size + sizeof(length))
		abort(); /* names have at most 128 bytes */
	memcpy(t->bytes + t->size, &length, sizeof(length));
	if (size > 0)
		memcpy(t->bytes + t->size + sizeof(length), data, size);
	t->size += sizeof(length) + size;
}

static void compute_mac(const uint8_t secret[32], const char *what, const struct msg_job_filter *filter,
			const struct uuid *id, uint8_t ret[MAC_SIZE])
{
	struct text t = { .size = 0 };
	uint8_t mac[32] = { 0 };
	int64_t state = filter->has_state ? filter->state : -1;
	int64_t before = filter->has_before_at_ms ? filter->before_at_ms : -1;

	add(&t, "raincheck cursor", 16);
	add(&t, what, strlen(what));
	add(&t, filter->queue.data, filter->has_queue ? filter->queue.size : 0);
	add(&t, filter->group.data, filter->has_group ? filter->group.size : 0);
	add(&t, &state, sizeof(state));
	add(&t, &before, sizeof(before));
	add(&t, id->bytes, sizeof(id->bytes));
	/* It fails only where the library is broken. */
	if (gnutls_hmac_fast(GNUTLS_MAC_SHA256, secret, 32, t.bytes, t.size, mac) < 0)
		abort();
	memcpy(ret, mac, MAC_SIZE);
}

struct cursor_text cursor_make(const uint8_t secret[32], const char *what, const struct msg_job_filter *filter,
			       const struct uuid *id)
{
	uint8_t bytes[sizeof(id->bytes) + MAC_SIZE];
	struct cursor_text ret;

	memcpy(bytes, id->bytes, sizeof(id->bytes));
	compute_mac(secret, what, filter, id, bytes + sizeof(id->bytes));
	base64url_encode(bytes, sizeof(bytes), ret.text);
	ret.text[CURSOR_SIZE] = '\0';
	return ret;
}

int cursor_read(const uint8_t secret[32], const char *what, const struct msg_job_filter *filter, struct slice cursor,
		struct uuid *ret_id, struct error_info *info)
{
	uint8_t bytes[sizeof(ret_id->bytes) + MAC_SIZE], mac[MAC_SIZE];
	struct uuid id;

	if (base64url_decode(cursor, bytes, sizeof(bytes)) < 0)
		return error_set(info, ERR_BAD_REQUEST, "cursor", "is none that was given here");
	memcpy(id.bytes, bytes, sizeof(id.bytes));
	compute_mac(secret, what, filter, &id, mac);
	if (gnutls_memcmp(bytes + sizeof(id.bytes), mac, MAC_SIZE) != 0)
		return error_set(info, ERR_BAD_REQUEST, "cursor", "was not given for this request");
	*ret_id = id;
	return 0;
}
