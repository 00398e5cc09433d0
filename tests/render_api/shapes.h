/* shapes.h: the stand-in API in the shapes of real ones: their paths, their words, their credentials.
 *
 *   /shapes/NAME/…      what the API called NAME answers under its base URL; shapes_table.c has them all
 *
 * What is behind them is the same as elsewhere: a submit makes a render, which behaves as its "behave" says, is counted
 * and paid for. The render's input is found in the body wherever the API has the prompt: a string or an object that is
 * JSON with a "name" and, where it is to misbehave, a "behave".
 *
 * On the connection's thread; for api.c and submit.c alone.
 */
#ifndef RENDER_API_SHAPES_H
#define RENDER_API_SHAPES_H

#include <microhttpd.h>

#include "renders.h"

struct request;

enum shape_door { DOOR_NONE, DOOR_OF_SUBMIT, DOOR_OF_POLL, DOOR_OF_RESULT, DOOR_OF_CANCEL, DOOR_OF_VIDEO };

struct shape_path {
	enum shape_door door;
	const char *method;
	const char *path; /* after /shapes/NAME; a star stands for the id, also as the value of a query */
};

/* Texts are JSON in which $base, $id, $message and $code stand for what they say, and the strings "$output", "$poster"
 * and "$progress" for the values. */
struct shape {
	const char *name;
	const char *auth_header; /* credentials: this header begins so; NULL: none are wanted */
	const char *auth_begins;
	struct shape_path paths[6];
	unsigned submitted_status;
	const char *submitted; /* the answer to a submit; NULL: it waits, and is answered as a poll */
	const char *pending;
	const char *running;
	const char *succeeded; /* NULL: the video itself */
	const char *failed;
	const char *cancelled;
	unsigned running_status, failed_status; /* of polls; 0: 200 */
	const char *result;			/* the answer to the request for it; NULL: the video itself */
	unsigned throttled_status;		/* 0: 429 */
	const char *throttled;
	bool keyed; /* the id in the submit's path is the caller's own key */
};

extern const struct shape *const shapes[];

/* A request under /shapes/; rest is what follows. */
enum MHD_Result shapes_handle(struct request *req, const char *rest);

/* For a submit with a shape: its answer, also at its end, and the answer that it comes too soon. */
enum MHD_Result shapes_answer_submit(struct request *req);
enum MHD_Result shapes_answer_outcome(struct request *req);
enum MHD_Result shapes_answer_throttled(struct request *req, int retry_after_s);

#endif
