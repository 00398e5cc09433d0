/* job.lease: the first ready jobs of the named queues become running under a new lease each.
 *
 * Two passes, since reading payloads gives pointers that the next write takes away: all jobs are moved first, then the
 * command is answered, from copies of the small inputs and by reading the large ones again.
 */
#include <stdlib.h>
#include <string.h>

#include "server/engine/engine_priv.h"
#include "server/engine/limits.h"
#include "server/engine/terms.h"
#include "server/flow/fair.h"

#define AGED_TURN    16	  /* of so many jobs that a queue gives, one goes by age, not by priority */
#define BESIDE_INPUT 1024 /* bytes of a leased job on the wire besides its input and checkpoint */
#define SMALL_INPUT  4096 /* bytes: to copy so many is quicker than to look for them again */

/* Of all jobs of an answer, and of one that did not fit it any more from each queue. */
#define SMALL_INPUTS (LEASE_BYTES + (MAX_QUEUES + 1) * SMALL_INPUT)

/* What the job's input and checkpoint have to say before it is taken. */
struct probe {
	int64_t timeout_ms;
	int64_t bytes;	  /* that the job adds to an answer */
	size_t copy_at;	  /* where the room's copies hold the input, … */
	size_t copy_size; /* 0: it is to be read again */
	bool has_checkpoint;
};

/* One job taken for this answer. */
struct grant {
	struct uuid id;
	struct job job;
	int64_t hooks; /* that wait for it */
	struct probe found;
};

/* For the jobs of one answer, kept from lease to lease. */
struct lease_room {
	struct queue *queues[MAX_QUEUES]; /* that the lease names and that there are */
	size_t queues_count;
	struct grant *grants;
	struct msg_leased_job *jobs;
	/* What the answer points to besides the map: */
	struct pair *metadata; /* MAX_METADATA for each job */
	struct buf copies;     /* of the small inputs */
	size_t capacity;
};

void lease_room_free(struct lease_room *room)
{
	if (!room)
		return;
	free(room->grants);
	free(room->jobs);
	free(room->metadata);
	buf_done(&room->copies);
	free(room);
}

/* In place of the present one, where that is too small. What it holds need not be kept. */
static int room_for(struct engine *e, size_t capacity)
{
	struct lease_room *room = e->lease_room;

	if (room && room->capacity >= capacity)
		return 0;
	room = calloc(1, sizeof(*room));
	if (!room)
		return ERR_NO_MEMORY;
	room->capacity = capacity;
	buf_init(&room->copies, SMALL_INPUTS);
	room->grants = calloc(capacity, sizeof(*room->grants));
	room->jobs = calloc(capacity, sizeof(*room->jobs));
	room->metadata = calloc(capacity, MAX_METADATA * sizeof(*room->metadata));
	if (!room->grants || !room->jobs || !room->metadata) {
		lease_room_free(room);
		return ERR_NO_MEMORY;
	}
	lease_room_free(e->lease_room);
	e->lease_room = room;
	return 0;
}

/* An entry of a queue's lines. */
struct entry {
	struct key key;
	bool whole; /* it has the shape of one; else the rest says nothing */
	uint8_t priority;
	struct uuid id;
};

/* The first that is not below from. ERR_NOT_FOUND where the queue has none. */
static int seek_entry(struct engine *e, const struct queue *q, const struct key *from, struct entry *ret)
{
	struct key own = key_queue(q->number);
	struct slice key, value;
	uint32_t queue;
	uint64_t tag;
	int rc;

	rc = store_seek(e->txn, TABLE_READY, key_slice(from), &key, &value);
	if (rc < 0)
		return rc;
	ret->key = key_copy(key);
	if (ret->key.size < own.size || memcmp(ret->key.bytes, own.bytes, own.size) != 0)
		return ERR_NOT_FOUND;
	ret->whole = key_read_ready(key, &queue, &ret->priority, &tag, &ret->id) == 0 && ret->priority < PRIORITIES;
	return 0;
}

