/* Topics at startup and shutdown: their memory, their shards, their offsets. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <urcu-qsbr.h>

#include "broker/control/control_topic_registry.h"
#include "broker/shard/owned_partition.h"
#include "broker/shared/settings.h"
#include "ops/log.h"
#include "schema/error_text.h"

/* ---- opening a topic's partitions */

/* What to do when the kernel refuses memory. */
static const char *advice(const struct logmem_budget *budget)
{
    if (budget->pages == LOGMEM_HUGE)
        return "hugepages are required: raise vm.nr_hugepages, or set \"hugepages\": \"auto\"";
    switch (budget->refused) {
    case EMFILE:
    case ENFILE: return "raise the limit of open files (ulimit -n, LimitNOFILE)";
    case EFBIG: return "raise the file size limit (ulimit -f), or set a smaller ring_bytes";
    case ENOMEM: return "free memory, set fewer partitions, or raise vm.max_map_count";
    default: return "free memory, or set a smaller ring_bytes";
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
                 " bytes of log memory, but the kernel refused them (%s): %s",
                 known->name, needs, strerror(b->refused != 0 ? b->refused : ENOMEM), advice(b));
    else
        snprintf(error_text, CONTROL_ERROR_TEXT,
                 "topic \"%s\" needs %" PRIu64 " bytes of log memory (%" PRIu32 " partitions of "
                 "%" PRIu64 "); %" PRIu64 " of %" PRIu64 " are in use, so %" PRIu64
                 " are missing: raise log_memory_bytes, or set fewer partitions or a smaller "
                 "ring_bytes",
                 known->name, needs, known->settings.partitions, known->settings.ring_bytes,
                 atomic_load_explicit(&b->used_bytes, memory_order_relaxed), b->limit_bytes,
                 missing);
}

/* The product cannot overflow: at most 2^40 * 2^12. */
uint64_t topic_registry_missing(const struct control *control,
                                const struct topic_settings *settings)
{
    const uint64_t wanted = atomic_load_explicit(&control->budget.used_bytes, memory_order_relaxed)
                            + settings->ring_bytes * settings->partitions;
    return wanted > control->budget.limit_bytes ? wanted - control->budget.limit_bytes : 0;
}

static enum leat_error open_partition(struct control *control, const struct catalog_topic *known,
                                      uint32_t index, struct partition **out, uint64_t *missing)
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
    return partition_open(out, &options, &control->budget, missing);
}

/* No shard may have the partitions. */
static void close_partitions(const struct topic *topic, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        partition_close(topic->partitions[i].partition);
        free(topic->partitions[i].owned);
    }
}

void topic_registry_say_pages(const struct control *control, const struct topic *topic)
{
    uint32_t normal = 0;
    for (uint32_t i = 0; i < topic->settings.partitions; i++)
        normal += !partition_hugepages(topic->partitions[i].partition);
    if (normal == 0 || control->budget.pages == LOGMEM_NORMAL)
        return;
    log_line(
        LOG_WARN, "log.normal_pages", log_text("topic", topic->name), log_u64("partitions", normal),
        log_u64("bytes", topic->settings.ring_bytes * normal),
        log_text("do",
                 "reserve hugepages (sysctl vm.nr_hugepages), set ring_bytes to 2 MiB or more, or "
                 "set \"hugepages\": \"off\""));
}

static enum leat_error open_partitions(struct control *control, const struct catalog_topic *known,
                                       struct topic *topic, bool *lacks_descriptors,
                                       char error_text[CONTROL_ERROR_TEXT])
{
    uint64_t missing = topic_registry_missing(control, &known->settings);
    *lacks_descriptors = false;
    if (missing != 0) {
        explain_memory(control, known, missing, error_text);
        return LEAT_ERR_NO_MEMORY;
    }
    control->budget.refused = 0;
    for (uint32_t i = 0; i < known->settings.partitions; i++) {
        struct topic_partition *at = &topic->partitions[i];
        at->owned = owned_partition_new();
        const enum leat_error error =
            at->owned != NULL ? open_partition(control, known, i, &at->partition, &missing)
                              : LEAT_ERR_NO_MEMORY;
        if (error == LEAT_OK)
            continue;
        *lacks_descriptors = control->budget.refused == EMFILE || control->budget.refused == ENFILE;
        explain_memory(control, known, missing, error_text);
        free(at->owned);
        close_partitions(topic, i);
        return error;
    }
    return LEAT_OK;
}

void topic_registry_count_topics(struct control *control)
{
    metric_set(&control->counters.topics, topics_count(control->options.topics));
    metric_set(&control->counters.log_bytes,
               atomic_load_explicit(&control->budget.used_bytes, memory_order_relaxed));
    metric_set(&control->counters.log_normal_bytes,
               atomic_load_explicit(&control->budget.normal_bytes, memory_order_relaxed));
}

