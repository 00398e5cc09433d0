/* campaign_broker.h: the real engine on a real store in simulated time, with a writer's habits: what is asked for
 * while a batch is being synced goes into the next batch, and nobody is told before the disk has it.
 *
 * An order is one command of somebody's. It is made by broker_order(), filled in, applied with the next broker_apply(),
 * and handed to its then() by broker_release() after it was answered; a lease may stay for many batches. Then it is
 * gone. Orders still there at broker_close() are gone without a word. One thread; ends the process where the store
 * fails.
 */
#ifndef RAINCHECK_BENCH_CAMPAIGN_BROKER_H
#define RAINCHECK_BENCH_CAMPAIGN_BROKER_H

#include <stdint.h>

#include "server/engine/engine.h"
#include "server/engine/view.h"

struct tempdir;

#define BROKER_LAUNCH_MS INT64_C(1700000000000) /* the calendar's time at the moment 0 */

/* A job that a lease was given: its payload is the visitor's number. */
struct broker_job {
	struct uuid id;
	struct token lease;
	size_t visitor;
};

struct broker_order {
	struct command cmd;
	void (*then)(struct broker_order *o);
	void *user;
	size_t who;	  /* the visitor, or the worker of a lease */
	char text[2][24]; /* what params points to */
	struct slice name;
	union {
		struct msg_job_lease lease;
		struct msg_job_fail fail;
		struct command_queue queue;
		struct command_limit limit;
		struct {
			struct command_put command;
			struct put_item item;
		} put;
		struct {
			struct command_complete command;
			struct complete_item item;
		} complete;
	} params;

	/* The answer: */
	int code; /* 0, or why it was refused */
	struct uuid id;
	bool has_eta;
	struct msg_eta eta;
	int state; /* of a fail: what became of the job */
	struct broker_job *jobs;
	size_t jobs_count;
};

struct broker {
	struct tempdir *dir;
	struct settings settings;
	struct store *store;
	struct engine *engine;
	struct uuid_gen ids;
	uint64_t draws;
	struct command *asked, **asked_end;	/* for the next batch */
	struct command *settled, **settled_end; /* of the last one, to be released */
};

void broker_open(struct broker *b, uint64_t seed);
void broker_close(struct broker *b);

struct broker_order *broker_order(struct broker *b, enum command_kind kind, void (*then)(struct broker_order *o),
				  void *user);
/* A batch of all orders made since the last one, at the moment, and its sync. */
void broker_apply(struct broker *b, double now_ms);
/* The sync is over: everybody is told. */
void broker_release(struct broker *b);
/* When there is work without an order; INFINITY for never. */
double broker_next_ms(const struct broker *b);

/* What a limit lets be at once by now; −1: no bound. */
int32_t broker_concurrency(const struct broker *b, const char *limit, double now_ms);
/* When the job is promised. False: no such promise is made at the moment. */
bool broker_promise(const struct broker *b, const struct uuid *job, double now_ms, struct msg_eta *ret);

#endif
