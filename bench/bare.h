/* bare.h: the table writes that the broker makes for a job, straight into LMDB: no engine, no checksums, no network.
 *
 * The tables, the shapes of the keys, the sizes of the records, the open flags and the order of the writes are the
 * broker's (server/engine/job.c, put.c); what is left out is everything else it does. One thread. Errors end the
 * program.
 */
#ifndef RAINCHECK_BENCH_BARE_H
#define RAINCHECK_BENCH_BARE_H

#include <stdint.h>

struct bare;

/* In a directory of its own, which is there. */
struct bare *bare_open(const char *dir);
void bare_close(struct bare *b);

/* Each is one transaction over jobs first to first + count − 1, committed and synced. A job is put, then leased, then
 * completed before others are leased; numbers ascend and are used once. */
void bare_put(struct bare *b, uint64_t first, uint64_t count);
void bare_lease(struct bare *b, uint64_t first, uint64_t count);
void bare_complete(struct bare *b, uint64_t first, uint64_t count);

#endif
