/* Catalog: what outlives a run of the broker: topics with their settings and ids, the limits up to
 * which offsets are reserved, and the incarnation of the run. */
#include "broker/state/catalog.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "broker/shared/random_bytes.h"
#include "broker/shared/settings.h"
#include "schema/bytes.h"
#include "schema/control.h"

/* Stored, little-endian:
 *   incarnation u32 | topic count u32 | orderly u32 (0 or 1) | topics ...
 *   topic: id u64 | name size u16 | overrun u8 | zero u8 | partitions u32 | record_bytes_max u32 |
 *          ring_bytes, retention_ms, retention_bytes, required_timeout_ms, quota_publish_bytes,
 *          quota_deliver_bytes u64 | name |
 *          partitions of { log_epoch u64, offset_limit u64, certain_offset u64 }
 * Version 1 has neither `orderly` nor certain_offset. */
enum {
    HEAD_BYTES = 12,
    HEAD_BYTES_1 = 8, /* of version 1 */
    TOPIC_BYTES = 20 + 6 * 8,
    PARTITION_BYTES = 24,
    PARTITION_BYTES_1 = 16,
};

void catalog_init(struct catalog *c)
{
    *c = (struct catalog){ 0 };
}

static void free_topic(struct catalog_topic *topic)
{
    free(topic->partitions);
    free(topic);
}

void catalog_free(struct catalog *c)
{
    for (size_t i = 0; i < c->count; i++)
        free_topic(c->topics[i]);
    free(c->topics);
    catalog_init(c);
}

/* Numbers that no other run has, not even one over an old copy of the same folder. */
static bool draw_run(struct catalog *c)
{
    if (!random_bytes(&c->run, sizeof c->run) || !random_bytes(&c->counter, sizeof c->counter))
        return false;
    c->counter >>= 1; /* so that at least 2^31 ids are left */
    return true;
}

bool catalog_next_run(struct catalog *c)
{
    if (c->incarnation == 0) {
        if (!random_bytes(&c->incarnation, sizeof c->incarnation))
            return false;
        c->incarnation >>= 1; /* higher ones are those of runs without a folder */
    }
    c->incarnation++;
    return draw_run(c);
}

bool catalog_only_run(struct catalog *c)
{
    if (!random_bytes(&c->incarnation, sizeof c->incarnation))
        return false;
    c->incarnation |= UINT32_C(1) << 31;
    return draw_run(c);
}

enum leat_error catalog_new_id(struct catalog *c, uint64_t *id)
{
    if (c->counter == UINT32_MAX)
        return LEAT_ERR_LIMIT;
    *id = (uint64_t)c->incarnation << 32 | ++c->counter;
    return LEAT_OK;
}