/* The oldest of those who are first among their priority. ERR_NOT_FOUND where there is none. */
static int oldest_first(struct engine *e, const struct queue *q, struct entry *ret)
{
	bool found = false;

	for (uint8_t p = 0; p < PRIORITIES; p++) {
		struct key from = key_ready_from(q->number, p);
		struct entry entry;
		int rc = q->record.ready[p] > 0 ? seek_entry(e, q, &from, &entry) : ERR_NOT_FOUND;

		if (rc < 0 && rc != ERR_NOT_FOUND)
			return rc;
		if (rc < 0 || !entry.whole || (found && uuid_compare(&entry.id, &ret->id) >= 0))
			continue;
		*ret = entry;
		found = true;
	}
	return found ? 0 : ERR_NOT_FOUND;
}

static int priorities_waiting(const struct queue *q)
{
	int n = 0;

	for (int p = 0; p < PRIORITIES; p++)
		n += q->record.ready[p] > 0;
	return n;
}

/* Who is next. Now and then the oldest instead of the first, so that no priority waits for ever. */
static int first_entry(struct engine *e, const struct queue *q, struct entry *ret)
{
	struct key from = key_queue(q->number);
	int rc = ERR_NOT_FOUND;

	if (q->record.lease_total % AGED_TURN == AGED_TURN - 1 && priorities_waiting(q) > 1)
		rc = oldest_first(e, q, ret);
	return rc == ERR_NOT_FOUND ? seek_entry(e, q, &from, ret) : rc;
}

/* Without memory for it, it is read again. */
static void keep_copy(struct buf *copies, struct slice input, struct probe *ret)
{
	ret->copy_at = copies->size;
	ret->copy_size = input.size <= SMALL_INPUT && buf_append(copies, input.data, input.size) == 0 ? input.size : 0;
}

/* ERR_CORRUPT where the job's input or checkpoint is damaged or gone. */
static int probe(struct engine *e, const struct uuid *id, const struct queue *q, struct probe *ret)
{
	struct key key = key_job(id);
	struct job_input input;
	struct slice bytes = { 0 };
	int rc;

	rc = store_get(e->txn, TABLE_INPUTS, key_slice(&key), &bytes);
	ret->bytes = BESIDE_INPUT + (int64_t)bytes.size;
	if (rc == 0)
		rc = record_read_input(bytes, &input);
	if (rc < 0)
		return rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc;
	ret->timeout_ms = terms_attempt_timeout_ms(&input, &q->record);
	keep_copy(&e->lease_room->copies, bytes, ret);
	rc = store_get(e->txn, TABLE_CHECKPOINTS, key_slice(&key), &bytes);
	ret->has_checkpoint = rc == 0;
	if (rc < 0)
		return rc == ERR_NOT_FOUND ? 0 : rc;
	ret->bytes += (int64_t)bytes.size;
	return record_read_checkpoint(key_slice(&key), bytes, &bytes);
}

/* Nobody can work on a job whose input is damaged: it ends dead, with the reason. */
static int bury(struct engine *e, struct grant *g)
{
	int rc;

	g->job.error_kind = FAIL_INTERNAL;
	g->job.error_at_ms = e->now_ms;
	g->job.error_message = slice_str("the job's input or checkpoint is damaged in the store");
	rc = job_move(e, &g->id, &g->job, JOB_DEAD);
	return rc < 0 ? rc : report_damage(e, &g->id, "input or checkpoint");
}

/* An entry whose job's record cannot be read is taken out of the line, so that it does not hold up the others. */
static int pass_over(struct engine *e, const struct queue *q, const struct entry *entry)
{
	struct index_word word = { .queue = q->number, .state = JOB_READY, .priority = entry->priority };
	int rc = set_aside(e, &entry->id, &word);

	return rc < 0 ? rc : store_delete(e->txn, TABLE_READY, key_slice(&entry->key));
}

