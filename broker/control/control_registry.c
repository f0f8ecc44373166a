#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <urcu-qsbr.h>

#include "broker/control/control_state.h"
#include "broker/shard/holding.h"
#include "broker/shared/settings.h"
#include "broker/shared/tsan.h"
#include "ops/log.h"
#include "schema/error_text.h"

#define SAVE_RETRY_NS LEAT_NS_PER_S

/* ---- storing */

static enum leat_error save(struct control *control, char error_text[CONTROL_ERROR_TEXT])
{
    size_t size;
    if (control->options.state == NULL)
        return LEAT_OK;
    uint8_t *bytes = catalog_encode(control->options.catalog, &size);
    if (bytes == NULL) {
        snprintf(error_text, CONTROL_ERROR_TEXT, "no memory to write the catalog");
        return LEAT_ERR_NO_MEMORY;
    }
    control_lend_descriptors(control);
    const enum leat_error error =
        statefile_write(control->options.state, &STATEFILE_CATALOG, bytes, size, error_text);
    control_take_descriptors(control);
    free(bytes);
    metric_add(&control->counters.catalog_writes, 1);
    if (error != LEAT_OK) {
        metric_add(&control->counters.catalog_failures, 1);
        log_line(LOG_ERROR, "catalog.not_stored", log_text("error", error_text));
    }
    return error;
}

/* ---- opening a topic's partitions */

/* Of a refusal by the kernel. */
static const char *advice(const struct logmem_budget *budget)
{
    if (budget->pages == LOGMEM_HUGE)
        return "hugepages are \"require\": see vm.nr_hugepages";
    switch (budget->refused) {
    case EMFILE:
    case ENFILE: return "raise the limit of open files (ulimit -n, LimitNOFILE)";
    case EFBIG: return "raise the limit of a file's size (ulimit -f), or give a smaller ring_bytes";
    case ENOMEM: return "free memory, give fewer partitions, or raise vm.max_map_count";
    default: return "free memory, or give a smaller ring_bytes";
    }
}

static void explain_memory(const struct control *control, const struct catalog_topic *known,
                           uint64_t missing, char error_text[CONTROL_ERROR_TEXT])
{
    const struct logmem_budget *b = &control->budget;
    const uint64_t needs = known->settings.ring_bytes * known->settings.partitions;
    if (missing == 0)
        snprintf(error_text, CONTROL_ERROR_TEXT,
                 "topic \"%s\" needs %" PRIu64
                 " bytes of log memory and the kernel refused them (%s): %s",
                 known->name, needs, strerror(b->refused != 0 ? b->refused : ENOMEM), advice(b));
    else
        snprintf(error_text, CONTROL_ERROR_TEXT,
                 "topic \"%s\" needs %" PRIu64 " bytes of log memory (%" PRIu32 " partitions of "
                 "%" PRIu64 "); %" PRIu64 " of %" PRIu64 " are in use, so %" PRIu64
                 " are missing: raise log_memory_bytes, or give fewer partitions or a smaller "
                 "ring_bytes",
                 known->name, needs, known->settings.partitions, known->settings.ring_bytes,
                 b->used_bytes, b->limit_bytes, missing);
}

/* Sums cannot overflow: 2^40 * 2^12. */
uint64_t registry_missing(const struct control *control, const struct topic_settings *settings)
{
    const uint64_t wanted =
        control->budget.used_bytes + settings->ring_bytes * settings->partitions;
    return wanted > control->budget.limit_bytes ? wanted - control->budget.limit_bytes : 0;
}

static enum leat_error open_partition(struct control *control, const struct catalog_topic *known,
                                      uint32_t index, struct partition **out)
{
    const struct topic_settings *s = &known->settings;
    const struct catalog_partition *at = &known->partitions[index];
    const struct partition_options options = {
        .topic_id = known->id,
        .log_epoch = at->log_epoch,
        .first_offset = at->first_offset,
        .certain_offset = at->certain_offset,
        .offset_limit = control->options.state != NULL ? at->offset_limit : LEAT_OFFSET_NONE,
        .ring_bytes = s->ring_bytes,
        .retention_bytes = s->retention_bytes,
        .retention_ns = s->retention_ms * LEAT_NS_PER_MS,
        .required_timeout_ns = s->required_timeout_ms * LEAT_NS_PER_MS,
        .index = index,
        .record_bytes_max = s->record_bytes_max,
        .leader_epoch = 1,
        .producers_max = control->config->producers_max,
        .overrun = s->overrun,
        .memory = control->options.memory,
    };
    uint64_t missing;
    enum leat_error error = partition_open(out, &options, &control->budget, &missing);
    /* It may be descriptors that lack: those who never said Hello give way. */
    while (error == LEAT_ERR_NO_MEMORY && missing == 0 && peer_end_oldest(control))
        error = partition_open(out, &options, &control->budget, &missing);
    return error;
}

