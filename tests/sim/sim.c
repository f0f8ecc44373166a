/* Sim: one run, its parts and what they share. */
#include "tests/sim/sim.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct sim_totals sim_total;

_Noreturn void sim_fail(void *user, const char *what, uint64_t a, uint64_t b)
{
    const struct sim *sim = user;
    fprintf(stderr,
            "FAILED: seed %" PRIu64 ", at %.6f s: %s (%" PRIu64 ", %" PRIu64
            ")\nreplay: sim --seed "
            "%" PRIu64 " --verbose\n",
            sim->seed, (double)(sim->now - START_NS) / 1e9, what, a, b, sim->seed);
    exit(EXIT_FAILURE);
}

void sim_tell(const struct sim *sim, const char *format, ...)
{
    va_list list;
    if (!sim->verbose)
        return;
    fprintf(stderr, "%12.6f ", (double)(sim->now - START_NS) / 1e9);
    va_start(list, format);
    vfprintf(stderr, format, list);
    va_end(list);
    fputc('\n', stderr);
}

leat_ns sim_between(struct sim *sim, leat_ns low, leat_ns high)
{
    return low + seeded_next(&sim->random) % (high - low);
}

struct oracle *sim_oracle(struct sim *sim, unsigned partition, uint64_t log_epoch)
{
    for (unsigned i = 0; i < sim->oracle_count; i++)
        if (sim->oracles[i].log_epoch == log_epoch && sim->oracle_partition[i] == partition)
            return &sim->oracles[i];
    if (sim->oracle_count == LEDGERS_MAX)
        sim_fail(sim, "more logs than there can be", partition, log_epoch);
    sim->oracle_partition[sim->oracle_count] = partition;
    struct oracle *oracle = &sim->oracles[sim->oracle_count++];
    oracle_open(oracle, log_epoch, sim_fail, sim);
    return oracle;
}

/* ---- time */

void sim_earliest(leat_ns *first, leat_ns when)
{
    *first = when < *first ? when : *first;
}

bool sim_step_broker(struct sim *sim)
{
    if (sim->now < sim->broker_stalled_until)
        return false;
    const bool worked = sim_broker_step(&sim->broker, sim->now);
    for (unsigned p = 0; p < PARTITIONS; p++)
        ages_look(&sim->ages[p], sim_broker_partition(&sim->broker, p),
                  sim->topic.retention_ms * LEAT_NS_PER_MS, sim->topic.blocks, sim->now);
    return worked;
}

leat_ns sim_next_of_broker(const struct sim *sim)
{
    leat_ns next = fabric_next(sim->fabric);
    if (sim->now < sim->broker_stalled_until)
        sim_earliest(&next, sim->broker_stalled_until);
    else
        sim_earliest(&next, sim_broker_deadline(&sim->broker));
    return next;
}

void sim_go_to(struct sim *sim, leat_ns when)
{
    sim->now = when > sim->now ? when : sim->now + 1;
    fabric_now(sim->fabric, sim->now);
}
