/* Group offsets: loaded at startup, stored in snapshots. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/control/control_state.h"
#include "broker/state/offsets_file.h"
#include "ops/log.h"
#include "schema/crc32c.h"

enum {
    LINES_MAX = 100,    /* log lines about dropped offsets; further ones are only counted */
    RUN_ENTRIES = 1000, /* entries between two RCU quiescent states */
};

/* ---- writing, on the worker, because the disk may block */

struct offsets_save {
    struct worker_job job;
    struct control *control;
    const struct statefile *state;
    uint8_t *bytes;
    size_t size;
    enum leat_error error;
    char error_text[STATEFILE_ERROR_TEXT];
};

static void write_all(struct offsets_save *save)
{
    save->error =
        statefile_write(save->state, &STATEFILE_OFFSETS, save->bytes, save->size, save->error_text);
}

static void run_save(struct worker_job *job)
{
    write_all(caa_container_of(job, struct offsets_save, job));
}

static void add_row(struct offsets_writer *w, const struct group_partition *p, uint32_t index)
{
    const struct offsets_entry *entry = p->offsets;
    const uint64_t stands = offsets_committed(entry);
    struct offsets_row row = {
        .partition = index,
        .log_epoch = entry->log_epoch,
        .offset = stands,
        .commit_ns = atomic_load_explicit(&entry->commit_ns, memory_order_relaxed),
        .metadata_size = p->metadata != NULL ? (uint16_t)strlen(p->metadata) : 0,
        .metadata = p->metadata,
    };
    offsets_lost(entry, &row.lost_at_least, &row.lost_at_most);
    if (stands == LEAT_OFFSET_NONE) {
        row.log_epoch = entry->before_log_epoch;
        row.offset = entry->before_offset;
    }
    offsets_file_partition(w, &row);
}

static bool stands_somewhere(const struct group_partition *p)
{
    const struct offsets_entry *entry = p->offsets;
    return entry != NULL
           && (offsets_committed(entry) != LEAT_OFFSET_NONE || entry->before_log_epoch != 0);
}

static void add_group(struct offsets_writer *w, const struct group *group, unsigned *run)
{
    bool any = false;
    for (uint32_t t = 0; t < LEAT_GROUP_TOPICS_MAX; t++) {
        const struct group_topic *topic = group->topics[t];
        bool first = true;
        for (uint32_t i = 0; topic != NULL && i < topic->count; i++) {
            if (!stands_somewhere(&topic->partitions[i]))
                continue;
            if (!any)
                offsets_file_group(w, group->name);
            if (first)
                offsets_file_topic(w, topic->id);
            any = true;
            first = false;
            add_row(w, &topic->partitions[i], i);
            if (++*run % RUN_ENTRIES == 0)
                rcu_quiescent_state(); /* safe: only control changes these tables */
        }
    }
}

/* Encodes a snapshot. *out is NULL if nothing has changed since the last one. LEAT_ERR_NO_MEMORY.
 */
static enum leat_error take_picture(struct control *control, struct offsets_save **out)
{
    struct offsets_writer w = { .bytes = NULL };
    unsigned run = 0;
    for (uint32_t i = 0; i < control->groups.count; i++)
        add_group(&w, control->groups.all[i], &run);
    struct offsets_save *save = calloc(1, sizeof *save);
    const uint32_t crc = leat_crc32c(w.bytes, w.size);
    const bool same = crc == control->offsets_crc && w.size == control->offsets_size;
    *out = NULL;
    if (w.failed || save == NULL) {
        metric_add(&control->counters.offsets_failures, 1);
        log_line(LOG_ERROR, "group.offsets_not_stored", log_text("error", "not enough memory"),
                 log_u64("bytes", w.size), log_text("then", "the previous snapshot is kept"));
    }
    if (same || w.failed || save == NULL) {
        free(w.bytes);
        const bool failed = w.failed || save == NULL;
        free(save);
        return failed ? LEAT_ERR_NO_MEMORY : LEAT_OK;
    }
    control->offsets_crc = crc;
    control->offsets_size = w.size;
    save->state = control->options.state;
    save->control = control;
    save->bytes = w.bytes;
    save->size = w.size;
    *out = save;
    return LEAT_OK;
}

