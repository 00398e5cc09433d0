/* raincheck top on a terminal: it shows what there is, follows the terminal's size, and leaves the terminal as it was,
 * whatever ends it. */
#include <errno.h>
#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cmocka.h>

#include "proto/base/clean.h"
#include "tests/harness/stack.h"

#define ENTER "\033[?1049h\033[?25l"
#define LEAVE "\033[?25h\033[?1049l"

static struct stack stack;
static int screen = -1, terminal = -1; /* both ends: what is shown and typed, and the terminal itself */
static pid_t top;
static struct termios before;
/* All that was shown; what was looked for and found is before at. */
static char shown[1 << 20];
static size_t used, at;

static int setup(void **state)
{
	(void)state;
	memset(&stack, 0, sizeof(stack));
	tempdir_make(&stack.dir);
	stack_start_broker(&stack);
	used = at = 0;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	if (top > 0)
		kill(top, SIGKILL);
	top = 0;
	if (stack.broker.pid > 0)
		kill(stack.broker.pid, SIGCONT);
	close(screen);
	close(terminal);
	stack_stop(&stack);
	return 0;
}

/* The slave stays open here, so that what is shown last can be read, and how the terminal was left be seen. */
static void start_top(const char *interval)
{
	struct winsize size = { .ws_row = 24, .ws_col = 80 };
	char program[512];

	snprintf(program, sizeof(program), "%s", process_program("raincheck"));
	assert_int_equal(openpty(&screen, &terminal, NULL, NULL, &size), 0);
	assert_int_equal(tcgetattr(terminal, &before), 0);
	top = fork();
	assert_true(top >= 0);
	if (top == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		setsid();
		ioctl(terminal, TIOCSCTTY, 0);
		for (int fd = 0; fd < 3; fd++)
			dup2(terminal, fd);
		setenv("TERM", "xterm", 1);
		execl(program, program, "top", "--server", stack.server, "--interval", interval, (char *)NULL);
		_exit(127);
	}
}

/* Until the words are shown; ends at the time limit of the test where they never are. */
static void expect_shown(const char *words)
{
	for (;;) {
		char *found = memmem(shown + at, used - at, words, strlen(words));
		ssize_t n;

		if (found) {
			at = (size_t)(found - shown) + strlen(words);
			return;
		}
		assert_true(used < sizeof(shown));
		n = read(screen, shown + used, sizeof(shown) - used);
		assert_true(n > 0 || errno == EINTR);
		used += n > 0 ? (size_t)n : 0;
	}
}

static void type(const char *keys)
{
	assert_int_equal(write(screen, keys, strlen(keys)), (ssize_t)strlen(keys));
}

/* Its wait status; the terminal is as it was. */
static int expect_end(void)
{
	struct termios after = { 0 };
	int status;

	expect_shown(LEAVE);
	assert_int_equal(waitpid(top, &status, 0), top);
	top = 0;
	assert_int_equal(tcgetattr(terminal, &after), 0);
	assert_memory_equal(&after, &before, sizeof(after));
	return status;
}

static bool echoes(void)
{
	struct termios now;

	assert_int_equal(tcgetattr(terminal, &now), 0);
	return now.c_lflag & (ECHO | ICANON);
}

static void put(const char *queue)
{
	struct raincheck *rc = stack_connect(&stack);
	struct raincheck_put params = { .queue = queue, .payload = { "x", 1 } };
	struct raincheck_put_result *result;

	assert_int_equal(raincheck_put(rc, &params, &result), 0);
	raincheck_free(result);
	raincheck_close(rc, NULL, NULL);
}

static void q_ends_it(void **state)
{
	int status;

	(void)state;
	put("renders");
	start_top("0.1");
	expect_shown(ENTER);
	expect_shown("raincheckd ");
	expect_shown("renders ");
	expect_shown("no worker is connected");
	expect_shown("q ends");
	assert_false(echoes());
	/* It goes on by itself. */
	put("posters");
	expect_shown("posters ");
	type("xq");
	status = expect_end();
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void control_c_and_sigterm_end_it(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		int status;

		used = at = 0;
		start_top("1h");
		expect_shown("q ends");
		if (i == 0)
			type("\003");
		else
			kill(top, SIGTERM);
		status = expect_end();
		assert_true(WIFEXITED(status));
		assert_int_equal(WEXITSTATUS(status), 0);
		close(screen);
		close(terminal);
	}
	screen = terminal = -1;
}

/* Redrawn at once, without waiting for the next answer. */
static void a_new_size_is_followed(void **state)
{
	struct winsize size = { .ws_row = 10, .ws_col = 60 };

	(void)state;
	put("a-queue-with-quite-a-long-name");
	start_top("1h");
	expect_shown("a-queue-with-quite-a-long-name");
	expect_shown("q ends");
	assert_int_equal(ioctl(screen, TIOCSWINSZ, &size), 0);
	expect_shown("a-queue-wi");
	expect_shown("\xe2\x80\xa6");
	expect_shown("q ends");
	type("q");
	expect_end();
}

/* Keys are heard while there is no answer, and the picture says that it is not of this moment. */
static void a_broker_that_does_not_answer_does_not_hold_it_up(void **state)
{
	(void)state;
	start_top("0.1");
	expect_shown("q ends");
	kill(stack.broker.pid, SIGSTOP);
	expect_shown("the broker has not answered for ");
	type("q");
	expect_end();
}

static void a_broker_that_comes_back_is_shown_again(void **state)
{
	(void)state;
	start_top("0.1");
	expect_shown("q ends");
	process_end(&stack.broker, SIGKILL);
	expect_shown("\033[31m");
	stack_start_broker(&stack);
	expect_shown("q ends");
	type("q");
	expect_end();
}

/* Stopped by Ctrl-Z it gives the terminal back, and takes it again when it goes on. */
static void control_z_gives_the_terminal_back(void **state)
{
	int status;

	(void)state;
	start_top("1h");
	expect_shown("q ends");
	type("\032");
	expect_shown(LEAVE);
	assert_int_equal(waitpid(top, &status, WUNTRACED), top);
	assert_true(WIFSTOPPED(status));
	assert_true(echoes());
	kill(top, SIGCONT);
	expect_shown(ENTER);
	expect_shown("q ends");
	assert_false(echoes());
	type("q");
	expect_end();
}

/* And it is said at once why: not that no answer came in time. */
static void without_a_broker_the_terminal_is_not_touched(void **state)
{
	int status;

	(void)state;
	process_end(&stack.broker, SIGTERM);
	snprintf(stack.server, sizeof(stack.server), "unix:%s", tempdir_file(&stack.dir, "nobody\n"));
	start_top("1h");
	expect_shown("raincheck: cannot connect to unix:");
	assert_int_equal(waitpid(top, &status, 0), top);
	top = 0;
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) != 0);
	assert_null(memmem(shown, used, ENTER, strlen(ENTER)));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(q_ends_it),
		T(control_c_and_sigterm_end_it),
		T(a_new_size_is_followed),
		T(a_broker_that_does_not_answer_does_not_hold_it_up),
		T(a_broker_that_comes_back_is_shown_again),
		T(control_z_gives_the_terminal_back),
		T(without_a_broker_the_terminal_is_not_touched),
	};
	return cmocka_run_group_tests_name("top", tests, NULL, NULL);
}
