/* Consumers of one group, in one process: a broker, a topic of a few partitions, and members that
 * are clients through leat.h alone, driven in turn.
 *
 * Role: what the tests of groups share.
 * Must not know: how the client is made.
 * Threads: one. */
#ifndef LEAT_TESTS_SUPPORT_CONSUMERS_H
#define LEAT_TESTS_SUPPORT_CONSUMERS_H

#include <criterion/criterion.h>
#include <stdbool.h>

#include "client/leat.h"
#include "tests/support/bus.h"
#include "tests/support/leatd.h"

enum { PARTITIONS = 4, MEMBERS = 3 };
#define ALL ((1U << PARTITIONS) - 1)

struct consumer_member {
    leat_client *client;
    leat_consumer *consumer;
    unsigned records;
    uint64_t lost;                 /* in GAPs */
    uint64_t next[2 * PARTITIONS]; /* the highest offset handed out, + 1 */
    unsigned events[LEAT_EVENT_REFUSED + 1];
    struct leat_event last; /* of a partition that came or went, or of the member */
};

struct consumers_bus {
    struct leatd broker;
    leat_client *client;
    leat_producer *producer;
    char url[128];
    uint64_t published;
};

/* A broker reached `way` ("tcp", "udp"), the topic "t" and a producer of it. */
void consumers_set_up(struct consumers_bus *b, const char *way);
void consumers_tear_down(struct consumers_bus *b);
/* So many records to each partition. */
void consumers_publish(struct consumers_bus *b, unsigned each);

/* Of group "g", from the earliest, with a session of two seconds; `member` NULL: no name. */
struct leat_consumer_options consumers_in_group(const char *member);
/* Counts into the consumer_member that `user` is. */
void consumers_on_event(void *user, const struct leat_event *event);

void consumer_join(struct consumer_member *m, const char *url,
                   struct leat_consumer_options options);
void consumer_leave(struct consumer_member *m);
/* What is there, and a little waiting when nothing is. */
void consumer_turn(struct consumer_member *m);
/* A bit for each partition. */
unsigned consumer_assigned(const struct consumer_member *m);
uint64_t consumer_committed(const struct consumer_member *m, uint32_t partition);

/* Each of `members` has a part, and together they have all. */
bool consumers_share(const struct consumer_member *members, unsigned count);
unsigned consumers_records(const struct consumer_member *members, unsigned count);

/* Turns of all `members`, until `done`. */
#define UNTIL(members, n, done)                                                 \
    do {                                                                        \
        const uint64_t until_turns = 20000;                                     \
        for (uint64_t t = 0; !(done); t++) {                                    \
            cr_assert_lt(t, until_turns, "it did not come to this: %s", #done); \
            for (unsigned m_ = 0; m_ < (n); m_++)                               \
                consumer_turn(&(members)[m_]);                                  \
        }                                                                       \
    } while (0)

#endif
