/* The door of the HTTP front: who gets which connection, when nobody is let in, and that it goes on afterwards.
 * accept4() is this file's own, so that it can fail, and so is poll(): how long the door would wait is looked at, and
 * then not waited for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "proto/base/clean.h"
#include "server/http/door.h"

#define DESKS	 4
#define GUESTS	 512
#define PAUSE_MS 1000
#define THEIRS	 1000

enum manner { STAY, LEAVE, REFUSE, NEVER_BEGIN };

static struct rig {
	int listener;
	struct sockaddr_in at;
	struct door *door;
	sem_t given;
	atomic_int manner; /* of the desks */
	atomic_int count[DESKS];
	atomic_int here, most; /* at all of them */
	int fds[GUESTS];       /* of those who stay, in their order; the door's thread's until given */
	int kept;
	int dialled[GUESTS];
	int dials;
} rig;

/* What accept4() does next: fails with these one after another, then goes on failing with the last for as long as it
 * has to. */
static struct {
	const int *errors;
	atomic_int left;
	atomic_bool stays; /* the last of them */
	sem_t failed;
} faults;

/* After a failure that stays it has not waited yet; the door's thread's. */
static bool unpaused;
static atomic_bool paused_wrongly; /* not as long as it has to, or not at all */

int accept4(int fd, __SOCKADDR_ARG peer, socklen_t *restrict size, int flags)
{
	int left = atomic_load(&faults.left);

	if (left == 0)
		unpaused = false;
	if (left == 0)
		return (int)syscall(SYS_accept4, fd, peer.__sockaddr__, size, flags);
	errno = *faults.errors;
	if (left > 1 || !atomic_load(&faults.stays)) {
		faults.errors++;
		atomic_store(&faults.left, left - 1);
	} else {
		if (unpaused)
			atomic_store(&paused_wrongly, true);
		unpaused = true;
	}
	sem_post(&faults.failed);
	return -1;
}

/* The door's waits for nothing but its bell end at once. */
int poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
	if (count > 1)
		return (int)syscall(SYS_poll, fds, count, timeout_ms);
	if (timeout_ms != PAUSE_MS)
		atomic_store(&paused_wrongly, true);
	unpaused = false;
	sched_yield();
	return (int)syscall(SYS_poll, fds, count, 0);
}

/* What poll() is called with _FORTIFY_SOURCE. */
int poll_checked(struct pollfd *fds, nfds_t count, int timeout_ms, size_t size) __asm__("__poll_chk");
int poll_checked(struct pollfd *fds, nfds_t count, int timeout_ms, size_t size)
{
	assert_true(count <= size / sizeof(*fds));
	return poll(fds, count, timeout_ms);
}

static void fail_with(const int *errors, int count, bool stays)
{
	if (count > 0)
		faults.errors = errors;
	atomic_store(&faults.stays, stays);
	atomic_store(&faults.left, count);
}

static bool give_cb(void *user, int desk, int fd, const struct sockaddr *peer, socklen_t peer_size)
{
	enum manner manner = (enum manner)atomic_load(&rig.manner);
	int here;

	assert_ptr_equal(user, &rig);
	assert_int_equal(peer_size, sizeof(struct sockaddr_in));
	assert_int_equal(peer->sa_family, AF_INET);
	if (manner == REFUSE) {
		close(fd);
		sem_post(&rig.given);
		return false;
	}
	rig.fds[rig.kept++] = fd;
	atomic_fetch_add(&rig.count[desk], 1);
	here = atomic_fetch_add(&rig.here, 1) + 1;
	if (here > atomic_load(&rig.most))
		atomic_store(&rig.most, here);
	if (manner != NEVER_BEGIN)
		door_begun(rig.door, desk);
	if (manner == LEAVE) {
		atomic_fetch_sub(&rig.here, 1);
		door_left(rig.door, desk);
	}
	sem_post(&rig.given);
	return true;
}

static int setup(void **state)
{
	socklen_t size = sizeof(rig.at);

	(void)state;
	memset(&rig, 0, sizeof(rig));
	unpaused = false;
	atomic_store(&paused_wrongly, false);
	sem_init(&rig.given, 0, 0);
	sem_init(&faults.failed, 0, 0);
	rig.at = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	rig.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(rig.listener, (struct sockaddr *)&rig.at, sizeof(rig.at)), 0);
	assert_int_equal(listen(rig.listener, GUESTS), 0);
	return getsockname(rig.listener, (struct sockaddr *)&rig.at, &size);
}

