/* What the HTTP front makes of a command that is told more than once, as happens where a batch was taken back for
 * damage that another command met: what was said last counts. The writer is this file's own, and so is what the library
 * knows of a connection. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "proto/base/clean.h"
#include "proto/messages.h"
#include "server/engine/link.h"
#include "server/engine/settings.h"
#include "server/http/api_call.h"
#include "server/http/exchange.h"
#include "server/http/hooks.h"
#include "server/http/response.h"
#include "server/store/store.h"
#include "server/writer/writer.h"
#include "tests/harness/tempdir.h"

static struct rig {
	struct tempdir dir;
	struct settings settings;
	struct site site;
	struct exchange x;
	struct command *command; /* that was submitted */
	unsigned status;	 /* that was answered; 0: nothing */
	int resumed;
} rig;

/* ---- the writer and the connection ---- */

/* Called in place of writer_submit(), see the Makefile. */
void wrapped_writer_submit(struct writer *w, struct command *cmd) __asm__("__wrap_writer_submit");

void wrapped_writer_submit(struct writer *w, struct command *cmd)
{
	(void)w;
	assert_null(rig.command);
	rig.command = cmd;
}

void MHD_suspend_connection(struct MHD_Connection *c)
{
	(void)c;
}

void MHD_resume_connection(struct MHD_Connection *c)
{
	(void)c;
	rig.resumed++;
}

enum MHD_Result MHD_queue_response(struct MHD_Connection *c, unsigned int status, struct MHD_Response *r)
{
	(void)c;
	(void)r;
	assert_int_equal(rig.status, 0);
	rig.status = status;
	return MHD_YES;
}

const char *MHD_lookup_connection_value(struct MHD_Connection *c, enum MHD_ValueKind kind, const char *key)
{
	(void)c;
	(void)kind;
	(void)key;
	return NULL;
}

int MHD_get_connection_values(struct MHD_Connection *c, enum MHD_ValueKind kind, MHD_KeyValueIterator each, void *user)
{
	(void)c;
	(void)kind;
	(void)each;
	(void)user;
	return 0;
}

int MHD_get_connection_values_n(struct MHD_Connection *c, enum MHD_ValueKind kind, MHD_KeyValueIteratorN each,
				void *user)
{
	(void)c;
	(void)kind;
	(void)each;
	(void)user;
	return 0;
}

/* ---- the rig ---- */

static int setup(void **state)
{
	struct store_options options = { .max_bytes = 1 << 24 };
	struct error_info info;

	(void)state;
	memset(&rig, 0, sizeof(rig));
	tempdir_make(&rig.dir);
	options.dir = rig.dir.path;
	assert_int_equal(store_open(&options, &rig.site.store, &info), 0);
	rig.settings.payload_bytes = 1 << 20;
	rig.site.settings = &rig.settings;
	owed_init(&rig.site.owed);
	pthread_mutex_init(&rig.site.links_lock, NULL);
	assert_int_equal(link_signer_new(rig.settings.link_secret, &rig.site.links), 0);
	rig.x.request.site = &rig.site;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	api_call_free(rig.x.call);
	hook_post_free(rig.x.hook);
	owed_done(&rig.site.owed);
	link_signer_free(rig.site.links);
	pthread_mutex_destroy(&rig.site.links_lock);
	store_close(rig.site.store);
	tempdir_remove(&rig.dir);
	return 0;
}

static void refuse(void)
{
	struct error_info info;

	error_set(&info, ERR_QUEUE_FULL, "queue", "full");
	rig.command->refuse(rig.command, &info);
}

static void answer(const struct message *m, const void *result)
{
	rig.command->answer(rig.command, m, result);
}

static void release(void)
{
	assert_int_equal(rig.status, 0);
	rig.command->release(rig.command, 0);
	assert_int_equal(rig.resumed, 1);
}

/* ---- a put ---- */

static const struct msg_job_put_result created = { .created = true, .state = JOB_READY };

static void begin_put(void)
{
	rig.x.method = "POST";
	rig.x.path.route = ROUTE_PUT;
	snprintf(rig.x.path.subject, sizeof(rig.x.path.subject), "q");
	assert_int_equal(api_call_begin_put(&rig.x), 0);
	assert_int_equal(api_call_put(&rig.x), MHD_YES);
	assert_non_null(rig.command);
}

static void a_put_that_was_refused_and_then_taken_is_202(void **state)
{
	(void)state;
	begin_put();
	refuse();
	answer(&MSG_job_put_result, &created);
	release();
	assert_int_equal(api_call_put(&rig.x), MHD_YES);
	assert_int_equal(rig.status, 202);
}

static void a_put_that_was_taken_and_then_refused_is_429(void **state)
{
	(void)state;
	begin_put();
	answer(&MSG_job_put_result, &created);
	refuse();
	release();
	assert_int_equal(api_call_put(&rig.x), MHD_YES);
	assert_int_equal(rig.status, 429);
}

/* ---- a change ---- */

/* There is no such job, which is found out where it is read to be told: what was refused is told without. */
static void a_change_that_was_refused_and_then_made_is_told_with_the_job(void **state)
{
	static const struct msg_job_change_result changed = { .count = 1 };
	static const struct uuid id = { { 1 } };

	(void)state;
	rig.x.method = "DELETE";
	rig.x.path.route = ROUTE_JOB;
	assert_int_equal(api_call_change(&rig.x, &id, CHANGE_CANCEL), MHD_YES);
	refuse();
	answer(&MSG_job_change_result, &changed);
	release();
	assert_int_equal(api_call_change(&rig.x, &id, CHANGE_CANCEL), MHD_YES);
	assert_int_equal(rig.status, 404);
}

/* ---- a hook ---- */

static void a_hook_that_was_refused_and_then_taken_is_202(void **state)
{
	static const struct msg_empty nothing;
	static const struct uuid id = { { 1 } };

	(void)state;
	snprintf(rig.x.path.token, sizeof(rig.x.path.token), "%s", hook_sign(rig.site.links, &id, 1).text);
	rig.x.method = "POST";
	assert_int_equal(hooks_begin(&rig.x), 0);
	assert_int_equal(hooks_serve(&rig.x), MHD_YES);
	refuse();
	answer(&MSG_empty, &nothing);
	release();
	assert_int_equal(hooks_serve(&rig.x), MHD_YES);
	assert_int_equal(rig.status, 202);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_put_that_was_refused_and_then_taken_is_202),
		TEST(a_put_that_was_taken_and_then_refused_is_429),
		TEST(a_change_that_was_refused_and_then_made_is_told_with_the_job),
		TEST(a_hook_that_was_refused_and_then_taken_is_202),
	};

	return cmocka_run_group_tests_name("http/told_twice", tests, NULL, NULL);
}
