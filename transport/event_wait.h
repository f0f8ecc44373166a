/* Waiting on an epoll instance with a timeout in nanoseconds, and leaving it.
 *
 * Role: the one place that knows which system call does it here. Must not know: what is waited for.
 * Threads: any; one at a time per epoll instance and event array. */
#ifndef LEAT_TRANSPORT_EVENT_WAIT_H
#define LEAT_TRANSPORT_EVENT_WAIT_H

#include <sys/epoll.h>

#include "schema/units.h"

/* Waits for events of `epoll` for at most `timeout` nanoseconds; 0: does not wait; LEAT_NS_NEVER:
 * without a limit. Fills up to `max` of `events` and returns how many; 0 on a timeout; -1 with
 * errno, as epoll_wait does. Where the kernel or a seccomp profile refuses epoll_pwait2, the
 * timeout is rounded up to milliseconds, and epoll_pwait2 is not tried again in this process. */
int event_wait(int epoll, struct epoll_event *events, int max, leat_ns timeout);

/* Takes `fd` out of the set of `epoll`, where it may or may not be, and closes it: no later event
 * names it. Closing alone ends its events only when nobody else holds the open file. Another thread
 * does in the middle of a system call on it (DPDK ports look at every descriptor of the process),
 * and so does a process that inherited it. */
void event_close(int epoll, int fd);

#endif
