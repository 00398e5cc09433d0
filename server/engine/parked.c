/* Lease requests that wait for a job. They live as long as their session and their wait; a restart forgets them, since
 * the sessions are gone too.
 *
 * Each stands in the waiting line of every queue that it names, so what a queue gains costs nothing for those who wait
 * for other queues. A line is there as long as somebody waits in it, also for a queue that is not there yet.
 *
 * Among the queues that have something to give, the one whose turn it is (queue_turns.h) gives to the first in its
 * waiting line, who takes what it asked for from all of its queues; each of them pays for what it gave. After that only
 * those queues are looked at again: of all others no more changes than that a limit which they share is shut by now.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "server/engine/engine_priv.h"
#include "server/engine/limits.h"
#include "server/engine/queue_turns.h"

#define BUCKETS 4096 /* a power of two */

struct waiting;

/* A place in one line. */
struct place {
	struct parked *parked;
	struct waiting *line;
	struct place *prev, *next;
};

/* All who wait for one queue. */
struct waiting {
	struct waiting *next; /* of the bucket */
	struct place *first, *last;
	size_t size; /* of name */
	char name[];
};

/* One who waits. */
struct parked {
	struct command *cmd;
	struct parked *prev, *next; /* in the order of their coming */
	size_t count;
	struct place places[];
};

struct parking {
	struct parked *first, *last;
	size_t count;
	int64_t until_ms;  /* none of the waits is over before */
	uint64_t servings; /* so far */
	struct queue_turns turns;
	struct waiting *buckets[BUCKETS];
};

int parking_new(struct parking **ret)
{
	*ret = calloc(1, sizeof(**ret));
	if (!*ret)
		return ERR_NO_MEMORY;
	(*ret)->until_ms = INT64_MAX;
	return 0;
}

void parking_free(struct parking *p)
{
	assert(!p || p->count == 0);
	free(p);
}

size_t parked_count(const struct engine *e)
{
	return e->parking->count;
}

/* ---- lines ---- */

/* Where the line's pointer is, or would be. FNV-1a. */
static struct waiting **bucket_of(struct parking *p, struct slice name)
{
	const uint8_t *bytes = name.data;
	uint32_t hash = 2166136261u;
	struct waiting **at;

	for (size_t i = 0; i < name.size; i++)
		hash = (hash ^ bytes[i]) * 16777619u;
	for (at = &p->buckets[hash & (BUCKETS - 1)]; *at; at = &(*at)->next)
		if (slice_equal(slice_of((*at)->name, (*at)->size), name))
			break;
	return at;
}

static struct waiting *line_of(struct engine *e, const struct queue *q)
{
	return *bucket_of(e->parking, q->record.name);
}

static int line_make(struct parking *p, struct slice name, struct waiting **ret)
{
	struct waiting **at = bucket_of(p, name);

	if (!*at) {
		*at = calloc(1, sizeof(**at) + name.size);
		if (!*at)
			return ERR_NO_MEMORY;
		(*at)->size = name.size;
		memcpy((*at)->name, name.data, name.size);
	}
	*ret = *at;
	return 0;
}

static void line_drop_empty(struct parking *p, struct waiting *line)
{
	struct waiting **at;

	if (line->first)
		return;
	at = bucket_of(p, slice_of(line->name, line->size));
	*at = line->next;
	free(line);
}

static void place_enter(struct place *place, struct parked *parked, struct waiting *line)
{
	*place = (struct place){ .parked = parked, .line = line, .prev = line->last };
	*(line->last ? &line->last->next : &line->first) = place;
	line->last = place;
}

static void place_leave(struct parking *p, struct place *place)
{
	struct waiting *line = place->line;

	*(place->prev ? &place->prev->next : &line->first) = place->next;
	*(place->next ? &place->next->prev : &line->last) = place->prev;
	line_drop_empty(p, line);
}

/* Out of every line; the command is the caller's again. */
static struct command *take_out(struct parking *p, struct parked *parked)
{
	struct command *cmd = parked->cmd;

	for (size_t i = 0; i < parked->count; i++)
		place_leave(p, &parked->places[i]);
	*(parked->prev ? &parked->prev->next : &p->first) = parked->next;
	*(parked->next ? &parked->next->prev : &p->last) = parked->prev;
	p->count--;
	free(parked);
	return cmd;
}

/* ---- coming ---- */

