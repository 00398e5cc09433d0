/* broker_notify.h: tells systemd how the broker is (sd_notify(3)), without its library. Any thread. */
#ifndef RAINCHECK_SERVER_BROKER_NOTIFY_H
#define RAINCHECK_SERVER_BROKER_NOTIFY_H

/* state: "READY=1", "STOPPING=1". Does nothing where nobody listens: $NOTIFY_SOCKET is not set. */
void broker_notify(const char *state);

#endif
