/* clock.h: the two clocks. Pure code is handed its time and never calls these. Any thread. */
#ifndef RAINCHECK_BASE_CLOCK_H
#define RAINCHECK_BASE_CLOCK_H

#include <stdint.h>

/* Milliseconds since the Unix epoch; may jump. */
int64_t clock_wall_ms(void);
/* Milliseconds and nanoseconds since some fixed moment; never run backwards. */
int64_t clock_mono_ms(void);
int64_t clock_mono_ns(void);

#endif
