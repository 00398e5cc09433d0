/* draw.h: what the next batch and the next command shall be, by chance. */
#ifndef RAINCHECK_SIM_DRAW_H
#define RAINCHECK_SIM_DRAW_H

#include "tests/sim/sim.h"

/* Begins the numbers of a command of the present batch (index −1: of the batch itself). */
void draw_begin(struct sim *s, int index);
uint64_t draw_number(struct sim *s);
/* From 0 to n − 1. */
int64_t draw_below(struct sim *s, int64_t n);
bool draw_one_in(struct sim *s, int64_t n);
void draw_bytes(struct sim *s, void *ret, size_t size);

/* Of a run. */
struct profile draw_profile(struct sim *s);
/* How far the clock moves before the batch; it may be set back. */
int64_t draw_time(struct sim *s);
enum fate draw_fate(struct sim *s);
int draw_batch_size(struct sim *s);
/* Kind, session and parameters. Files that the parameters name are there afterwards. */
void draw_command(struct sim *s, struct slot *slot);

/* ---- choices that the comparison makes too ---- */

/* A job's id: mostly of one that is there, now and then one that was, or never was. */
struct uuid draw_id(struct sim *s);
struct msg_job_filter draw_filter(struct sim *s);
struct slice draw_queue_name(struct sim *s);

/* ---- between draw.c and draw_operator.c ---- */

struct msg_backoff draw_backoff(struct sim *s);
/* Bytes for an artifact; in a file that is there from now on, where has_blob. */
struct staged draw_staged(struct sim *s, bool preview);
void draw_change(struct sim *s, struct command_change *c);
void draw_queue(struct sim *s, struct params *p);
void draw_limit(struct sim *s, struct params *p);

#endif
