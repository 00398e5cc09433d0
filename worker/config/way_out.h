/* way_out.h: the part of the file that says how requests leave this machine and whom they trust: the keys proxy,
 * interface and ca_file, which upstreams and webhooks have alike. Used while the file is read; main thread.
 */
#ifndef RAINCHECK_WORKER_CONFIG_WAY_OUT_H
#define RAINCHECK_WORKER_CONFIG_WAY_OUT_H

struct check;
struct trust;
struct upstream;

/* The words as they stand in the file; NULL: not given. */
struct raw_way_out {
	const char *proxy;
	const char *interface;
	const char *ca_file;
};

/* Fills u->proxy, u->interface and u->trust, which upstream_done() frees, on failure too. As the functions of check.h.
 */
int way_out_init(struct check *c, const struct raw_way_out *raw, struct upstream *u);

/* The certificates at path, which may be NULL: then there are none, and *ret_trust stays. As the functions of check.h.
 */
int way_out_trust(struct check *c, const char *path, struct trust **ret_trust);

#endif