/* Whether this entry is the job's place in line. One that is not was counted for no job. */
static bool stands_for(const struct entry *entry, const struct job *job)
{
	struct key key = key_ready(job->queue, job->priority, job->tag, &entry->id);

	return job->state == JOB_READY && slice_equal(key_slice(&key), key_slice(&entry->key));
}

static int grant_one(struct engine *e, struct command *cmd, struct grant *g, size_t n)
{
	const struct msg_job_lease *lease = cmd->params;
	int rc;

	g->job.lease = engine_draw_token(cmd->random, (uint32_t)n);
	g->job.attempt++;
	g->job.started_at_ms = e->now_ms;
	g->job.has_progress = false;
	g->job.note.size = 0;
	g->job.holder = cmd->session;
	g->job.lease_expires_at_ms = e->now_ms + (lease->has_lease_ms ? lease->lease_ms : DEFAULT_LEASE_MS);
	g->job.attempt_deadline_at_ms = g->found.timeout_ms ? e->now_ms + g->found.timeout_ms : 0;
	rc = job_move(e, &g->id, &g->job, JOB_RUNNING);
	return rc < 0 ? rc : hooks_wake(e, &g->id, &g->job, &g->hooks);
}

/* Of one entry: 0 where its job can be worked on. ERR_CORRUPT where the entry is left for a later batch, which may read
 * the job; ERR_NOT_FOUND where it is no more. */
static int look_at(struct engine *e, struct queue *q, const struct entry *entry, struct grant *g)
{
	int rc = entry->whole ? job_load(e, &g->id, &g->job) : 0;

	if (rc == ERR_CORRUPT && store_waits(e->txn))
		return ERR_CORRUPT;
	if (rc == ERR_NOT_FOUND || rc == ERR_CORRUPT) {
		rc = pass_over(e, q, entry);
	} else if (rc == 0 && !(entry->whole && stands_for(entry, &g->job))) {
		rc = store_delete(e->txn, TABLE_READY, key_slice(&entry->key));
	} else if (rc == 0) {
		rc = probe(e, &g->id, q, &g->found);
		if (rc != ERR_CORRUPT || store_waits(e->txn))
			return rc;
		rc = bury(e, g);
	}
	return rc == 0 ? ERR_NOT_FOUND : rc;
}

/* The first job of one queue that can be worked on; what is damaged before it is taken out of the line, and what cannot
 * be read yet is left there. ERR_NOT_FOUND where there is none. */
static int next_sound(struct engine *e, struct queue *q, struct grant *g)
{
	struct key from = key_queue(q->number);
	bool left = false;

	for (;;) {
		struct entry entry;
		int rc;

		rc = left ? seek_entry(e, q, &from, &entry) : first_entry(e, q, &entry);
		if (rc < 0)
			return rc;
		g->id = entry.id;
		rc = look_at(e, q, &entry, g);
		if (rc == 0 || (rc != ERR_NOT_FOUND && rc != ERR_CORRUPT))
			return rc;
		if (rc == ERR_NOT_FOUND)
			continue;
		/* The first that was left may be one from the midst of the line, whose turn it was by age. */
		if (left)
			from = key_after(&entry.key);
		left = e->left = true;
	}
}

/* What an answer may come to. One that its peer could not be sent would cost every job in it an attempt. */
static int64_t answer_bytes(const struct engine *e)
{
	int64_t most = e->settings->answer_bytes;

	return most > 0 && most < LEASE_BYTES ? most : LEASE_BYTES;
}

/* Takes the first of one queue. *ret_taken is false when there is none, when its limit lets none begin, or when none
 * fits the answer any more. */
