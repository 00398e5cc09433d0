/* changes.h: the methods by which operators, and producers for their jobs, change what is there: job.cancel, job.retry,
 * job.erase, link.* and the settings of queues and limits. Handlers as dispatch.h describes them. Loop's thread only.
 */
#ifndef RAINCHECK_NET_CHANGES_H
#define RAINCHECK_NET_CHANGES_H

struct error_info;
struct request;

int changes_cancel(struct request *req, struct error_info *info);
int changes_retry(struct request *req, struct error_info *info);
int changes_erase(struct request *req, struct error_info *info);
int changes_redeliver(struct request *req, struct error_info *info);
int changes_link_rotate(struct request *req, struct error_info *info);
int changes_link_revoke(struct request *req, struct error_info *info);
int changes_queue_set(struct request *req, struct error_info *info);
int changes_queue_pause(struct request *req, struct error_info *info);
int changes_queue_resume(struct request *req, struct error_info *info);
int changes_queue_purge(struct request *req, struct error_info *info);
int changes_limit_set(struct request *req, struct error_info *info);
int changes_limit_delete(struct request *req, struct error_info *info);

#endif
