/* uploads.h: artifacts that come in pieces: artifact.begin, artifact.write, artifact.commit.
 *
 * An upload is bound to a lease, which is looked at when it begins and again, by the engine, when it is committed. Its
 * bytes go to a blob file from the start, on the pool, one piece after the other in the order of the requests. It is
 * dropped when its session ends, when a write fails, and when nobody wrote for limits.upload_ms.
 *
 *   begin ──▶ OPEN ──write──▶ OPEN ──commit──▶ attached to the job
 *               └─ session ends, idle, failed ──▶ dropped, its file removed
 *
 * Loop's thread only.
 */
#ifndef RAINCHECK_NET_UPLOADS_H
#define RAINCHECK_NET_UPLOADS_H

struct error_info;
struct net;
struct request;
struct session;
struct uploads;

/* ERR_NO_MEMORY. */
int uploads_new(struct net *net, struct uploads **ret);
/* All sessions are over. NULL is taken. */
void uploads_free(struct uploads *u);

/* Handlers as dispatch.h describes them. */
int uploads_begin(struct request *req, struct error_info *info);
int uploads_write(struct request *req, struct error_info *info);
int uploads_commit(struct request *req, struct error_info *info);

/* What whoever would add an artifact beyond the last is told. ERR_TOO_LARGE. Any thread. */
int uploads_too_many(struct error_info *info, const char *field);

/* Drops what the session began. */
void uploads_drop(struct uploads *u, struct session *s);

#endif
