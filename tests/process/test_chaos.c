/* Goal: whatever mixture of right and wrong things clients do at once, the broker lives, memory
 * stays bounded, and a bystander's records go through untouched. Method: several attached sessions
 * of a real leatd do random things from a printed seed: publish whole, in pieces, cut short, out of
 * order or damaged; give random credit; open and close streams, sessions and topics; read slowly or
 * not at all; break off. A well-behaved pair is checked all along. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "schema/batch.h"
#include "schema/bytes.h"
#include "tests/support/bus.h"
#include "tests/support/leatd.h"
#include "tests/support/seeded.h"
#include "tests/support/wire.h"

enum { PEERS = 6, STEPS = 6000, TOPICS = 3, STREAMS = 4 };

struct rogue {
    int control, data; /* -1: not there */
    uint32_t session;
    struct wire_producer producers[STREAMS];
    uint64_t sequences[STREAMS];
    uint32_t subscriptions[STREAMS];
    unsigned producer_count, subscription_count;
};

static struct leatd broker;
static struct seeded dice;

static uint32_t roll(uint32_t below)
{
    return seeded_below(&dice, below);
}

static const char *some_topic(void)
{
    static const char *const names[TOPICS] = { "chaos0", "chaos1", "chaos2" };
    return names[roll(TOPICS)];
}

