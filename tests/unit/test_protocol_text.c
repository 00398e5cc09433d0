/* proto/PROTOCOL.md against the code: its example bytes are read and written again, every method stands there with its
 * roles, and no field, code or word of the wire is left out. Runs at the top of the tree.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <msgpack.h>

#include "proto/base/clean.h"
#include "proto/base/text.h"
#include "proto/rpc.h"
#include "proto/skim.h"
#include "message_rows.h"

#define PATH	    "proto/PROTOCOL.md"
#define MESSAGE_MAX 4096

static char *text;

static int load(void **state)
{
	FILE *f = fopen(PATH, "r");
	size_t size;

	(void)state;
	text = calloc(1, 1 << 20);
	if (!f || !text)
		return -1;
	size = fread(text, 1, (1 << 20) - 1, f);
	fclose(f);
	return size > 0 ? 0 : -1;
}

static int unload(void **state)
{
	(void)state;
	free(text);
	return 0;
}

static bool is_word_byte(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

/* True where word stands by itself in the text. */
static bool has_word(const char *word)
{
	size_t size = strlen(word);

	for (const char *at = strstr(text, word); at; at = strstr(at + 1, word))
		if ((at == text || !is_word_byte(at[-1])) && !is_word_byte(at[size]))
			return true;
	return false;
}

static void assert_has_word(const char *word)
{
	if (!has_word(word))
		fail_msg("%s says nothing of \"%s\"", PATH, word);
}

/* ---- the example bytes ---- */

/* The bytes of the example at the mark, over all of its lines. */
static size_t read_example(const char *mark, uint8_t *ret)
{
	const char *at = mark + 3;
	size_t n = 0;

	for (;;) {
		while (*at == ' ')
			at++;
		if (*at == '\n' && strncmp(at + 1, "        ", 8) == 0) {
			at++;
			continue;
		}
		if (hex_decode(slice_of(at, 2), &ret[n], 1) < 0)
			return n;
		assert_true(++n < MESSAGE_MAX);
		at += 2;
	}
}

/* What the examples before have led to. */
struct dialog {
	const struct method *method; /* of the last request */
	bool refused;		     /* its params break the rules: only an error can follow */
	size_t requests, others;
};

static void write_request(const struct rpc_envelope *e, struct dialog *d, msgpack_zone *zone, struct buf *out)
{
	_cleanup_free_ void *decoded = NULL;

	d->method = method_find(e->method);
	assert_non_null(d->method);
	decoded = malloc(message_size(d->method->params));
	assert_non_null(decoded);
	d->refused = message_decode(d->method->params, e->params, zone, decoded, NULL) < 0;
	if (!d->refused)
		rpc_write_request(out, e->id, d->method->name, d->method->params, decoded);
}

static void write_response(const struct rpc_envelope *e, const struct dialog *d, msgpack_zone *zone, struct buf *out)
{
	/* An answer with nothing asked before is none. */
	const struct message *result = d->method ? d->method->result : &MSG_error;
	_cleanup_free_ void *decoded = malloc(message_size(result));
	struct error_info info = { 0 };

	assert_non_null(decoded);
	if (e->error) {
		rpc_read_error(e->error, zone, &info);
		rpc_write_error(out, e->id, &info);
		return;
	}
	assert_false(d->refused);
	assert_int_equal(message_decode(result, e->result, zone, decoded, NULL), 0);
	rpc_write_response(out, e->id, result, decoded);
}

static void write_notification(const struct rpc_envelope *e, msgpack_zone *zone, struct buf *out)
{
	struct msg_job_cancel_notice notice;

	if (slice_is(e->method, "server.shutdown")) {
		rpc_write_notification(out, "server.shutdown", &MSG_empty, &(struct msg_empty){ 0 });
		return;
	}
	assert_true(slice_is(e->method, "job.cancel"));
	assert_int_equal(message_decode(&MSG_job_cancel_notice, e->params, zone, &notice, NULL), 0);
	rpc_write_notification(out, "job.cancel", &MSG_job_cancel_notice, &notice);
}

