#include "hangup.h"

#include <pthread.h>
#include <signal.h>
#include <stddef.h>

static void mask(int how)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	pthread_sigmask(how, &set, NULL);
}

void hangup_hold(void)
{
	mask(SIG_BLOCK);
}

void hangup_release(void)
{
	mask(SIG_UNBLOCK);
}

void hangup_ignore(void)
{
	signal(SIGHUP, SIG_IGN);
}
