#include "tests/sim/tell.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/clean.h"

#define TEXT_SIZE 65536

const char *const tell_kinds[COMMAND_KINDS] = {
	[COMMAND_PUT] = "put",		 [COMMAND_LEASE] = "lease",
	[COMMAND_EXTEND] = "extend",	 [COMMAND_CHECKPOINT] = "checkpoint",
	[COMMAND_COMPLETE] = "complete", [COMMAND_FAIL] = "fail",
	[COMMAND_RELEASE] = "release",	 [COMMAND_ATTACH] = "attach",
	[COMMAND_CHANGE] = "change",	 [COMMAND_QUEUE] = "queue",
	[COMMAND_LINK] = "link",	 [COMMAND_LEASE_CANCEL] = "lease_cancel",
	[COMMAND_FORGET] = "forget",	 [COMMAND_LIMIT] = "limit",
};

struct text {
	char s[TEXT_SIZE];
	size_t size;
};

static void add(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void add(struct text *t, const char *fmt, ...)
{
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(t->s + t->size, sizeof(t->s) - t->size, fmt, args);
	va_end(args);
	if (n > 0)
		t->size = t->size + (size_t)n < sizeof(t->s) ? t->size + (size_t)n : sizeof(t->s) - 1;
}

/* Long payloads are rows of one letter: their length says enough. */
static void add_string(struct text *t, const char *s, size_t size)
{
	add(t, "\"");
	for (size_t i = 0, same; i < size; i += same) {
		for (same = 1; i + same < size && s[i + same] == s[i]; same++)
			;
		if (same > 12)
			add(t, "%c*%zu", s[i], same);
		else
			add(t, "%.*s", (int)same, s + i);
	}
	add(t, "\"");
}

static void add_object(struct text *t, const msgpack_object *o);

static void add_map(struct text *t, const msgpack_object_map *map)
{
	add(t, "{");
	for (uint32_t i = 0; i < map->size; i++) {
		add(t, "%s%.*s: ", i > 0 ? ", " : "", (int)map->ptr[i].key.via.str.size, map->ptr[i].key.via.str.ptr);
		add_object(t, &map->ptr[i].val);
	}
	add(t, "}");
}

static void add_array(struct text *t, const msgpack_object_array *array)
{
	add(t, "[");
	for (uint32_t i = 0; i < array->size; i++) {
		add(t, i > 0 ? ", " : "");
		add_object(t, &array->ptr[i]);
	}
	add(t, "]");
}

static void add_object(struct text *t, const msgpack_object *o)
{
	switch (o->type) {
	case MSGPACK_OBJECT_MAP:
		add_map(t, &o->via.map);
		break;
	case MSGPACK_OBJECT_ARRAY:
		add_array(t, &o->via.array);
		break;
	case MSGPACK_OBJECT_STR:
		add_string(t, o->via.str.ptr, o->via.str.size);
		break;
	case MSGPACK_OBJECT_BIN:
		add_string(t, o->via.bin.ptr, o->via.bin.size);
		break;
	case MSGPACK_OBJECT_BOOLEAN:
		add(t, o->via.boolean ? "true" : "false");
		break;
	case MSGPACK_OBJECT_FLOAT32:
	case MSGPACK_OBJECT_FLOAT64:
		add(t, "%g", o->via.f64);
		break;
	case MSGPACK_OBJECT_POSITIVE_INTEGER:
	case MSGPACK_OBJECT_NEGATIVE_INTEGER:
		add(t, "%lld", (long long)o->via.i64);
		break;
	default:
		add(t, "nil");
		break;
	}
}

static void add_bytes(struct text *t, struct slice bytes)
{
	msgpack_unpacked unpacked;

	msgpack_unpacked_init(&unpacked);
	if (msgpack_unpack_next(&unpacked, bytes.data, bytes.size, NULL) == MSGPACK_UNPACK_SUCCESS)
		add_object(t, &unpacked.data);
	msgpack_unpacked_destroy(&unpacked);
}

static void add_message(struct text *t, const struct message *m, const void *value)
{
	struct buf bytes;

	buf_init(&bytes, 16 << 20);
	if (message_encode(m, value, &bytes) == 0)
		add_bytes(t, buf_slice(&bytes));
	buf_done(&bytes);
}

static void add_token(struct text *t, const struct token *token)
{
	add(t, " lease ");
	for (size_t i = 0; i < sizeof(token->bytes); i++)
		add(t, "%02x", token->bytes[i]);
}

static void add_id(struct text *t, const char *what, const struct uuid *id)
{
	add(t, " %s %s", what, uuid_format(id).text);
}

const char *tell_message(const struct message *m, const void *value)
{
	static struct text t;

	t.size = 0;
	add_message(&t, m, value);
	return t.s;
}

/* ---- commands ---- */

static void add_change(struct text *t, const struct command_change *c)
{
	static const char *const actions[] = { "cancel", "retry", "erase", "redeliver", "purge" };

	add(t, " %s", actions[c->action]);
	if (c->has_id) {
		add_id(t, "id", &c->id);
		return;
	}
	add(t, " limit %lld ", (long long)c->limit);
	add_message(t, &MSG_job_filter, &c->filter);
	if (c->has_after)
		add_id(t, "after", &c->after);
}

static void add_complete(struct text *t, const struct command_complete *c)
{
	for (size_t i = 0; i < c->count; i++) {
		add_id(t, "id", &c->items[i].id);
		add_token(t, &c->items[i].lease);
		add(t, c->items[i].has_result ? " with a result;" : ";");
	}
}

static void add_put(struct text *t, const struct command *cmd)
{
	const struct command_put *put = cmd->params;
	struct uuid id = cmd->first_id;

	for (size_t i = 0; i < put->count; i++) {
		add_id(t, "as", &id);
		add(t, put->items[i].preview.has_blob ? " preview in a file " : " ");
		if (put->items[i].error.code < 0)
			add(t, "refused at the edge");
		else
			add_message(t, &MSG_job_put, &put->items[i].put);
		uuid_next(&id, &id);
	}
}

static void add_attach(struct text *t, const struct command_attach *a)
{
	add_id(t, "id", &a->id);
	add(t, " name %.*s size %lld%s", SLICE_FMT(a->name), (long long)a->staged.size,
	    a->staged.has_blob ? " in a file" : "");
	if (a->has_lease)
		add_token(t, &a->lease);
}

static void add_queue(struct text *t, const struct command_queue *q)
{
	add(t, " %s ", q->action == QUEUE_SET ? "set" : q->action == QUEUE_PAUSE ? "pause" : "resume");
	add_message(t, &MSG_queue_set, &q->set);
}

static void add_limit(struct text *t, const struct command_limit *l)
{
	add(t, " %s ", l->action == LIMIT_SET ? "set" : "delete");
	add_message(t, &MSG_limit_set, &l->set);
}

static void add_params(struct text *t, const struct slot *slot)
{
	const struct params *p = &slot->asked_params;

	switch (slot->asked.cmd.kind) {
	case COMMAND_PUT:
		add_put(t, &slot->asked.cmd);
		break;
	case COMMAND_LEASE:
		add_message(t, &MSG_job_lease, &p->lease);
		break;
	case COMMAND_EXTEND:
		add_message(t, &MSG_job_extend, &p->extend);
		break;
	case COMMAND_CHECKPOINT:
		add_message(t, &MSG_job_checkpoint, &p->checkpoint);
		break;
	case COMMAND_COMPLETE:
		add_complete(t, &p->complete);
		break;
	case COMMAND_FAIL:
		add_message(t, &MSG_job_fail, &p->fail);
		break;
	case COMMAND_RELEASE:
		add_message(t, &MSG_job_release, &p->release);
		break;
	case COMMAND_ATTACH:
		add_attach(t, &p->attach);
		break;
	case COMMAND_CHANGE:
		add_change(t, &p->change);
		break;
	case COMMAND_QUEUE:
		add_queue(t, &p->queue);
		break;
	case COMMAND_LIMIT:
		add_limit(t, &p->limit);
		break;
	case COMMAND_LINK:
		add_id(t, p->link.revoke ? "revoke" : "rotate", &p->link.id);
		break;
	default:
		break;
	}
}

const char *tell_command(const struct slot *slot)
{
	static struct text t;

	t.size = 0;
	add(&t, "%s by session %llu", tell_kinds[slot->asked.cmd.kind], (unsigned long long)slot->asked.cmd.session);
	add_params(&t, slot);
	return t.s;
}

/* ---- answers ---- */

const char *tell_reply(const struct reply *r)
{
	static struct text t;

	t.size = 0;
	add(&t, r->times == 0 ? "no answer" : r->times > 1 ? "%d times " : "", r->times);
	if (r->message)
		add_bytes(&t, buf_slice(&r->bytes));
	else if (r->times > 0)
		add(&t, "%s field \"%s\" (%s) retry after %lld", error_name(r->info.code), r->info.field,
		    r->info.message, (long long)r->info.retry_after_ms);
	return t.s;
}

const char *tell_expected(const struct expectation *e)
{
	static struct text t;

	t.size = 0;
	if (e->kept)
		add(&t, "no answer");
	else if (e->code < 0)
		add(&t, "%s field \"%s\"%s", error_name(e->code), e->field ? e->field : "(any)",
		    e->retry_after ? ", and when to come back" : "");
	else
		add_message(&t, e->message, e->result);
	return t.s;
}

const char *tell_difference(const char *expected, const char *got)
{
	static struct text t;
	size_t same = 0, from;

	while (expected[same] && expected[same] == got[same])
		same++;
	from = same > 60 ? same - 60 : 0;
	t.size = 0;
	add(&t, "expected …%.120s…\ngot      …%.120s…\nin full, expected: %.8000s\nin full, got:      %.8000s",
	    expected + from, got + from, expected, got);
	return t.s;
}

/* ---- a verbose run ---- */

void tell_batch(const struct sim *s, enum fate fate)
{
	static const char *const fates[FATES] = { "committed",
						  "its commit fails",
						  "its commit says that it failed",
						  "the store fails within",
						  "crash before",
						  "crash after its commit",
						  "restart after it" };

	printf("batch %llu at %lld: %s\n", (unsigned long long)s->batch, (long long)s->now_ms, fates[fate]);
}

void tell_asked(const struct sim *s, const struct slot *slot)
{
	printf("  %d: %s\n", s->index, tell_command(slot));
}

void tell_answered(const struct slot *slot)
{
	if (slot->kept && slot->reply.times > 0)
		printf("  later: %s\n", tell_command(slot));
	printf("      → %s\n", tell_reply(&slot->reply));
}
