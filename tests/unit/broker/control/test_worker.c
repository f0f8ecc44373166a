/* Goal: jobs run in order on a thread of their own, each `done` is called once on the caller's
 * thread, and nothing is left behind at the end. Method: the worker with jobs that note where and
 * when they ran; one that waits for the caller shows that the caller goes on meanwhile. */
#include <criterion/criterion.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "broker/control/worker.h"

enum { JOBS = 1000 };

static struct {
    struct worker *worker;
    int wake;
    pthread_t caller;
    unsigned ran, done;
    sem_t gate;
} rig;

struct numbered {
    struct worker_job job;
    unsigned number;
    unsigned again; /* posts itself so often when it is done */
};

static void run_numbered(struct worker_job *job)
{
    const struct numbered *n = (const void *)((char *)job - offsetof(struct numbered, job));
    cr_assert_not(pthread_equal(pthread_self(), rig.caller));
    cr_assert(n->again != 0 || n->number == rig.ran, "job %u runs as number %u", n->number,
              rig.ran);
    rig.ran++;
}

static void done_numbered(struct worker_job *job)
{
    struct numbered *n = (void *)((char *)job - offsetof(struct numbered, job));
    cr_assert(pthread_equal(pthread_self(), rig.caller));
    rig.done++;
    if (n->again > 1) {
        n->again--;
        worker_post(rig.worker, job);
    }
}

static void wait_at_gate(struct worker_job *job)
{
    (void)job;
    sem_wait(&rig.gate);
}

static void set_up(void)
{
    rig.caller = pthread_self();
    rig.wake = eventfd(0, EFD_NONBLOCK);
    sem_init(&rig.gate, 0, 0);
    cr_assert_eq(worker_open(&rig.worker, rig.wake), LEAT_OK);
}

static void tear_down(void)
{
    worker_close(rig.worker);
    close(rig.wake);
    sem_destroy(&rig.gate);
}

TestSuite(worker, .init = set_up, .fini = tear_down, .timeout = 60);

Test(worker, jobs_run_in_order_and_each_is_done_once)
{
    static struct numbered jobs[JOBS];
    for (unsigned i = 0; i < JOBS; i++) {
        jobs[i] =
            (struct numbered){ .job = { .run = run_numbered, .done = done_numbered }, .number = i };
        worker_post(rig.worker, &jobs[i].job);
    }
    worker_drain(rig.worker);
    cr_assert_eq(rig.ran, (unsigned)JOBS);
    cr_assert_eq(rig.done, (unsigned)JOBS);
    cr_assert_not(worker_collect(rig.worker));
}

Test(worker, the_caller_goes_on_while_a_job_takes_long_and_is_woken_after_it)
{
    struct numbered slow = { .job = { .run = wait_at_gate, .done = done_numbered } };
    struct pollfd wake = { .fd = rig.wake, .events = POLLIN };
    worker_post(rig.worker, &slow.job);
    cr_assert_not(worker_collect(rig.worker), "it has not run");
    cr_assert_eq(poll(&wake, 1, 0), 0);
    sem_post(&rig.gate);
    cr_assert_eq(poll(&wake, 1, -1), 1);
    cr_assert(worker_collect(rig.worker));
    cr_assert_eq(rig.done, 1u);
}

Test(worker, what_is_posted_by_a_job_that_is_done_is_drained_too)
{
    struct numbered again = { .job = { .run = run_numbered, .done = done_numbered }, .again = 5 };
    worker_post(rig.worker, &again.job);
    worker_drain(rig.worker);
    cr_assert_eq(rig.done, 5u);
}
