/* DPDK hold: blocks EAL's interrupt thread while a device is closed.
 *
 * A driver that stops unregisters its interrupt handlers. EAL refuses that while a handler runs,
 * and DPDK 22.11's virtio-user ignores the refusal: the device is freed while EAL's thread runs in
 * it, or later runs the alarm that a link going down has set. memif never unregisters the handler
 * of its listener. So a device is closed in two steps. During each, EAL's thread is blocked in a
 * handler of ours (for memif that of link_dpdk_memif_quiesce.c), so that it runs no other handler:
 *
 *      stop, held: handlers unregister | everything due runs | close, held: memory is freed
 *
 * Role: holding EAL's interrupt thread.
 * Must not know: devices.
 * Threads: any but EAL's interrupt thread, one call at a time; the handlers EAL's. */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <rte_alarm.h>
#include <rte_interrupts.h>

#include "transport/link_dpdk_port.h"

enum {
    HURRY_NS = 5000000 /* then the quiesce handler, where the thread may wait, is woken again */
};

static struct {
    pthread_mutex_t mutex; /* guards all fields */
    pthread_cond_t changed;
    struct rte_intr_handle *handle; /* NULL: not installed */
    int call;                       /* eventfd that makes EAL call hold_thread */
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

static void hold_thread(void *unused)
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
        && rte_intr_callback_register(hold.handle, hold_thread, NULL) == 0)
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

static void post(void *due)
{
    sem_post(due);
}

/* Alarms run in the order of their times: those due earlier have run before ours. */
void link_dpdk_run_due(void)
{
    sem_t due;
    sem_init(&due, 0, 0);
    if (rte_eal_alarm_set(1, post, &due) == 0) {
        struct timespec until = soon();
        while (sem_timedwait(&due, &until) != 0) {
            link_dpdk_memif_quiesce_hurry();
            until = soon();
        }
    }
    sem_destroy(&due);
}