static int teardown(void **state)
{
	(void)state;
	door_free(TAKE_PTR(rig.door));
	fail_with(NULL, 0, false);
	for (int i = 0; i < rig.kept; i++)
		close(rig.fds[i]);
	for (int i = 0; i < rig.dials; i++)
		close(rig.dialled[i]);
	close(rig.listener);
	sem_destroy(&rig.given);
	sem_destroy(&faults.failed);
	return 0;
}

static void open_door(int places)
{
	assert_int_equal(door_new(rig.listener, DESKS, places, give_cb, &rig, &rig.door), 0);
	assert_int_equal(door_open(rig.door), 0);
}

/* They are in the system's queue when it comes back. */
static void dial(int count)
{
	for (int i = 0; i < count; i++) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

		assert_int_equal(connect(fd, (struct sockaddr *)&rig.at, sizeof(rig.at)), 0);
		rig.dialled[rig.dials++] = fd;
	}
}

static void wait_for(sem_t *what, int count)
{
	for (int i = 0; i < count; i++)
		while (sem_wait(what) < 0)
			assert_int_equal(errno, EINTR);
}

static void leave(int desk, int count)
{
	for (int i = 0; i < count; i++) {
		atomic_fetch_sub(&rig.here, 1);
		atomic_fetch_sub(&rig.count[desk], 1);
		door_left(rig.door, desk);
	}
}

static void expect_counts(int a, int b, int c, int d)
{
	const int expected[DESKS] = { a, b, c, d };

	for (int i = 0; i < DESKS; i++)
		assert_int_equal(atomic_load(&rig.count[i]), expected[i]);
}

static void those_who_stay_are_spread_evenly(void **state)
{
	(void)state;
	open_door(GUESTS);
	dial(42);
	wait_for(&rig.given, 42);
	expect_counts(11, 11, 10, 10);
	leave(1, 9);
	leave(3, 2);
	/* Who has the fewest gets them, until all have as many. */
	dial(6);
	wait_for(&rig.given, 6);
	expect_counts(11, 8, 10, 8);
	dial(7);
	wait_for(&rig.given, 7);
	expect_counts(11, 11, 11, 11);
}

static void so_are_those_who_leave_at_once(void **state)
{
	(void)state;
	atomic_store(&rig.manner, LEAVE);
	open_door(GUESTS);
	for (int i = 0; i < 40; i++) {
		dial(1);
		wait_for(&rig.given, 1);
	}
	expect_counts(10, 10, 10, 10);
}

static void nobody_is_let_in_beyond_the_places(void **state)
{
	(void)state;
	open_door(10);
	dial(160);
	wait_for(&rig.given, 10);
	for (int i = 0; i < 150; i++) {
		int desk = i % DESKS;

		leave(desk, 1);
		wait_for(&rig.given, 1);
	}
	assert_int_equal(atomic_load(&rig.most), 10);
}

/* Not even for a second: that would take longer than a test may. */
static void who_was_refused_takes_no_place(void **state)
{
	(void)state;
	atomic_store(&rig.manner, REFUSE);
	open_door(1);
	dial(400);
	wait_for(&rig.given, 400);
	atomic_store(&rig.manner, STAY);
	dial(1);
	wait_for(&rig.given, 1);
}

static void nor_does_for_long_who_never_begins(void **state)
{
	(void)state;
	atomic_store(&rig.manner, NEVER_BEGIN);
	open_door(3);
	dial(3);
	wait_for(&rig.given, 3);
	atomic_store(&rig.manner, STAY);
	dial(3);
	wait_for(&rig.given, 3);
}

/* They were slow, and have the places that they were given, which others hold too by then. */
static void who_begins_after_all_is_counted_again(void **state)
{
	(void)state;
	atomic_store(&rig.manner, NEVER_BEGIN);
	open_door(3);
	dial(3);
	wait_for(&rig.given, 3);
	atomic_store(&rig.manner, STAY);
	dial(1);
	wait_for(&rig.given, 1);
	expect_counts(1, 1, 1, 1);
	for (int desk = 0; desk < 3; desk++)
		door_begun(rig.door, desk);
	dial(60);
	leave(0, 1);
	for (int i = 0; i < 60; i++) {
		leave((i + 1) % DESKS, 1);
		wait_for(&rig.given, 1);
	}
	assert_int_equal(atomic_load(&rig.most), 4);
}