/* Gives the partitions to their shards, which own them from now on. */
static void hand_over(struct control *control, const struct topic *topic)
{
    for (uint32_t i = 0; i < topic->settings.partitions; i++) {
        const struct message m = { .type = MESSAGE_ADD_PARTITION,
                                   .topic_id = topic->id,
                                   .partition_index = i,
                                   .partition = topic->partitions[i].partition,
                                   .owned = topic->partitions[i].owned };
        control_post(control, topic->partitions[i].shard, &m);
    }
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

enum leat_error topic_registry_open_topic(struct control *control,
                                          const struct catalog_topic *known, struct topic **out,
                                          bool *lacks_descriptors,
                                          char error_text[CONTROL_ERROR_TEXT])
{
    struct topic *topic = make_topic(known);
    *lacks_descriptors = false;
    if (topic == NULL) {
        snprintf(error_text, CONTROL_ERROR_TEXT, "topic \"%s\": not enough memory", known->name);
        return LEAT_ERR_NO_MEMORY;
    }
    const enum leat_error error =
        open_partitions(control, known, topic, lacks_descriptors, error_text);
    if (error != LEAT_OK) {
        free(topic);
        return error;
    }
    *out = topic;
    return LEAT_OK;
}

void topic_registry_free_topic(struct topic *topic)
{
    close_partitions(topic, topic->settings.partitions);
    free(topic);
}

/* Round robin across topics, so that topics with few partitions are spread too. */
static void choose_shards(struct control *control, struct topic *topic)
{
    for (uint32_t i = 0; i < topic->settings.partitions; i++)
        topic->partitions[i].shard = (control->next_shard + i) % control->shard_count;
    control->next_shard = (control->next_shard + topic->settings.partitions) % control->shard_count;
}

enum leat_error topic_registry_publish(struct control *control, struct topic *topic,
                                       char error_text[CONTROL_ERROR_TEXT])
{
    choose_shards(control, topic);
    const enum leat_error error = topics_add(control->options.topics, topic);
    if (error != LEAT_OK) {
        snprintf(error_text, CONTROL_ERROR_TEXT, "topic \"%s\": %s", topic->name,
                 leat_error_text(error));
        topic_registry_free_topic(topic);
        return error;
    }
    hand_over(control, topic);
    topic_registry_count_topics(control);
    return LEAT_OK;
}

/* Starts a new log epoch for every partition, above all offsets ever assigned. */
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

enum leat_error topic_registry_new_known(struct control *control, const char *name,
                                         const struct topic_settings *settings,
                                         struct catalog_topic **out,
                                         char error_text[CONTROL_ERROR_TEXT])
{
    struct catalog *catalog = control->options.catalog;
    uint64_t id;
    if (!control_memory_has_room(control, name, settings, error_text))
        return LEAT_ERR_NO_MEMORY;
    enum leat_error error = catalog_new_id(catalog, &id);
    if (error == LEAT_OK)
        error = catalog_add(catalog, name, id, settings, out);
    if (error == LEAT_OK) {
        error = renew_logs(control, *out);
        catalog_remove(catalog, *out);
        if (error == LEAT_OK)
            return LEAT_OK;
        catalog_drop(catalog, *out);
    }
    snprintf(error_text, CONTROL_ERROR_TEXT,
             error == LEAT_ERR_LIMIT ? "topic \"%s\": the broker has the maximum number of topics"
                                     : "topic \"%s\": not enough memory",
             name);
    return error;
}

void topic_registry_say_created(const struct topic *topic)
{
    log_line(LOG_INFO, "topic.created", log_text("topic", topic->name), log_u64("id", topic->id),
             log_u64("partitions", topic->settings.partitions),
             log_u64("ring_bytes", topic->settings.ring_bytes));
}

/* ---- startup */

/* Waits while the mail queues are too full: there may be more partitions than queue entries. */
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

/* Opens the memory of a topic and hands it to the shards. */
static enum leat_error open_now(struct control *control, const struct catalog_topic *known,
                                struct topic **topic, char error_text[CONTROL_ERROR_TEXT])
{
    bool lacks_descriptors;
    control_lend_descriptors(control);
    enum leat_error error =
        topic_registry_open_topic(control, known, topic, &lacks_descriptors, error_text);
    control_take_descriptors(control);
    if (error == LEAT_OK) {
        topic_registry_say_pages(control, *topic);
        error = topic_registry_publish(control, *topic, error_text);
    }
    if (error == LEAT_OK)
        let_shards_follow(control);
    return error;
}

static enum leat_error open_known(struct control *control, char error_text[CONTROL_ERROR_TEXT])
{
    const struct catalog *catalog = control->options.catalog;
    struct topic *topic;
    for (size_t i = 0; i < catalog->count; i++) {
        const enum leat_error error = open_now(control, catalog->topics[i], &topic, error_text);
        if (error == LEAT_ERR_NO_MEMORY)
            left_out_add(control, catalog->topics[i], error_text);
        else if (error != LEAT_OK)
            return error;
    }
    left_out_tell(control);
    return LEAT_OK;
}

/* Creates a topic of the configuration that does not exist. Blocks: no client is served yet. */
static enum leat_error create_now(struct control *control, const struct config_topic *wanted,
                                  char error_text[CONTROL_ERROR_TEXT])
{
    struct catalog_topic *known;
    struct topic *topic;
    enum leat_error error =
        topic_registry_new_known(control, wanted->name, &wanted->settings, &known, error_text);
    if (error != LEAT_OK)
        return error;
    catalog_restore(control->options.catalog, known);
    error = catalog_store_now(control, error_text);
    if (error == LEAT_OK)
        error = open_now(control, known, &topic, error_text);
    if (error == LEAT_OK)
        topic_registry_say_created(topic);
    return error;
}

static enum leat_error declare(struct control *control, const struct config_topic *wanted,
                               char error_text[CONTROL_ERROR_TEXT])
{
    const struct topic *topic = topics_find_name(control->options.topics, wanted->name);
    if (topic == NULL && left_out_find(control, wanted->name) != NULL)
        return LEAT_OK; /* already logged */
    if (topic == NULL)
        return create_now(control, wanted, error_text);
    const char *different = settings_difference(&topic->settings, &wanted->settings);
    if (different == NULL)
        return LEAT_OK;
    snprintf(error_text, CONTROL_ERROR_TEXT,
             "topics: \"%s\" exists in %s with a different %s than in the configuration: set "
             "the stored value, or delete the topic first",
             wanted->name, control->config->state_dir, different);
    return LEAT_ERR_INVALID;
}

enum leat_error topic_registry_start(struct control *control, char error_text[CONTROL_ERROR_TEXT])
{
    struct catalog *catalog = control->options.catalog;
    enum leat_error error = LEAT_OK;
    for (size_t i = 0; i < catalog->count && error == LEAT_OK; i++)
        error = renew_logs(control, catalog->topics[i]);
    if (error != LEAT_OK) {
        snprintf(error_text, CONTROL_ERROR_TEXT,
                 "not enough ids for the logs of all topics: delete topics");
        return error;
    }
    control->renewed = true;
    catalog->orderly = false; /* set only by an orderly shutdown of this run */
    error =
        catalog_store_now(control, error_text); /* before any offset of the new logs is assigned */
    if (error == LEAT_OK)
        error = open_known(control, error_text);
    for (size_t i = 0; i < control->config->topic_count && error == LEAT_OK; i++)
        error = declare(control, &control->config->topics[i], error_text);
    return error;
}

/* ---- shutdown */

static bool take_exact_offset(void *user, const struct topic *topic)
{
    const struct control *control = user;
    struct catalog_topic *known = catalog_find(control->options.catalog, topic->id);
    for (uint32_t i = 0; known != NULL && i < topic->settings.partitions; i++) {
        struct partition_stats stats;
        partition_stats(topic->partitions[i].partition, &stats);
        known->partitions[i].offset_limit = stats.next_offset;
    }
    return true;
}

/* Stores the exact end offsets: offsets that were reserved and not used are free again. */
static bool store_exact_offsets(struct control *control)
{
    char error_text[CONTROL_ERROR_TEXT];
    for (size_t i = 0; i < control->options.catalog->count; i++) {
        struct catalog_topic *known = control->options.catalog->topics[i];
        for (uint32_t k = 0; k < known->settings.partitions; k++)
            known->partitions[k].offset_limit = known->partitions[k].first_offset;
    }
    topics_visit(control->options.topics, take_exact_offset, control);
    control->options.catalog->orderly = true;
    if (catalog_store_now(control, error_text) == LEAT_OK)
        return true;
    log_line(
        LOG_WARN, "catalog.offsets_not_exact",
        log_text("then",
                 "unless they were stored, the next run continues above the reserved offsets, as "
                 "after a crash"));
    return false;
}

static bool close_logs(void *user, const struct topic *topic)
{
    (void)user;
    close_partitions(topic, topic->settings.partitions);
    return true;
}

bool topic_registry_stop(struct control *control)
{
    const bool stored = !control->renewed || store_exact_offsets(control);
    topics_visit(control->options.topics, close_logs, NULL);
    return stored;
}