static void leave(struct rogue *r)
{
    const struct linger at_once = { .l_onoff = 1 };
    if (r->data >= 0) {
        if (roll(2) == 0)
            setsockopt(r->data, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        close(r->data);
    }
    if (r->control >= 0 && roll(2) == 0) {
        close(r->control);
        r->control = -1;
    }
    const int control = r->control;
    *r = (struct rogue){ .control = control, .data = -1 };
}

static void join(struct rogue *r)
{
    int16_t status;
    if (r->control < 0)
        r->control = wire_control(broker.control);
    const struct wire_grant grant = wire_open_session(r->control, 0);
    r->data = wire_attach(broker.data[0], &grant, &status);
    cr_assert_eq(status, LEAT_OK);
    cr_assert_eq(fcntl(r->data, F_SETFL, O_NONBLOCK), 0);
    r->session = grant.session;
}

/* Sends what the socket takes; the rest of it is lost, which breaks the stream: as it should be. */
static void blurt(struct rogue *r, const uint8_t *bytes, size_t size)
{
    if (send(r->data, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT) < (ssize_t)size)
        leave(r);
}

static void open_something(struct rogue *r)
{
    /* The topic may be gone: ask without insisting. */
    const bool subscribe = roll(2) == 0;
    Leat__Control__Request request = LEAT__CONTROL__REQUEST__INIT;
    Leat__Control__OpenProducer open = LEAT__CONTROL__OPEN_PRODUCER__INIT;
    Leat__Control__OpenSubscription subscription = LEAT__CONTROL__OPEN_SUBSCRIPTION__INIT;
    Leat__Control__PartitionStart start = LEAT__CONTROL__PARTITION_START__INIT;
    Leat__Control__PartitionStart *starts[] = { &start };
    request.id = 1 + seeded_next(&dice) % 1000000;
    if (subscribe) {
        start.session = r->session;
        start.at = (Leat__Control__StartAt)roll(4);
        start.offset = roll(200);
        subscription.topic = (char *)some_topic();
        subscription.partitions = starts;
        subscription.n_partitions = 1;
        subscription.required = roll(3) == 0;
        subscription.name = (char *)"rogue";
        request.body_case = LEAT__CONTROL__REQUEST__BODY_OPEN_SUBSCRIPTION;
        request.open_subscription = &subscription;
    } else {
        open.topic = (char *)some_topic();
        open.sessions = &r->session;
        open.n_sessions = 1;
        open.name = (char *)(roll(3) == 0 ? "shared-name" : "");
        request.body_case = LEAT__CONTROL__REQUEST__BODY_OPEN_PRODUCER;
        request.open_producer = &open;
    }
    Leat__Control__Response *said = wire_request(r->control, &request);
    cr_assert_neq(said, NULL, "control hung up on a right request");
    if (said->body_case == LEAT__CONTROL__RESPONSE__BODY_SUBSCRIPTION
        && said->subscription->streams[0]->error == 0) {
        r->subscriptions[r->subscription_count++ % STREAMS] =
            said->subscription->streams[0]->stream;
    } else if (said->body_case == LEAT__CONTROL__RESPONSE__BODY_PRODUCER) {
        const unsigned at = r->producer_count++ % STREAMS;
        r->producers[at] = (struct wire_producer){ .id = said->producer->producer_id,
                                                   .epoch = said->producer->producer_epoch,
                                                   .stream = said->producer->streams[0]->stream };
        r->sequences[at] = said->producer->streams[0]->next_sequence;
    }
    leat__control__response__free_unpacked(said, NULL);
}

static void close_something(struct rogue *r)
{
    Leat__Control__StreamRef stream = LEAT__CONTROL__STREAM_REF__INIT;
    Leat__Control__StreamRef *list[] = { &stream };
    Leat__Control__CloseStreams body = LEAT__CONTROL__CLOSE_STREAMS__INIT;
    Leat__Control__Request request = LEAT__CONTROL__REQUEST__INIT;
    stream.session = r->session;
    stream.stream =
        roll(2) == 0 ? r->subscriptions[roll(STREAMS)] : r->producers[roll(STREAMS)].stream;
    body.streams = list;
    body.n_streams = 1;
    request.id = 7;
    request.body_case = LEAT__CONTROL__REQUEST__BODY_CLOSE_STREAMS;
    request.close_streams = &body;
    Leat__Control__Response *said = wire_request(r->control, &request);
    cr_assert_neq(said, NULL);
    leat__control__response__free_unpacked(said, NULL);
}

static void renew_topic(struct rogue *r)
{
    const char *name = some_topic();
    Leat__Control__DeleteTopic body = LEAT__CONTROL__DELETE_TOPIC__INIT;
    Leat__Control__Request request = LEAT__CONTROL__REQUEST__INIT;
    body.name = (char *)name;
    request.id = 8;
    request.body_case = LEAT__CONTROL__REQUEST__BODY_DELETE_TOPIC;
    request.delete_topic = &body;
    Leat__Control__Response *said = wire_request(r->control, &request);
    cr_assert_neq(said, NULL);
    leat__control__response__free_unpacked(said, NULL);
    Leat__Control__TopicSettings settings = LEAT__CONTROL__TOPIC_SETTINGS__INIT;
    Leat__Control__CreateTopic create = LEAT__CONTROL__CREATE_TOPIC__INIT;
    settings.ring_bytes = 1 << 18;
    settings.record_bytes_max = 1 << 15;
    settings.overrun = roll(2) == 0 ? LEAT__CONTROL__OVERRUN__BLOCK : LEAT__CONTROL__OVERRUN__EVICT;
    settings.required_timeout_ms = 1 + roll(20);
    settings.retention_ms = roll(3) == 0 ? 1 + roll(50) : 0;
    settings.quota_publish_bytes = roll(4) == 0 ? 100000 : 0;
    settings.quota_deliver_bytes = roll(4) == 0 ? 100000 : 0;
    create.name = (char *)name;
    create.settings = &settings;
    request.body_case = LEAT__CONTROL__REQUEST__BODY_CREATE_TOPIC;
    request.create_topic = &create;
    said = wire_request(r->control, &request);
    cr_assert_neq(said, NULL);
    leat__control__response__free_unpacked(said, NULL);
}

static void publish_something(struct rogue *r)
{
    static uint8_t batch[1 << 16], frame[1 << 16];
    const unsigned at = roll(STREAMS);
    const uint32_t count = 1 + roll(20);
    const size_t size =
        wire_make_batch(batch, sizeof batch, &r->producers[at],
                        r->sequences[at] + (roll(10) == 0 ? roll(5) : 0), count, roll(1000));
    r->sequences[at] += roll(12) == 0 ? 0 : count;
    if (roll(15) == 0)
        batch[roll((uint32_t)size)] ^= (uint8_t)(1 + roll(255));
    /* In one piece or several, and now and then one is left out or comes twice. */
    for (size_t piece_at = 0; piece_at < size && r->data >= 0;) {
        const size_t piece = roll(3) == 0 ? 1 + roll((uint32_t)(size - piece_at)) : size - piece_at;
        const struct leat_frame_publish publish = { .size = (uint32_t)piece,
                                                    .piece_at = (uint32_t)piece_at,
                                                    .batch_size = (uint32_t)size };
        leat_frame_write_publish(frame, r->producers[at].stream ^ (roll(100) == 0 ? 1 : 0),
                                 &publish);
        memcpy(frame + LEAT_PUBLISH_HEADER_BYTES, batch + piece_at, piece);
        if (roll(60) != 0)
            blurt(r, frame, LEAT_PUBLISH_HEADER_BYTES + piece);
        piece_at += roll(200) == 0 ? 0 : piece;
    }
}

static void give_credit(struct rogue *r)
{
    uint8_t frame[LEAT_CREDIT_BYTES];
    const struct leat_frame_credit credit = {
        .limit = roll(5) == 0 ? seeded_next(&dice) : seeded_next(&dice) % (4 << 20),
        .consumed = roll(5) == 0 ? seeded_next(&dice) : seeded_next(&dice) % (4 << 20),
    };
    leat_frame_write_credit(frame, r->subscriptions[roll(STREAMS)], &credit);
    blurt(r, frame, sizeof frame);
}

static void say_nonsense(struct rogue *r)
{
    uint8_t noise[256];
    const uint32_t size = 1 + roll(sizeof noise - 1);
    seeded_fill(&dice, noise, size);
    blurt(r, noise, size);
}

static void read_something(struct rogue *r)
{
    static uint8_t scrap[1 << 18];
    if (recv(r->data, scrap, 1 + roll(sizeof scrap), MSG_DONTWAIT) == 0)
        leave(r); /* the broker had enough */
}

static void do_something(struct rogue *r)
{
    if (r->data < 0) {
        join(r);
        return;
    }
    const uint32_t what = roll(100);
    if (what < 45)
        publish_something(r);
    else if (what < 65)
        read_something(r);
    else if (what < 80)
        give_credit(r);
    else if (what < 92)
        open_something(r);
    else if (what < 95)
        close_something(r);
    else if (what < 96)
        renew_topic(r);
    else if (what < 98)
        say_nonsense(r);
    else
        leave(r);
}

Test(chaos, a_bystander_feels_nothing_and_memory_is_bounded, .timeout = 300)
{
    dice = seeded_start("chaos");
    struct rogue rogues[PEERS];
    leatd_start_measured(&broker);
    leat_client *client = bus_open(broker.url);
    bus_create(client, "calm", (struct leat_topic_settings){ 0 });
    leat_producer *producer = bus_producer(client, "calm");
    leat_consumer *consumer = bus_consumer(client, "calm", LEAT_START_EARLIEST, 0);
    for (int i = 0; i < PEERS; i++)
        rogues[i] = (struct rogue){ .control = -1, .data = -1 };
    for (int i = 0; i < PEERS; i++)
        join(&rogues[i]);
    for (int i = 0; i < 3 * TOPICS; i++)
        renew_topic(&rogues[0]);
    const uint64_t before = leatd_rss_bytes(&broker);
    for (uint64_t step = 0; step < STEPS; step++) {
        struct leat_record record;
        do_something(&rogues[roll(PEERS)]);
        if (step % 20 != 0)
            continue;
        cr_assert_eq(bus_publish(producer, step), step / 20, "a record of the bystander was lost");
        bus_consume(client, consumer, &record);
        cr_assert_eq(bus_value(&record), step);
        cr_assert_eq(record.offset, step / 20);
    }
    cr_assert_eq(bus_count_events(LEAT_EVENT_DISCONNECTED), 0u);
    cr_assert(leatd_alive(&broker));
    cr_assert_lt(leatd_rss_bytes(&broker), before + (64u << 20));
    leat_client_close(client);
    for (int i = 0; i < PEERS; i++) {
        if (rogues[i].data >= 0)
            close(rogues[i].data);
        if (rogues[i].control >= 0)
            close(rogues[i].control);
    }
    const int status = leatd_stop(&broker);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "it did not end cleanly");
    cr_assert_not(leatd_log_has(&broker, "Sanitizer"), "see %s", broker.log_path);
    leatd_end(&broker);
}
