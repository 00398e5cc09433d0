/* multipart.h: the body of a form (multipart/form-data, RFC 7578), made from the parts that an upstream names and the
 * values of a job. Any thread; no state.
 */
#ifndef RAINCHECK_WORKER_CALL_MULTIPART_H
#define RAINCHECK_WORKER_CALL_MULTIPART_H

#include <stddef.h>

#define MULTIPART_TYPE_SIZE 80

struct error_info;
struct template_values;
struct upstream_submit;

/* ret_type is the Content-Type with the boundary; the caller frees *ret_body. content_type is the payload's (NULL: not
 * given). ERR_NOT_FOUND where a part that is not optional lacks a value, ERR_BAD_REQUEST where a file is neither base64
 * nor a data: URL, ERR_TOO_LARGE; info then says which. ERR_NO_MEMORY, ERR_INTERNAL. Where secrets are masked, files
 * are told by their size. */
int multipart_make(const struct upstream_submit *s, const struct template_values *values, const char *content_type,
		   char ret_type[static MULTIPART_TYPE_SIZE], char **ret_body, size_t *ret_size,
		   struct error_info *info);

#endif
