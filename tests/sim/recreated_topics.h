/* Recreated topics: topics that are deleted and made again, with any number of partitions, under
 * the members of a group.
 *
 * Role: two topics, and a member of both at each client. A member is handed nothing of a partition
 * that it was not assigned, or that it was told is gone. In the end the topics are made once more,
 * and whatever the members went through, they read a record of each partition.
 * Must not know: the wire, what else the clients do.
 * Threads: one. */
#ifndef LEAT_TESTS_SIM_RECREATED_TOPICS_H
#define LEAT_TESTS_SIM_RECREATED_TOPICS_H

#include <stdbool.h>
#include <stdint.h>

#include "client/leat.h"
#include "tests/support/seeded.h"

enum { RECREATED_MEMBERS = 2, RECREATED_TOPICS = 2, RECREATED_PARTITIONS_MAX = 4 };

struct recreated_topics {
    bool on; /* this run has it */
    struct recreated_topic {
        bool there; /* as far as is known */
        bool last;  /* of its last life: `read` counts */
        uint32_t partitions;
        uint64_t life;
        uint32_t read; /* a bit for each partition of which a record was handed out in this life */
        leat_producer *producer; /* in its last life */
    } topics[RECREATED_TOPICS];
    struct recreated_member {
        leat_consumer *consumer;
        uint32_t held[RECREATED_TOPICS]; /* a bit for each partition */
    } members[RECREATED_MEMBERS];
    uint64_t makings, missing; /* of topics; times that a member was told */
    void (*broken)(void *user, const char *what, uint64_t a, uint64_t b);
    void *user;
};

/* A client's turn: its member joins when its topics are there, and reads. */
void recreated_step(struct recreated_topics *recreated_topics, unsigned index, leat_client *client,
                    struct seeded *random);
/* One of the topics is deleted, and perhaps made again with another number of partitions. */
void recreated_goes_on(struct recreated_topics *recreated_topics, leat_client *client,
                       struct seeded *random);
/* False: it is not about the topics or a member of the group. */
bool recreated_event(struct recreated_topics *recreated_topics, unsigned index,
                     const struct leat_event *event);
/* The client is about to close. */
void recreated_died(struct recreated_topics *recreated_topics, unsigned index);
/* There are no more faults: the topics are made once more, and filled by this client, which stays.
 * Again each turn. */
void recreated_end(struct recreated_topics *recreated_topics, leat_client *client,
                   struct seeded *random);
bool recreated_settled(const struct recreated_topics *recreated_topics);

#endif
