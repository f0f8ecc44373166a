/* Stores the catalog, on the worker; waiters are told when their change is durable.
 *
 * One write runs at a time. Changes made meanwhile share the next write, which stores the catalog
 * as it is when that write starts.
 * Must not know: why the catalog has changed. */
#include <stdio.h>
#include <stdlib.h>

#include "broker/control/control_topic_registry.h"
#include "ops/log.h"

#define SAVE_RETRY_NS LEAT_NS_PER_S

/* ---- writing */

static void write_bytes(struct catalog_store *store)
{
    store->error = statefile_write(store->state, &STATEFILE_CATALOG, store->bytes, store->size,
                                   store->error_text);
}

static void run_store(struct worker_job *job)
{
    write_bytes(caa_container_of(job, struct catalog_store, job));
}

/* Notes the limits that are in this write: the shards may use them once it is stored. */
static void note_limits(const struct catalog *catalog)
{
    for (size_t i = 0; i < catalog->count; i++) {
        struct catalog_topic *topic = catalog->topics[i];
        for (uint32_t k = 0; k < topic->settings.partitions; k++)
            topic->partitions[k].written_limit = topic->partitions[k].offset_limit;
    }
}

static bool encode(struct control *control)
{
    struct catalog_store *store = &control->store;
    store->state = control->options.state;
    store->bytes = catalog_encode(control->options.catalog, &store->size);
    if (store->bytes != NULL) {
        note_limits(control->options.catalog);
        return true;
    }
    store->error = LEAT_ERR_NO_MEMORY;
    snprintf(store->error_text, sizeof store->error_text, "no memory to write the catalog");
    return false;
}

/* A failed write may still have reached the disk, so the catalog is written again until it
 * succeeds. */
static void write_later(struct control *control)
{
    control->reserving = true;
    control->save_again = control->now + SAVE_RETRY_NS;
}

/* Frees the buffer, counts and logs. */
static void end_write(struct control *control)
{
    struct catalog_store *store = &control->store;
    free(store->bytes);
    store->bytes = NULL;
    metric_add(&control->counters.catalog_writes, 1);
    if (store->error == LEAT_OK)
        return;
    metric_add(&control->counters.catalog_failures, 1);
    log_line(LOG_ERROR, "catalog.not_stored", log_text("error", store->error_text));
    write_later(control);
}

enum leat_error catalog_store_now(struct control *control, char error_text[CONTROL_ERROR_TEXT])
{
    struct catalog_store *store = &control->store;
    if (control->options.state == NULL)
        return LEAT_OK;
    assert(!store->running);
    if (encode(control)) {
        control_lend_descriptors(control);
        write_bytes(store);
        control_take_descriptors(control);
    }
    end_write(control);
    if (store->error != LEAT_OK)
        snprintf(error_text, CONTROL_ERROR_TEXT, "%s", store->error_text);
    return store->error;
}

/* ---- waiting */

static void begin(struct control *control);

/* Tells waiters as long as the shards have room for mail: each waiter may send a message for every
 * partition of a topic. On an error all waiters must undo their change before the next write, which
 * would store it. */
bool catalog_tell(struct control *control)
{
    struct catalog_store *store = &control->store;
    const enum leat_error error = store->error;
    struct catalog_waiter *waiter;
    if (!store->telling)
        return false;
    while ((waiter = TAILQ_FIRST(&store->writing)) != NULL && !control_congested(control)) {
        TAILQ_REMOVE(&store->writing, waiter, node);
        waiter->stored(control, waiter, error, error != LEAT_OK ? store->error_text : "");
    }
    if (waiter != NULL)
        return true;
    store->telling = store->running = false;
    if (!TAILQ_EMPTY(&store->waiting))
        begin(control);
    return true;
}

static void store_done(struct worker_job *job)
{
    struct control *control = caa_container_of(job, struct control, store.job);
    control_take_descriptors(control);
    end_write(control);
    control->store.telling = true;
    catalog_tell(control);
}

static void begin(struct control *control)
{
    struct catalog_store *store = &control->store;
    store->running = true;
    TAILQ_CONCAT(&store->writing, &store->waiting, node);
    if (!encode(control)) {
        end_write(control);
        store->telling = true; /* in the next iteration */
        return;
    }
    control_lend_descriptors(control);
    store->job = (struct worker_job){ .run = run_store, .done = store_done };
    worker_post(control->worker, &store->job);
}

void catalog_store(struct control *control, struct catalog_waiter *waiter)
{
    struct catalog_store *store = &control->store;
    if (control->options.state == NULL) {
        note_limits(control->options.catalog);
        waiter->stored(control, waiter, LEAT_OK, "");
        return;
    }
    TAILQ_INSERT_TAIL(&store->waiting, waiter, node);
    if (!store->running)
        begin(control);
}

/* ---- reserved offsets */

void topic_registry_want_offsets(struct control *control, const struct message *m)
{
    struct catalog_topic *known = catalog_find(control->options.catalog, m->topic_id);
    if (known == NULL)
        return; /* deleted */
    assert(m->partition_index < known->settings.partitions);
    struct catalog_partition *at = &known->partitions[m->partition_index];
    at->offset_limit = reserve_grow(&at->reserve, at->offset_limit, m->value, control->now);
    at->wants = true;
    control->reserving = true;
}

void topic_registry_want_all(struct control *control, const struct topic *topic)
{
    for (uint32_t i = 0; i < topic->settings.partitions; i++) {
        struct partition_stats stats;
        partition_stats(topic->partitions[i].partition, &stats);
        const struct message m = { .topic_id = topic->id,
                                   .partition_index = i,
                                   .value = stats.next_offset };
        topic_registry_want_offsets(control, &m);
    }
}

static void tell_limits(struct control *control, struct catalog_topic *known)
{
    const struct topic *topic = topics_find(control->options.topics, known->id);
    for (uint32_t i = 0; topic != NULL && i < known->settings.partitions; i++) {
        struct catalog_partition *at = &known->partitions[i];
        if (!at->wants)
            continue;
        const struct message m = { .type = MESSAGE_OFFSETS_RESERVED,
                                   .topic_id = known->id,
                                   .partition_index = i,
                                   .partition = topic->partitions[i].partition,
                                   .value = at->written_limit };
        control_post(control, topic->partitions[i].shard, &m);
        at->wants = at->written_limit != at->offset_limit; /* it has asked for more meanwhile */
        control->reserving |= at->wants;
    }
}

static void limits_stored(struct control *control, struct catalog_waiter *waiter,
                          enum leat_error error, const char *error_text)
{
    (void)waiter;
    (void)error_text;
    control->storing_limits = false;
    if (error != LEAT_OK)
        return; /* retried; producers get BUSY if the reserve is used up */
    for (size_t i = 0; i < control->options.catalog->count; i++)
        tell_limits(control, control->options.catalog->topics[i]);
}

void topic_registry_reserve(struct control *control)
{
    if (!control->reserving || control->storing_limits
        || (control->save_again != LEAT_NS_NEVER && control->now < control->save_again))
        return;
    control->reserving = false;
    control->save_again = LEAT_NS_NEVER;
    control->storing_limits = true;
    control->limits_waiter.stored = limits_stored;
    catalog_store(control, &control->limits_waiter);
}
