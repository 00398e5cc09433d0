/* settings.h: what the operator set and the engine, its views and the fronts read. Filled once before threads start,
 * then only read. */
#ifndef RAINCHECK_ENGINE_SETTINGS_H
#define RAINCHECK_ENGINE_SETTINGS_H

#include <stddef.h>
#include <stdint.h>

struct settings {
	const char *public_url;	  /* what links begin with; no slash at the end */
	uint8_t link_secret[32];  /* kept in the data directory, see link.h; cursors are signed with it too */
	int64_t inline_bytes;	  /* artifacts up to this size live in the map, larger ones in files */
	int64_t payload_bytes;	  /* of one job, at most */
	int64_t artifact_bytes;	  /* of one uploaded artifact, at most */
	int64_t answer_bytes;	  /* of one message to a peer, at most; 0: no bound that the engine need know */
	int64_t reserve_bytes;	  /* of the store, kept from puts: for what is there already to be finished with */
	int64_t result_ttl_ms;	  /* how long a finished job's artifacts are kept, unless it or its queue says */
	int64_t record_ttl_ms;	  /* how long after finishing the record is kept; never less than the result */
	int64_t tombstone_ttl_ms; /* how long after that its link says "gone" instead of "unknown" */
};

#endif
