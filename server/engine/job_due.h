/* job_due.h: when a job needs to be looked at, as its record says it. job.c moves the due index by it, check.c proves
 * the index with it. Pure; any thread.
 */
#ifndef RAINCHECK_ENGINE_JOB_DUE_H
#define RAINCHECK_ENGINE_JOB_DUE_H

#include <stdint.h>

struct job;

/* When somebody must look at the job next, by its state; 0 for never. */
int64_t job_due(const struct job *job);

#endif
