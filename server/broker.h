/* broker.h: the whole broker: owns every part and the order in which they start and stop.
 *
 * For the main thread. It logs what an operator has to know; a start that fails leaves nothing running.
 */
#ifndef RAINCHECK_SERVER_BROKER_H
#define RAINCHECK_SERVER_BROKER_H

struct config;

/* Serves until SIGTERM or SIGINT. Prints the line "ready rpc=ADDRESS http=HOST:PORT" on standard output when it
 * serves, with a further rpc=ADDRESS for each further listener. 0 after an orderly end, else the error that kept it
 * from starting. */
int broker_run(const struct config *config);

#endif
