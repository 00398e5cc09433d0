/* Submits: what is refused, what is accepted and paid, and how it is answered, now or when the render has ended.
 *
 * On the connection's thread; for api.c alone. */
#ifndef RENDER_API_SUBMIT_H
#define RENDER_API_SUBMIT_H

#include <microhttpd.h>

#include "clip.h"

struct request;

/* Answers when the render has ended. */
enum MHD_Result submit_sync(struct request *req);

/* Answers with an id. */
enum MHD_Result submit_async(struct request *req);

/* Answers the still or the video of req->render, spoilt if it was told to be. */
enum MHD_Result submit_reply_clip(struct request *req, enum clip_kind kind);

/* Answers where the video and the still of req->render are: {"output":[url],"poster":url}. */
enum MHD_Result submit_reply_output(struct request *req);

#endif
