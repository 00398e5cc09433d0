/* clean.h: scope-bound cleanup and a few macros that every module may use.
 *
 * _cleanup_(f) calls f(&variable) when the variable leaves its scope; TAKE_PTR() hands ownership on, so that the
 * cleanup finds NULL. Any thread; no state.
 */
#ifndef RAINCHECK_BASE_CLEAN_H
#define RAINCHECK_BASE_CLEAN_H

#include <stddef.h>
#include <stdlib.h>

#define _cleanup_(f) __attribute__((cleanup(f)))

#define TAKE_PTR(p)                         \
	({                                  \
		__typeof__(p) taken_ = (p); \
		(p) = NULL;                 \
		taken_;                     \
	})

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* Defines a cleanup handler func##p for a free function that takes NULL. */
#define DEFINE_CLEANUP(type, func)          \
	static inline void func##p(type *p) \
	{                                   \
		func(*p);                   \
	}

static inline void free_ptrp(void *p)
{
	free(*(void **)p);
}

#define _cleanup_free_ _cleanup_(free_ptrp)

#endif
