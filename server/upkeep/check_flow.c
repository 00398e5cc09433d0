/* What flow control keeps: limits, the groups' places in line, the groups' weights. None of it is a job's: what is
 * damaged of it costs a setting, or a group a turn, and the broker makes it anew.
 */
#include "server/flow/fair.h"
#include "server/store/limit_record.h"
#include "server/upkeep/check_priv.h"

static void check_limit(struct check *c, struct slice key, struct slice value)
{
	struct limit_record l;

	if (record_read_limit(value, &l) < 0)
		check_damage(c, "limit %.*s: its record is damaged", SLICE_FMT(key));
	else
		check_is_anothers(c, TABLE_LIMITS, key, value);
}

static void check_group(struct check *c, struct slice key, struct slice value)
{
	struct slice group;
	uint32_t queue;
	uint8_t priority;
	uint64_t finish;

	if (check_is_anothers(c, TABLE_GROUPS, key, value))
		return;
	if (key_read_group(key, &queue, &priority, &group) < 0 || priority >= PRIORITIES || queue >= c->queues)
		check_breach(c, "groups: an entry leads to no line");
	else if (record_read_finish(key, value, &finish) < 0)
		check_say(c, CHECK_NOTICE, "group %.*s of queue %u: its place in line is damaged; it begins anew",
			  SLICE_FMT(group), queue);
	else if (finish > c->sums[queue].last[priority])
		check_breach(c, "group %.*s of queue %u: its next place is behind the end of the line",
			     SLICE_FMT(group), queue);
}

static void check_weight(struct check *c, struct slice key, struct slice value)
{
	struct slice group;
	uint32_t queue, weight;
	uint8_t zero;

	if (check_is_anothers(c, TABLE_WEIGHTS, key, value))
		return;
	if (key_read_group(key, &queue, &zero, &group) < 0 || zero != 0 || queue >= c->queues)
		check_breach(c, "weights: an entry leads to no queue");
	else if (record_read_weight(key, value, &weight) < 0 || weight > FAIR_WEIGHT_MAX)
		check_damage(c, "the weight of group %.*s in queue %u is damaged", SLICE_FMT(group), queue);
}

static void check_line(struct check *c, const struct queue_record *q, int priority, struct queue_sum *sum)
{
	const struct fair_line *line = &q->lines[priority];

	if (line->now > line->last || line->finish > line->last)
		check_breach(c, "queue %.*s, priority %d: its line ends before it begins", SLICE_FMT(q->name),
			     priority);
	if (sum->last[priority] > line->last)
		check_breach(c, "queue %.*s, priority %d: a job stands behind the end of its line", SLICE_FMT(q->name),
			     priority);
	sum->last[priority] = line->last;
}

void check_lines(struct check *c, const struct queue_record *q, struct queue_sum *sum)
{
	struct key key;

	for (int p = 0; p < PRIORITIES; p++)
		check_line(c, q, p, sum);
	if (q->limit.size == 0)
		return;
	key = key_name(q->limit);
	if (!check_has(c, TABLE_LIMITS, key))
		check_breach(c, "queue %.*s: its limit %.*s is missing", SLICE_FMT(q->name), SLICE_FMT(q->limit));
}

int check_flow(struct check *c)
{
	int rc;

	rc = check_walk(c, TABLE_LIMITS, check_limit);
	if (rc == 0)
		rc = check_walk(c, TABLE_GROUPS, check_group);
	return rc == 0 ? check_walk(c, TABLE_WEIGHTS, check_weight) : rc;
}