/* No shard has them, or none is left. */
static void close_partitions(const struct topic *topic, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        partition_close(topic->partitions[i].partition);
        free(topic->partitions[i].holding);
    }
}

/* Said once a topic: what it wanted it could not have, and what that takes. */
static void say_pages(const struct control *control, const struct catalog_topic *known,
                      const struct topic *topic)
{
    uint32_t normal = 0;
    for (uint32_t i = 0; i < known->settings.partitions; i++)
        normal += !partition_hugepages(topic->partitions[i].partition);
    if (normal == 0 || control->budget.pages == LOGMEM_NORMAL)
        return;
    log_line(LOG_WARN, "log.normal_pages", log_text("topic", known->name),
             log_u64("partitions", normal), log_u64("bytes", known->settings.ring_bytes * normal),
             log_text("do",
                      "reserve hugepages (sysctl vm.nr_hugepages), give rings of 2 MiB or more, or "
                      "set \"hugepages\": \"off\""));
}

static enum leat_error open_partitions(struct control *control, const struct catalog_topic *known,
                                       struct topic *topic, char error_text[CONTROL_ERROR_TEXT])
{
    const uint64_t missing = registry_missing(control, &known->settings);
    if (missing != 0) {
        explain_memory(control, known, missing, error_text);
        return LEAT_ERR_NO_MEMORY;
    }
    control_lend_descriptors(control);
    enum leat_error error = LEAT_OK;
    for (uint32_t i = 0; i < known->settings.partitions && error == LEAT_OK; i++) {
        struct topic_partition *at = &topic->partitions[i];
        at->holding = holding_new();
        at->shard = (control->next_shard + i) % control->shard_count;
        error = at->holding != NULL ? open_partition(control, known, i, &at->partition)
                                    : LEAT_ERR_NO_MEMORY;
        if (error != LEAT_OK) {
            free(at->holding);
            close_partitions(topic, i);
            explain_memory(control, known, 0, error_text);
        }
    }
    control_take_descriptors(control);
    if (error == LEAT_OK)
        say_pages(control, known, topic);
    return error;
}

static void count_topics(struct control *control)
{
    metric_set(&control->counters.topics, topics_count(control->options.topics));
    metric_set(&control->counters.log_bytes, control->budget.used_bytes);
    metric_set(&control->counters.log_normal_bytes, control->budget.normal_bytes);
}

/* The shards own its partitions from now on. */
static void hand_over(struct control *control, const struct topic *topic)
{
    for (uint32_t i = 0; i < topic->settings.partitions; i++) {
        const struct message m = { .type = MESSAGE_ADD_PARTITION,
                                   .topic_id = topic->id,
                                   .partition_index = i,
                                   .partition = topic->partitions[i].partition,
                                   .holding = topic->partitions[i].holding };
        control_post(control, topic->partitions[i].shard, &m);
    }
    control->next_shard = (control->next_shard + topic->settings.partitions) % control->shard_count;
}

static struct topic *make_topic(const struct catalog_topic *known)
{
    struct topic *topic =
        calloc(1, sizeof *topic + known->settings.partitions * sizeof topic->partitions[0]);
    if (topic == NULL)
        return NULL;
    topic->id = known->id;
    topic->settings = known->settings;
    strcpy(topic->name, known->name);
    return topic;
}

/* Everything of a topic but its place in the catalog. */
static enum leat_error open_topic(struct control *control, const struct catalog_topic *known,
                                  struct topic **out, char error_text[CONTROL_ERROR_TEXT])
{
    struct topic *topic = make_topic(known);
    if (topic == NULL) {
        explain_memory(control, known, 0, error_text);
        return LEAT_ERR_NO_MEMORY;
    }
    const enum leat_error error = open_partitions(control, known, topic, error_text);
    if (error != LEAT_OK) {
        free(topic);
        return error;
    }
    *out = topic;
    return LEAT_OK;
}