static void end_save(struct control *control, struct offsets_save *save)
{
    metric_add(&control->counters.offsets_writes, 1);
    if (save->error != LEAT_OK) {
        metric_add(&control->counters.offsets_failures, 1);
        control->offsets_size = SIZE_MAX; /* write the next one even if it is the same */
        log_line(LOG_ERROR, "group.offsets_not_stored", log_text("error", save->error_text),
                 log_text("then", "the write is retried"));
    }
    free(save->bytes);
    free(save);
}

static void save_done(struct worker_job *job)
{
    struct offsets_save *save = caa_container_of(job, struct offsets_save, job);
    struct control *control = save->control;
    control_take_descriptors(control);
    control->offsets_save = NULL;
    end_save(control, save);
}

void control_offsets_step(struct control *control)
{
    if (control->now < control->offsets_due || control->offsets_save != NULL)
        return;
    control->offsets_due = control->now + control->config->offsets_snapshot_ms * LEAT_NS_PER_MS;
    struct offsets_save *save;
    if (take_picture(control, &save) != LEAT_OK || save == NULL)
        return;
    save->job = (struct worker_job){ .run = run_save, .done = save_done };
    control->offsets_save = save;
    control_lend_descriptors(control);
    worker_post(control->worker, &save->job);
}

bool control_offsets_stop(struct control *control)
{
    struct offsets_save *save;
    if (!control->offsets_loaded)
        return true;
    if (take_picture(control, &save) != LEAT_OK)
        return false;
    if (save == NULL)
        return true;
    control_lend_descriptors(control);
    write_all(save);
    const bool stored = save->error == LEAT_OK;
    end_save(control, save);
    return stored;
}

/* ---- reading */

struct loading {
    struct control *control;
    uint64_t taken, moved, dropped, texts_dropped;
};

static void say_dropped(struct loading *l, const struct offsets_reader *r, const char *topic,
                        const char *why)
{
    if (l->moved + l->dropped > LINES_MAX)
        return;
    log_line(LOG_WARN, "group.offset_dropped", log_text("group", r->group),
             log_text("topic", topic), log_u64("topic_id", r->topic_id),
             log_u64("partition", r->row.partition), log_u64("offset", r->row.offset),
             log_u64("log_epoch", r->row.log_epoch), log_text("why", why));
}

/* If there is no memory for the metadata, the offset is kept without it. */
static char *copy_text(struct loading *l, const struct offsets_row *row)
{
    char *text = NULL;
    if (row->metadata_size != 0)
        text = control_metadata_copy(l->control, row->metadata, row->metadata_size);
    l->texts_dropped += row->metadata_size != 0 && text == NULL;
    return text;
}

/* A partition of a topic that is open or was left out. */
struct place {
    const char *topic;
    uint64_t topic_id, log_epoch, next_offset;
    uint32_t partitions;
};

/* False: the topic or the partition does not exist any more. */
static bool find_place(const struct control *control, uint64_t topic_id, uint32_t partition,
                       struct place *out)
{
    const struct topic *topic = topics_find(control->options.topics, topic_id);
    const struct catalog_topic *known =
        topic == NULL ? catalog_find(control->options.catalog, topic_id) : NULL;
    struct partition_stats stats;
    if (topic != NULL && partition < topic->settings.partitions) {
        const struct partition *log = topic->partitions[partition].partition;
        partition_stats(log, &stats);
        *out = (struct place){ topic->name, topic->id, partition_log_epoch(log), stats.next_offset,
                               topic->settings.partitions };
        return true;
    }
    if (known == NULL || partition >= known->settings.partitions)
        return false;
    *out = (struct place){ known->name, known->id, known->partitions[partition].log_epoch,
                           known->partitions[partition].first_offset, known->settings.partitions };
    return true;
}

