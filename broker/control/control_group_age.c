/* Expiry of groups without members. */
#include <time.h>

#include "broker/control/control_state.h"
#include "ops/log.h"

/* A group without members is checked from time to time:
 *
 *      nothing is committed                 deleted after a minute
 *      unused for offsets_retention_ms      deleted with its offsets
 *
 * Time is monotonic. The age of commits that an earlier run stored comes from the wall clock, which
 * may be wrong at startup, so no such group is deleted within the first hour. */

enum {
    LOOKS_PER_STEP = 16,
    ROWS_PER_STEP = 1 << 14, /* partitions scanned; the last group may exceed it */
};
#define LOOK_NS (60 * LEAT_NS_PER_S)
#define STORED_LOOK_NS (3600 * LEAT_NS_PER_S)
#define DROPPING_LOOK_NS LEAT_NS_PER_S

static leat_ns lesser(leat_ns a, leat_ns b)
{
    return a < b ? a : b;
}

static leat_ns retention_ns(const struct control *control)
{
    return control->config->offsets_retention_ms * LEAT_NS_PER_MS;
}

leat_ns control_group_look_ns(const struct control *control)
{
    return lesser(LOOK_NS, retention_ns(control));
}

static uint64_t wall_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * LEAT_NS_PER_S + (uint64_t)t.tv_nsec;
}

static bool stands_somewhere(const struct group *group)
{
    for (uint32_t t = 0; t < LEAT_GROUP_TOPICS_MAX; t++) {
        const struct group_topic *topic = group->topics[t];
        for (uint32_t i = 0; topic != NULL && i < topic->count; i++) {
            const struct offsets_entry *entry = topic->partitions[i].offsets;
            if (entry != NULL
                && (offsets_committed(entry) != LEAT_OFFSET_NONE || entry->before_log_epoch != 0))
                return true;
        }
    }
    return false;
}

/* How long the group was unused. */
static leat_ns unused_for(const struct control *control, const struct group *group)
{
    const leat_ns idle = control->now - group->idle_since;
    const uint64_t wall = group->stored_ns != 0 ? wall_ns() : 0;
    return wall > group->stored_ns && wall - group->stored_ns > idle ? wall - group->stored_ns
                                                                     : idle;
}

/* When to check the group again; 0: delete it now. */
static leat_ns decide(const struct control *control, const struct group *group, leat_ns unused)
{
    const leat_ns retention = retention_ns(control);
    const leat_ns idle = control->now - group->idle_since;
    if (group->dropping != 0)
        return control->now + DROPPING_LOOK_NS;
    if (!stands_somewhere(group))
        return idle >= control_group_look_ns(control)
                   ? 0
                   : group->idle_since + control_group_look_ns(control);
    if (group->stored_ns != 0 && idle < lesser(STORED_LOOK_NS, retention))
        return group->idle_since + lesser(STORED_LOOK_NS, retention);
    if (unused >= retention)
        return 0;
    /* At most an hour for a stored group, because the wall clock may be set meanwhile. */
    return control->now
           + (group->stored_ns != 0 ? lesser(STORED_LOOK_NS, retention - unused)
                                    : retention - unused);
}

void control_groups_expire(struct control *control)
{
    struct groups *g = &control->groups;
    struct group *group;
    uint32_t rows = 0;
    for (int i = 0; i < LOOKS_PER_STEP && rows < ROWS_PER_STEP
                    && (group = groups_next_idle(g, control->now)) != NULL;
         i++) {
        rows += group->partition_count;
        const leat_ns unused = unused_for(control, group);
        const leat_ns again = decide(control, group, unused);
        if (again != 0) {
            groups_look_again(g, group, again);
            continue;
        }
        log_line(LOG_INFO, "group.expired", log_text("group", group->name),
                 log_u64("partitions", group->in_use),
                 log_u64("unused_ms", unused / LEAT_NS_PER_MS),
                 log_u64("offsets_retention_ms", control->config->offsets_retention_ms));
        metric_add(&control->counters.groups_expired, 1);
        groups_delete(g, group->name);
    }
}
