/* put_check.h: what no decoder of single fields can see of a put. Any thread; no state. */
#ifndef RAINCHECK_ENGINE_PUT_CHECK_H
#define RAINCHECK_ENGINE_PUT_CHECK_H

struct error_info;
struct msg_job_put;
struct settings;

/* ERR_BAD_REQUEST for fields that contradict one another or a URL that is none, ERR_TOO_LARGE; info names the field. */
int put_check(const struct settings *settings, const struct msg_job_put *put, struct error_info *info);

#endif
