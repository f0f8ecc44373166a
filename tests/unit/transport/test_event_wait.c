/* Goal: waiting works where epoll_pwait2 is refused, in whatever way, and waits no shorter than it
 * was told. Method: each test is a process of its own with a seccomp filter, over an eventfd. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "tests/support/refuse.h"
#include "transport/event_wait.h"

static leat_ns now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (leat_ns)now.tv_sec * LEAT_NS_PER_S + (leat_ns)now.tv_nsec;
}

/* What holds however the kernel answers. */
static void check_waits(void)
{
    struct epoll_event out[4], event = { .events = EPOLLIN };
    const int epoll = epoll_create1(EPOLL_CLOEXEC), fd = eventfd(0, EFD_CLOEXEC);
    cr_assert(epoll >= 0 && fd >= 0);
    cr_assert_eq(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event), 0);
    for (int i = 0; i < 3; i++) {
        const leat_ns begun = now_ns();
        cr_assert_eq(event_wait(epoll, out, 4, 1500000), 0, "nothing is there: %d", errno);
        cr_assert_geq(now_ns() - begun, 1500000u, "it does not spin");
    }
    cr_assert_eq(event_wait(epoll, out, 4, 0), 0);
    cr_assert_eq(eventfd_write(fd, 1), 0);
    cr_assert_eq(event_wait(epoll, out, 4, 0), 1);
    cr_assert_eq(event_wait(epoll, out, 4, 10 * LEAT_NS_PER_S), 1);
    cr_assert_eq(event_wait(epoll, out, 4, UINT64_MAX - 1), 1, "a timeout above what an int holds");
    cr_assert_eq(event_wait(epoll, out, 4, LEAT_NS_NEVER), 1);
    close(fd);
    close(epoll);
}

Test(event_wait, with_what_this_kernel_has)
{
    check_waits();
}

ParameterizedTestParameters(event_wait, where_the_call_is_refused)
{
    static int errors[] = { ENOSYS, EPERM, EACCES };
    return cr_make_param_array(int, errors, sizeof errors / sizeof errors[0]);
}

ParameterizedTest(int *error, event_wait, where_the_call_is_refused)
{
    if (!refuse_call(SYS_epoll_pwait2, *error))
        cr_skip_test("no seccomp filters here");
    check_waits();
}

Test(event_wait, a_wrong_descriptor_is_an_error)
{
    struct epoll_event out[1];
    cr_assert_eq(event_wait(-1, out, 1, LEAT_NS_PER_S), -1);
    cr_assert_eq(errno, EBADF);
}
