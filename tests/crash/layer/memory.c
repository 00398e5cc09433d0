/* Allocations. What is freed is the C library's own doing: so are the blocks. */
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <link.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/crash/layer/layer.h"

#define DEPTH 12

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *p, size_t size);

/* What the layer allocates itself, to name the caller for instance, is not counted. */
static _Thread_local bool busy;

/* The first call loads a library. */
__attribute__((constructor)) static void load_unwinder(void)
{
	void *frame;

	busy = true;
	backtrace(&frame, 1);
	busy = false;
}

/* ---- whose they are ---- */

/* Code in memory: the program's own, with what is linked into it, and the C library's. */
struct code {
	uintptr_t begin, end;
};

static struct code program, c_library, layer;

static bool is_in(const struct code *c, const void *at)
{
	return (uintptr_t)at >= c->begin && (uintptr_t)at < c->end;
}

/* The program is told first. */
static int note_code(struct dl_phdr_info *info, size_t size, void *user)
{
	unsigned *told = user;

	(void)size;
	for (size_t i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *part = &info->dlpi_phdr[i];
		struct code c = { .begin = info->dlpi_addr + part->p_vaddr };

		c.end = c.begin + part->p_memsz;
		if (part->p_type != PT_LOAD || !(part->p_flags & PF_X))
			continue;
		if (*told == 0)
			program = c;
		else if (is_in(&c, (const void *)(uintptr_t)__libc_malloc))
			c_library = c;
		else if (is_in(&c, (const void *)(uintptr_t)note_code))
			layer = c;
	}
	++*told;
	return 0;
}

__attribute__((constructor)) static void find_code(void)
{
	unsigned told = 0;

	dl_iterate_phdr(note_code, &told);
}

/* What the C library asks for it asks for others: strdup() and the like for whoever called them. */
static bool is_own(const void *caller)
{
	void *frames[DEPTH];
	int depth, i = 0;

	if (!is_in(&c_library, caller))
		return is_in(&program, caller);
	busy = true;
	depth = backtrace(frames, DEPTH);
	busy = false;
	while (i < depth && (is_in(&layer, frames[i]) || is_in(&c_library, frames[i])))
		i++;
	return i < depth && is_in(&program, frames[i]);
}

static enum fault_action meet(const void *caller)
{
	enum fault_action action = layer_meet(FAULT_ALLOCATE);

	return action == FAULT_PASS && is_own(caller) ? layer_meet(FAULT_OWN) : action;
}

/* ---- who asks ---- */

/* What is not exported has no name here, only its place in the file. */
static int name_frame(char *ret, size_t size, const char *before, const void *frame)
{
	const char *file;
	Dl_info info;

	if (!dladdr(frame, &info) || !info.dli_fname)
		return 0;
	file = strrchr(info.dli_fname, '/');
	file = file ? file + 1 : info.dli_fname;
	if (info.dli_sname)
		return snprintf(ret, size, "%s%s:%s", before, file, info.dli_sname);
	return snprintf(ret, size, "%s%s+0x%tx", before, file, (const char *)frame - (const char *)info.dli_fbase);
}

/* The callers, without the layer's own functions. */
static void name_callers(char *ret, size_t size, int own)
{
	void *frames[DEPTH];
	int depth = backtrace(frames, DEPTH);
	size_t used = 0;

	for (int i = own; i < depth && used < size; i++)
		used += (size_t)name_frame(ret + used, size - used, used ? " < " : "", frames[i]);
}

static __attribute__((noinline)) bool refuses(const void *caller)
{
	enum fault_action action;

	if (busy)
		return false;
	action = meet(caller);
	if (action == FAULT_PASS)
		return false;
	layer_finish(action == FAULT_KILL_AFTER ? action : FAULT_PASS, 0);
	if (layer_control->caller[0] == '\0') {
		busy = true;
		name_callers(layer_control->caller, sizeof(layer_control->caller), 3);
		busy = false;
	}
	errno = ENOMEM;
	return true;
}

INTERPOSED void *malloc(size_t size)
{
	return refuses(__builtin_return_address(0)) ? NULL : __libc_malloc(size);
}

INTERPOSED void *calloc(size_t count, size_t size)
{
	return refuses(__builtin_return_address(0)) ? NULL : __libc_calloc(count, size);
}

INTERPOSED void *realloc(void *p, size_t size)
{
	return refuses(__builtin_return_address(0)) ? NULL : __libc_realloc(p, size);
}

INTERPOSED void abort(void)
{
	busy = true;
	if (layer_control)
		name_callers(layer_control->aborter, sizeof(layer_control->aborter), 2);
	signal(SIGABRT, SIG_DFL);
	raise(SIGABRT);
	_exit(127);
}
