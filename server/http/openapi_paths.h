/* openapi_paths.h: the operations of the producers' API, as written by hand: for openapi.c alone. Constant. */
#ifndef RAINCHECK_HTTP_OPENAPI_PATHS_H
#define RAINCHECK_HTTP_OPENAPI_PATHS_H

/* A JSON document with ' for ", into which the settings of a put and the schemas of the records belong. */
extern const char openapi_paths[];

#endif
