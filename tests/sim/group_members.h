/* Group members: a group of consumers beside the ordinary readers, on the topic all runs have.
 *
 * Role: up to two members at each client, that join, leave, stall and die with it. While a member
 * has a partition it is handed offsets one after the other from where the group stood; what stands
 * committed was processed, and never goes back; once another owner is handed records of a
 * partition, the former one is not, unless it was silent; at the end everything in the log was
 * processed, or lies in a gap.
 * Must not know: the wire, what else the clients do.
 * Threads: one. */
#ifndef LEAT_TESTS_SIM_GROUP_MEMBERS_H
#define LEAT_TESTS_SIM_GROUP_MEMBERS_H

#include <stdbool.h>
#include <stdint.h>

#include "client/leat.h"
#include "schema/units.h"
#include "tests/support/seeded.h"

enum {
    GROUP_MEMBERS_CLIENTS = 2,
    GROUP_MEMBERS_EACH = 2,
    GROUP_MEMBERS_PARTITIONS = 2,
    GROUP_MEMBERS_OFFSETS_MAX = 1 << 15
};

/* Of one life of a partition's log, the newest. */
struct sim_member;
struct sim_group_log {
    uint64_t log_epoch;
    const struct sim_member *owner;          /* who was handed the newest records */
    uint64_t committed;                      /* at least so much, by what any member was told */
    uint8_t done[GROUP_MEMBERS_OFFSETS_MAX]; /* processed, or in a gap, or evicted before anybody
                                                began */
};

struct sim_member {
    leat_consumer *consumer;
    leat_ns seen; /* when its client was last given time */
    struct sim_place {
        bool held;
        bool fresh; /* nothing was handed out since it was assigned */
        uint64_t log_epoch;
        uint64_t next;
    } places[GROUP_MEMBERS_PARTITIONS];
};

struct group_members {
    struct sim_member members[GROUP_MEMBERS_CLIENTS][GROUP_MEMBERS_EACH];
    struct sim_member *opening; /* its events come before its consumer is known */
    struct sim_group_log logs[GROUP_MEMBERS_PARTITIONS];
    uint64_t handovers, processed, again, lost; /* partitions, records, records, memberships */
    uint64_t (*head)(void *user, unsigned partition, uint64_t *log_epoch);
    leat_ns (*now)(void *user);
    void (*broken)(void *user, const char *what, uint64_t a, uint64_t b);
    void *user;
};

/* A client's turn: its members read, and now and then one joins or leaves. */
void group_members_step(struct group_members *group_members, unsigned client, leat_client *of,
                        struct seeded *random);
/* Of a consumer that is not one of the ordinary ones. True: it was a member's. */
bool group_members_event(struct group_members *group_members, unsigned client,
                         const struct leat_event *event);
/* The client is gone, and its members with it, without a word. */
void group_members_died(struct group_members *group_members, unsigned client);
/* At least one member, and nothing below `next` of the partition is left to do. */
bool group_members_settled(const struct group_members *group_members, unsigned partition,
                           uint64_t log_epoch, uint64_t next);

#endif