static int take_from(struct engine *e, struct command *cmd, struct queue *q, size_t *count, int64_t *bytes,
		     bool *ret_taken)
{
	struct grant *g = &e->lease_room->grants[*count];
	int64_t again;
	int rc;

	*ret_taken = false;
	if (q->record.counts[JOB_READY] <= 0 || q->record.paused || limits_room(q, e->now_ms, &again) <= 0)
		return 0;
	rc = next_sound(e, q, g);
	if (rc < 0)
		return rc == ERR_NOT_FOUND ? 0 : rc;
	if (*count > 0 && *bytes + g->found.bytes > answer_bytes(e))
		return 0;
	rc = grant_one(e, cmd, g, *count);
	if (rc < 0)
		return rc;
	*bytes += g->found.bytes;
	(*count)++;
	*ret_taken = true;
	return 0;
}

/* Queues in turns: every queue that could be served earns its weight's share of each turn, and the one that is owed
 * most has it and pays for it. What one earns is lost by the others, so nobody gains while it has nothing or is served
 * alone (as in a car pool: R. Fagin, J. Williams, A Fair Carpool Scheduling Algorithm, 1983). */
static int64_t sum_of_weights(const struct lease_room *room)
{
	int64_t weights = 0;

	for (size_t i = 0; i < room->queues_count; i++)
		weights += room->queues[i]->record.weight;
	return weights;
}

/* Whose turn it is; the first named of several. */
static size_t next_queue(const struct engine *e)
{
	const struct lease_room *room = e->lease_room;
	int64_t weights = sum_of_weights(room);
	int64_t most = INT64_MIN;
	size_t best = 0;

	for (size_t i = 0; i < room->queues_count; i++) {
		int64_t owed = room->queues[i]->owed_in_lease + fair_share(room->queues[i]->record.weight, weights);

		if (owed <= most)
			continue;
		most = owed;
		best = i;
	}
	return best;
}

static void had_its_turn(const struct lease_room *room, size_t n)
{
	int64_t weights = sum_of_weights(room);

	for (size_t i = 0; i < room->queues_count; i++)
		room->queues[i]->owed_in_lease += fair_share(room->queues[i]->record.weight, weights);
	room->queues[n]->owed_in_lease -= (int64_t)FAIR_COST;
}

/* One job at a time from the queue whose turn it is, until there are enough or no queue has one. */
static int take(struct engine *e, struct command *cmd, size_t max, size_t *ret_count)
{
	struct lease_room *room = e->lease_room;
	int64_t bytes = 0;

	while (*ret_count < max && room->queues_count > 0) {
		size_t n = next_queue(e);
		bool taken;
		int rc = take_from(e, cmd, room->queues[n], ret_count, &bytes, &taken);

		if (rc < 0)
			return rc;
		if (taken)
			had_its_turn(room, n);
		else
			memmove(&room->queues[n], &room->queues[n + 1],
				(--room->queues_count - n) * sizeof(room->queues[0]));
	}
	return 0;
}

/* What probe() has proved in this transaction, again. */
static int read_input(struct engine *e, const struct grant *g, struct job_input *ret)
{
	struct key key = key_job(&g->id);
	struct slice bytes = slice_of(e->lease_room->copies.data + g->found.copy_at, g->found.copy_size);
	int rc = 0;

	if (bytes.size == 0)
		rc = store_get(e->txn, TABLE_INPUTS, key_slice(&key), &bytes);
	return rc < 0 ? rc : record_read_input_again(bytes, ret);
}

