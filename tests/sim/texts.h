/* texts.h: the words of the simulation. They stay as long as the process, so that the model need not copy them. */
#ifndef RAINCHECK_SIM_TEXTS_H
#define RAINCHECK_SIM_TEXTS_H

#include <stdint.h>

#include "proto/base/slice.h"
#include "proto/messages.h"

#define TEXTS_QUEUES	  6
#define TEXTS_GROUPS	  3
#define TEXTS_LIMITS	  3
#define TEXTS_TITLES	  3
#define TEXTS_KEYS	  8
#define TEXTS_PAYLOADS	  6
#define TEXTS_NOTES	  4
#define TEXTS_ERRORS	  4
#define TEXTS_CHECKPOINTS 4
#define TEXTS_ARTIFACTS	  20
#define TEXTS_HOOKS	  24

/* Before all others. */
void texts_init(void);

struct slice texts_queue(int n);
struct slice texts_group(int n);
struct slice texts_limit(int n);
struct slice texts_title(int n);
struct slice texts_key(int n);
/* From nothing to more than a page of the store. */
struct slice texts_payload(int n);
const uint8_t *texts_payload_sha256(int n);
/* Up to the longest that there may be, as the errors. */
struct slice texts_note(int n);
struct slice texts_error(int n);
struct slice texts_checkpoint(int n);
/* The first are "result" and "preview". */
struct slice texts_artifact(int n);
/* Some of them so large that no three may wait together. */
struct slice texts_hook(int n);
struct pair *texts_metadata(size_t *ret_count);

#endif
