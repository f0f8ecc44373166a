/* A queue each way between control and one thread; see worker.h. Must not know what jobs do. */
#include "broker/control/worker.h"

#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

TAILQ_HEAD(worker_jobs, worker_job);

struct worker {
    pthread_t thread;
    pthread_mutex_t lock; /* of all that follows */
    pthread_cond_t posted, ran;
    struct worker_jobs waiting, finished;
    bool busy; /* a job runs */
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
        TAILQ_REMOVE(&w->waiting, job, link);
        w->busy = true;
        pthread_mutex_unlock(&w->lock);
        job->run(job);
        pthread_mutex_lock(&w->lock);
        w->busy = false;
        TAILQ_INSERT_TAIL(&w->finished, job, link);
        pthread_cond_signal(&w->ran);
        const ssize_t wrote = write(w->wake, &one, sizeof one);
        (void)wrote; /* a full eventfd wakes too */
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

/* Signals are control's: they come through its descriptor. */
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
    if (!start_thread(w)) {
        free(w);
        return LEAT_ERR_NO_MEMORY;
    }
    *out = w;
    return LEAT_OK;
}

void worker_post(struct worker *w, struct worker_job *job)
{
    pthread_mutex_lock(&w->lock);
    TAILQ_INSERT_TAIL(&w->waiting, job, link);
    pthread_cond_signal(&w->posted);
    pthread_mutex_unlock(&w->lock);
}

static struct worker_job *take_finished(struct worker *w)
{
    pthread_mutex_lock(&w->lock);
    struct worker_job *job = TAILQ_FIRST(&w->finished);
    if (job != NULL)
        TAILQ_REMOVE(&w->finished, job, link);
    pthread_mutex_unlock(&w->lock);
    return job;
}

bool worker_collect(struct worker *w)
{
    struct worker_job *job;
    bool any = false;
    while ((job = take_finished(w)) != NULL) {
        job->done(job);
        any = true;
    }
    return any;
}

void worker_drain(struct worker *w)
{
    bool idle = false;
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
    pthread_join(w->thread, NULL);
    pthread_cond_destroy(&w->posted);
    pthread_cond_destroy(&w->ran);
    pthread_mutex_destroy(&w->lock);
    free(w);
}