static int enter_lines(struct parking *p, struct parked *parked, const struct msg_job_lease *lease)
{
	for (; parked->count < lease->queues_count; parked->count++) {
		struct waiting *line;
		int rc = line_make(p, lease->queues[parked->count], &line);

		if (rc < 0)
			return rc;
		place_enter(&parked->places[parked->count], parked, line);
	}
	return 0;
}

/* A queue that has jobs gave none: its limit holds them. When that may change is for parked_serve() to find out. */
static void look_again(struct engine *e, const struct msg_job_lease *lease)
{
	for (size_t i = 0; i < lease->queues_count; i++) {
		struct queue *q = queues_find(e->queues, lease->queues[i]);

		if (q && q->record.counts[JOB_READY] > 0)
			parked_gained(e, q);
	}
}

int parked_add(struct engine *e, struct command *cmd)
{
	const struct msg_job_lease *lease = cmd->params;
	struct parking *p = e->parking;
	struct parked *parked = calloc(1, sizeof(*parked) + lease->queues_count * sizeof(parked->places[0]));
	int rc;

	if (!parked)
		return ERR_NO_MEMORY;
	parked->cmd = cmd;
	parked->prev = p->last;
	*(p->last ? &p->last->next : &p->first) = parked;
	p->last = parked;
	p->count++;
	rc = enter_lines(p, parked, lease);
	if (rc < 0) {
		take_out(p, parked);
		return rc;
	}
	cmd->wait_until_ms = e->now_ms + lease->wait_ms;
	if (cmd->wait_until_ms < p->until_ms)
		p->until_ms = cmd->wait_until_ms;
	look_again(e, lease);
	return 0;
}

/* ---- being served ---- */

void parked_gained(struct engine *e, struct queue *q)
{
	if (q->gained)
		return;
	q->gained = true;
	q->next_gained = e->gained;
	e->gained = q;
}

void parked_limit_gained(struct engine *e, struct limit *l)
{
	if (l->gained)
		return;
	l->gained = true;
	l->next_gained = e->gained_limits;
	e->gained_limits = l;
}

void parked_limit_gone(struct engine *e, struct limit *l)
{
	struct limit **at = &e->gained_limits;

	if (!l->gained)
		return;
	while (*at != l)
		at = &(*at)->next_gained;
	*at = l->next_gained;
}

/* All queues that may have something to give since those who wait were last served. */
static void gather(struct engine *e)
{
	struct queue *q;

	for (struct limit *l = e->gained_limits; l; l = l->next_gained) {
		l->gained = false;
		for (q = l->queues; q; q = q->next_of_limit)
			parked_gained(e, q);
	}
	e->gained_limits = NULL;
	for (uint32_t n = 0; e->serve_all && (q = queues_get(e->queues, n)); n++)
		parked_gained(e, q);
	e->serve_all = false;
}

/* ---- which queues can give ---- */

static bool is_wanted(struct engine *e, const struct queue *q)
{
	return q->record.counts[JOB_READY] > 0 && !q->record.paused && line_of(e, q);
}

static void look_at_limit(struct engine *e, const struct queue *q)
{
	struct limit *l = q->limit;

	l->shut = limits_room(q, e->now_ms, &l->shut_until_ms) <= 0;
	l->seen_in = e->parking->servings;
}

/* Asked once a serving; after that it is shut_out() that says when there is no room any more. */
static bool is_shut(struct engine *e, const struct queue *q)
{
	if (!q->limit)
		return false;
	if (q->limit->seen_in != e->parking->servings)
		look_at_limit(e, q);
	return q->limit->shut;
}

/* Where only time stands between those who wait and a job, the engine looks again when it has passed. */
static void note_shut(struct engine *e, struct limit *l)
{
	if (l->shut_until_ms < l->again_ms)
		l->again_ms = l->shut_until_ms;
	if (l->shut_until_ms < e->limits_again_ms)
		e->limits_again_ms = l->shut_until_ms;
}

static void drop(struct engine *e, struct queue *q)
{
	queue_turns_leave(&e->parking->turns, q);
	q->gained = false;
}

/* Those that gained and can give stand in for turns from now on. */
static void let_in(struct engine *e)
{
	struct queue *q;

	while ((q = e->gained)) {
		e->gained = q->next_gained;
		q->gained = is_wanted(e, q) && !is_shut(e, q);
		if (q->gained)
			queue_turns_enter(&e->parking->turns, q);
		else if (q->limit && is_shut(e, q) && is_wanted(e, q))
			note_shut(e, q->limit);
	}
}

