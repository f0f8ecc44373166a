/* Creates and deletes topics at run time. The worker does what may block: populating log memory,
 * storing the catalog, unmapping memory.
 *
 *      create:  [ worker: memory ] -> into the catalog -> [ worker: store ] -> published, answered
 *      delete:  out of the catalog -> [ worker: store ] -> unpublished -> [ shards release it ]
 *                   -> [ RCU grace period ] -> [ worker: memory ] -> answered
 *
 * A refused request leaves nothing behind.
 * Must not know: requests, how a log takes its memory. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/control/control_topic_registry.h"
#include "broker/shard/owned_partition.h"
#include "broker/shared/tsan.h"
#include "ops/log.h"

struct creation {
    struct worker_job job;
    struct catalog_waiter waiter;
    struct control *control;
    struct operation *op;
    struct catalog_topic *known; /* not in the catalog until its memory is open ... */
    bool comes_back;             /* ... unless it was left out at startup; then `op` is NULL */
    struct topic *topic;
    bool lacks_descriptors;
    enum leat_error error;
    char error_text[CONTROL_ERROR_TEXT];
    LIST_ENTRY(creation) node;
};

/* ---- creating */

bool creation_is_under_way(const struct control *control, const char *name)
{
    const struct creation *creation;
    LIST_FOREACH(creation, &control->creations, node)
    {
        if (strcmp(creation->known->name, name) == 0)
            return true;
    }
    return false;
}

static void end_creation(struct control *control, struct creation *creation)
{
    LIST_REMOVE(creation, node);
    if (creation->op != NULL)
        operation_free(control, creation->op);
    free(creation);
}

/* Answers with an error and frees the topic, which no shard has. */
static void refuse_creation(struct control *control, struct creation *creation,
                            enum leat_error error, const char *error_text)
{
    const struct operation *op = creation->op;
    control_conn_refuse(control, op->owner, op->request, error, "%s", error_text);
    catalog_drop(control->options.catalog, creation->known);
    end_creation(control, creation);
}

static void nothing_more(struct control *control, struct catalog_waiter *waiter,
                         enum leat_error error, const char *error_text)
{
    (void)control;
    (void)error;
    (void)error_text;
    free(waiter);
}

/* The topic was stored, then refused: stores the catalog without it, so that a restart does not
 * bring it back. */
static void store_again(struct control *control)
{
    struct catalog_waiter *waiter = calloc(1, sizeof *waiter);
    if (waiter == NULL)
        return; /* the next change stores the catalog */
    waiter->stored = nothing_more;
    catalog_store(control, waiter);
}

static void creation_stored(struct control *control, struct catalog_waiter *waiter,
                            enum leat_error error, const char *error_text)
{
    struct creation *creation = caa_container_of(waiter, struct creation, waiter);
    const struct operation *op = creation->op;
    char text[CONTROL_ERROR_TEXT];
    snprintf(text, sizeof text, "%s", error_text);
    const bool stored = error == LEAT_OK;
    if (stored)
        error = topic_registry_publish(control, creation->topic, text);
    else
        topic_registry_free_topic(creation->topic);
    if (error != LEAT_OK) {
        catalog_remove(control->options.catalog, creation->known);
        refuse_creation(control, creation, error, text);
        if (stored)
            store_again(control);
        return;
    }
    topic_registry_say_created(creation->topic);
    control_answer_created(control, op->owner, op->request, creation->topic);
    control_group_topic_created(control, creation->topic);
    end_creation(control, creation);
}

static void take_memory(struct worker_job *job)
{
    struct creation *creation = caa_container_of(job, struct creation, job);
    creation->error =
        topic_registry_open_topic(creation->control, creation->known, &creation->topic,
                                  &creation->lacks_descriptors, creation->error_text);
}