/* Vets, decodes and encodes again; the bytes are the same. */
static void check_example(const char *mark, struct dialog *d)
{
	const struct skim_limits limits = { .max_bytes = MESSAGE_MAX, .max_depth = 16, .max_elements = 1000 };
	_cleanup_(msgpack_zone_destroy) msgpack_zone zone;
	_cleanup_(buf_done) struct buf out;
	struct rpc_envelope envelope;
	uint8_t bytes[MESSAGE_MAX];
	size_t size = read_example(mark, bytes), found = 0;
	struct skim skim;

	assert_true(msgpack_zone_init(&zone, 1024));
	buf_init(&out, MESSAGE_MAX);
	skim_init(&skim, &limits);
	assert_int_equal(skim_feed(&skim, bytes, size, &found), 0);
	assert_int_equal(found, size);
	assert_int_equal(rpc_unpack(bytes, size, &zone, &envelope, NULL), 0);
	assert_int_equal(envelope.type == RPC_REQUEST, mark[0] == '-');
	if (envelope.type == RPC_REQUEST)
		write_request(&envelope, d, &zone, &out);
	else if (envelope.type == RPC_RESPONSE)
		write_response(&envelope, d, &zone, &out);
	else
		write_notification(&envelope, &zone, &out);
	if (envelope.type == RPC_REQUEST && d->refused)
		return;
	assert_int_equal(out.size, size);
	assert_memory_equal(out.data, bytes, size);
}

static void test_example_bytes_are_what_the_code_reads_and_writes(void **state)
{
	struct dialog d = { 0 };

	(void)state;
	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, "    --> ", 8) == 0)
			d.requests++;
		else if (strncmp(line, "    <-- ", 8) == 0)
			d.others++;
		else
			continue;
		check_example(line + 4, &d);
	}
	assert_int_equal(d.requests, 8);
	assert_int_equal(d.others, d.requests + 2);
}

/* ---- nothing is left out ---- */

/* The line "### job.put — P". */
static void test_every_method_has_its_section_and_roles(void **state)
{
	(void)state;
	for (int id = 0; id < METHODS; id++) {
		const struct method *m = method_get((enum method_id)id);
		const unsigned all = ROLES_PW;
		char head[128], *line, *end;
		bool any;

		snprintf(head, sizeof(head), "\n### %s \xe2\x80\x94 ", m->name);
		line = strstr(text, head);
		if (!line) {
			fail_msg("%s has no section for %s", PATH, m->name);
			return;
		}
		line += strlen(head);
		end = line + strcspn(line, "\n");
		*end = '\0';
		any = strcmp(line, "any role") == 0;
		assert_int_equal(any || strpbrk(line, "P") != NULL, !!(m->roles & ROLE_BIT(ROLE_PRODUCER)));
		assert_int_equal(any || strpbrk(line, "W") != NULL, !!(m->roles & ROLE_BIT(ROLE_WORKER)));
		assert_true(!any || m->roles == all);
		*end = '\n';
	}
}

static void test_every_field_is_told_of(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(all_rows); i++)
		for (size_t j = 0; j < all_rows[i]->count; j++)
			assert_has_word(all_rows[i]->row[j].name);
}

static void test_every_word_is_told_of(void **state)
{
	const char *const *const tables[] = { job_state_names,	   failure_kind_names, extend_status_names,
					      role_names + 1,	   admission_names,    limit_state_names,
					      breaker_phase_names, wait_reason_names,  worker_state_names };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
		for (const char *const *word = tables[i]; *word; word++)
			assert_has_word(*word);
	for (int code = ERR_BAD_REQUEST; code >= ERR_INTERNAL; code--)
		assert_has_word(error_name(code));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_example_bytes_are_what_the_code_reads_and_writes),
		cmocka_unit_test(test_every_method_has_its_section_and_roles),
		cmocka_unit_test(test_every_field_is_told_of),
		cmocka_unit_test(test_every_word_is_told_of),
	};

	return cmocka_run_group_tests_name("protocol text", tests, load, unload);
}
