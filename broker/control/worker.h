/* Worker: a thread that runs blocking jobs for control, so that control keeps serving: populating
 * log memory, writing and syncing state files.
 *
 *      control                     worker
 *      worker_post(job) ---------> job->run       one at a time, in the order posted
 *      job->done  <--------------- wakes control  in worker_collect, in the same order
 *
 * Role: the thread and its two queues.
 * Must not know: what jobs do.
 *
 * Threads: control calls every function. The worker owns a job from worker_post until `done` is
 * called. */
#ifndef LEAT_BROKER_CONTROL_WORKER_H
#define LEAT_BROKER_CONTROL_WORKER_H

#include <stdbool.h>
#include <sys/queue.h>

#include "schema/error.h"

struct worker;

/* Embedded in the caller's struct. The caller sets `run` and `done`. */
struct worker_job {
    void (*run)(struct worker_job *job);  /* on the worker's thread */
    void (*done)(struct worker_job *job); /* on the control thread; may post or free the job */
    TAILQ_ENTRY(worker_job) node;         /* the worker's */
};

/* `wake`: an eventfd that is written after a job has run. LEAT_ERR_NO_MEMORY. */
enum leat_error worker_open(struct worker **out, int wake);
/* Queues a job. The first call starts the thread, with all signals blocked. If it cannot be
 * created, the job runs at once on the calling thread. */
void worker_post(struct worker *worker, struct worker_job *job);
/* Calls `done` of every job that has run. True: there was one. */
bool worker_collect(struct worker *worker);
/* Waits until every job has run, including those posted by `done`, and collects them. */
void worker_drain(struct worker *worker);
/* Drains the queue, ends the thread and frees the worker. NULL is a no-op. */
void worker_close(struct worker *worker);

#endif