/* The memory of a left-out topic was opened, or not. Its entry has stayed in the catalog. */
static void came_back(struct control *control, struct creation *creation)
{
    char error_text[CONTROL_ERROR_TEXT];
    struct catalog_topic *known = creation->known;
    if (creation->error == LEAT_OK
        && topic_registry_publish(control, creation->topic, error_text) == LEAT_OK) {
        known->left_out = false;
        left_out_end(control);
        log_line(LOG_INFO, "topic.came_back", log_text("topic", known->name),
                 log_u64("id", known->id));
        control_group_topic_created(control, creation->topic);
        left_out_try(control);
    } else {
        left_out_failed(control, known);
    }
    end_creation(control, creation);
}

static void memory_taken(struct worker_job *job)
{
    struct creation *creation = caa_container_of(job, struct creation, job);
    struct control *control = creation->control;
    control_take_descriptors(control);
    if (creation->comes_back) {
        came_back(control, creation);
        return;
    }
    if (creation->error == LEAT_OK) {
        topic_registry_say_pages(control, creation->topic);
        catalog_restore(control->options.catalog, creation->known);
        catalog_store(control, &creation->waiter);
        return;
    }
    /* Close a connection that has not said Hello, to free a descriptor. */
    if (creation->lacks_descriptors && control_conn_end_oldest(control)) {
        control_conn_pause_accepting(control); /* keeps the freed descriptor available */
        control_lend_descriptors(control);
        worker_post(control->worker, job);
        return;
    }
    refuse_creation(control, creation, creation->error, creation->error_text);
}

static void start(struct control *control, struct creation *creation)
{
    creation->control = control;
    creation->waiter.stored = creation_stored;
    creation->job = (struct worker_job){ .run = take_memory, .done = memory_taken };
    LIST_INSERT_HEAD(&control->creations, creation, node);
    control_lend_descriptors(control);
    worker_post(control->worker, &creation->job);
}

void creation_begin(struct control *control, struct operation *op, const char *name,
                    const struct topic_settings *settings)
{
    char error_text[CONTROL_ERROR_TEXT] = "not enough memory";
    struct creation *creation = calloc(1, sizeof *creation);
    enum leat_error error = LEAT_ERR_NO_MEMORY;
    if (creation != NULL)
        error = topic_registry_new_known(control, name, settings, &creation->known, error_text);
    if (error != LEAT_OK) {
        control_conn_refuse(control, op->owner, op->request, error, "%s", error_text);
        operation_free(control, op);
        free(creation);
        return;
    }
    creation->op = op;
    start(control, creation);
}

void creation_come_back(struct control *control, struct catalog_topic *known)
{
    struct creation *creation = calloc(1, sizeof *creation);
    if (creation == NULL)
        return; /* retried when memory is freed */
    creation->known = known;
    creation->comes_back = true;
    start(control, creation);
}

/* ---- deleting */

static void send_removals(struct control *control, struct operation *op, const struct topic *topic)
{
    for (uint32_t i = 0; i < op->count; i++) {
        op->parts[i].shard = topic->partitions[i].shard;
        op->parts[i].message = (struct message){ .type = MESSAGE_REMOVE_PARTITION,
                                                 .topic_id = topic->id,
                                                 .partition_index = i,
                                                 .partition = topic->partitions[i].partition,
                                                 .owned = topic->partitions[i].owned };
    }
    operation_send(control, op);
}

static void deletion_stored(struct control *control, struct catalog_waiter *waiter,
                            enum leat_error error, const char *error_text)
{
    struct operation *op = caa_container_of(waiter, struct operation, deletion.waiter);
    struct catalog_topic *known = op->deletion.known;
    op->deletion.known = NULL;
    const struct topic *topic = topics_find(control->options.topics, known->id);
    if (error != LEAT_OK) {
        catalog_restore(control->options.catalog, known);
        topic_registry_want_all(control, topic); /* requests made meanwhile were dropped */
        control_conn_refuse(control, op->owner, op->request, error, "%s", error_text);
        operation_free(control, op);
        return;
    }
    assert(topic != NULL && op->count == topic->settings.partitions);
    log_line(LOG_INFO, "topic.deleted", log_text("topic", topic->name), log_u64("id", topic->id));
    groups_topic_removed(&control->groups, topic->name, topic->id);
    catalog_drop(control->options.catalog, known);
    send_removals(control, op, topic);
    topics_remove(control->options.topics, (struct topic *)topic);
    topic_registry_count_topics(control);
}

