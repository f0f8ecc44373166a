/* Members of a consumer group, by hand: raw peers that join, heartbeat, open and commit.
 *
 * Role: one topic "t", one group "g"; requests and their answers, streams and their COMMITs.
 * Must not know: libleat, what a test expects. Anything that is not answered fails the test. */
#ifndef LEAT_TESTS_SUPPORT_MEMBERS_H
#define LEAT_TESTS_SUPPORT_MEMBERS_H

#include <stdbool.h>
#include <stdint.h>

#include "schema/control.h"
#include "tests/support/leatd.h"
#include "tests/support/wire.h"

enum {
    MEMBER_RING = 1 << 16,
    MEMBER_PARTITIONS = 4,
    MEMBER_SHARDS = 2,
    MEMBER_SESSION_MS = 1500,
};

extern struct leatd members_broker; /* the test starts and ends it */
extern bool member_requires;        /* what is opened next is required */

/* ---- requests */

void members_say(int control, Leat__Control__Request__BodyCase which, void *body);
/* The next answer, checked; free with members_done. */
Leat__Control__Response *members_hear(int control);
Leat__Control__Response *members_ask(int control, Leat__Control__Request__BodyCase which,
                                     void *body);
void members_done(Leat__Control__Response *response);
/* It says `error` and, where `text` is not NULL, that. Frees it. */
void members_expect(Leat__Control__Response *r, int error, const char *text);

/* A control connection, and the topic. */
int members_create_topic(void);
/* So many records to each partition. */
void members_publish(uint32_t records_each);
Leat__Control__Response *members_describe(int control, const char *group);

/* ---- members */

struct member {
    int control;
    const char *id;
    uint32_t epoch;
    uint32_t assigned, owned; /* bits */
    uint64_t knows;           /* the life of the log it says it read; 0: none ... */
    uint64_t seen, processed; /* ... and how far it was, it says */
    uint32_t sessions[MEMBER_SHARDS];
    int data[MEMBER_SHARDS];
    struct wire_reader readers[MEMBER_SHARDS];
    struct {
        uint32_t stream;
        unsigned shard;
        uint64_t offset, committed, committed_log_epoch, log_epoch;
    } open[MEMBER_PARTITIONS];
};

/* Control, and a session with each shard. */
void member_connect(struct member *m, const char *id);
Leat__Control__Response *member_ask_join(struct member *m);
/* Connects and joins. */
void member_join(struct member *m, const char *id);
/* Of a join or a heartbeat. Frees it. */
void member_take_assignment(struct member *m, Leat__Control__Response *r);
/* Does not wait for the answer. */
void member_say_heartbeat(struct member *m, uint32_t wait_ms);
/* Heartbeats until it has so many partitions. */
void member_follow(struct member *m, int partitions);
Leat__Control__Response *member_ask_leave(const struct member *m);
Leat__Control__Response *member_ask_open(struct member *m, uint32_t partition,
                                         Leat__Control__StartAt at);
/* At COMMITTED, else EARLIEST. */
void member_open(struct member *m, uint32_t partition);
void member_open_all(struct member *m);
/* Sends a COMMIT and waits for its answer; log_epoch 0: the stream's. */
struct leat_frame_committed member_commit(struct member *m, uint32_t partition,
                                          struct leat_frame_commit commit);
/* On control, with the text "end of day"; `m` NULL: of no member. */
Leat__Control__Response *members_commit_on_control(int control, const struct member *m,
                                                   uint32_t partition, uint64_t offset,
                                                   uint64_t log_epoch);

#endif
