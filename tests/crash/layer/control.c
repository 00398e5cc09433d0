/* The page shared with the test, and what it says about each call. */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/crash/layer/layer.h"

#define FILES_MAX 65536

struct fault_control *layer_control;

static const char *disk; /* the directory */
static size_t disk_size;

/* What is known of each descriptor. */
enum { FILE_OTHER, FILE_ON_DISK, FILE_SYNCED };
static _Atomic unsigned char files[FILES_MAX];

__attribute__((constructor)) static void map_control(void)
{
	const char *path = getenv("FAULT_CONTROL");
	void *page = MAP_FAILED;
	int fd;

	disk = getenv("FAULT_DISK");
	disk_size = disk ? strlen(disk) : 0;
	if (!path)
		return;
	fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC);
	if (fd >= 0)
		page = mmap(NULL, sizeof(*layer_control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (page == MAP_FAILED)
		_exit(125);
	close(fd);
	layer_control = page;
}

/* ---- the plan ---- */

static void die(void)
{
	/* Nothing of another thread may stand in the log without having been done. */
	record_lock();
	syscall(SYS_kill, getpid(), SIGKILL);
	for (;;)
		pause();
}

static void hold(struct fault_control *c)
{
	atomic_store(&c->held, 1);
	syscall(SYS_futex, &c->held, FUTEX_WAKE, 1, NULL, NULL, 0);
	while (atomic_load(&c->held) == 1)
		syscall(SYS_futex, &c->held, FUTEX_WAIT, 1, NULL, NULL, 0);
}

/* Whether this is the call that the plan waits for, or one after it that fares alike. */
static bool is_met(struct fault_control *c, enum fault_kind kind)
{
	int64_t left = atomic_load(&c->countdown);

	if (left == 0 || !(c->kinds & FAULT_BIT(kind)))
		return false;
	/* A lasting plan stays at 1. */
	while (left > 0 && !(left == 1 && c->lasting) && !atomic_compare_exchange_weak(&c->countdown, &left, left - 1))
		;
	return left == 1;
}

static bool writes(enum fault_kind kind)
{
	return kind == FAULT_WRITE || kind == FAULT_WRITE_SYNC;
}

enum fault_action layer_meet(enum fault_kind kind)
{
	struct fault_control *c = layer_control;
	enum fault_action action;

	if (!c)
		return FAULT_PASS;
	atomic_fetch_add(&c->calls[kind], 1);
	if (writes(kind) && atomic_exchange(&c->was_cut, 0) == 1)
		return FAULT_FAIL;
	if (!is_met(c, kind))
		return FAULT_PASS;
	action = (enum fault_action)c->action;
	if (!writes(kind) && action == FAULT_FAIL_SHORT)
		action = FAULT_FAIL;
	if (!writes(kind) && action == FAULT_KILL_HALFWAY)
		action = FAULT_KILL_BEFORE;
	if (action == FAULT_FAIL_SHORT) {
		/* Of a lasting fault, only the first write is cut: the next one finds no room for a byte. */
		if (atomic_load(&c->met) > 0)
			action = FAULT_FAIL;
		else
			atomic_store(&c->was_cut, 1);
	}
	atomic_fetch_add(&c->met, 1);
	if (action == FAULT_KILL_BEFORE)
		die();
	if (action != FAULT_HOLD)
		return action;
	hold(c);
	return FAULT_PASS;
}

int layer_refuse(void)
{
	errno = layer_control->error;
	return -1;
}

ssize_t layer_finish(enum fault_action action, ssize_t result)
{
	if (action == FAULT_KILL_AFTER || action == FAULT_KILL_HALFWAY)
		die();
	return action == FAULT_FAIL_LATE ? layer_refuse() : result;
}

/* ---- which files ---- */

bool layer_has_file(int fd)
{
	return layer_control && fd >= 0 && fd < FILES_MAX && files[fd] != FILE_OTHER;
}

bool layer_has_path(int dir, const char *path)
{
	if (!layer_control || !disk)
		return false;
	if (path[0] != '/')
		return layer_has_file(dir);
	return strncmp(path, disk, disk_size) == 0 && (path[disk_size] == '/' || path[disk_size] == '\0');
}

void layer_remember(int fd, bool synced)
{
	/* One that is not watched would let faults pass unseen. */
	if (fd >= FILES_MAX)
		abort();
	files[fd] = synced ? FILE_SYNCED : FILE_ON_DISK;
}

void layer_forget(int fd)
{
	if (fd >= 0 && fd < FILES_MAX)
		files[fd] = FILE_OTHER;
}

bool layer_writes_synced(int fd)
{
	return files[fd] == FILE_SYNCED;
}

/* ---- the size of the disk ---- */

int64_t layer_take_room(int64_t bytes)
{
	int64_t size = atomic_load(&layer_control->disk_bytes);
	int64_t used = atomic_fetch_add(&layer_control->used_bytes, bytes) + bytes;
	int64_t beyond = size > 0 && used > size ? used - size : 0;

	if (beyond > bytes)
		beyond = bytes;
	layer_give_room(beyond);
	return bytes - beyond;
}

void layer_give_room(int64_t bytes)
{
	atomic_fetch_sub(&layer_control->used_bytes, bytes);
}