static enum leat_error publish_topic(struct control *control, struct topic *topic,
                                     char error_text[CONTROL_ERROR_TEXT])
{
    const enum leat_error error = topics_add(control->options.topics, topic);
    if (error != LEAT_OK) {
        snprintf(error_text, CONTROL_ERROR_TEXT, "topic \"%s\": %s", topic->name,
                 leat_error_text(error));
        close_partitions(topic, topic->settings.partitions);
        free(topic);
        return error;
    }
    hand_over(control, topic);
    count_topics(control);
    return LEAT_OK;
}

enum leat_error registry_open(struct control *control, const struct catalog_topic *known,
                              char error_text[CONTROL_ERROR_TEXT])
{
    struct topic *topic;
    const enum leat_error error = open_topic(control, known, &topic, error_text);
    return error == LEAT_OK ? publish_topic(control, topic, error_text) : error;
}

/* A new life of every log of it: it begins above every offset ever given out. */
static enum leat_error renew_logs(struct control *control, struct catalog_topic *known)
{
    for (uint32_t i = 0; i < known->settings.partitions; i++) {
        struct catalog_partition *at = &known->partitions[i];
        const enum leat_error error = catalog_new_id(control->options.catalog, &at->log_epoch);
        if (error != LEAT_OK)
            return error;
        at->first_offset = at->offset_limit;
        if (!control->options.catalog->orderly)
            at->certain_offset = at->first_offset;
        at->offset_limit = reserve_begin(&at->reserve, at->first_offset, control->now);
    }
    return LEAT_OK;
}

/* ---- creating */

static enum leat_error add_to_catalog(struct control *control, const char *name,
                                      const struct topic_settings *settings,
                                      struct catalog_topic **out,
                                      char error_text[CONTROL_ERROR_TEXT])
{
    struct catalog *catalog = control->options.catalog;
    uint64_t id;
    enum leat_error error = catalog_new_id(catalog, &id);
    if (error == LEAT_OK)
        error = catalog_add(catalog, name, id, settings, out);
    if (error == LEAT_OK) {
        error = renew_logs(control, *out);
        if (error == LEAT_OK)
            return LEAT_OK;
        catalog_remove(catalog, *out);
        catalog_free_topic(*out);
    }
    snprintf(error_text, CONTROL_ERROR_TEXT,
             error == LEAT_ERR_LIMIT ? "topic \"%s\": the broker has as many topics as it can have"
                                     : "topic \"%s\": no memory left",
             name);
    return error;
}

enum leat_error registry_create(struct control *control, const char *name,
                                const struct topic_settings *settings, const struct topic **out,
                                char error_text[CONTROL_ERROR_TEXT])
{
    struct catalog_topic *known;
    struct topic *topic = NULL;
    bool stored = false;
    if (!control_memory_has_room(control, name, settings, error_text))
        return LEAT_ERR_NO_MEMORY;
    enum leat_error error = add_to_catalog(control, name, settings, &known, error_text);
    if (error != LEAT_OK)
        return error;
    error = open_topic(control, known, &topic, error_text);
    if (error == LEAT_OK) {
        error = save(control, error_text);
        if (error != LEAT_OK) {
            close_partitions(topic, settings->partitions);
            free(topic);
        } else {
            error = publish_topic(control, topic, error_text);
            stored = true;
        }
    }
    if (error != LEAT_OK) {
        char again[CONTROL_ERROR_TEXT];
        catalog_remove(control->options.catalog, known);
        catalog_free_topic(known);
        if (stored) /* what is told to be refused is not to be there after a restart */
            save(control, again);
        return error;
    }
    *out = topic;
    log_line(LOG_INFO, "topic.created", log_text("topic", name), log_u64("id", topic->id),
             log_u64("partitions", settings->partitions),
             log_u64("ring_bytes", settings->ring_bytes));
    return LEAT_OK;
}

/* ---- deleting */