void deletion_begin(struct control *control, struct operation *op, const struct topic *topic)
{
    struct catalog_topic *known = catalog_find(control->options.catalog, topic->id);
    assert(known != NULL);
    catalog_remove(control->options.catalog, known);
    op->deletion.known = known;
    op->deletion.waiter.stored = deletion_stored;
    catalog_store(control, &op->deletion.waiter);
}

static void left_out_stored(struct control *control, struct catalog_waiter *waiter,
                            enum leat_error error, const char *error_text)
{
    struct operation *op = caa_container_of(waiter, struct operation, deletion.waiter);
    struct catalog_topic *known = op->deletion.known;
    if (error != LEAT_OK) {
        catalog_restore(control->options.catalog, known);
        control_conn_refuse(control, op->owner, op->request, error, "%s", error_text);
    } else {
        log_line(LOG_INFO, "topic.deleted", log_text("topic", known->name),
                 log_u64("id", known->id));
        groups_topic_removed(&control->groups, known->name, known->id);
        catalog_drop(control->options.catalog, known);
        left_out_end(control);
        control_conn_done(control, op->owner, op->request);
    }
    operation_free(control, op);
}

void deletion_of_left_out(struct control *control, struct operation *op,
                          struct catalog_topic *known)
{
    catalog_remove(control->options.catalog, known);
    op->deletion.known = known;
    op->deletion.waiter.stored = left_out_stored;
    catalog_store(control, &op->deletion.waiter);
}

/* ---- the memory of deleted topics */

static void close_memory(struct worker_job *job)
{
    const struct operation *op = caa_container_of(job, struct operation, deletion.job);
    for (uint32_t i = 0; i < op->count; i++)
        partition_close(op->parts[i].message.partition);
}

static void memory_closed(struct worker_job *job)
{
    struct operation *op = caa_container_of(job, struct operation, deletion.job);
    struct control *control = op->deletion.control;
    for (uint32_t i = 0; i < op->count; i++)
        free(op->parts[i].message.owned);
    control_conn_done(control, op->owner, op->request);
    operation_free(control, op);
    topic_registry_count_topics(control);
    left_out_try(control);
}

/* On the RCU thread, after the grace period: no thread reads the topic any more. */
static void give_back(struct rcu_head *head)
{
    struct operation *op = caa_container_of(head, struct operation, deletion.rcu);
    tsan_take(op);
    struct control *control = op->deletion.control;
    const uint64_t one = 1;
    op->deletion.next = atomic_load_explicit(&control->reapable, memory_order_relaxed);
    /* Release: pairs with the exchange in deletion_close_reaped. */
    while (!atomic_compare_exchange_weak_explicit(&control->reapable, &op->deletion.next, op,
                                                  memory_order_release, memory_order_relaxed))
        ;
    const ssize_t wrote = write(control->options.wake, &one, sizeof one);
    (void)wrote; /* a full eventfd wakes too */
}

void deletion_reap(struct control *control, struct operation *op)
{
    op->deletion.control = control;
    tsan_give(op);
    call_rcu(&op->deletion.rcu, give_back);
}

void deletion_close_reaped(struct control *control)
{
    /* Acquire: pairs with the release in give_back. */
    struct operation *op = atomic_exchange_explicit(&control->reapable, NULL, memory_order_acquire);
    while (op != NULL) {
        struct operation *next = op->deletion.next;
        op->deletion.job = (struct worker_job){ .run = close_memory, .done = memory_closed };
        worker_post(control->worker, &op->deletion.job);
        op = next;
    }
}

void deletion_abandon(struct operation *op)
{
    if (op->kind != OPERATION_DELETE_TOPIC)
        return;
    for (uint32_t i = 0; i < op->count; i++) {
        partition_close(op->parts[i].message.partition);
        free(op->parts[i].message.owned);
    }
}
