/* fault_control.h: the page of memory through which a test steers libfault.so inside a broker, and reads its counts.
 *
 * The layer (tests/crash/layer/) sits between the broker and the C library. It looks at the calls that touch files
 * below one directory, "the disk", and at allocations. Test and layer map the same file: the test fills in the plan,
 * arms it by setting countdown last, and may look at every counter or take the plan back at any moment, while the
 * broker runs. Environment of the broker: LD_PRELOAD=libfault.so, FAULT_CONTROL=file of this page, FAULT_DISK=the
 * directory, FAULT_LOG=file of fault_log.h (not set: nothing is recorded).
 */
#ifndef RAINCHECK_TEST_FAULT_CONTROL_H
#define RAINCHECK_TEST_FAULT_CONTROL_H

#include <stdatomic.h>
#include <stdint.h>

/* What a call does. Each call is of one kind. */
enum fault_kind {
	FAULT_OPEN,	  /* open, openat */
	FAULT_READ,	  /* read, pread, sendfile */
	FAULT_WRITE,	  /* write, pwrite, writev, pwritev */
	FAULT_WRITE_SYNC, /* the same on a file that was opened so that each write is synced by itself (O_DSYNC) */
	FAULT_SYNC,	  /* fsync, fdatasync, msync */
	FAULT_RENAME,	  /* rename, renameat */
	FAULT_UNLINK,	  /* unlink, unlinkat */
	FAULT_TRUNCATE,	  /* ftruncate, fallocate */
	FAULT_MKDIR,	  /* mkdir, mkdirat */
	FAULT_ALLOCATE,	  /* malloc, calloc, realloc, whatever it is for */
	FAULT_OWN,	  /* those of them that the program asks for itself, by strdup() and the like too: no library */
	FAULT_KINDS
};

#define FAULT_BIT(kind)	   (1u << (kind))
#define FAULT_FILE_CALLS   (FAULT_BIT(FAULT_ALLOCATE) - 1)
#define FAULT_CHANGES	   (FAULT_FILE_CALLS & ~(FAULT_BIT(FAULT_OPEN) | FAULT_BIT(FAULT_READ)))
#define FAULT_CALLER_BYTES 512

/* What happens to the call that the plan meets. */
enum fault_action {
	FAULT_PASS,
	FAULT_FAIL,	    /* answers the error, and nothing was done */
	FAULT_FAIL_LATE,    /* answers the error after all was done */
	FAULT_FAIL_SHORT,   /* half of a write is done and said so; the next write answers the error. Else as FAIL */
	FAULT_KILL_BEFORE,  /* SIGKILL to itself */
	FAULT_KILL_HALFWAY, /* half of a write is done first; other calls: as BEFORE */
	FAULT_KILL_AFTER,
	FAULT_HOLD, /* the call waits until held is set to 0 */
};

struct fault_control {
	/* The plan: to be filled in while countdown is 0. */
	uint32_t kinds; /* FAULT_BIT of each kind that is counted down */
	uint32_t action;
	int32_t error;	  /* errno */
	uint32_t lasting; /* every later call meets the same, until the plan is taken back */

	/* The call that finds 1 meets the plan. 0: no plan, or the plan was met. */
	_Atomic int64_t countdown;
	_Atomic uint32_t met;	  /* calls that met the plan */
	_Atomic uint32_t was_cut; /* a write was cut short: the next one fails */
	_Atomic uint32_t held;	  /* 1: a call is being held; a futex */

	/* Ever since the page was made, over all processes that used it. */
	_Atomic uint64_t calls[FAULT_KINDS];

	/* A disk of this size; 0: of no size. Bytes in use are counted from the first process on. */
	_Atomic int64_t disk_bytes;
	_Atomic int64_t used_bytes;

	/* Bytes of whole entries in the log of fault_log.h: what was done before now. */
	_Atomic uint64_t log_bytes;

	/* Who asked for the memory that was refused first, and who called abort(): from the inside out,
	 * "libuv.so.1:uv_run < raincheckd+0x1234 < …". */
	char caller[FAULT_CALLER_BYTES];
	char aborter[FAULT_CALLER_BYTES];
};

#endif