/* Where the API may report is left to answer_finish(). */
static int describe(struct engine *e, const struct grant *g, struct pair *metadata, struct msg_leased_job *ret)
{
	const struct queue *q = queues_get(e->queues, g->job.queue);
	struct key key = key_job(&g->id);
	struct job_input in;
	struct slice bytes;
	int rc;

	rc = read_input(e, g, &in);
	if (rc < 0)
		return rc;
	*ret = (struct msg_leased_job){
		.has_id = true,
		.id = g->id,
		.has_lease = true,
		.lease = g->job.lease,
		.has_queue = true,
		.queue = q->record.name,
		.has_attempt = true,
		.attempt = g->job.attempt,
		.has_payload = true,
		.payload = in.payload,
		.has_content_type = true,
		.content_type = in.content_type,
		.has_priority = true,
		.priority = g->job.priority,
		.has_lease_expires_at_ms = true,
		.lease_expires_at_ms = g->job.lease_expires_at_ms,
		.has_attempt_deadline_at_ms = g->job.attempt_deadline_at_ms != 0,
		.attempt_deadline_at_ms = g->job.attempt_deadline_at_ms,
		.has_deadline_at_ms = g->job.deadline_at_ms != 0,
		.deadline_at_ms = g->job.deadline_at_ms,
		.has_metadata = true,
		.metadata = metadata,
		.has_traceparent = in.traceparent.size > 0,
		.traceparent = in.traceparent,
		.has_hooks = g->hooks > 0,
		.hooks = g->hooks,
	};
	ret->metadata_count = input_metadata(&in, metadata, MAX_METADATA);
	ret->has_checkpoint = g->found.has_checkpoint;
	if (!ret->has_checkpoint)
		return 0;
	rc = store_get(e->txn, TABLE_CHECKPOINTS, key_slice(&key), &bytes);
	return rc < 0 ? rc : record_read_checkpoint(key_slice(&key), bytes, &ret->checkpoint);
}

static int answer(struct engine *e, struct command *cmd, size_t count)
{
	struct lease_room *room = e->lease_room;
	struct msg_job_lease_result result = { .has_jobs = true, .jobs = room->jobs, .jobs_count = count };

	for (size_t i = 0; i < count; i++) {
		int rc = describe(e, &room->grants[i], &room->metadata[i * MAX_METADATA], &room->jobs[i]);

		if (rc < 0)
			return rc;
	}
	cmd->answer(cmd, &MSG_job_lease_result, &result);
	return 0;
}

/* One that is named twice has one share. */
static bool is_among(const struct queue *q, struct queue *const *queues, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (queues[i] == q)
			return true;
	return false;
}

/* The queues that the lease names and that have something; how many jobs wait in them. */
static int64_t gather_queues(struct engine *e, const struct msg_job_lease *lease, struct queue **ret, size_t *ret_count)
{
	int64_t ready = 0;

	*ret_count = 0;
	for (size_t i = 0; i < lease->queues_count; i++) {
		struct queue *q = queues_find(e->queues, lease->queues[i]);

		if (!q || q->record.paused || q->record.counts[JOB_READY] <= 0 || is_among(q, ret, *ret_count))
			continue;
		ready += q->record.counts[JOB_READY];
		ret[(*ret_count)++] = q;
	}
	return ready;
}

int command_lease(struct engine *e, struct command *cmd, size_t *ret_granted)
{
	const struct msg_job_lease *lease = cmd->params;
	size_t max = lease->has_max ? (size_t)lease->max : 1;
	struct queue *queues[MAX_QUEUES];
	size_t queues_count;
	int64_t ready;
	int rc;

	*ret_granted = 0;
	ready = gather_queues(e, lease, queues, &queues_count);
	if (ready == 0)
		return 0;
	if ((int64_t)max > ready)
		max = (size_t)ready;
	rc = room_for(e, max);
	if (rc < 0)
		return rc;
	memcpy(e->lease_room->queues, queues, queues_count * sizeof(queues[0]));
	e->lease_room->queues_count = queues_count;
	buf_reset(&e->lease_room->copies);
	rc = take(e, cmd, max, ret_granted);
	if (rc == 0 && *ret_granted > 0)
		rc = answer(e, cmd, *ret_granted);
	return rc;
}

struct queue *lease_gave(const struct engine *e, size_t n)
{
	return queues_get(e->queues, e->lease_room->grants[n].job.queue);
}
