/* The memory budget of clients, metadata of commits, refusals in the log. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/control/control_state.h"
#include "broker/state/offsets_file.h"
#include "ops/log.h"

#define SAY_NS (10 * LEAT_NS_PER_S)

void control_memory_register(struct control *control)
{
    struct memory_budget *memory = control->options.memory;
    if (memory == NULL)
        return;
    const struct metric_options list[] = {
        { "leat_client_memory_bytes", "Memory held for clients, besides the logs.", NULL,
          METRIC_GAUGE, &memory->used_bytes },
        { "leat_client_memory_refused_total", "Refusals of clients for lack of client memory.",
          NULL, METRIC_COUNTER, &memory->refused },
    };
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++)
        if (metrics_register(control->options.metrics, &list[i]) != LEAT_OK)
            log_line(LOG_WARN, "control.metric_refused", log_text("metric", list[i].name));
}

void control_memory_unregister(struct control *control)
{
    struct memory_budget *memory = control->options.memory;
    if (memory != NULL)
        metrics_unregister(control->options.metrics, memory, sizeof *memory);
}

void control_memory_step(struct control *control)
{
    struct memory_budget *memory = control->options.memory;
    if (memory == NULL)
        return;
    const uint64_t refused = metric_get(&memory->refused);
    if (refused == control->memory_refused
        || (control->memory_refused != 0 && control->now - control->memory_said < SAY_NS))
        return;
    log_line(LOG_WARN, "memory.clients_refused",
             log_u64("times", refused - control->memory_refused),
             log_u64("used_bytes", metric_get(&memory->used_bytes)),
             log_u64("client_memory_bytes", memory->limit_bytes),
             log_text("do", "raise client_memory_bytes, or find the clients that use it: one "
                            "connection may hold a quarter, one address half"));
    control->memory_refused = refused;
    control->memory_said = control->now;
}

const char *control_memory_text(struct control *control, const struct control_conn *p)
{
    const struct memory_budget *all = control->options.memory;
    const struct memory_budget *address = p != NULL ? p->maker->address->memory : NULL;
    if (all == NULL || all->limit_bytes == 0 || address == NULL)
        return "the system is out of memory";
    snprintf(control->memory_text, sizeof control->memory_text,
             "no room in client_memory_bytes (%" PRIu64 "): all clients hold %" PRIu64
             " of it, those of your address %" PRIu64 " (maximum: half, %" PRIu64
             "); one connection or session may hold %" PRIu64
             ": close some, request less at a time, or raise client_memory_bytes",
             all->limit_bytes, metric_get(&all->used_bytes), metric_get(&address->used_bytes),
             memory_budget_limit(address), memory_account_most(all));
    return control->memory_text;
}

bool control_memory_has_room(const struct control *control, const char *topic,
                             const struct topic_settings *settings,
                             char error_text[CONTROL_ERROR_TEXT])
{
    const uint64_t part = memory_account_most(control->options.memory);
    const uint64_t needs =
        SESSION_BYTES_MAX
        + partition_largest_batch(settings->ring_bytes, settings->record_bytes_max);
    if (needs <= part)
        return true;
    snprintf(
        error_text, CONTROL_ERROR_TEXT,
        "topic \"%s\": reassembling one batch with the largest record (record_bytes_max %" PRIu32
        ") may take %" PRIu64 " bytes, but one connection may hold only %" PRIu64
        " bytes of client_memory_bytes (%" PRIu64
        "): raise client_memory_bytes, or set a smaller record_bytes_max",
        topic, settings->record_bytes_max, needs, part, control->options.memory->limit_bytes);
    return false;
}

/* ---- metadata of commits */

char *control_metadata_copy(struct control *control, const char *text, size_t size)
{
    if (size > control->metadata_most - control->metadata_bytes)
        return NULL;
    char *copy = memory_budget_calloc(control->kept, size + 1);
    if (copy == NULL)
        return NULL;
    memcpy(copy, text, size);
    control->metadata_bytes += size;
    return copy;
}

void control_metadata_free(struct control *control, char *text)
{
    if (text == NULL)
        return;
    const size_t size = strlen(text);
    assert(control->metadata_bytes >= size);
    control->metadata_bytes -= size;
    memory_budget_free(control->kept, text, size + 1);
}
