/* Ages: when each record of one partition's log was appended, by simulated (monotonic) time, and
 * whether the log forgets by that time and by no other.
 *
 * Role: look at a log after each step of its broker. Nothing is forgotten before its retention has
 * passed, unless the ring is full; nothing stays longer than retention is late by.
 * Must not know: the wall clock.
 * Threads: one. Any breach is reported to `broken`. */
#ifndef LEAT_TESTS_SIM_AGES_H
#define LEAT_TESTS_SIM_AGES_H

#include "broker/log/partition.h"
#include "tests/sim/oracle.h"

struct ages {
    uint64_t log_epoch;
    uint64_t head, next; /* offsets, when it was last looked at */
    leat_ns at[ORACLE_OFFSETS_MAX];
    void (*broken)(void *user, const char *what, uint64_t a, uint64_t b);
    void *user;
};

/* The broker has had its turn at `now`. `held`: readers may keep what is old. */
void ages_look(struct ages *a, const struct partition *p, leat_ns retention_ns, bool held,
               leat_ns now);

#endif
