/* fair.h: who is next in line, by start-time fair queueing (P. Goyal, H. Vin, H. Cheng, Start-time Fair Queueing,
 * 1996).
 *
 * Every job gets a tag when it enters its line, and the least tag is served first. A group's jobs follow one another at
 * a distance of FAIR_COST divided by the group's weight, and none begins before the line's virtual time, which is the
 * tag that was served last: so whatever a group has in line, another's next job stands behind at most one of its jobs a
 * turn. Jobs of equal tags go by their ids, that is by their age.
 *
 * Pure arithmetic on a line of one priority in one queue, and the finish tag of one group there. Any thread.
 */
#ifndef RAINCHECK_FLOW_FAIR_H
#define RAINCHECK_FLOW_FAIR_H

#include <stdint.h>

#include "server/store/records.h"

#define FAIR_WEIGHT_MAX 1000 /* the least is 1 */
#define FAIR_COST	(UINT64_C(1) << 24)

/* A job's tag, at least 1. finish: its group's in this line, 0 for one that has none; moved on. */
uint64_t fair_tag(struct fair_line *line, uint64_t *finish, uint32_t weight);
/* The job with this tag was served. */
void fair_served(struct fair_line *line, uint64_t tag);
/* A job left the line unserved: its group need not pay for it. Where others of the group are still in line, the group's
 * next may so come to stand before some of them. */
void fair_refund(const struct fair_line *line, uint64_t *finish, uint32_t weight);
/* Nobody is in line: all groups are equal again. */
void fair_emptied(struct fair_line *line);
/* The line is made up anew from those who stand in it: this is the tag of one of them. Of the groups nothing is known.
 */
void fair_recover(struct fair_line *line, uint64_t tag);
/* What one of several earns by a turn that one of them has, in parts of a turn; weights: their sum. */
static inline int64_t fair_share(uint32_t weight, int64_t weights)
{
	return (int64_t)FAIR_COST * weight / weights;
}

/* Whether a group's finish tag says anything that having none would not say. */
bool fair_matters(const struct fair_line *line, uint64_t finish);

#endif
