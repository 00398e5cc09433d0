/* hook_config.h: what the file says of an API's hooks (webhook_in), checked; and where a submit names their URL. */
#ifndef RAINCHECK_WORKER_CONFIG_HOOK_CONFIG_H
#define RAINCHECK_WORKER_CONFIG_HOOK_CONFIG_H

struct buf;
struct check;
struct raw_hook;
struct upstream;
struct upstream_hook;

/* Fills u->hook, of which leads is set already; all else of u is there. As the functions of check.h. Main thread. */
int hook_config_init(struct check *c, const struct raw_hook *raw, struct upstream *u);
/* Frees the content. */
void hook_config_done(struct upstream_hook *hook);

/* Appends text percent-encoded, all but unreserved characters, for a query. The error of out. Any thread. */
int hook_append_query(struct buf *url, const char *name, const char *value);

#endif
