/* mailbox.h: how other threads give things back to the loop's thread: a list under a lock, and one wake-up for many.
 *
 * A mail is embedded in what it brings and may be pushed again once it was taken. Nothing may be pushed any more when
 * the mailbox is closed.
 */
#ifndef RAINCHECK_NET_MAILBOX_H
#define RAINCHECK_NET_MAILBOX_H

#include <stdbool.h>
#include <uv.h>

struct mail {
	struct mail *next;
	void (*take)(struct mail *mail); /* on the loop's thread */
};

struct mailbox {
	uv_async_t wake;
	uv_mutex_t lock; /* guards the two below */
	struct mail *first;
	struct mail **last;
	void (*closed)(struct mailbox *box);
};

/* ERR_INTERNAL when the loop has no more handles to give. Loop's thread, as all but mailbox_push(). */
int mailbox_open(struct mailbox *box, uv_loop_t *loop);
/* Any thread. Mails are taken in the order of pushing. */
void mailbox_push(struct mailbox *box, struct mail *mail);
/* closed is called when the memory may go. */
void mailbox_close(struct mailbox *box, void (*closed)(struct mailbox *box));

#endif
