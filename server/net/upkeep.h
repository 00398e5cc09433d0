/* upkeep.h: the operator's long works beside the service: server.backup and server.check.
 *
 * One at a time, on a thread of its own, so that the pool stays free for reads. A work ends early when its session
 * does, because nobody would learn how it went; so it holds up no stop for long. Loop's thread only.
 */
#ifndef RAINCHECK_NET_UPKEEP_H
#define RAINCHECK_NET_UPKEEP_H

struct error_info;
struct net;
struct request;
struct session;
struct upkeep;

/* ERR_NO_MEMORY. */
int upkeep_new(struct net *net, struct upkeep **ret);
/* Nothing may run any more: all sessions are over. NULL is taken. */
void upkeep_free(struct upkeep *u);

/* Handlers as dispatch.h describes them. ERR_CONFLICT while another work runs. */
int upkeep_backup(struct request *req, struct error_info *info);
int upkeep_check(struct request *req, struct error_info *info);

/* What the session asked for is to give up. Its request is answered all the same. */
void upkeep_cancel(struct upkeep *u, const struct session *s);

#endif
