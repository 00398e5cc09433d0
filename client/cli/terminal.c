/* The handlers do what has to be done at once, with functions that a handler may call: what they change of the terminal
 * is put into variables before the first of them can run.
 */
#include "terminal.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "proto/base/buf.h"
#include "proto/base/clean.h"

/* Another screen, no cursor; and back. */
#define ENTER "\033[?1049h\033[?25l\033[H\033[2J"
#define LEAVE "\033[?25h\033[?1049l"

static const int end_signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
static const int other_signals[] = { SIGTSTP, SIGWINCH };
#define SIGNALS (ARRAY_SIZE(end_signals) + ARRAY_SIZE(other_signals))

static int in_fd, out_fd;
static int wake = -1; /* readable once a signal has come */
static struct termios before, during;
static struct sigaction actions_before[SIGNALS];
static atomic_bool ended, redraw;

static int signal_number(size_t i)
{
	return i < ARRAY_SIZE(end_signals) ? end_signals[i] : other_signals[i - ARRAY_SIZE(end_signals)];
}

/* What cannot be written is not there to be put right. */
static void write_out(const char *text, size_t size)
{
	while (size > 0) {
		ssize_t n = write(out_fd, text, size);

		if (n < 0 && errno != EINTR)
			return;
		text += n > 0 ? n : 0;
		size -= n > 0 ? (size_t)n : 0;
	}
}

static void enter(void)
{
	if (in_fd >= 0)
		tcsetattr(in_fd, TCSANOW, &during);
	write_out(ENTER, sizeof(ENTER) - 1);
}

static void leave(void)
{
	write_out(LEAVE, sizeof(LEAVE) - 1);
	if (in_fd >= 0)
		tcsetattr(in_fd, TCSANOW, &before);
}

/* ---- signals ---- */

static void wake_up(void)
{
	uint64_t one = 1;
	ssize_t ignored = write(wake, &one, sizeof(one));

	(void)ignored;
}

static void on_end(int number)
{
	int error = errno;

	if (atomic_exchange(&ended, true)) {
		leave();
		signal(number, SIG_DFL);
		raise(number); /* comes when this handler returns */
	}
	wake_up();
	errno = error;
}

static void on_redraw(int number)
{
	int error = errno;

	if (number == SIGTSTP) {
		leave();
		raise(SIGSTOP);
		enter();
	}
	atomic_store(&redraw, true);
	wake_up();
	errno = error;
}

static void watch_signals(void)
{
	for (size_t i = 0; i < SIGNALS; i++) {
		struct sigaction action = { .sa_handler = i < ARRAY_SIZE(end_signals) ? on_end : on_redraw };

		sigaction(signal_number(i), NULL, &actions_before[i]);
		/* nohup(1) and its friends. */
		if (actions_before[i].sa_handler != SIG_IGN)
			sigaction(signal_number(i), &action, NULL);
	}
}

/* ---- taking and giving back ---- */

bool terminal_take(int in, int out)
{
	in_fd = in;
	out_fd = out;
	if (in_fd >= 0 && tcgetattr(in_fd, &before) < 0)
		return false;
	during = before;
	during.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	during.c_cc[VMIN] = 1;
	during.c_cc[VTIME] = 0;
	wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (wake < 0)
		return false;
	atomic_store(&ended, false);
	atomic_store(&redraw, false);
	watch_signals();
	enter();
	return true;
}

void terminal_give_back(void)
{
	leave();
	for (size_t i = 0; i < SIGNALS; i++)
		sigaction(signal_number(i), &actions_before[i], NULL);
	close(wake);
	wake = -1;
}

/* ---- while it is taken ---- */

enum terminal_event terminal_wait(int64_t timeout_ms, char *ret_key)
{
	struct pollfd p[] = { { .fd = wake, .events = POLLIN }, { .fd = in_fd, .events = POLLIN } };
	int timeout = timeout_ms < 0 ? 0 : timeout_ms < INT32_MAX ? (int)timeout_ms : INT32_MAX;
	uint64_t signals;
	ssize_t n;

	if (poll(p, ARRAY_SIZE(p), timeout) < 0 && errno != EINTR)
		return TERMINAL_END;
	n = read(wake, &signals, sizeof(signals));
	(void)n;
	if (atomic_load(&ended))
		return TERMINAL_END;
	if (atomic_exchange(&redraw, false))
		return TERMINAL_REDRAW;
	if (!(p[1].revents & (POLLIN | POLLHUP | POLLERR)))
		return TERMINAL_TIME_IS_OVER;
	return read(in_fd, ret_key, 1) == 1 ? TERMINAL_KEY : TERMINAL_END;
}

struct terminal_size terminal_size(void)
{
	struct winsize size;

	if (ioctl(out_fd, TIOCGWINSZ, &size) < 0 || size.ws_col == 0 || size.ws_row == 0)
		return (struct terminal_size){ 80, 24 };
	return (struct terminal_size){ size.ws_col, size.ws_row };
}

/* In one piece, so that no half of a picture is seen. A line is erased before it is written: at the end of a full one
 * the cursor stands on its last character. */
void terminal_show(const char *text, size_t size)
{
	_cleanup_(buf_done) struct buf out;
	const char *end = text + size;
	const char *next = "\033[H\033[2K";

	buf_init(&out, 1 << 22);
	while (text < end) {
		const char *line_end = memchr(text, '\n', (size_t)(end - text));
		size_t length = (size_t)((line_end ? line_end : end) - text);

		buf_append(&out, next, strlen(next));
		buf_append(&out, text, length);
		text += length + 1;
		/* Not after the last: it must not scroll. */
		next = "\r\n\033[2K";
	}
	buf_append(&out, "\033[J", 3);
	write_out((const char *)out.data, out.size);
}