static void take_row(struct loading *l, const struct offsets_reader *r, const struct place *at,
                     struct group_partition *p)
{
    struct offsets_entry *entry;
    if (control_group_entry(l->control, p, at->log_epoch, &entry) != LEAT_OK) {
        l->dropped++;
        say_dropped(l, r, at->topic, "not enough memory for it");
        return;
    }
    if (r->row.commit_ns > p->topic->group->stored_ns)
        p->topic->group->stored_ns = r->row.commit_ns;
    p->metadata = copy_text(l, &r->row);
    offsets_lose(entry, r->row.lost_at_least, r->row.lost_at_most);
    if (r->row.log_epoch == at->log_epoch && r->row.offset <= at->next_offset) {
        offsets_commit(entry, r->row.offset, r->row.commit_ns);
        l->taken++;
        return;
    }
    entry->before_log_epoch = r->row.log_epoch;
    entry->before_offset = r->row.offset;
    l->moved++;
    say_dropped(
        l, r, at->topic,
        r->row.log_epoch != at->log_epoch
            ? "the log is a new one: the group continues with its first record"
            : "the offset is beyond the end of the log: the group continues with its first record");
}

static void take_next(struct loading *l, const struct offsets_reader *r)
{
    struct place at = { .topic = "(deleted)" };
    struct group_topic *in;
    const char *why = "the topic does not exist any more";
    if (find_place(l->control, r->topic_id, r->row.partition, &at)) {
        const struct group_topic_ref ref = { .name = at.topic,
                                             .id = at.topic_id,
                                             .partitions = at.partitions };
        if (groups_restore(&l->control->groups, r->group, &ref, NULL, &in, &why) == LEAT_OK) {
            take_row(l, r, &at, &in->partitions[r->row.partition]);
            return;
        }
    }
    l->dropped++;
    say_dropped(l, r, at.topic, why);
}

enum leat_error control_offsets_load(struct control *control, char error_text[CONTROL_ERROR_TEXT])
{
    struct loading loading = { .control = control };
    const struct statefile *state = control->options.state;
    struct offsets_reader r;
    uint8_t *bytes;
    size_t size;
    uint32_t version;
    const char *why;
    control->offsets_due = LEAT_NS_NEVER;
    if (state == NULL)
        return LEAT_OK;
    enum leat_error error =
        statefile_read(state, &STATEFILE_OFFSETS, &bytes, &size, &version, error_text);
    if (error != LEAT_OK)
        return error;
    error = offsets_file_check(bytes, size, version, &why);
    if (error != LEAT_OK) {
        snprintf(error_text, CONTROL_ERROR_TEXT,
                 "%s/%s: %s. The file was left unchanged: restore it from a backup, or move it "
                 "away to start without %s",
                 state->path, STATEFILE_OFFSETS.name, why, STATEFILE_OFFSETS.what);
        free(bytes);
        return error;
    }
    offsets_file_begin(&r, bytes, size, version);
    while (offsets_file_next(&r))
        take_next(&loading, &r);
    control->offsets_crc = leat_crc32c(bytes, size);
    control->offsets_size = size;
    free(bytes);
    control->offsets_loaded = true;
    if (control->config->offsets_snapshot_ms != 0)
        control->offsets_due = control->now + control->config->offsets_snapshot_ms * LEAT_NS_PER_MS;
    if (size != 0)
        log_line(LOG_INFO, "group.offsets_loaded", log_u64("groups", control->groups.count),
                 log_u64("taken", loading.taken), log_u64("of_an_earlier_log", loading.moved),
                 log_u64("dropped", loading.dropped),
                 log_u64("texts_dropped", loading.texts_dropped));
    return LEAT_OK;
}
