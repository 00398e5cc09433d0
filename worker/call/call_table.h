/* call_table.h: the calls that are under way, in the order in which they were added and by their job's id.
 *
 * Calls link themselves in by their call_place and stay whose they are. Finding one costs the same however many there
 * are. Loop's thread only.
 */
#ifndef RAINCHECK_WORKER_CALL_CALL_TABLE_H
#define RAINCHECK_WORKER_CALL_CALL_TABLE_H

#include <stddef.h>

#include "worker/call/call.h"

#define CALL_TABLE_ROWS 16384

TAILQ_HEAD(call_list, call_place);
LIST_HEAD(call_row, call_place);

struct call_table {
	struct call_list all; /* to be gone through; a call that is removed meanwhile must not be the next one */
	struct call_row rows[CALL_TABLE_ROWS];
	size_t count;
};

void call_table_init(struct call_table *t);
void call_table_add(struct call_table *t, struct call *c);
void call_table_remove(struct call_table *t, struct call *c);
/* The call for the job, under that lease where one is given; NULL where there is none. */
struct call *call_table_find(struct call_table *t, const char *id, const char *lease);

#endif
