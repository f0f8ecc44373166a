/* Worker: a thread that runs blocking jobs for control. */
#include "broker/control/worker.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

TAILQ_HEAD(worker_jobs, worker_job);

struct worker {
    pthread_t thread;
    pthread_mutex_t lock; /* protects the queues, `busy` and `ending` */
    pthread_cond_t posted, ran;
    struct worker_jobs waiting, finished;
    _Atomic bool any_finished; /* read without the lock: control polls it often */
    bool started;              /* control's: the thread was started */
    uint32_t pending;          /* control's: jobs posted and not done */
    bool busy;                 /* a job is running */
    bool ending;
    int wake;
};

static void *run_jobs(void *arg)
{
    struct worker *w = arg;
    const uint64_t one = 1;
    pthread_mutex_lock(&w->lock);
    for (;;) {
        struct worker_job *job;
        while ((job = TAILQ_FIRST(&w->waiting)) == NULL && !w->ending)
            pthread_cond_wait(&w->posted, &w->lock);
        if (job == NULL)
            break;
        TAILQ_REMOVE(&w->waiting, job, node);
        w->busy = true;
        pthread_mutex_unlock(&w->lock);
        job->run(job);
        pthread_mutex_lock(&w->lock);
        w->busy = false;
        TAILQ_INSERT_TAIL(&w->finished, job, node);
        atomic_store_explicit(&w->any_finished, true, memory_order_relaxed);
        pthread_cond_signal(&w->ran);
        const ssize_t wrote = write(w->wake, &one, sizeof one);
        (void)wrote; /* a full eventfd wakes too */
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

/* The thread blocks all signals: control reads them from its signalfd. */
static bool start_thread(struct worker *w)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int failed = pthread_create(&w->thread, NULL, run_jobs, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed == 0;
}

enum leat_error worker_open(struct worker **out, int wake)
{
    struct worker *w = calloc(1, sizeof *w);
    if (w == NULL)
        return LEAT_ERR_NO_MEMORY;
    w->wake = wake;
    TAILQ_INIT(&w->waiting);
    TAILQ_INIT(&w->finished);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->posted, NULL);
    pthread_cond_init(&w->ran, NULL);
    *out = w;
    return LEAT_OK;
}

/* The thread could not be created: runs the job on the control thread, which blocks it. */
static void run_here(struct worker *w, struct worker_job *job)
{
    const uint64_t one = 1;
    job->run(job);
    TAILQ_INSERT_TAIL(&w->finished, job, node);
    atomic_store_explicit(&w->any_finished, true, memory_order_relaxed);
    const ssize_t wrote = write(w->wake, &one, sizeof one);
    (void)wrote;
}

void worker_post(struct worker *w, struct worker_job *job)
{
    w->pending++;
    if (!w->started && !(w->started = start_thread(w))) {
        run_here(w, job);
        return;
    }
    pthread_mutex_lock(&w->lock);
    TAILQ_INSERT_TAIL(&w->waiting, job, node);
    pthread_cond_signal(&w->posted);
    pthread_mutex_unlock(&w->lock);
}

static struct worker_job *take_finished(struct worker *w)
{
    pthread_mutex_lock(&w->lock);
    struct worker_job *job = TAILQ_FIRST(&w->finished);
    if (job != NULL)
        TAILQ_REMOVE(&w->finished, job, node);
    else
        atomic_store_explicit(&w->any_finished, false, memory_order_relaxed);
    pthread_mutex_unlock(&w->lock);
    return job;
}

bool worker_collect(struct worker *w)
{
    struct worker_job *job;
    bool any = false;
    /* Relaxed: the lock orders the accesses that follow, and the worker wakes control after setting
     * it. */
    if (!atomic_load_explicit(&w->any_finished, memory_order_relaxed))
        return false;
    while ((job = take_finished(w)) != NULL) {
        w->pending--;
        job->done(job);
        any = true;
    }
    return any;
}

void worker_drain(struct worker *w)
{
    bool idle = w->pending == 0;
    while (!idle) {
        worker_collect(w);
        pthread_mutex_lock(&w->lock);
        while (TAILQ_EMPTY(&w->finished) && (w->busy || !TAILQ_EMPTY(&w->waiting)))
            pthread_cond_wait(&w->ran, &w->lock);
        idle = TAILQ_EMPTY(&w->finished);
        pthread_mutex_unlock(&w->lock);
    }
}

void worker_close(struct worker *w)
{
    if (w == NULL)
        return;
    worker_drain(w);
    pthread_mutex_lock(&w->lock);
    w->ending = true;
    pthread_cond_signal(&w->posted);
    pthread_mutex_unlock(&w->lock);
    if (w->started)
        pthread_join(w->thread, NULL);
    pthread_cond_destroy(&w->posted);
    pthread_cond_destroy(&w->ran);
    pthread_mutex_destroy(&w->lock);
    free(w);
}
