#include "server/net/mailbox.h"

#include "proto/base/clean.h"
#include "proto/error.h"

static void wake_cb(uv_async_t *handle)
{
	struct mailbox *box = CONTAINER_OF(handle, struct mailbox, wake);
	struct mail *mail;

	uv_mutex_lock(&box->lock);
	mail = box->first;
	box->first = NULL;
	box->last = &box->first;
	uv_mutex_unlock(&box->lock);

	while (mail) {
		struct mail *next = mail->next;

		mail->take(mail);
		mail = next;
	}
}

int mailbox_open(struct mailbox *box, uv_loop_t *loop)
{
	if (uv_mutex_init(&box->lock) < 0)
		return ERR_INTERNAL;
	if (uv_async_init(loop, &box->wake, wake_cb) < 0) {
		uv_mutex_destroy(&box->lock);
		return ERR_INTERNAL;
	}
	box->first = NULL;
	box->last = &box->first;
	return 0;
}

void mailbox_push(struct mailbox *box, struct mail *mail)
{
	bool first;

	mail->next = NULL;
	uv_mutex_lock(&box->lock);
	first = !box->first;
	*box->last = mail;
	box->last = &mail->next;
	/* Within the lock, so that whoever takes the last mail and closes the box waits until the wake-up is through.
	 */
	if (first)
		uv_async_send(&box->wake);
	uv_mutex_unlock(&box->lock);
}

static void closed_cb(uv_handle_t *handle)
{
	struct mailbox *box = CONTAINER_OF(handle, struct mailbox, wake);

	/* The last pusher may still be between sending and unlocking. */
	uv_mutex_lock(&box->lock);
	uv_mutex_unlock(&box->lock);
	uv_mutex_destroy(&box->lock);
	box->closed(box);
}

void mailbox_close(struct mailbox *box, void (*closed)(struct mailbox *box))
{
	box->closed = closed;
	uv_close((uv_handle_t *)&box->wake, closed_cb);
}
