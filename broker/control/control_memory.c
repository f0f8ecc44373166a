#include "broker/control/control_state.h"
#include "ops/log.h"

#define SAY_NS (10 * LEAT_NS_PER_S)

void control_memory_register(struct control *control)
{
    struct memory_budget *memory = control->options.memory;
    if (memory == NULL)
        return;
    const struct metric_options list[] = {
        { "leat_client_memory_bytes", "Memory held for clients, beside the logs.", NULL,
          METRIC_GAUGE, &memory->used_bytes },
        { "leat_client_memory_refused_total", "Times a client was refused for want of it.", NULL,
          METRIC_COUNTER, &memory->refused },
    };
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
        if (metrics_register(control->options.metrics, &list[i]) != LEAT_OK)
            log_line(LOG_WARN, "control.metric_refused", log_text("metric", list[i].name));
    }
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
             log_text("do", "raise client_memory_bytes, or find the clients that take it: one "
                            "connection may hold a quarter"));
    control->memory_refused = refused;
    control->memory_said = control->now;
}
