/* alloc_count.h: counts what a test program takes from the heap, and lets the Nth taking fail.
 *
 * Include it in exactly one source file of a program: it puts itself in front of the C library's malloc. A sanitizer
 * owns malloc itself; then its hooks count, and nothing can be made to fail. Valgrind owns it too, and tells nobody:
 * then nothing counts. One thread.
 */
#ifndef RAINCHECK_TESTS_ALLOC_COUNT_H
#define RAINCHECK_TESTS_ALLOC_COUNT_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

static struct {
	size_t calls;
	size_t bytes;	/* asked for, whether or not freed since */
	size_t fail_at; /* this call answers NULL, and those after it; 0: none does */
	bool once;	/* only that one */
	bool works;
} alloc_count;

/* Whether counts are told at all. Ask before expecting one that is not 0. */
static inline bool alloc_can_count(void)
{
	return alloc_count.works;
}

/* Starts counting anew; the fail_at-th call and the later ones fail. */
static inline void alloc_count_start(size_t fail_at)
{
	alloc_count.calls = 0;
	alloc_count.bytes = 0;
	alloc_count.fail_at = fail_at;
	alloc_count.once = false;
}

/* The same with that call alone. */
static inline void alloc_count_start_once(size_t fail_at)
{
	alloc_count_start(fail_at);
	alloc_count.once = true;
}

static inline void alloc_count_stop(void)
{
	alloc_count.fail_at = 0;
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)

int __sanitizer_install_malloc_and_free_hooks(void (*malloc_hook)(const volatile void *, size_t),
					      void (*free_hook)(const volatile void *));

static void alloc_count_malloc_cb(const volatile void *p, size_t size)
{
	(void)p;
	alloc_count.calls++;
	alloc_count.bytes += size;
}

static void alloc_count_free_cb(const volatile void *p)
{
	(void)p;
}

static inline bool alloc_can_fail(void)
{
	return false;
}

/* Before the first counting; answers what a cmocka group setup has to. */
static inline int alloc_count_init(void **state)
{
	(void)state;
	alloc_count.works = __sanitizer_install_malloc_and_free_hooks(alloc_count_malloc_cb, alloc_count_free_cb) > 0;
	return alloc_count.works ? 0 : -1;
}

#else

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *p, size_t size);

static inline bool alloc_count_refuses(size_t size)
{
	alloc_count.calls++;
	alloc_count.bytes += size;
	if (alloc_count.fail_at == 0 || alloc_count.calls < alloc_count.fail_at ||
	    (alloc_count.once && alloc_count.calls > alloc_count.fail_at))
		return false;
	errno = ENOMEM;
	return true;
}

void *malloc(size_t size)
{
	return alloc_count_refuses(size) ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	return alloc_count_refuses(count * size) ? NULL : __libc_calloc(count, size);
}

void *realloc(void *p, size_t size)
{
	return alloc_count_refuses(size) ? NULL : __libc_realloc(p, size);
}

static inline bool alloc_can_fail(void)
{
	return alloc_count.works;
}

static inline int alloc_count_init(void **state)
{
	/* Called by its name, the compiler takes malloc for the C library's, which counts nothing. */
	void *(*volatile take)(size_t) = malloc;
	void *volatile p;

	(void)state;
	alloc_count.calls = 0;
	p = take(1);
	alloc_count.works = alloc_count.calls > 0;
	free(p);
	return 0;
}

#endif

#endif
