/* Small helpers every file of the stand-in render API may use: cleanup on scope exit, clocks, errors with a text,
 * temporary directories.
 *
 * Any thread; nothing here keeps state. */
#ifndef RENDER_API_UTIL_H
#define RENDER_API_UTIL_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#define _cleanup_(f)		      __attribute__((cleanup(f)))
#define _printf_(string_at, first_at) __attribute__((format(printf, string_at, first_at)))

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* Hands a pointer over and leaves NULL behind, so that the cleanup of the old owner does nothing. */
#define TAKE_PTR(p)                             \
	({                                      \
		__typeof__(p) taken_ptr_ = (p); \
		(p) = NULL;                     \
		taken_ptr_;                     \
	})

/* What went wrong, in words for the one who sent the request or typed the command line. */
struct fault {
	char text[256];
};

/* Writes the text and returns rc, so that a failing check is one statement. */
int fault_set(struct fault *f, int rc, const char *format, ...) _printf_(3, 4);

/* Removes a directory with all it holds; what is not there is fine. */
void dir_remove(const char *path);

static inline void freep(void *p)
{
	free(*(void **)p);
}

static inline void json_freep(json_t **j)
{
	json_decref(*j);
}

/* Monotonic: for delays and deadlines only. */
static inline int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static inline struct timespec timespec_of_ms(int64_t at_ms)
{
	return (struct timespec){ .tv_sec = at_ms / 1000, .tv_nsec = (at_ms % 1000) * 1000000 };
}

#endif
