#include "server/store/format3.h"

#include "server/store/record_bytes.h"

int format3_read_artifact(struct slice bytes, struct artifact *ret)
{
	struct reader r;

	if (begin_read(bytes, &r) < 0)
		return ERR_CORRUPT;
	memset(ret, 0, sizeof(*ret));
	ret->content_type = get_bytes(&r);
	ret->size = get_i64(&r);
	ret->created_at_ms = get_i64(&r);
	get_array(&r, ret->sha256, sizeof(ret->sha256));
	ret->has_blob = get_number(&r, 1) == 1;
	if (ret->has_blob)
		get_array(&r, ret->blob.bytes, sizeof(ret->blob.bytes));
	else
		ret->data = get_bytes(&r);
	if (!ret->has_blob && (int64_t)ret->data.size != ret->size)
		return ERR_CORRUPT;
	return end_read(&r);
}

int format3_read_checkpoint(struct slice bytes, struct slice *ret)
{
	struct reader r;

	if (begin_read(bytes, &r) < 0)
		return ERR_CORRUPT;
	*ret = slice_of(r.at, r.left);
	return 0;
}

int format3_read_finish(struct slice bytes, uint64_t *ret)
{
	struct reader r;

	if (begin_read(bytes, &r) < 0)
		return ERR_CORRUPT;
	*ret = get_number(&r, 8);
	return end_read(&r);
}

int format3_read_weight(struct slice bytes, uint32_t *ret)
{
	uint64_t n;

	if (format3_read_finish(bytes, &n) < 0 || n == 0 || n > UINT32_MAX)
		return ERR_CORRUPT;
	*ret = (uint32_t)n;
	return 0;
}
