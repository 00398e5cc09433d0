#include "server/store/hook_record.h"

#include <string.h>

#include "proto/messages.h"
#include "server/store/record_bytes.h"

/* ---- which came ---- */

int record_write_hooks(struct buf *out, const struct hooks_record *hooks)
{
	size_t start = out->size;

	begin_record(out);
	buf_append(out, hooks->job.bytes, sizeof(hooks->job.bytes));
	put_i64(out, hooks->count);
	put_i64(out, hooks->last_at_ms);
	put_number(out, hooks->last, 8);
	put_number(out, hooks->entries_count, 1);
	for (size_t i = 0; i < hooks->entries_count; i++) {
		const struct hook_entry *entry = &hooks->entries[i];

		put_number(out, entry->number, 8);
		put_i64(out, entry->received_at_ms);
		buf_append(out, entry->digest, sizeof(entry->digest));
		put_number(out, entry->bytes, 4);
		put_number(out, entry->waits, 1);
	}
	return end_record(out, start);
}

int record_read_hooks(struct slice bytes, struct hooks_record *ret)
{
	struct reader r;

	if (begin_read(bytes, &r) < 0)
		return ERR_CORRUPT;
	memset(ret, 0, sizeof(*ret));
	get_array(&r, ret->job.bytes, sizeof(ret->job.bytes));
	ret->count = get_i64(&r);
	ret->last_at_ms = get_i64(&r);
	ret->last = get_number(&r, 8);
	ret->entries_count = get_number(&r, 1);
	if (ret->entries_count > HOOKS_OF_JOB)
		return ERR_CORRUPT;
	for (size_t i = 0; i < ret->entries_count; i++) {
		struct hook_entry *entry = &ret->entries[i];

		entry->number = get_number(&r, 8);
		entry->received_at_ms = get_i64(&r);
		get_array(&r, entry->digest, sizeof(entry->digest));
		entry->bytes = (uint32_t)get_number(&r, 4);
		entry->waits = get_number(&r, 1) == 1;
		if (entry->number > ret->last || (i > 0 && entry->number <= entry[-1].number))
			return ERR_CORRUPT;
	}
	return end_read(&r);
}

size_t hooks_waiting(const struct hooks_record *hooks)
{
	size_t count = 0;

	for (size_t i = 0; i < hooks->entries_count; i++)
		count += hooks->entries[i].waits;
	return count;
}

/* ---- one that waits ---- */

int record_write_hook(struct buf *out, const struct hook_record *hook)
{
	size_t start = out->size, size = 1;

	begin_record(out);
	buf_append(out, hook->job.bytes, sizeof(hook->job.bytes));
	put_number(out, hook->number, 8);
	put_i64(out, hook->received_at_ms);
	put_number(out, hook->attempt, 4);
	put_bytes(out, hook->content_type);
	for (size_t i = 0; i < hook->headers_count; i++)
		size += 8 + hook->headers[i].key.size + hook->headers[i].value.size;
	put_number(out, size, 4);
	put_number(out, hook->headers_count, 1);
	for (size_t i = 0; i < hook->headers_count; i++) {
		put_bytes(out, hook->headers[i].key);
		put_bytes(out, hook->headers[i].value);
	}
	put_bytes(out, hook->body);
	return end_record(out, start);
}

int record_read_hook(struct slice bytes, struct hook_record *ret)
{
	struct reader r;

	if (begin_read(bytes, &r) < 0)
		return ERR_CORRUPT;
	memset(ret, 0, sizeof(*ret));
	get_array(&r, ret->job.bytes, sizeof(ret->job.bytes));
	ret->number = get_number(&r, 8);
	ret->received_at_ms = get_i64(&r);
	ret->attempt = (uint32_t)get_number(&r, 4);
	ret->content_type = get_bytes(&r);
	ret->headers_bytes = get_bytes(&r);
	ret->body = get_bytes(&r);
	return end_read(&r);
}

size_t hook_headers(const struct hook_record *hook, struct pair *ret, size_t cap)
{
	struct reader r = { hook->headers_bytes.data, hook->headers_bytes.size, false };
	size_t count = get_number(&r, 1);

	if (count > cap)
		count = cap;
	for (size_t i = 0; i < count; i++) {
		ret[i].key = get_bytes(&r);
		ret[i].value = get_bytes(&r);
	}
	return count;
}
