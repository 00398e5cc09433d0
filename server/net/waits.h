/* waits.h: job.wait: answers when a job has reached its end, or when the wait is over.
 *
 * A waiter is registered before its first read, so that an end that comes in between is not missed. The writer tells
 * which jobs ended; each waiter of such a job reads again, and answers if it finds that true.
 *
 *             final, or error, or over
 *   ┌─ READING ───────────────────────▶ answered
 *   │    │ ▲
 *   │    ▼ │ the job ended, or the wait
 *   │   IDLE
 *   └─ told meanwhile: reads once more
 *
 * Loop's thread, but for the writer's call.
 */
#ifndef RAINCHECK_NET_WAITS_H
#define RAINCHECK_NET_WAITS_H

struct error_info;
struct net;
struct request;
struct session;
struct waits;

/* ERR_NO_MEMORY. */
int waits_new(struct net *net, struct waits **ret);
/* No waiter may be left. NULL is taken. */
void waits_free(struct waits *w);
/* Listens to the writer from now on. */
void waits_subscribe(struct waits *w);

/* The handler of job.wait. */
int waits_wait(struct request *req, struct error_info *info);

/* Answers every wait of the session with ERR_SHUTTING_DOWN. */
void waits_cancel(struct waits *w, struct session *s);

#endif
