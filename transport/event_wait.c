/* Wait on an epoll instance with a timeout in nanoseconds, and remove descriptors from it. */
#include "transport/event_wait.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>

/* epoll_pwait2 was refused: kernels before 5.11 return ENOSYS, older seccomp profiles EPERM. */
static atomic_bool refused;

int event_wait(int epoll, struct epoll_event *events, int max, leat_ns timeout)
{
    if (timeout == LEAT_NS_NEVER)
        return epoll_wait(epoll, events, max, -1);
    if (timeout == 0)
        return epoll_wait(epoll, events, max, 0);
    if (!atomic_load_explicit(&refused, memory_order_relaxed)) {
        const struct timespec at_most = { .tv_sec = (time_t)(timeout / LEAT_NS_PER_S),
                                          .tv_nsec = (long)(timeout % LEAT_NS_PER_S) };
        const int ready = epoll_pwait2(epoll, events, max, &at_most, NULL);
        if (ready >= 0 || errno == EINTR)
            return ready;
        atomic_store_explicit(&refused, true, memory_order_relaxed);
    }
    const leat_ns ms = timeout / LEAT_NS_PER_MS + (timeout % LEAT_NS_PER_MS != 0);
    return epoll_wait(epoll, events, max, ms > INT32_MAX ? INT32_MAX : (int)ms);
}

void event_close(int epoll, int fd)
{
    epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL);
    close(fd);
}
