/* visit.h: the job behind a request's token, or the one that it names, in a read transaction of the request's own.
 *
 * Everything a visit holds points into the map: copy or encode, then visit_end(), and only then let bytes go out.
 */
#ifndef RAINCHECK_HTTP_VISIT_H
#define RAINCHECK_HTTP_VISIT_H

#include "server/engine/view.h"
#include "server/store/store.h"

struct request;

struct visit {
	struct store_txn *txn;
	int64_t now_ms;
	struct uuid id;
	struct job_view job;
	const struct msg_artifact *preview; /* NULL: there is none */
	const struct msg_artifact *result;  /* NULL: there is none, or the job has not succeeded */
};

/* ERR_NOT_FOUND for whatever is no live link, ERR_GONE for one whose time is over, ERR_CORRUPT, the store's errors.
 * To be ended in any case. */
int visit_begin(const struct request *r, struct visit *ret);
void visit_end(struct visit *v);

#endif
