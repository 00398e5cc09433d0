/* hangup.h: SIGHUP does not end a program that has not come to watch for it yet.
 *
 * A supervisor may ask for a reload while the program still starts, and what a signal does by itself is to end it: a
 * worker or broker would be gone without a word. So it is held back from the first line of main() on, and delivered
 * once there is somebody to take it.
 */
#ifndef RAINCHECK_PROTO_BASE_HANGUP_H
#define RAINCHECK_PROTO_BASE_HANGUP_H

/* Call it first in main(): threads started afterwards hold it back as long as they live. */
void hangup_hold(void);
/* From here on it is delivered, one that came meanwhile at once. The same thread; after its handler is set, or where
 * the program is to do without one. */
void hangup_release(void);
/* From here on it is nothing to the program, whichever thread it comes to: for its end, where whoever has watched for
 * it closes, which brings back what the signal does by itself. Hold it before, ignore it afterwards. */
void hangup_ignore(void);

#endif
