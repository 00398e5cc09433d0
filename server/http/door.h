/* door.h: accepts connections, and gives each to the desk that has the fewest.
 *
 * A desk is a thread that serves connections. Did the desks accept for themselves, whichever is awake would take all
 * that come, and connections that stay could leave one core idle and another with all the work.
 *
 *   OPEN ──every place is taken──────────────▶ FULL ───somebody leaves──────────────────────▶ OPEN
 *     ├────no descriptor, or no memory───────▶ SHORT ──somebody leaves, or a second is over──▶ OPEN
 *     └────door_free()───────────────────────▶ gone, whatever it is
 *
 * While it is FULL or SHORT, whoever comes waits in the system's queue of the listening socket, up to its length.
 */
#ifndef RAINCHECK_HTTP_DOOR_H
#define RAINCHECK_HTTP_DOOR_H

#include <stdbool.h>
#include <sys/socket.h>

#define DOOR_DESKS_MAX 16

struct door;

/* Gives a connection to a desk, which then owns the socket: it does not block, and is closed on exec. False where the
 * desk cannot have it: then it is closed. On the door's thread. */
typedef bool (*door_give_cb)(void *user, int desk, int fd, const struct sockaddr *peer, socklen_t peer_size);

/* For a listening socket that does not block and stays the caller's. desks: at least one. places: for all desks
 * together. ERR_NO_MEMORY, ERR_IO. */
int door_new(int listener, int desks, int places, door_give_cb give, void *user, struct door **ret);
/* Starts the thread that accepts; at most once. ERR_NO_MEMORY. */
int door_open(struct door *d);
/* Accepts no more, and ends the thread. No desk may tell it anything any more. NULL is taken. */
void door_free(struct door *d);
/* Accepts no more; desks still may tell it of those who leave. Once it has come back, give is called no more. */
void door_shut(struct door *d);

/* What desks tell, from any thread: one that was given is served from now on; one that was served has left. */
void door_begun(struct door *d, int desk);
void door_left(struct door *d, int desk);

#endif
