/* view_hooks.h: the hooks of a job as others see them, as view.h does it for the rest. */
#ifndef RAINCHECK_ENGINE_VIEW_HOOKS_H
#define RAINCHECK_ENGINE_VIEW_HOOKS_H

#include "server/store/hook_record.h"
#include "server/store/records.h"
#include "server/store/store.h"

/* Fills job->hooks, where any came. What is damaged is not shown. The store's errors. */
int view_hooks(struct store_txn *t, const struct uuid *id, const struct job *record, struct msg_job *job);

/* The first hook behind number after that waits for whoever has this lease, sound ones only; headers is room for
 * HOOK_HEADERS. ERR_NOT_FOUND where there is none, or the lease is not the job's. */
int view_next_hook(struct store_txn *t, const struct uuid *id, const struct token *lease, uint64_t after,
		   struct pair *headers, struct msg_job_wake *ret);

#endif