enum leat_error registry_delete(struct control *control, const struct topic *topic,
                                struct operation *op, char error_text[CONTROL_ERROR_TEXT])
{
    struct catalog *catalog = control->options.catalog;
    struct catalog_topic *known = catalog_find(catalog, topic->id);
    assert(known != NULL && op->count == topic->settings.partitions);
    catalog_remove(catalog, known);
    const enum leat_error error = save(control, error_text);
    if (error != LEAT_OK) {
        catalog_restore(catalog, known);
        return error;
    }
    for (uint32_t i = 0; i < op->count; i++) {
        op->parts[i].shard = topic->partitions[i].shard;
        op->parts[i].message = (struct message){ .type = MESSAGE_REMOVE_PARTITION,
                                                 .topic_id = topic->id,
                                                 .partition_index = i,
                                                 .partition = topic->partitions[i].partition,
                                                 .holding = topic->partitions[i].holding };
    }
    log_line(LOG_INFO, "topic.deleted", log_text("topic", topic->name), log_u64("id", topic->id));
    catalog_free_topic(known);
    topics_remove(control->options.topics, (struct topic *)topic);
    count_topics(control);
    return LEAT_OK;
}

/* RCU's thread: nobody reads them any more. */
static void give_back(struct rcu_head *head)
{
    struct operation *op = caa_container_of(head, struct operation, buried.rcu);
    tsan_take(op);
    struct control *control = op->buried.control;
    const uint64_t one = 1;
    op->buried.next = atomic_load_explicit(&control->buried, memory_order_relaxed);
    /* Release: pairs with the exchange in registry_close_buried. */
    while (!atomic_compare_exchange_weak_explicit(&control->buried, &op->buried.next, op,
                                                  memory_order_release, memory_order_relaxed))
        ;
    const ssize_t wrote = write(control->options.wake, &one, sizeof one);
    (void)wrote; /* a full eventfd wakes too */
}

void registry_bury(struct control *control, struct operation *op)
{
    op->buried.control = control;
    tsan_give(op);
    call_rcu(&op->buried.rcu, give_back);
}

void registry_close_deleted(const struct operation *op)
{
    for (uint32_t i = 0; i < op->count; i++) {
        partition_close(op->parts[i].message.partition);
        free(op->parts[i].message.holding);
    }
}

void registry_close_buried(struct control *control)
{
    /* Acquire: pairs with the release in give_back. */
    struct operation *op = atomic_exchange_explicit(&control->buried, NULL, memory_order_acquire);
    const bool any = op != NULL;
    while (op != NULL) {
        struct operation *next = op->buried.next;
        registry_close_deleted(op);
        peer_done(control, op->owner, op->request);
        operation_free(control, op);
        op = next;
    }
    if (any) {
        count_topics(control);
        left_out_try(control);
    }
}

enum leat_error registry_forget(struct control *control, struct catalog_topic *known,
                                char error_text[CONTROL_ERROR_TEXT])
{
    catalog_remove(control->options.catalog, known);
    const enum leat_error error = save(control, error_text);
    if (error != LEAT_OK) {
        catalog_restore(control->options.catalog, known);
        return error;
    }
    log_line(LOG_INFO, "topic.deleted", log_text("topic", known->name), log_u64("id", known->id));
    catalog_free_topic(known);
    return LEAT_OK;
}

/* ---- starting */

/* Shards take their partitions as fast as they can; there may be more than there are places. */
static void let_shards_follow(struct control *control)
{
    const struct timespec little = { .tv_nsec = 100000 };
    control_flush_mail(control);
    while (control_congested(control)) {
        rcu_thread_offline();
        nanosleep(&little, NULL);
        rcu_thread_online();
        control_flush_mail(control);
    }
}

static enum leat_error open_known(struct control *control, char error_text[CONTROL_ERROR_TEXT])
{
    const struct catalog *catalog = control->options.catalog;
    for (size_t i = 0; i < catalog->count; i++) {
        const enum leat_error error = registry_open(control, catalog->topics[i], error_text);
        if (error == LEAT_ERR_NO_MEMORY)
            left_out_add(control, catalog->topics[i], error_text);
        else if (error != LEAT_OK)
            return error;
        let_shards_follow(control);
    }
    left_out_tell(control);
    return LEAT_OK;
}

