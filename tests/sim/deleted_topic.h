/* Deleted topic: one beside SIM_TOPIC that is deleted while packets of it are on the way.
 *
 * Role: one producer and a reader at each client; filled, and deleted at some moment. Every reader
 * gets its records in order, each once, or a gap for those it does not get, and is told of the end
 * once; every record sent is answered.
 * Must not know: the wire, what else the clients do.
 * Threads: one. */
#ifndef LEAT_TESTS_SIM_DELETED_TOPIC_H
#define LEAT_TESTS_SIM_DELETED_TOPIC_H

#include <stdbool.h>
#include <stdint.h>

#include "client/leat.h"
#include "tests/support/seeded.h"

enum { DELETED_TOPIC_READERS = 2 };
#define DELETED_TOPIC_TOPIC "side"

struct deleted_topic {
    bool open;
    bool deleted;
    leat_producer *producer;
    uint64_t sent, answered;
    struct deleted_topic_reader {
        leat_consumer *consumer;
        uint64_t next; /* offset, and what its record says */
        unsigned ends; /* times it was told that the topic is gone */
    } readers[DELETED_TOPIC_READERS];
    void (*broken)(void *user, const char *what, uint64_t a, uint64_t b);
    void *user;
};

/* Creates it and opens everything, clients[0] being its producer's. Some of it may fail (a wire is
 * cut): then nothing is open. */
void deleted_topic_open(struct deleted_topic *deleted_topic,
                        leat_client *clients[DELETED_TOPIC_READERS]);
/* A client's turn: clients[0] sends a few, everyone reads. */
void deleted_topic_step(struct deleted_topic *deleted_topic, unsigned reader,
                        struct seeded *random);
/* Its answer may stay away (a wire is cut): then it is asked for again, and may be gone already. */
void deleted_topic_delete(struct deleted_topic *deleted_topic, leat_client *client);
void deleted_topic_event(struct deleted_topic *deleted_topic, unsigned reader,
                         const struct leat_event *event);
/* Everyone was told of the end, and every record was answered. */
bool deleted_topic_settled(const struct deleted_topic *deleted_topic);
/* A client is about to close, or everything was told: lets go of all of it. */
void deleted_topic_close(struct deleted_topic *deleted_topic);

#endif
