/* view_signals.h: what the number of workers may be scaled by: how long work waits, how much it is, and how many calls
 * at once could be busy with it. Queues that are paused count with what runs alone: no worker gets their jobs. Any
 * thread, within a transaction of its own. */
#ifndef RAINCHECK_ENGINE_VIEW_SIGNALS_H
#define RAINCHECK_ENGINE_VIEW_SIGNALS_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/messages.h"
#include "server/store/store.h"

/* More is not wanted: as many slots as one worker may say it has. */
#define SIGNALS_WANTED_MAX 1000000

/* How soon what is ready in a queue without a limit should be worked off. */
#define SIGNALS_DRAIN_MS 60000

struct signals {
	bool has_oldest_ready_age; /* some job is ready */
	int64_t oldest_ready_age_ms;
	/* What the ready jobs will take of slots: the sum of what attempts that succeeded have taken in their queues. A
	 * queue of which that is not known yet adds nothing. */
	int64_t backlog_ms;
	/* Slots that would be busy now, were there enough: for each limit its jobs that are ready and running, but no
	 * more than its concurrency in effect, nor than its rate in effect keeps busy (or does already). That a limit
	 * is held or broken for a while does not lower it. Of each queue without a limit what runs, and as many as work
	 * off what is ready within SIGNALS_DRAIN_MS, at most one for each job; while it is not known how long its jobs
	 * take no more than run already, but one: so the wish doubles until something is known. */
	int64_t wanted_concurrency;
	/* What attempts that succeeded have taken, over all queues. */
	bool has_run_ms;
	struct msg_run_time run_ms;
};

/* ERR_NO_MEMORY, the store's. */
int view_signals(struct store_txn *t, int64_t now_ms, struct signals *ret);

#endif
