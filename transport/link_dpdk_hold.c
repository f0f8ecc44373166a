/* DPDK hold: closing a device that EAL's interrupt thread may just be calling.
 *
 * A driver that stops takes its handlers back, but 22.11's virtio-user does not look whether EAL
 * let go of them: while the thread is in one, it does not. The device is freed, and the thread goes
 * on in it, or comes back with the alarm that a link which went down has set. memif leaves the
 * handler of its listener behind for good. So a device is closed in two steps, and the thread
 * stands still during each, in a handler of ours (a memif's in the one of
 * link_dpdk_memif_quiesce.c), where it can be in no other:
 *
 *      stop, still: handlers go | everything that was due runs | close, still: memory goes
 *
 * Role: that. Must not know: devices.
 * Threads: any but EAL's interrupt thread, one at a time; the handlers EAL's. */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <rte_alarm.h>
#include <rte_interrupts.h>

#include "transport/link_dpdk_port.h"

enum { HURRY_NS = 5000000 /* then the gate, in which the thread may wait, is woken once more */ };

static struct {
    pthread_mutex_t mutex; /* of everything here */
    pthread_cond_t changed;
    struct rte_intr_handle *handle; /* NULL: not installed */
    int call;                       /* makes EAL call it */
    enum { FREE, WANTED, HELD } state;
} hold = { .mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

static struct timespec soon(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    t.tv_nsec += HURRY_NS;
    if (t.tv_nsec >= (long)LEAT_NS_PER_S) {
        t.tv_nsec -= (long)LEAT_NS_PER_S;
        t.tv_sec++;
    }
    return t;
}

static void stand(void *unused)
{
    eventfd_t value;
    (void)unused;
    pthread_mutex_lock(&hold.mutex);
    if (eventfd_read(hold.call, &value) == 0 && hold.state == WANTED) {
        hold.state = HELD;
        pthread_cond_broadcast(&hold.changed);
        while (hold.state == HELD)
            pthread_cond_wait(&hold.changed, &hold.mutex);
    }
    pthread_mutex_unlock(&hold.mutex);
}

static bool install(void)
{
    hold.call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    hold.handle = rte_intr_instance_alloc(RTE_INTR_INSTANCE_F_PRIVATE);
    if (hold.call >= 0 && hold.handle != NULL && rte_intr_fd_set(hold.handle, hold.call) == 0
        && rte_intr_type_set(hold.handle, RTE_INTR_HANDLE_EXT) == 0
        && rte_intr_callback_register(hold.handle, stand, NULL) == 0)
        return true;
    rte_intr_instance_free(hold.handle);
    hold.handle = NULL;
    if (hold.call >= 0)
        close(hold.call);
    return false;
}

bool link_dpdk_hold(void)
{
    pthread_mutex_lock(&hold.mutex);
    const bool installed = hold.handle != NULL || install();
    if (installed) {
        hold.state = WANTED;
        eventfd_write(hold.call, 1);
    }
    while (installed && hold.state == WANTED) {
        link_dpdk_memif_quiesce_hurry();
        const struct timespec until = soon();
        pthread_cond_timedwait(&hold.changed, &hold.mutex, &until);
    }
    pthread_mutex_unlock(&hold.mutex);
    return installed;
}

void link_dpdk_let_go(void)
{
    pthread_mutex_lock(&hold.mutex);
    hold.state = FREE;
    pthread_cond_broadcast(&hold.changed);
    pthread_mutex_unlock(&hold.mutex);
}

static void come_about(void *due)
{
    sem_post(due);
}

/* Alarms run in the order of their times. */
void link_dpdk_run_due(void)
{
    sem_t due;
    sem_init(&due, 0, 0);
    if (rte_eal_alarm_set(1, come_about, &due) == 0) {
        struct timespec until = soon();
        while (sem_timedwait(&due, &until) != 0) {
            link_dpdk_memif_quiesce_hurry();
            until = soon();
        }
    }
    sem_destroy(&due);
}
