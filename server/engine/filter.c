#include "server/engine/filter.h"

#include "server/engine/outbox.h"
#include "server/store/keys.h"

int filter_find_queue(struct store_txn *t, struct slice name, uint32_t *ret)
{
	struct key key = key_name(name);
	struct slice number;
	int rc;

	rc = store_get(t, TABLE_NAMES, key_slice(&key), &number);
	return rc < 0 ? rc : key_read_queue(number, ret);
}

int filter_begin(struct store_txn *t, const struct msg_job_filter *asked, struct filter *ret)
{
	int rc;

	*ret = (struct filter){ .asked = *asked };
	if (asked->has_queue)
		return filter_find_queue(t, asked->queue, &ret->queue);
	rc = filter_find_queue(t, slice_str(OUTBOX_QUEUE), &ret->internal);
	ret->has_internal = rc == 0;
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

/* A job whose input is damaged is of no group. Of one that is hidden until nobody reads (store_waits()) it is not known
 * of which: nothing is said to be all there is of a group then. */
static int of_group(struct store_txn *t, struct filter *f, const struct uuid *id, bool *ret)
{
	struct key key = key_job(id);
	struct job_input input;
	struct slice bytes;
	int rc;

	*ret = false;
	rc = store_get(t, TABLE_INPUTS, key_slice(&key), &bytes);
	if (rc == 0)
		f->bytes += (int64_t)bytes.size;
	if (rc == 0)
		*ret = record_read_input(bytes, &input) == 0 && slice_equal(input.group, f->asked.group);
	if (rc == ERR_CORRUPT && store_waits(t))
		return ERR_STORE_ERROR;
	return rc == ERR_NOT_FOUND || rc == ERR_CORRUPT ? 0 : rc;
}

int filter_matches(struct store_txn *t, struct filter *f, const struct uuid *id, const struct job *job,
		   bool *ret_matches)
{
	const struct msg_job_filter *a = &f->asked;

	*ret_matches = (a->has_queue ? job->queue == f->queue : !(f->has_internal && job->queue == f->internal)) &&
		       !(a->has_state && job->state != a->state) &&
		       !(a->has_before_at_ms && job->created_at_ms >= a->before_at_ms);
	return *ret_matches && a->has_group ? of_group(t, f, id, ret_matches) : 0;
}