/* A limit has no more room: once a serving at most. */
static void shut_out(struct engine *e, struct limit *l)
{
	for (struct queue *q = l->queues; q; q = q->next_of_limit) {
		if (q->turn == 0)
			continue;
		drop(e, q);
		note_shut(e, l);
	}
}

/* ---- the turns ---- */

/* Those that the lease names and that are there. */
static size_t queues_of(struct engine *e, const struct msg_job_lease *lease, struct queue **ret)
{
	size_t count = 0;

	for (size_t i = 0; i < lease->queues_count; i++) {
		ret[count] = queues_find(e->queues, lease->queues[i]);
		count += ret[count] != NULL;
	}
	return count;
}

static void charge(struct engine *e, size_t granted)
{
	struct queue_turns *turns = &e->parking->turns;

	queue_turns_earn(turns, granted);
	for (size_t i = 0; i < granted; i++)
		queue_turns_pay(turns, lease_gave(e, i));
}

/* Jobs of these may have gone, and who waited for them. */
static void look_after(struct engine *e, struct queue **queues, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (queues[i]->turn > 0 && !is_wanted(e, queues[i]))
			drop(e, queues[i]);
	for (size_t i = 0; i < count; i++) {
		if (!queues[i]->limit || is_shut(e, queues[i]))
			continue;
		look_at_limit(e, queues[i]);
		if (queues[i]->limit->shut)
			shut_out(e, queues[i]->limit);
	}
}

/* The first in line of the queue whose turn it is. */
static int serve_first(struct engine *e, struct queue *q)
{
	struct parked *first = line_of(e, q)->first->parked;
	struct queue *queues[MAX_QUEUES];
	size_t count = queues_of(e, first->cmd->params, queues);
	size_t granted = 0;
	int rc;

	rc = command_lease(e, first->cmd, &granted);
	if (rc < 0)
		return rc;
	charge(e, granted);
	if (granted > 0)
		command_list_push(&e->answered, take_out(e->parking, first));
	else
		/* Its jobs are counted and cannot be found, or were damaged: it must not hold up the others. */
		drop(e, q);
	look_after(e, queues, count);
	return 0;
}

static void forget_gained(struct engine *e)
{
	struct queue_turns *turns = &e->parking->turns;

	for (size_t i = 0; i < turns->count; i++)
		turns->heap[i]->gained = false;
	queue_turns_end(turns);
	for (struct queue *q = e->gained; q; q = q->next_gained)
		q->gained = false;
	e->gained = NULL;
}

int parked_serve(struct engine *e)
{
	struct parking *p = e->parking;
	struct queue *q;
	int rc = 0;

	gather(e);
	p->servings++;
	while (rc == 0 && p->count > 0) {
		let_in(e);
		q = queue_turns_next(&p->turns);
		if (!q)
			break;
		rc = serve_first(e, q);
	}
	forget_gained(e);
	return rc;
}

/* ---- going ---- */

static void answer_empty(struct command *cmd)
{
	struct msg_job_lease_result nothing = { .has_jobs = true };

	cmd->answer(cmd, &MSG_job_lease_result, &nothing);
}

/* Answers with nothing. */
static void send_away(struct engine *e, struct parked *parked)
{
	struct command *cmd = take_out(e->parking, parked);

	answer_empty(cmd);
	command_list_push(&e->answered, cmd);
}

int parked_expire(struct engine *e)
{
	struct parking *p = e->parking;
	struct parked *next;

	if (p->until_ms > e->now_ms)
		return 0;
	p->until_ms = INT64_MAX;
	for (struct parked *parked = p->first; parked; parked = next) {
		next = parked->next;
		if (parked->cmd->wait_until_ms <= e->now_ms)
			send_away(e, parked);
		else if (parked->cmd->wait_until_ms < p->until_ms)
			p->until_ms = parked->cmd->wait_until_ms;
	}
	return 0;
}

void parked_forget(struct engine *e, uint64_t session)
{
	struct parked *next;

	for (struct parked *parked = e->parking->first; parked; parked = next) {
		next = parked->next;
		if (parked->cmd->session == session)
			send_away(e, parked);
	}
}

struct command *parked_take(struct engine *e)
{
	return e->parking->first ? take_out(e->parking, e->parking->first) : NULL;
}

void parked_shift(struct engine *e, int64_t ms)
{
	for (struct parked *parked = e->parking->first; parked; parked = parked->next)
		parked->cmd->wait_until_ms += ms;
	if (e->parking->until_ms != INT64_MAX)
		e->parking->until_ms += ms;
}

int64_t parked_next_ms(const struct engine *e)
{
	return e->parking->until_ms;
}
