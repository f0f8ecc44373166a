/* Reloads the configuration file while the broker runs (SIGHUP). */
#include "broker/config/config_reload.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A setting that is read only at startup. */
struct fixed_setting {
    const char *name;
    size_t at;
    size_t size; /* 0: text */
};
#define FIXED(member)                                                                \
    {                                                                                \
#member, offsetof(struct config, member), sizeof((struct config *)0)->member \
    }
#define FIXED_TEXT(member)                          \
    {                                               \
#member, offsetof(struct config, member), 0 \
    }

static const struct fixed_setting FIXED_SETTINGS[] = {
    FIXED_TEXT(host),
    { "advertise.host", offsetof(struct config, advertise_host), 0 },
    FIXED(port),
    FIXED(data_port),
    FIXED(shards),
    FIXED(cpus),
    FIXED(idle),
    FIXED_TEXT(state_dir),
    FIXED(log_memory_bytes),
    FIXED(hugepages),
    FIXED(client_memory_bytes),
    FIXED(sessions_max),
    FIXED(connections_max),
    FIXED(producers_max),
    FIXED(producer_idle_ms),
    FIXED(socket_buffer_bytes),
    FIXED_TEXT(tcp_congestion),
    FIXED(keepalive_ms),
    FIXED(offsets_snapshot_ms),
    FIXED(offsets_retention_ms),
    FIXED(udp),
    FIXED(allow_unauthenticated),
};

static void add_name(char names[CONFIG_RELOAD_NAMES_BYTES], const char *name)
{
    const size_t used = strlen(names);
    snprintf(names + used, CONFIG_RELOAD_NAMES_BYTES - used, "%s%s", used == 0 ? "" : ", ", name);
}

static bool same_settings(const struct topic_settings *a, const struct topic_settings *b)
{
    return a->partitions == b->partitions && a->record_bytes_max == b->record_bytes_max
           && a->ring_bytes == b->ring_bytes && a->retention_ms == b->retention_ms
           && a->retention_bytes == b->retention_bytes
           && a->required_timeout_ms == b->required_timeout_ms
           && a->quota_publish_bytes == b->quota_publish_bytes
           && a->quota_deliver_bytes == b->quota_deliver_bytes && a->overrun == b->overrun;
}

static bool same_topics(const struct config *a, const struct config *b)
{
    if (a->topic_count != b->topic_count)
        return false;
    for (size_t i = 0; i < a->topic_count; i++)
        if (strcmp(a->topics[i].name, b->topics[i].name) != 0
            || !same_settings(&a->topics[i].settings, &b->topics[i].settings))
            return false;
    return true;
}

/* Compares the ports as --plan prints them: their options contain pointers. */
static bool same_ports(const struct config *a, const struct config *b)
{
    struct config only_a = { .ports = a->ports }, only_b = { .ports = b->ports };
    char *text_a = config_plan(&only_a, NULL), *text_b = config_plan(&only_b, NULL);
    const bool same = text_a != NULL && text_b != NULL && strcmp(text_a, text_b) == 0;
    free(text_a);
    free(text_b);
    return same;
}

static void compare(const struct config *a, const struct config *b,
                    char names[CONFIG_RELOAD_NAMES_BYTES])
{
    names[0] = '\0';
    for (size_t i = 0; i < sizeof FIXED_SETTINGS / sizeof FIXED_SETTINGS[0]; i++) {
        const struct fixed_setting *s = &FIXED_SETTINGS[i];
        const char *from_a = (const char *)a + s->at, *from_b = (const char *)b + s->at;
        if (s->size != 0 ? memcmp(from_a, from_b, s->size) != 0 : strcmp(from_a, from_b) != 0)
            add_name(names, s->name);
    }
    if (!same_ports(a, b))
        add_name(names, "dpdk");
    if (!same_topics(a, b))
        add_name(names, "topics");
}

/* Replaces the quotas of `to` by a copy of those of `from`. False: no memory. */
static bool copy_quotas(struct config *to, const struct config *from)
{
    struct config_quota *quotas = calloc(from->quota_count + 1, sizeof *quotas);
    if (quotas == NULL)
        return false;
    if (from->quota_count != 0)
        memcpy(quotas, from->quotas, from->quota_count * sizeof *quotas);
    free(to->quotas);
    to->quotas = quotas;
    to->quota_count = from->quota_count;
    return true;
}

enum leat_error config_reload(struct config *config, struct config *loaded, const char *path,
                              char waiting[CONFIG_RELOAD_NAMES_BYTES], struct config_errors *errors)
{
    struct config next;
    config_init(&next, false);
    enum leat_error error = config_load_again(&next, path, errors);
    if (error == LEAT_OK && !copy_quotas(config, &next))
        error = LEAT_ERR_NO_MEMORY;
    if (error != LEAT_OK) {
        config_free(&next);
        return error;
    }
    compare(loaded, &next, waiting);
    config->log_level = next.log_level;
    config_free(loaded);
    *loaded = next;
    return LEAT_OK;
}