/* The index of `id`, or where it would be inserted. */
static size_t place_of(const struct catalog *c, uint64_t id)
{
    size_t low = 0, high = c->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (c->topics[middle]->id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct catalog_topic *catalog_find(const struct catalog *c, uint64_t id)
{
    const size_t place = place_of(c, id);
    return place < c->count && c->topics[place]->id == id ? c->topics[place] : NULL;
}

size_t catalog_above(const struct catalog *c, uint64_t id)
{
    const size_t place = place_of(c, id);
    return place + (place < c->count && c->topics[place]->id == id);
}

struct catalog_topic *catalog_find_name(const struct catalog *c, const char *name)
{
    for (size_t i = 0; i < c->count; i++)
        if (strcmp(c->topics[i]->name, name) == 0)
            return c->topics[i];
    return NULL;
}

void catalog_restore(struct catalog *c, struct catalog_topic *topic)
{
    const size_t place = place_of(c, topic->id);
    assert(c->removed != 0 && c->count < c->room);
    c->removed--;
    memmove(c->topics + place + 1, c->topics + place, (c->count - place) * sizeof *c->topics);
    c->topics[place] = topic;
    c->count++;
}

void catalog_remove(struct catalog *c, struct catalog_topic *topic)
{
    const size_t place = place_of(c, topic->id);
    assert(place < c->count && c->topics[place] == topic);
    c->count--;
    c->removed++;
    memmove(c->topics + place, c->topics + place + 1, (c->count - place) * sizeof *c->topics);
}

void catalog_drop(struct catalog *c, struct catalog_topic *topic)
{
    c->removed--;
    free_topic(topic);
}

static enum leat_error make_room(struct catalog *c)
{
    if (c->count + c->removed >= CATALOG_TOPICS_MAX)
        return LEAT_ERR_LIMIT;
    if (c->count + c->removed < c->room)
        return LEAT_OK;
    const size_t room = c->room == 0 ? 16 : 2 * c->room;
    struct catalog_topic **topics = realloc(c->topics, room * sizeof *topics);
    if (topics == NULL)
        return LEAT_ERR_NO_MEMORY;
    c->topics = topics;
    c->room = room;
    return LEAT_OK;
}

enum leat_error catalog_add(struct catalog *c, const char *name, uint64_t id,
                            const struct topic_settings *settings, struct catalog_topic **out)
{
    const enum leat_error error = make_room(c);
    if (error != LEAT_OK)
        return error;
    struct catalog_topic *topic = calloc(1, sizeof *topic);
    struct catalog_partition *partitions = calloc(settings->partitions, sizeof *partitions);
    if (topic == NULL || partitions == NULL) {
        free(topic);
        free(partitions);
        return LEAT_ERR_NO_MEMORY;
    }
    assert(strlen(name) <= LEAT_NAME_BYTES_MAX);
    strcpy(topic->name, name);
    topic->id = id;
    topic->settings = *settings;
    topic->partitions = partitions;
    c->removed++;
    catalog_restore(c, topic);
    *out = topic;
    return LEAT_OK;
}

/* ---- bytes */

static uint8_t *put_topic(uint8_t *at, const struct catalog_topic *topic)
{
    const struct topic_settings *s = &topic->settings;
    const size_t name_size = strlen(topic->name);
    leat_store64(at, topic->id);
    leat_store16(at + 8, (uint16_t)name_size);
    at[10] = s->overrun;
    at[11] = 0;
    leat_store32(at + 12, s->partitions);
    leat_store32(at + 16, s->record_bytes_max);
    leat_store64(at + 20, s->ring_bytes);
    leat_store64(at + 28, s->retention_ms);
    leat_store64(at + 36, s->retention_bytes);
    leat_store64(at + 44, s->required_timeout_ms);
    leat_store64(at + 52, s->quota_publish_bytes);
    leat_store64(at + 60, s->quota_deliver_bytes);
    at += TOPIC_BYTES;
    memcpy(at, topic->name, name_size);
    at += name_size;
    for (uint32_t i = 0; i < s->partitions; i++) {
        leat_store64(at, topic->partitions[i].log_epoch);
        leat_store64(at + 8, topic->partitions[i].offset_limit);
        leat_store64(at + 16, topic->partitions[i].certain_offset);
        at += PARTITION_BYTES;
    }
    return at;
}

uint8_t *catalog_encode(const struct catalog *c, size_t *size)
{
    size_t total = HEAD_BYTES;
    for (size_t i = 0; i < c->count; i++)
        total += TOPIC_BYTES + strlen(c->topics[i]->name)
                 + (size_t)c->topics[i]->settings.partitions * PARTITION_BYTES;
    uint8_t *bytes = malloc(total);
    if (bytes == NULL)
        return NULL;
    leat_store32(bytes, c->incarnation);
    leat_store32(bytes + 4, (uint32_t)c->count);
    leat_store32(bytes + 8, c->orderly ? 1 : 0);
    uint8_t *at = bytes + HEAD_BYTES;
    for (size_t i = 0; i < c->count; i++)
        at = put_topic(at, c->topics[i]);
    assert(at == bytes + total);
    *size = total;
    return bytes;
}

static void get_settings(struct topic_settings *s, const uint8_t *at)
{
    *s = (struct topic_settings){
        .overrun = at[10],
        .partitions = leat_load32(at + 12),
        .record_bytes_max = leat_load32(at + 16),
        .ring_bytes = leat_load64(at + 20),
        .retention_ms = leat_load64(at + 28),
        .retention_bytes = leat_load64(at + 36),
        .required_timeout_ms = leat_load64(at + 44),
        .quota_publish_bytes = leat_load64(at + 52),
        .quota_deliver_bytes = leat_load64(at + 60),
    };
}

static bool get_partition(struct catalog_partition *partition, const uint8_t *at, uint32_t version)
{
    partition->log_epoch = leat_load64(at);
    partition->offset_limit = leat_load64(at + 8);
    /* Version 1 does not store it: none of its offsets is certain. */
    partition->certain_offset = version == 1 ? partition->offset_limit : leat_load64(at + 16);
    return partition->certain_offset <= partition->offset_limit;
}

/* Decodes one topic from `at`, where `left` bytes can be read; *used is its size. */
static enum leat_error get_topic(struct catalog *c, const uint8_t *at, size_t left, size_t *used,
                                 uint32_t version, const char **why)
{
    const size_t partition_bytes = version == 1 ? PARTITION_BYTES_1 : PARTITION_BYTES;
    char name[LEAT_NAME_BYTES_MAX + 1];
    struct topic_settings settings;
    struct settings_error ignored;
    *why = "a topic is truncated";
    if (left < TOPIC_BYTES)
        return LEAT_ERR_STATE;
    const uint64_t id = leat_load64(at);
    const size_t name_size = leat_load16(at + 8);
    get_settings(&settings, at);
    const struct topic_settings stored = settings;
    *why = "a topic's settings are out of range";
    if (settings_resolve(&settings, &ignored) != LEAT_OK
        || settings_difference(&settings, &stored) != NULL)
        return LEAT_ERR_STATE;
    *used = TOPIC_BYTES + name_size + (size_t)settings.partitions * partition_bytes;
    *why = "a topic is truncated";
    if (left < *used)
        return LEAT_ERR_STATE;
    at += TOPIC_BYTES;
    *why = "a topic's name is not valid";
    if (!leat_name_valid((const char *)at, name_size))
        return LEAT_ERR_STATE;
    memcpy(name, at, name_size);
    name[name_size] = '\0';
    at += name_size;
    *why = "topics are not in the order of their ids";
    if (id == 0 || (c->count > 0 && c->topics[c->count - 1]->id >= id))
        return LEAT_ERR_STATE;
    struct catalog_topic *topic;
    const enum leat_error error = catalog_add(c, name, id, &settings, &topic);
    *why = "there is no memory for its topics, or they are too many";
    if (error != LEAT_OK)
        return error;
    *why = "a partition's certain_offset is above its offset_limit";
    for (uint32_t i = 0; i < settings.partitions; i++) {
        if (!get_partition(&topic->partitions[i], at, version))
            return LEAT_ERR_STATE;
        at += partition_bytes;
    }
    return LEAT_OK;
}

enum leat_error catalog_decode(struct catalog *c, const uint8_t *bytes, size_t size,
                               uint32_t version, const char **why)
{
    const size_t head_bytes = version == 1 ? HEAD_BYTES_1 : HEAD_BYTES;
    *why = "the catalog is truncated";
    if (size < head_bytes)
        return LEAT_ERR_STATE;
    c->incarnation = leat_load32(bytes);
    const uint32_t count = leat_load32(bytes + 4);
    size_t at = head_bytes;
    c->orderly = version != 1 && leat_load32(bytes + 8) == 1;
    for (uint32_t i = 0; i < count; i++) {
        size_t used = 0;
        const enum leat_error error = get_topic(c, bytes + at, size - at, &used, version, why);
        if (error != LEAT_OK)
            return error;
        at += used;
    }
    *why = "bytes follow its last topic";
    return at == size ? LEAT_OK : LEAT_ERR_STATE;
}
