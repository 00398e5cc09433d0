/* reads.h: the methods that only read: on the pool, each in a read transaction of its own, which ends before anything
 * goes to the peer. Handlers as dispatch.h describes them. */
#ifndef RAINCHECK_NET_READS_H
#define RAINCHECK_NET_READS_H

#include <stdbool.h>

#include "proto/base/uuid.h"

struct error_info;
struct request;

int reads_get(struct request *req, struct error_info *info);
int reads_payload(struct request *req, struct error_info *info);
int reads_list(struct request *req, struct error_info *info);
int reads_artifact(struct request *req, struct error_info *info);
int reads_queues(struct request *req, struct error_info *info);
int reads_queue(struct request *req, struct error_info *info);
int reads_limits(struct request *req, struct error_info *info);
int reads_limit(struct request *req, struct error_info *info);
int reads_stats(struct request *req, struct error_info *info);

/* Makes the job's record, or the error, the reply of req. *ret_final: nothing will change it but an operator, or it
 * is an error. On the pool. */
void reads_encode_job(struct request *req, const struct uuid *id, bool *ret_final);

#endif
