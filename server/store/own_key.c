#include "server/store/own_key.h"

#include "server/store/limit_record.h"
#include "server/store/records.h"

/* Whether the record has its table's shape, under the key that it says itself. */
static bool is_sound(enum store_table table, struct slice own, struct slice value)
{
	struct artifact artifact;
	struct slice checkpoint;
	uint64_t finish;
	uint32_t weight;

	switch (table) {
	case TABLE_ARTIFACTS:
		return record_read_artifact(own, value, &artifact) == 0;
	case TABLE_CHECKPOINTS:
		return record_read_checkpoint(own, value, &checkpoint) == 0;
	case TABLE_GROUPS:
		return record_read_finish(own, value, &finish) == 0;
	case TABLE_WEIGHTS:
		return record_read_weight(own, value, &weight) == 0;
	default:
		return false;
	}
}

bool own_key_differs(enum store_table table, struct slice key, struct slice value, struct slice *ret)
{
	struct limit_record limit;
	struct slice own;

	if (table == TABLE_LIMITS) {
		if (record_read_limit(value, &limit) < 0)
			return false;
		own = limit.name;
	} else if (record_read_own_key(value, &own) < 0 || !is_sound(table, own, value)) {
		return false;
	}
	if (slice_equal(own, key))
		return false;
	*ret = own;
	return true;
}
