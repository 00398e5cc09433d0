#include "tests/harness/client_play.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

void client_play(fake_script script, void (*call)(struct raincheck *rc))
{
	struct fake_broker *b = fake_broker_start(NULL, script, NULL);
	struct raincheck_options options = { 0 };
	struct raincheck *rc = NULL;

	assert_non_null(b);
	options.server = fake_broker_address(b);
	assert_int_equal(raincheck_new(&options, &rc, NULL), 0);
	call(rc);
	assert_int_equal(raincheck_pending(rc), 0);
	raincheck_close(rc, NULL, NULL);
	assert_string_equal(fake_broker_stop(b), "");
}
