/* Envelopes and messages on any bytes that the skimmer lets pass: what is decoded encodes to the same thing again and
 * again, and what is refused is refused with an error that a peer can read.
 */
#include <msgpack.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/clean.h"
#include "proto/base/text.h"
#include "proto/rpc.h"
#include "proto/skim.h"

#define CAP (1 << 24)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct skim_limits limits = { .max_bytes = 1 << 20, .max_depth = 16, .max_elements = 65536 };

static void must(bool holds)
{
	if (!holds)
		abort();
}

/* As a peer reads it: vetted, unpacked, and of the expected type. */
static void read_back(const struct buf *message, msgpack_zone *zone, struct rpc_envelope *ret)
{
	struct skim_limits wide = limits;
	struct skim s;
	size_t found = 0;

	/* What was left out comes back as nil where it may be: more elements, and longer, than what was read. And what
	 * stood in a response stands one array deeper in a request. */
	wide.max_bytes = CAP;
	wide.max_elements = 8 * limits.max_elements;
	wide.max_depth = limits.max_depth + 1;
	skim_init(&s, &wide);
	must(skim_feed(&s, message->data, message->size, &found) == 0 && found == message->size);
	must(rpc_unpack(message->data, message->size, zone, ret, NULL) == 0);
}

/* The refusal reaches the peer as what it is. */
static void check_refusal(int rc, const struct error_info *info)
{
	_cleanup_(msgpack_zone_destroy) msgpack_zone zone;
	_cleanup_(buf_done) struct buf out;
	struct rpc_envelope envelope;
	struct error_info back;

	must(rc == ERR_BAD_REQUEST || rc == ERR_TOO_LARGE);
	must(info->code == rc && info->message[0] != '\0');
	buf_init(&out, CAP);
	must(msgpack_zone_init(&zone, 1024));
	must(rpc_write_error(&out, 7, info) == 0);
	read_back(&out, &zone, &envelope);
	must(envelope.type == RPC_RESPONSE && envelope.id == 7 && envelope.error != NULL);
	rpc_read_error(envelope.error, &zone, &back);
	must(back.code == rc);
	must(strcmp(back.field, info->field) == 0 && strcmp(back.message, info->message) == 0);
}

/* Encodes the struct at in as the params of a request, decodes them, and encodes those: nothing changes. */
static void check_round_trip(const struct message *m, const void *in)
{
	_cleanup_(msgpack_zone_destroy) msgpack_zone zone;
	_cleanup_(buf_done) struct buf first;
	_cleanup_(buf_done) struct buf second;
	_cleanup_free_ void *again = malloc(message_size(m));
	struct rpc_envelope envelope;

	buf_init(&first, CAP);
	buf_init(&second, CAP);
	must(again != NULL && msgpack_zone_init(&zone, 1024));
	must(rpc_write_request(&first, 1, "m", m, in) == 0);
	read_back(&first, &zone, &envelope);
	must(envelope.params != NULL);
	must(message_decode(m, envelope.params, &zone, again, NULL) == 0);
	must(rpc_write_request(&second, 1, "m", m, again) == 0);
	must(slice_equal(buf_slice(&first), buf_slice(&second)));
}

static void try_message(const struct message *m, const msgpack_object *object)
{
	_cleanup_(msgpack_zone_destroy) msgpack_zone zone;
	_cleanup_free_ void *out = malloc(message_size(m));
	struct error_info info = { .code = 0 };
	int rc;

	must(out != NULL && msgpack_zone_init(&zone, 1024));
	memset(out, 0x5a, message_size(m));
	rc = message_decode(m, object, &zone, out, &info);
	if (rc < 0)
		check_refusal(rc, &info);
	else
		check_round_trip(m, out);
}

static void try_envelope(const struct rpc_envelope *e, msgpack_zone *zone)
{
	const struct method *named = method_find(e->method);

	if (e->error) {
		struct error_info info;

		rpc_read_error(e->error, zone, &info);
		must(utf8_valid(slice_str(info.field)) && utf8_valid(slice_str(info.message)));
	}
	if (named)
		try_message(named->params, e->params);
	for (int id = 0; id < METHODS; id++) {
		const struct method *m = method_get((enum method_id)id);

		try_message(m->params, e->type == RPC_RESPONSE ? e->result : e->params);
		try_message(m->result, e->type == RPC_RESPONSE ? e->result : e->params);
	}
}

/* One message that the skimmer found whole. */
static void try_whole(const uint8_t *data, size_t size)
{
	_cleanup_(msgpack_zone_destroy) msgpack_zone zone;
	struct rpc_envelope envelope;
	struct error_info info = { .code = 0 };
	uint64_t id = 0;
	int rc;

	must(msgpack_zone_init(&zone, 1024));
	rc = rpc_unpack(data, size, &zone, &envelope, &info);
	must(rc == 0 || rc == ERR_PROTOCOL || rc == ERR_BAD_REQUEST);
	must(info.code == rc);
	/* The id of a request can be read of its beginning too, and is the same. */
	if (rc != ERR_PROTOCOL && envelope.type == RPC_REQUEST)
		must(rpc_peek_id(data, size, &id) == 0 && id == envelope.id);
	if (rc == 0)
		try_envelope(&envelope, &zone);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct skim s;
	uint64_t id;
	size_t found;

	skim_init(&s, &limits);
	rpc_peek_id(data, size, &id);
	if (skim_feed(&s, data, size, &found) == 0 && found > 0)
		try_whole(data, found);
	return 0;
}
