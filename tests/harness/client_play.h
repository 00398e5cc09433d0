/* client_play.h: one call of the library after the other, against a broker that plays a script and looks at each. */
#ifndef RAINCHECK_TESTS_CLIENT_PLAY_H
#define RAINCHECK_TESTS_CLIENT_PLAY_H

#include "client/raincheck.h"
#include "proto/base/slice.h"
#include "tests/harness/fake_broker.h"

/* For scripts: true, or what is not so is remembered. */
#define EXPECT(b, condition) ((condition) || fake_wrong(b, "not so: %s", #condition))
#define IS(b, member, text)  EXPECT(b, slice_is(member, text))

/* Runs call over a handle of its own against a broker that plays script, which greets first. Fails the test where the
 * script was not satisfied, or a call is left over. */
void client_play(fake_script script, void (*call)(struct raincheck *rc));

#endif