/* Seen by who gets the next ones: the slow one counts at its desk. */
static void who_is_slow_is_not_given_up_for_want_of_descriptors(void **state)
{
	static const int error = EMFILE;

	(void)state;
	open_door(GUESTS);
	dial(4);
	wait_for(&rig.given, 4);
	atomic_store(&rig.manner, NEVER_BEGIN);
	dial(1);
	wait_for(&rig.given, 1);
	expect_counts(2, 1, 1, 1);
	atomic_store(&rig.manner, STAY);
	fail_with(&error, 1, true);
	dial(6);
	wait_for(&faults.failed, 2);
	for (int desk = 1; desk < DESKS; desk++)
		leave(desk, 1);
	fail_with(NULL, 0, false);
	wait_for(&rig.given, 6);
	expect_counts(2, 2, 2, 2);
}

/* Did it pause for each, this would take longer than a test may. */
static void what_becomes_of_others_is_no_hindrance(void **state)
{
	static const int theirs[] = { ECONNABORTED, EINTR,	  EPROTO,     ENETDOWN,	   EPERM, ENOPROTOOPT,
				      EHOSTDOWN,    EHOSTUNREACH, EOPNOTSUPP, ENETUNREACH, ENONET };
	int errors[THEIRS];

	(void)state;
	for (size_t i = 0; i < THEIRS; i++)
		errors[i] = theirs[i % ARRAY_SIZE(theirs)];
	fail_with(errors, THEIRS, false);
	open_door(GUESTS);
	dial(1);
	wait_for(&faults.failed, THEIRS);
	wait_for(&rig.given, 1);
}

/* Between any two failures the door has waited. */
static void expect_pauses(void)
{
	wait_for(&faults.failed, 3);
	assert_false(atomic_load(&paused_wrongly));
}

/* It tries again when somebody leaves, and otherwise now and then, not as fast as it can. */
static void without_descriptors_it_waits_and_goes_on(void **state)
{
	static const int errors[] = { EMFILE, ENFILE, ENOBUFS, ENOMEM };

	(void)state;
	open_door(GUESTS);
	dial(1);
	wait_for(&rig.given, 1);
	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		fail_with(&errors[i], 1, true);
		dial(1);
		expect_pauses();
		fail_with(NULL, 0, false);
		door_left(rig.door, 0);
		wait_for(&rig.given, 1);
	}
}

static void what_nobody_expects_does_not_make_it_spin(void **state)
{
	static const int error = EINVAL;

	(void)state;
	fail_with(&error, 1, true);
	open_door(GUESTS);
	dial(1);
	expect_pauses();
	fail_with(NULL, 0, false);
	door_left(rig.door, 0);
	wait_for(&rig.given, 1);
}

static void shut_it_lets_nobody_in(void **state)
{
	int given;

	(void)state;
	open_door(GUESTS);
	dial(20);
	door_shut(rig.door);
	given = rig.kept;
	dial(20);
	/* What desks still tell it is taken. */
	for (int i = 0; i < given; i++)
		leave(i % DESKS, 1);
	door_shut(rig.door);
	assert_int_equal(rig.kept, given);
	door_free(TAKE_PTR(rig.door));
	assert_int_equal(rig.kept, given);
}

static void it_can_be_shut_in_every_state(void **state)
{
	static const int error = EMFILE;

	(void)state;
	assert_int_equal(door_new(rig.listener, DESKS, 1, give_cb, &rig, &rig.door), 0);
	door_free(TAKE_PTR(rig.door)); /* never opened */
	open_door(1);
	dial(3);
	wait_for(&rig.given, 1);
	door_free(TAKE_PTR(rig.door)); /* full */
	fail_with(&error, 1, true);
	open_door(1);
	wait_for(&faults.failed, 1);
	door_free(TAKE_PTR(rig.door)); /* short */
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(those_who_stay_are_spread_evenly),
		TEST(so_are_those_who_leave_at_once),
		TEST(nobody_is_let_in_beyond_the_places),
		TEST(who_was_refused_takes_no_place),
		TEST(nor_does_for_long_who_never_begins),
		TEST(who_begins_after_all_is_counted_again),
		TEST(who_is_slow_is_not_given_up_for_want_of_descriptors),
		TEST(what_becomes_of_others_is_no_hindrance),
		TEST(without_descriptors_it_waits_and_goes_on),
		TEST(what_nobody_expects_does_not_make_it_spin),
		TEST(shut_it_lets_nobody_in),
		TEST(it_can_be_shut_in_every_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
