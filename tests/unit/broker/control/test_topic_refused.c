/* Goal: a topic whose memory is refused ends those who have not said Hello where descriptors are
 * what lacks, and nobody where it is something else. Method: control itself in this process;
 * filters that refuse the call by which log memory is made, with the one error or the other. */
#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <urcu-qsbr.h>

#include "tests/support/control_rig.h"
#include "tests/support/refuse.h"
#include "tests/support/wire.h"

enum { GREETERS = 4, PATIENCE_MS = 20000 };

static struct control_rig rig;
static int greeters[GREETERS];

static void set_up(void)
{
    rig_init(&rig);
    rig.config.hugepages = LOGMEM_NORMAL;
    rig_open(&rig);
}

static void tear_down(void)
{
    rig_close(&rig);
}

TestSuite(topic_refused, .init = set_up, .fini = tear_down, .timeout = 60);

static unsigned still_there(void)
{
    unsigned count = 0;
    for (int i = 0; i < GREETERS; i++) {
        char byte;
        count += recv(greeters[i], &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
    }
    return count;
}

/* Until it is answered: by the worker, who wakes control. */
static int create(int fd)
{
    Leat__Control__TopicSettings settings = LEAT__CONTROL__TOPIC_SETTINGS__INIT;
    Leat__Control__CreateTopic ask = LEAT__CONTROL__CREATE_TOPIC__INIT;
    settings.ring_bytes = LEAT_RING_BYTES_MIN;
    settings.record_bytes_max = 1024;
    ask.name = (char *)"big";
    ask.settings = &settings;
    rig_send(&rig, fd, LEAT__CONTROL__REQUEST__BODY_CREATE_TOPIC, &ask);
    struct pollfd readable[] = { { .fd = fd, .events = POLLIN },
                                 { .fd = rig.wake, .events = POLLIN } };
    while (poll(readable, 1, 0) == 0) {
        rig_step(&rig, LEAT_NS_PER_MS);
        rcu_thread_offline();
        cr_assert_gt(poll(readable, 2, PATIENCE_MS), 0, "no answer comes");
        rcu_thread_online();
    }
    return rig_error(wire_response(fd), NULL);
}

/* `error` of the kernel at each attempt; how many greeters are left. */
static void refuse_with(int error, unsigned left)
{
    const int fd = rig_peer(&rig, "127.0.0.1");
    for (int i = 0; i < GREETERS; i++)
        greeters[i] = wire_connect(control_address(rig.control));
    rig_pass(&rig, LEAT_NS_PER_S, 10); /* idle for long enough to give way */
    cr_assert_eq(still_there(), GREETERS);
    if (!refuse_call(SYS_memfd_create, error))
        cr_skip_test("no seccomp filters here");
    cr_assert_eq(create(fd), LEAT_ERR_NO_MEMORY);
    cr_assert_eq(still_there(), left, "%s: %u of %d who never said Hello are left, expected %u",
                 strerror(error), still_there(), GREETERS, left);
    close(fd);
}

Test(topic_refused, who_never_said_hello_gives_way_where_the_process_lacks_descriptors)
{
    refuse_with(EMFILE, 0);
}

Test(topic_refused, who_never_said_hello_gives_way_where_the_machine_lacks_descriptors)
{
    refuse_with(ENFILE, 0);
}

Test(topic_refused, nobody_gives_way_where_memory_lacks)
{
    refuse_with(ENOMEM, GREETERS);
}
