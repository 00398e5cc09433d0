#include "interrupt.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "proto/base/clean.h"

static const int signals[] = { SIGINT, SIGTERM };
static struct sigaction before[ARRAY_SIZE(signals)];
static atomic_bool came;
/* Readable once a signal has come: one that comes just before a wait begins must end that wait too. */
static int wake = -1;

static void on_signal(int number)
{
	int error = errno;
	uint64_t one = 1;
	ssize_t ignored;

	(void)number;
	came = true;
	ignored = write(wake, &one, sizeof(one));
	(void)ignored;
	errno = error;
}

void interrupt_watch(void)
{
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND };

	came = false;
	wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (wake < 0)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
		sigaction(signals[i], NULL, &before[i]);
		if (before[i].sa_handler != SIG_IGN)
			sigaction(signals[i], &action, NULL);
	}
}

void interrupt_unwatch(void)
{
	if (wake < 0)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		sigaction(signals[i], &before[i], NULL);
	close(wake);
	wake = -1;
}

bool interrupt_came(void)
{
	return came;
}

struct reader {
	int fd;
	void (*idle)(void *user);
	void *user;
};

static ssize_t read_cb(void *cookie, char *data, size_t size)
{
	const struct reader *r = cookie;
	struct pollfd p[] = { { .fd = r->fd, .events = POLLIN }, { .fd = wake, .events = POLLIN } };

	if (r->idle && poll(p, 1, 0) == 0)
		r->idle(r->user);
	while (!came && poll(p, ARRAY_SIZE(p), -1) < 0 && errno == EINTR)
		;
	if (came) {
		errno = EINTR;
		return -1;
	}
	return read(r->fd, data, size);
}

static int close_cb(void *cookie)
{
	free(cookie);
	return 0;
}

FILE *interrupt_reader(FILE *f, void (*idle)(void *user), void *user)
{
	struct reader *r = fileno(f) >= 0 ? malloc(sizeof(*r)) : NULL;
	FILE *reader = NULL;

	if (!r)
		return NULL;
	*r = (struct reader){ fileno(f), idle, user };
	reader = fopencookie(r, "r", (cookie_io_functions_t){ .read = read_cb, .close = close_cb });
	if (!reader)
		free(r);
	return reader;
}
