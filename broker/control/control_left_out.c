/* Topics of the catalog whose logs did not fit at startup. They keep their names, ids, offsets and
 * commits of groups, and come back when there is room. */
#include <stdio.h>
#include <string.h>

#include "broker/control/control_topic_registry.h"
#include "ops/log.h"

enum { NAMES_BYTES = 1024 };

void left_out_add(struct control *control, struct catalog_topic *known, const char *why)
{
    known->left_out = true;
    control->left_out++;
    log_line(LOG_ERROR, "topic.left_out", log_text("topic", known->name), log_u64("id", known->id),
             log_text("reason", why),
             log_text("then", "the topic and the commits of groups are kept; it comes back when "
                              "there is room"));
}

/* Logs all names in one line too, because the log suppresses repeated lines of one event. */
void left_out_tell(const struct control *control)
{
    const struct catalog *catalog = control->options.catalog;
    char names[NAMES_BYTES] = "";
    size_t used = 0;
    uint64_t bytes = 0;
    if (control->left_out == 0)
        return;
    for (size_t i = 0; i < catalog->count; i++) {
        const struct catalog_topic *known = catalog->topics[i];
        if (!known->left_out)
            continue;
        bytes += known->settings.ring_bytes * known->settings.partitions;
        if (used + strlen(known->name) + sizeof ", ..." > sizeof names)
            used = sizeof names; /* no more names */
        else
            used += (size_t)snprintf(names + used, sizeof names - used, "%s%s",
                                     used != 0 ? ", " : "", known->name);
    }
    log_line(
        LOG_ERROR, "leatd.topics_left_out", log_u64("topics", control->left_out),
        log_u64("bytes", bytes), log_u64("log_memory_bytes", control->budget.limit_bytes),
        log_u64("used_bytes",
                atomic_load_explicit(&control->budget.used_bytes, memory_order_relaxed)),
        log_text("names", names),
        log_text("do", "raise log_memory_bytes, or delete topics (leat topic list shows them)"));
}

struct catalog_topic *left_out_find(const struct control *control, const char *name)
{
    if (control->left_out == 0)
        return NULL;
    struct catalog_topic *known = catalog_find_name(control->options.catalog, name);
    return known != NULL && known->left_out ? known : NULL;
}

void left_out_end(struct control *control)
{
    control->left_out--;
}

void left_out_failed(struct control *control, const struct catalog_topic *known)
{
    control->left_out_due = true;
    control->left_out_after = known->id;
}

void left_out_try(struct control *control)
{
    control->left_out_due = control->left_out != 0;
    control->left_out_after = 0;
}

/* Opens one topic at a time; left_out_try starts the next one. */
void left_out_step(struct control *control)
{
    const struct catalog *catalog = control->options.catalog;
    if (!control->left_out_due || control_congested(control) || !LIST_EMPTY(&control->creations))
        return;
    control->left_out_due = false;
    for (size_t i = catalog_above(catalog, control->left_out_after); i < catalog->count; i++) {
        struct catalog_topic *known = catalog->topics[i];
        if (!known->left_out || topic_registry_missing(control, &known->settings) != 0)
            continue;
        creation_come_back(control, known);
        return;
    }
}
