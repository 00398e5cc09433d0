/* old_store.h: a data directory that an earlier version wrote (tests/unit/data/README.md), for tests of its migration.
 *
 * The rig's own directory gives way to the unpacked one; the store is closed until old_migrate().
 */
#ifndef RAINCHECK_TEST_OLD_STORE_H
#define RAINCHECK_TEST_OLD_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "server/store/keys.h"
#include "server/upkeep/check.h"
#include "tests/harness/engine_rig.h"

#define OLD_NOW_MS    INT64_C(1702592000012) /* the moment at which each of them stands still */
#define OLD_MAP_BYTES (1 << 28)

extern struct old_store {
	struct rig rig;
	bool is_open;	 /* the rig's store */
	char said[8192]; /* by the last old_open(), line by line */
} old;

/* fixture: the file's path. */
void old_setup(const char *fixture);
void old_teardown(void);

/* Opens the directory, which migrates it unless read_only. The store's errors. */
int old_open(bool read_only, int64_t max_bytes, struct store **ret, struct error_info *info);
/* Migrates, and the rig goes on with it. Fails the test where that is refused. */
void old_migrate(void);
/* Has the rig leave the directory again, to be looked at as it lies there. */
void old_leave(void);

struct check_result old_check(void);
/* The job with this payload; fails the test where there is none. */
struct uuid old_find(const char *payload);

/* The file of the records, read and written by hand. The caller frees the bytes. */
uint8_t *old_read_file(size_t *ret_size);
void old_write_file(const uint8_t *bytes, size_t size);
/* Flips a bit wherever the file has the words, old pages included; offset from their beginning. */
void old_flip(const char *words, size_t offset);

#endif
