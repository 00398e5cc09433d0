/* commands.h: the methods that write: what is checked at the edge, and the command that each becomes.
 * Handlers as dispatch.h describes them. Loop's thread only. */
#ifndef RAINCHECK_NET_COMMANDS_H
#define RAINCHECK_NET_COMMANDS_H

struct error_info;
struct request;

int commands_put(struct request *req, struct error_info *info);
int commands_put_many(struct request *req, struct error_info *info);
int commands_lease(struct request *req, struct error_info *info);
int commands_extend(struct request *req, struct error_info *info);
int commands_checkpoint(struct request *req, struct error_info *info);
int commands_complete(struct request *req, struct error_info *info);
int commands_fail(struct request *req, struct error_info *info);
int commands_lease_cancel(struct request *req, struct error_info *info);
int commands_release(struct request *req, struct error_info *info);
int commands_woken(struct request *req, struct error_info *info);
int commands_artifact_put(struct request *req, struct error_info *info);

#endif
