/* A real shard that packets alone reach, over a simulated fabric, and the peer of its one session:
 * a flow made by hand, so that it can also do what no client would.
 *
 * Role: the shard with one partition, opened and closed by a suite; control (the mailboxes) and
 * time around it; a client's end that remembers what it was told, sends again what was lost, and
 * counts. What must hold of every test is held when it closes: each packet was counted once.
 * Must not know: what is tested.
 * Threads: one; each Criterion test is a process of its own, with one shard and one peer. */
#ifndef LEAT_TESTS_SUPPORT_SHARD_PEER_H
#define LEAT_TESTS_SUPPORT_SHARD_PEER_H

#include <criterion/criterion.h>
#include <stdbool.h>
#include <stdint.h>

#include "broker/shard/shard.h"
#include "broker/shared/mailbox.h"
#include "broker/shared/offsets.h"
#include "schema/frame.h"
#include "schema/session_id.h"
#include "tests/sim/fabric.h"
#include "transport/flow.h"
#include "transport/stream.h"

enum {
    SHARD_PEER_RING = 1 << 17,
    SHARD_PEER_TOPIC = 5,
    SHARD_PEER_SESSION = 1 << LEAT_SESSION_GENERATION_BITS | 77,
    SHARD_PEER_BROKER_HOST = 1,
    SHARD_PEER_CLIENT_HOST = 2,
    SHARD_PEER_PRODUCER = 7,
    SHARD_PEER_COMMITS = 32,
    SHARD_PEER_STEP_NS = 10000, /* a turn of the shard takes */
};
#define SHARD_PEER_KEEPALIVE_NS (3600 * LEAT_NS_PER_S)

#define SHARD_PEER_TAG_TO_BROKER UINT64_C(0x1122334455667788)
#define SHARD_PEER_TAG_TO_CLIENT UINT64_C(0x99AABBCCDDEEFF00)

extern struct shard_peer {
    /* The shard's side. */
    struct shard *shard;
    struct mailbox *inbox, *outbox;
    uint64_t requests; /* the number of the last one that control made */
    struct partition *partition;
    struct fabric *fabric;
    struct link *broker_link;
    leat_ns now;
    /* The client's end. */
    struct link *link;
    struct link_peer broker;
    struct flow flow;
    uint8_t token[LEAT_TOKEN_BYTES]; /* the one that attaches */
    bool attached;
    bool partial;      /* its packets' checksums leave out batches, and may */
    uint64_t partials; /* packets that came with such a one */
    uint32_t resets;
    int16_t reset; /* what the last one said */
    uint8_t reset_token[LEAT_TOKEN_BYTES];
    uint64_t acked, refusals; /* batches appended; refused as broken */
    int16_t last_status;
    struct stream_map arrived; /* of the log's bytes */
    uint64_t duplicates, gaps, pongs;
    struct leat_frame_gap gap;   /* the last one */
    struct offsets_entry *entry; /* where the subscription opened next commits; NULL: nowhere */
    /* By the offset that was asked for: what was said last, and what stood. */
    struct leat_frame_committed committed[SHARD_PEER_COMMITS];
} shard_peer;

/* For a suite's .init and .fini. */
void shard_peer_open(void);
void shard_peer_open_with_udp(void); /* the shard has a socket too */
void shard_peer_close(void);

/* Time goes on and the shard takes a turn; the peer does nothing. */
void shard_peer_shard_turn(void);
/* The peer takes what has come. */
void shard_peer_receive(void);
/* Both, and then what was lost goes again and acks that are due go. */
void shard_peer_turn(void);
#define UNTIL(condition, patience)                                             \
    for (int turns_ = 0; !(condition); turns_++) {                             \
        cr_assert_lt(turns_, (patience), "%s did not come about", #condition); \
        shard_peer_turn();                                                     \
    }

/* Control asks, and the shard turns until it answers. */
struct message shard_peer_ask(struct message m);
/* What the metrics of this name (with any labels) add up to. */
uint64_t shard_peer_counted(const char *name);

/* Attaches, and waits until the broker has tried what the path carries. */
void shard_peer_attach(void);
/* A publish stream, and a subscription from the log's beginning that has no credit yet. */
void shard_peer_open_streams(void);
/* The reader alone: a producer that another session has stays there. */
void shard_peer_open_subscription(void);

/* Control grants another session, which the peer's flow speaks from now on. */
void shard_peer_open_session(uint32_t id);
/* Acknowledges, unseen, whatever the shard may have sent. */
void shard_peer_guess_acks(void);
void shard_peer_send_attach(const uint8_t token[LEAT_TOKEN_BYTES]);
/* The same, as a client of another protocol version. */
void shard_peer_send_attach_as(const uint8_t token[LEAT_TOKEN_BYTES], uint16_t version);
/* `count` PINGs in packets as full as they can be, for the next turn of the shard. */
void shard_peer_send_pings(uint32_t count);
/* The subscription may send up to `limit`. */
void shard_peer_send_credit(uint64_t limit);
/* Everything below `offset` was processed. Sent again as it was when it is lost. */
void shard_peer_send_commit(uint64_t offset);
/* These bytes of the publish stream. */
void shard_peer_send_publish(uint64_t position, uint32_t size);

/* Adds one batch to the publish stream; returns its size. */
uint32_t shard_peer_make_batch(uint32_t value_size);
/* Adds one batch to the stream and sends it. */
void shard_peer_publish(uint32_t value_size);
/* The same, and what its bytes say is wrong. */
void shard_peer_publish_broken(uint32_t value_size);

/* True when all that the stream has was delivered (or skipped by a gap). */
bool shard_peer_has_log(void);
/* From this position on what was delivered is whole batches, and right. */
void shard_peer_expect_log(uint64_t from);

#endif
