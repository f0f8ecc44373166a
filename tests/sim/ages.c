/* Ages: when each record of one partition's log was appended, by simulated (monotonic) time, and
 * whether the log forgets by that time and by no other. */
#include "tests/sim/ages.h"

#include "broker/log/times.h"

/* The shard looks ten times a second; within a line of times an age may be told too small by its
 * spread. */
#define LATE_MAX_NS (100 * LEAT_NS_PER_MS + TIMES_SPREAD_NS)

static void check_forgotten(const struct ages *a, const struct partition *p, leat_ns retention_ns,
                            leat_ns now)
{
    const uint64_t last = partition_head_offset(p) - 1; /* the newest that is gone */
    if (partition_overran(p, partition_head(p) - 1))
        return; /* the ring was full */
    const leat_ns age = now - a->at[last];
    if (retention_ns == 0 || age < retention_ns)
        a->broken(a->user, "a record was forgotten early: offset, age", last, age);
}

void ages_look(struct ages *a, const struct partition *p, leat_ns retention_ns, bool held,
               leat_ns now)
{
    const uint64_t head = partition_head_offset(p), next = partition_next_offset(p);
    if (a->log_epoch != partition_log_epoch(p)) {
        a->log_epoch = partition_log_epoch(p);
        a->head = a->next = head;
    }
    if (next > ORACLE_OFFSETS_MAX)
        a->broken(a->user, "an offset beyond all records", next, 0);
    for (; a->next < next; a->next++)
        a->at[a->next] = now;
    if (head > a->head)
        check_forgotten(a, p, retention_ns, now);
    a->head = head;
    if (retention_ns != 0 && !held && head < next && now - a->at[head] > retention_ns + LATE_MAX_NS)
        a->broken(a->user, "a record is kept too long: offset, age", head, now - a->at[head]);
}
