/* Settings: the valid ranges of a topic's settings, and their defaults. */
#include "broker/shared/settings.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "broker/log/partition.h"

enum {
    BATCHES_IN_RING_MIN = 4, /* of the largest size: partition_open demands it */
    RECORD_STEP = 8 << 10,
};
#define REQUIRED_TIMEOUT_DEFAULT_MS 60000
#define MILLISECONDS_MAX (UINT64_MAX / LEAT_NS_PER_MS)

static enum leat_error refuse(struct settings_error *error, const char *name, uint64_t got,
                              const char *expected)
{
    error->name = name;
    snprintf(error->got, sizeof error->got, "%" PRIu64, got);
    snprintf(error->expected, sizeof error->expected, "%s", expected);
    return LEAT_ERR_INVALID;
}

static uint64_t power_of_two_from(uint64_t value)
{
    uint64_t power = 1;
    while (power < value)
        power <<= 1;
    return power;
}

/* A small ring gets a smaller record_bytes_max rather than a refusal. */
static uint32_t default_record_bytes(uint64_t ring_bytes)
{
    const uint64_t fits = ring_bytes / BATCHES_IN_RING_MIN - LEAT_BATCH_OVERHEAD_MAX;
    if (fits >= LEAT_RECORD_BYTES_DEFAULT)
        return LEAT_RECORD_BYTES_DEFAULT;
    return (uint32_t)(fits / RECORD_STEP * RECORD_STEP);
}

static uint64_t ring_bytes_needed(uint64_t ring_bytes, uint32_t record_bytes_max)
{
    return (uint64_t)BATCHES_IN_RING_MIN * partition_largest_batch(ring_bytes, record_bytes_max);
}

/* Large records get a larger ring rather than a refusal. */
static uint64_t default_ring_bytes(uint32_t record_bytes_max)
{
    uint64_t ring_bytes = LEAT_RING_BYTES_DEFAULT;
    while (ring_bytes < ring_bytes_needed(ring_bytes, record_bytes_max))
        ring_bytes <<= 1;
    return ring_bytes;
}

static enum leat_error check_ranges(const struct topic_settings *s, struct settings_error *error)
{
    if (s->partitions > LEAT_PARTITIONS_MAX)
        return refuse(error, "partitions", s->partitions, "1 to 4096");
    if (s->ring_bytes != 0
        && (s->ring_bytes < LEAT_RING_BYTES_MIN || s->ring_bytes > LEAT_RING_BYTES_LIMIT))
        return refuse(error, "ring_bytes", s->ring_bytes, "64KiB to 1TiB");
    if (s->record_bytes_max > LEAT_RECORD_BYTES_LIMIT)
        return refuse(error, "record_bytes_max", s->record_bytes_max, "1 to 16777216 (16MiB)");
    if (s->overrun != PARTITION_EVICT && s->overrun != PARTITION_BLOCK)
        return refuse(error, "overrun", s->overrun, "evict or block");
    if (s->retention_ms > MILLISECONDS_MAX)
        return refuse(error, "retention_ms", s->retention_ms, "0 (no limit) to 18446744073709");
    if (s->required_timeout_ms > MILLISECONDS_MAX)
        return refuse(error, "required_timeout_ms", s->required_timeout_ms, "1 to 18446744073709");
    if (s->retention_bytes > LEAT_RING_BYTES_LIMIT)
        return refuse(error, "retention_bytes", s->retention_bytes, "0 (the whole ring) to 1TiB");
    if (s->quota_publish_bytes > LEAT_QUOTA_BYTES_LIMIT)
        return refuse(error, "quota_publish_bytes", s->quota_publish_bytes,
                      "0 (none) to 1125899906842624 (1024TiB) a second");
    if (s->quota_deliver_bytes > LEAT_QUOTA_BYTES_LIMIT)
        return refuse(error, "quota_deliver_bytes", s->quota_deliver_bytes,
                      "0 (none) to 1125899906842624 (1024TiB) a second");
    return LEAT_OK;
}

enum leat_error settings_resolve(struct topic_settings *settings, struct settings_error *error)
{
    struct topic_settings s = *settings;
    const enum leat_error refused = check_ranges(&s, error);
    if (refused != LEAT_OK)
        return refused;
    if (s.partitions == 0)
        s.partitions = 1;
    s.ring_bytes = s.ring_bytes == 0 ? default_ring_bytes(s.record_bytes_max)
                                     : power_of_two_from(s.ring_bytes);
    if (s.record_bytes_max == 0)
        s.record_bytes_max = default_record_bytes(s.ring_bytes);
    if (s.required_timeout_ms == 0)
        s.required_timeout_ms = REQUIRED_TIMEOUT_DEFAULT_MS;
    const uint64_t needed = ring_bytes_needed(s.ring_bytes, s.record_bytes_max);
    if (s.ring_bytes < needed) {
        refuse(error, "ring_bytes", settings->ring_bytes, "");
        snprintf(error->expected, sizeof error->expected,
                 "at least %" PRIu64
                 ", four batches of the largest record (record_bytes_max %" PRIu32
                 "): give a larger ring_bytes or a smaller record_bytes_max",
                 needed, s.record_bytes_max);
        return LEAT_ERR_INVALID;
    }
    *settings = s;
    return LEAT_OK;
}

const char *settings_difference(const struct topic_settings *a, const struct topic_settings *b)
{
    if (a->partitions != b->partitions)
        return "partitions";
    if (a->ring_bytes != b->ring_bytes)
        return "ring_bytes";
    if (a->record_bytes_max != b->record_bytes_max)
        return "record_bytes_max";
    if (a->retention_ms != b->retention_ms)
        return "retention_ms";
    if (a->retention_bytes != b->retention_bytes)
        return "retention_bytes";
    if (a->overrun != b->overrun)
        return "overrun";
    if (a->required_timeout_ms != b->required_timeout_ms)
        return "required_timeout_ms";
    if (a->quota_publish_bytes != b->quota_publish_bytes)
        return "quota_publish_bytes";
    if (a->quota_deliver_bytes != b->quota_deliver_bytes)
        return "quota_deliver_bytes";
    return NULL;
}
