/* Worker: a thread that does for control what may take long, so that control goes on serving:
 * populating log memory, writing and syncing state files.
 *
 *      control                     worker
 *      worker_post(job) ---------> job->run       one at a time, in the order they were posted
 *      job->done  <--------------- wakes control  in worker_collect, in the same order
 *
 * Role: the thread and its two queues. Must not know: what jobs do.
 *
 * Threads: every function belongs to control. A job is the worker's from worker_post until its
 * `done` is called. */
#ifndef LEAT_BROKER_CONTROL_WORKER_H
#define LEAT_BROKER_CONTROL_WORKER_H

#include <stdbool.h>
#include <sys/queue.h>

#include "schema/error.h"

struct worker;

/* Embedded in whatever it is about; both are set by who posts it. */
struct worker_job {
    void (*run)(struct worker_job *job);  /* on the worker's thread */
    void (*done)(struct worker_job *job); /* on control's; may post and free the job */
    TAILQ_ENTRY(worker_job) node;         /* the worker's */
};

/* `wake`: an eventfd that is written when a job has run. LEAT_ERR_NO_MEMORY. */
enum leat_error worker_open(struct worker **out, int wake);
/* The first one starts the thread, in which signals are blocked. When there is none to be had the
 * job runs at once, here. */
void worker_post(struct worker *worker, struct worker_job *job);
/* Calls `done` of every job that has run. True when there was one. */
bool worker_collect(struct worker *worker);
/* Waits until every job has run, those that `done` posts too, and collects them. */
void worker_drain(struct worker *worker);
/* Drains it and ends the thread. NULL: nothing. */
void worker_close(struct worker *worker);

#endif
