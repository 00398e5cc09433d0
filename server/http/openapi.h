/* openapi.h: /v1/openapi.json: the producers' API as an OpenAPI 3.1 document. What there is to say of fields comes from
 * the table of messages: the settings of a put with their types and ranges, the records that are answered.
 */
#ifndef RAINCHECK_HTTP_OPENAPI_H
#define RAINCHECK_HTTP_OPENAPI_H

#include <microhttpd.h>

struct request;
struct site;

/* The document, as text; for free(). NULL without memory. Any thread. */
char *openapi_make(void);

/* Makes it once for the site, before its threads start. ERR_NO_MEMORY. */
int openapi_prepare(struct site *site);
void openapi_release(struct site *site);
enum MHD_Result openapi_serve(const struct request *r);

#endif
