#include "server/engine/engine.h"

#include <assert.h>
#include <gnutls/crypto.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/engine/engine_priv.h"

/* Bytes of a record besides the payload: metadata, title and the like at their most. */
#define BESIDE_PAYLOAD (1 << 20)

int refuse(struct command *cmd, int code, const char *field, const char *fmt, ...)
{
	struct error_info info;
	char text[sizeof(info.message)];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	error_set(&info, code, field, "%s", text);
	cmd->refuse(cmd, &info);
	return 0;
}

bool is_refusal(int rc)
{
	return rc == ERR_NOT_FOUND || rc == ERR_LEASE_LOST || rc == ERR_INVALID_STATE || rc == ERR_TOO_LARGE ||
	       rc == ERR_CORRUPT || rc == ERR_GONE;
}

void engine_draw(const uint8_t seed[32], uint32_t n, uint8_t ret[32])
{
	uint8_t text[36];

	memcpy(text, seed, 32);
	memcpy(text + 32, &n, sizeof(n));
	/* It fails only where the library is broken; going on would make leases that anybody can guess. */
	if (gnutls_hash_fast(GNUTLS_DIG_SHA256, text, sizeof(text), ret) < 0)
		abort();
}

double engine_draw_unit(struct engine *e)
{
	uint8_t drawn[32];
	uint64_t n;

	engine_draw(e->random, e->draws++, drawn);
	memcpy(&n, drawn, sizeof(n));
	return (double)(n >> 11) / 9007199254740992.0; /* 2^53 */
}

/* ---- life ---- */

static int load_queues(struct engine *e)
{
	_cleanup_(store_abortp) struct store_txn *t = NULL;
	int rc;

	rc = store_begin_read(e->store, &t);
	return rc < 0 ? rc : queues_load(e->queues, t);
}

int engine_new(const struct settings *settings, struct store *s, struct engine **ret)
{
	struct engine *e = calloc(1, sizeof(*e));
	int rc;

	if (!e)
		return ERR_NO_MEMORY;
	e->settings = settings;
	e->store = s;
	buf_init(&e->record, (size_t)(settings->payload_bytes > settings->inline_bytes ? settings->payload_bytes
										       : settings->inline_bytes) +
				     BESIDE_PAYLOAD);
	command_list_init(&e->parked);
	command_list_init(&e->answered);
	rc = queues_new(&e->queues);
	if (rc == 0)
		rc = load_queues(e);
	if (rc < 0) {
		engine_free(e);
		return rc;
	}
	/* The first batch looks for what came due while nobody ran. */
	e->due_ms = 0;
	*ret = e;
	return 0;
}

void engine_free(struct engine *e)
{
	if (!e)
		return;
	assert(e->parked.count == 0);
	queues_free(e->queues);
	free(e->events.items);
	free(e->garbage.items);
	buf_done(&e->record);
	free(e);
}

/* ---- a batch ---- */

int engine_begin(struct engine *e, struct store_txn *t, int64_t now_ms, const uint8_t random[32])
{
	int rc;

	e->txn = t;
	if (now_ms < e->now_ms)
		parked_shift(e, now_ms - e->now_ms);
	e->now_ms = now_ms;
	e->draws = 0;
	e->room_bytes = -1;
	memcpy(e->random, random, sizeof(e->random));
	e->events.count = 0;
	e->garbage.count = 0;
	if (e->stale) {
		rc = queues_load(e->queues, t);
		if (rc < 0)
			return rc;
		e->stale = false;
	}
	rc = e->due_ms <= now_ms ? due_run(e) : 0;
	return rc < 0 ? rc : parked_expire(e);
}

static int apply_lease(struct engine *e, struct command *cmd, bool *ret_parked)
{
	const struct msg_job_lease *lease = cmd->params;
	struct msg_job_lease_result nothing = { .has_jobs = true };
	size_t granted;
	int rc;

	rc = command_lease(e, cmd, &granted);
	if (rc < 0 || granted > 0)
		return rc;
	*ret_parked = lease->has_wait_ms && lease->wait_ms > 0;
	if (*ret_parked)
		return parked_add(e, cmd);
	cmd->answer(cmd, &MSG_job_lease_result, &nothing);
	return 0;
}

int engine_apply(struct engine *e, struct command *cmd, bool *ret_parked)
{
	struct msg_empty nothing = { 0 };

	*ret_parked = false;
	switch (cmd->kind) {
	case COMMAND_PUT:
		return command_put(e, cmd);
	case COMMAND_LEASE:
		return apply_lease(e, cmd, ret_parked);
	case COMMAND_EXTEND:
		return command_extend(e, cmd);
	case COMMAND_CHECKPOINT:
		return command_checkpoint(e, cmd);
	case COMMAND_COMPLETE:
		return command_complete(e, cmd);
	case COMMAND_FAIL:
		return command_fail(e, cmd);
	case COMMAND_RELEASE:
		return command_release(e, cmd);
	case COMMAND_ATTACH:
		return command_attach(e, cmd);
	case COMMAND_FORGET:
		parked_forget(e, cmd->session);
		cmd->answer(cmd, &MSG_empty, &nothing);
		return 0;
	case COMMAND_KINDS:
		break;
	}
	return ERR_INTERNAL;
}

static int find_next_due(struct engine *e)
{
	struct slice key, value;
	struct uuid id;
	int rc;

	rc = store_seek(e->txn, TABLE_DUE, slice_of(NULL, 0), &key, &value);
	if (rc < 0 && rc != ERR_NOT_FOUND)
		return rc;
	if (rc == ERR_NOT_FOUND)
		e->due_ms = INT64_MAX;
	else if (key_read_due(key, &e->due_ms, &id) < 0)
		e->due_ms = 0; /* damage, for the next batch to take out */
	return 0;
}

int engine_finish(struct engine *e)
{
	int rc;

	rc = parked_serve(e);
	if (rc == 0)
		rc = queues_save(e->queues, e->txn, &e->record);
	if (rc == 0)
		rc = find_next_due(e);
	return rc;
}

void engine_committed(struct engine *e, struct command **ret_answered)
{
	e->txn = NULL;
	*ret_answered = command_list_take(&e->answered);
}

void engine_aborted(struct engine *e, struct command **ret_answered)
{
	e->txn = NULL;
	e->events.count = 0;
	e->garbage.count = 0;
	/* Whatever was believed about what is due may be wrong: look again. */
	e->due_ms = 0;
	e->more_ready = true;
	*ret_answered = command_list_take(&e->answered);
	/* A cache that cannot be read again is empty, and the next batch fails on it instead of guessing. */
	e->stale = load_queues(e) < 0;
}

const struct job_event *engine_events(const struct engine *e, size_t *ret_count)
{
	*ret_count = e->events.count;
	return e->events.items;
}

const struct uuid *engine_garbage(const struct engine *e, size_t *ret_count)
{
	*ret_count = e->garbage.count;
	return e->garbage.items;
}

int64_t engine_next_ms(const struct engine *e)
{
	int64_t parked = parked_next_ms(e);

	return parked < e->due_ms ? parked : e->due_ms;
}

size_t engine_parked(const struct engine *e)
{
	return e->parked.count;
}

struct command *engine_stop(struct engine *e)
{
	return command_list_take(&e->parked);
}