static enum leat_error declare(struct control *control, const struct config_topic *wanted,
                               char error_text[CONTROL_ERROR_TEXT])
{
    const struct topic *topic = topics_find_name(control->options.topics, wanted->name);
    if (topic == NULL && left_out_find(control, wanted->name) != NULL)
        return LEAT_OK; /* it was told of */
    if (topic == NULL)
        return registry_create(control, wanted->name, &wanted->settings, &topic, error_text);
    const char *different = settings_difference(&topic->settings, &wanted->settings);
    if (different == NULL)
        return LEAT_OK;
    snprintf(error_text, CONTROL_ERROR_TEXT,
             "topics: \"%s\" exists in %s with another %s than the configuration declares: give it "
             "the stored value, or delete the topic first",
             wanted->name, control->config->state_dir, different);
    return LEAT_ERR_INVALID;
}

enum leat_error registry_start(struct control *control, char error_text[CONTROL_ERROR_TEXT])
{
    struct catalog *catalog = control->options.catalog;
    enum leat_error error = LEAT_OK;
    for (size_t i = 0; i < catalog->count && error == LEAT_OK; i++)
        error = renew_logs(control, catalog->topics[i]);
    if (error != LEAT_OK) {
        snprintf(error_text, CONTROL_ERROR_TEXT, "more logs than ids: delete topics");
        return error;
    }
    control->renewed = true;
    catalog->orderly = false;          /* until this run stops: nothing else makes it true */
    error = save(control, error_text); /* before any offset of the new logs is given out */
    if (error == LEAT_OK)
        error = open_known(control, error_text);
    for (size_t i = 0; i < control->config->topic_count && error == LEAT_OK; i++) {
        error = declare(control, &control->config->topics[i], error_text);
        let_shards_follow(control);
    }
    return error;
}

/* ---- offsets */

void registry_want_offsets(struct control *control, const struct message *m)
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

static void tell_limits(struct control *control, struct catalog_topic *known)
{
    const struct topic *topic = topics_find(control->options.topics, known->id);
    if (topic == NULL)
        return; /* left out: nobody wants any */
    for (uint32_t i = 0; i < known->settings.partitions; i++) {
        if (!known->partitions[i].wants)
            continue;
        const struct message m = { .type = MESSAGE_OFFSETS_RESERVED,
                                   .topic_id = known->id,
                                   .partition_index = i,
                                   .partition = topic->partitions[i].partition,
                                   .value = known->partitions[i].offset_limit };
        known->partitions[i].wants = false;
        control_post(control, topic->partitions[i].shard, &m);
    }
}

void registry_reserve(struct control *control)
{
    char error_text[CONTROL_ERROR_TEXT];
    if (!control->reserving
        || (control->save_again != LEAT_NS_NEVER && control->now < control->save_again))
        return;
    if (save(control, error_text) != LEAT_OK) {
        /* Producers get BUSY when the reserve is used up; it is tried again until it works. */
        control->save_again = control->now + SAVE_RETRY_NS;
        return;
    }
    for (size_t i = 0; i < control->options.catalog->count; i++)
        tell_limits(control, control->options.catalog->topics[i]);
    control->save_again = LEAT_NS_NEVER;
    control->reserving = false;
}

/* ---- stopping */

static bool take_exact_offset(void *user, const struct topic *topic)
{
    const struct control *control = user;
    struct catalog_topic *known = catalog_find(control->options.catalog, topic->id);
    assert(known != NULL);
    for (uint32_t i = 0; i < topic->settings.partitions; i++) {
        struct partition_stats stats;
        partition_stats(topic->partitions[i].partition, &stats);
        known->partitions[i].offset_limit = stats.next_offset;
    }
    return true;
}

/* What was promised and not used is free again. */
static void store_exact_offsets(struct control *control)
{
    char error_text[CONTROL_ERROR_TEXT];
    for (size_t i = 0; i < control->options.catalog->count; i++) {
        struct catalog_topic *known = control->options.catalog->topics[i];
        for (uint32_t k = 0; k < known->settings.partitions; k++)
            known->partitions[k].offset_limit = known->partitions[k].first_offset;
    }
    topics_visit(control->options.topics, take_exact_offset, control);
    control->options.catalog->orderly = true;
    if (save(control, error_text) != LEAT_OK)
        log_line(LOG_WARN, "catalog.offsets_not_exact",
                 log_text("then", "the next run begins above the reserved ones, as after a crash"));
}

static bool close_logs(void *user, const struct topic *topic)
{
    (void)user;
    close_partitions(topic, topic->settings.partitions);
    return true;
}

void registry_stop(struct control *control)
{
    if (control->renewed)
        store_exact_offsets(control);
    topics_visit(control->options.topics, close_logs, NULL);
}
