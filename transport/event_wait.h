/* Wait on an epoll instance with a timeout in nanoseconds, and remove descriptors from it.
 *
 * Role: chooses the system call that this kernel offers.
 * Must not know: what is waited for.
 * Threads: any; one at a time per epoll instance and event array. */
#ifndef LEAT_TRANSPORT_EVENT_WAIT_H
#define LEAT_TRANSPORT_EVENT_WAIT_H

#include <sys/epoll.h>

#include "schema/units.h"

/* Waits for events of `epoll` for at most `timeout` nanoseconds; 0: does not block; LEAT_NS_NEVER:
 * no timeout. Fills up to `max` entries of `events` and returns their number. Returns 0 on a
 * timeout and -1 with errno set, like epoll_wait. Where the kernel or a seccomp profile refuses
 * epoll_pwait2, the timeout is rounded up to milliseconds, and this process does not try
 * epoll_pwait2 again. */
int event_wait(int epoll, struct epoll_event *events, int max, leat_ns timeout);

/* Removes `fd` from `epoll`, if it is registered there, and closes it. No later event refers to it.
 * close() alone ends the events only once the last reference to the open file description is gone.
 * Another thread holds one during a system call on the descriptor (DPDK ports inspect every
 * descriptor of the process), and so does a process that inherited it. */
void event_close(int epoll, int fd);

#endif
