/* Goal: a session over packets publishes and consumes every record once and in order, whatever the
 * wire does; sends nothing before it is attached; grows its packets only to what was proved; and a
 * dead path is told. Method: the library's session, stepped in virtual time over a wire that loses,
 * doubles and reorders by a seed, against a small broker made over the same pure core. */
#include <criterion/criterion.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "client/client_core.h"
#include "client/consumer.h"
#include "client/liveness.h"
#include "client/producer.h"
#include "client/session.h"
#include "client/session_packets.h"
#include "tests/support/badwire.h"
#include "tests/support/packet_broker.h"
#include "transport/link_udp.h"

enum { IN_FLIGHT = 16, RECORDS_MAX = 1 << 15 };
#define STEP_NS (50 * LEAT_NS_PER_US)

/* ---- the client's side, as connecting would have left it */

static struct leat_client *client;
static struct client_session *session;
static struct leat_producer producer;
static struct publisher publisher;
static struct queued_batch *ring[IN_FLIGHT];
static struct leat_consumer consumer;
static struct subscribed topic;
static struct reader reader;
static uint64_t delivered;
static bool
    told[RECORDS_MAX]; /* in any order: an answer may be lost, and come behind a later one */
static struct leat_event fallback;
static leat_ns now;

static void on_delivery(void *user, const struct leat_delivery *delivery)
{
    (void)user;
    cr_assert_eq(delivery->status, 0);
    cr_assert_eq(delivery->offset, delivery->cookie);
    cr_assert_not(told[delivery->cookie], "told twice");
    told[delivery->cookie] = true;
    delivered++;
}

static void on_event(void *user, const struct leat_event *event)
{
    (void)user;
    if (event->type == LEAT_EVENT_FALLBACK)
        fallback = *event;
}

static void start(const char *seed, uint32_t loss, uint32_t trouble, uint32_t path_bytes)
{
    badwire = (struct badwire){ .link = { .ops = &badwire_ops,
                                          .limits = { .payload_max = LINK_UDP_PAYLOAD_MAX,
                                                      .polled = true } },
                                .seed = seeded_start(seed),
                                .loss_percent = loss,
                                .trouble_percent = trouble,
                                .path_bytes = path_bytes };
    now = LEAT_NS_PER_S;
    packet_broker_start(now);
    client = calloc(1, sizeof *client);
    client->transport = client->url.transport = URL_UDP;
    client->url.fallback_tcp = true;
    client->options.values.on_event = on_event;
    client->epoll = client->timer = -1;
    client->backoff = (struct backoff){ .min_ns = LEAT_NS_PER_S,
                                        .max_ns = LEAT_NS_PER_S,
                                        .open_ns = LEAT_NS_PER_S,
                                        .circuit_failures = 2 };
    client->phase = PHASE_READY;
    client->phase_end = client->ping_at = LEAT_NS_NEVER;
    client->now = now;
    client->port.link = &badwire.link;
    loop_jitter_init(&client->port.gap);
    control_channel_init(&client->control, NULL, NULL);
    TAILQ_INIT(&client->held);
    TAILQ_INIT(&client->producers);
    TAILQ_INIT(&client->consumers);
    struct endpoint *endpoint = &client->packet_endpoints[0];
    endpoint->known = true;
    cr_assert_eq(link_tcp_address("127.0.0.1", 7430, &endpoint->address), LEAT_OK);
    cr_assert(link_udp_peer(&endpoint->address, &badwire.broker));
    session = client->sessions[0] = calloc(1, sizeof *session);
    client->sessions_end = 1;
    session->client = client;
    session->id = PACKET_BROKER_SESSION;
    session->tag_to_broker = PACKET_BROKER_TAG_TO_BROKER;
    session->tag_to_client = PACKET_BROKER_TAG_TO_CLIENT;
    session->fd = -1;
    TAILQ_INIT(&session->publishers);
    TAILQ_INIT(&session->credits);
    session_packets_connect(session);
}

static void step(void)
{
    now += STEP_NS;
    client_step(client, now);
    packet_broker_step(now);
}

static void attach(void)
{
    for (int i = 0; i < 20000 && session->state != SESSION_UP; i++)
        step();
    cr_assert_eq(session->state, SESSION_UP);
}

static void open_streams_of(uint32_t records_max)
{
    producer = (struct leat_producer){ .client = client, .step = OWNER_READY, .opened = true };
    producer.options.batch_records_max = records_max;
    producer.options.on_delivery = on_delivery;
    producer.shards.partitions = 1;
    producer.record_bytes_max = 2000;
    producer.publishers = &publisher;
    const struct batch_pool_options options = { .batches = IN_FLIGHT + 1,
                                                .batch_bytes = PACKET_BROKER_BATCH,
                                                .records_max = records_max,
                                                .largest = PACKET_BROKER_BATCH };
    cr_assert_eq(batch_pool_reserve(&producer.pool, &options), LEAT_OK);
    publisher.kind = STREAM_PUBLISHER;
    publisher.producer = &producer;
    publisher.session = session;
    publisher.number = PACKET_BROKER_PUBLISH_STREAM;
    publisher.blocked_said = UINT64_MAX;
    batch_queue_init(&publisher.queue, &producer.pool, ring, IN_FLIGHT);
    batch_queue_restart(&publisher.queue, packet_broker_credit(), NULL);
    cr_assert_eq(client_session_attach(session, PACKET_BROKER_PUBLISH_STREAM, &publisher), LEAT_OK);

    consumer.client = client;
    TAILQ_INIT(&consumer.ready);
    TAILQ_INIT(&consumer.borrowed);
    topic.consumer = &consumer;
    reader = (struct reader){ .kind = STREAM_READER,
                              .topic = &topic,
                              .number = PACKET_BROKER_READ_STREAM };
    cr_assert_eq(ringmap_reserve(&reader.window, 65536, false), LEAT_OK);
    partition_stream_init(&reader.stream, reader.window.bytes, reader.window.size - 1, 32768);
    const struct partition_stream_start first = { .position = 0, .offset = 0, .log_epoch = 1 };
    partition_stream_start(&reader.stream, &first);
    reader.session = session;
    cr_assert_eq(client_session_attach(session, PACKET_BROKER_READ_STREAM, &reader), LEAT_OK);
    client_session_queue_credit(&reader);
}

static void open_streams(void)
{
    open_streams_of(100);
}

static void publish_and_consume(uint64_t records)
{
    uint64_t sent = 0, next = 0;
    delivered = 0;
    for (int steps = 0; next < records || delivered < records; steps++) {
        cr_assert_lt(steps, 4000000, "it stalls: %llu delivered, %llu consumed",
                     (unsigned long long)delivered, (unsigned long long)next);
        uint8_t value[1000];
        for (uint32_t k = seeded_below(&badwire.seed, 20); k > 0 && sent < records; k--) {
            memcpy(value, &sent, sizeof sent);
            const struct leat_record record = { .value = value,
                                                .value_size = 8 + seeded_below(&badwire.seed, 300),
                                                .timestamp_ns = 1,
                                                .cookie = sent };
            if (leat_producer_send(&producer, &record) != 0)
                break;
            sent++;
        }
        step();
        cr_assert_eq(client->failure, 0, "%s", client->failure_text);
        struct leat_record got[64];
        const int n = leat_consumer_poll(&consumer, got, seeded_below(&badwire.seed, 64));
        for (int i = 0; i < n; i++, next++) {
            uint64_t came;
            memcpy(&came, got[i].value, sizeof came);
            cr_assert_eq(came, next);
            cr_assert_eq(got[i].offset, next);
        }
    }
}

static struct leat_client_stats stats_now(void)
{
    struct leat_client_stats stats = { .size = sizeof stats };
    cr_assert_eq(leat_client_stats(client, &stats), 0);
    return stats;
}

Test(packets, nothing_is_lost_or_doubled_on_a_bad_wire, .timeout = 60)
{
    start("packets", 5, 5, BADWIRE_DATAGRAM_MAX);
    packet_broker_say_busy();
    attach();
    open_streams();
    publish_and_consume(20000);
    const struct leat_client_stats stats = stats_now();
    cr_assert_gt(stats.packets_lost, 0u);
    cr_assert_gt(stats.bytes_resent, 0u);
    cr_assert_eq(stats.records_acked, 20000u);
}

Test(packets, a_good_wire_sends_nothing_twice_and_large_packets, .timeout = 60)
{
    start("packets", 0, 0, BADWIRE_DATAGRAM_MAX);
    attach();
    open_streams();
    publish_and_consume(20000);
    const struct leat_client_stats stats = stats_now();
    cr_assert_eq(stats.packets_lost, 0u);
    cr_assert_eq(stats.bytes_resent, 0u);
    cr_assert_gt(badwire.largest, 5000u, "loopback carries more than an Ethernet frame");
    cr_assert_lt(stats.packets_sent, 20000u / 4, "records share packets");
}

Test(packets, records_that_may_not_share_a_batch_share_no_packet_either, .timeout = 60)
{
    start("packets", 0, 0, BADWIRE_DATAGRAM_MAX);
    attach();
    open_streams_of(1);
    publish_and_consume(2000);
    const struct leat_client_stats stats = stats_now();
    cr_assert_eq(stats.batches_sent, 2000u);
    cr_assert_geq(stats.packets_sent, 2000u);
}

Test(packets, a_narrow_path_stays_at_what_it_carries, .timeout = 60)
{
    start("packets", 0, 0, LEAT_PACKET_BYTES_BASE);
    attach();
    open_streams();
    publish_and_consume(5000);
    cr_assert_leq(session->packets->flow.options.payload_max, (uint32_t)LEAT_PACKET_BYTES_BASE);
    cr_assert_eq(session->packets->mtu.bytes, (uint32_t)LEAT_PACKET_BYTES_BASE);
}

/* What the shard knows no more is opened anew, from where it stood; unless its end is known. */
Test(packets, a_reader_without_its_stream_asks_for_another, .timeout = 60)
{
    const struct leat_frame_gap deleted = { .reason = LEAT_REASON_TOPIC_DELETED };
    start("packets", 0, 0, BADWIRE_DATAGRAM_MAX);
    attach();
    open_streams();
    publish_and_consume(100);
    topic.step = OWNER_READY;
    partition_stream_gap_any_order(&reader.stream, &deleted);
    reader_dropped(&reader);
    cr_assert_eq(reader.session, session, "that the topic is gone is still to be told");

    partition_stream_place(&reader.stream, 100, 1);
    reader_dropped(&reader);
    cr_assert_eq(reader.session, NULL);
    cr_assert_eq(reader.state, READER_WANTED);
    cr_assert_eq(topic.step, OWNER_OPEN);
    cr_assert(client->work);
    cr_assert_eq(partition_stream_wanted(&reader.stream), 100u);
}

/* The last commit of all arrives and is answered, whichever packets were lost. */
Test(packets, commits_arrive_over_a_wire_that_loses_much, .timeout = 60)
{
    static struct consumer_group group;
    start("packets", 20, 10, LEAT_PACKET_BYTES_BASE);
    attach();
    open_streams();
    consumer.group = &group;
    for (uint64_t offset = 1; offset <= 500; offset++) {
        commit_state_ask(&reader.commits, offset, 1);
        client_session_queue_credit(&reader);
        for (uint32_t wait = seeded_below(&badwire.seed, 30); wait > 0; wait--)
            step();
        if (offset % 10 != 0)
            continue;
        for (int i = 0; commit_state_pending(&reader.commits); i++) {
            cr_assert_lt(i, 200000, "commit %llu is never answered", (unsigned long long)offset);
            step();
        }
        cr_assert_eq(packet_broker_committed(), offset);
        cr_assert_eq(commit_state_standing(&reader.commits), offset);
    }
    cr_assert_gt(session->packets->flow.counters.packets_lost, 0u);
}

/* The credit of a reader that goes on reading arrives all the time; the large batch must too. */
Test(packets, a_path_that_grows_narrow_is_noticed_though_small_packets_arrive, .timeout = 60)
{
    static const uint8_t value[1900] = { 0 };
    const struct leat_record record = { .value = value, .value_size = sizeof value };
    start("packets", 0, 0, BADWIRE_DATAGRAM_MAX);
    attach();
    open_streams();
    for (int i = 0; i < 1000; i++)
        step();
    cr_assert_gt(session->packets->flow.options.payload_max, (uint32_t)LEAT_PACKET_BYTES_BASE);
    badwire.path_bytes = LEAT_PACKET_BYTES_BASE;
    cr_assert_eq(leat_producer_send(&producer, &record), 0);
    for (int i = 0; delivered == 0; i++) {
        cr_assert_lt(i, 2000, "it never arrives");
        reader.credit_again = true;
        client_session_queue_credit(&reader);
        client_dirty(client, session);
        step();
    }
    cr_assert_eq(session->packets->flow.options.payload_max, (uint32_t)LEAT_PACKET_BYTES_BASE);
    badwire.path_bytes = BADWIRE_DATAGRAM_MAX; /* it may be wide again one day */
    for (uint64_t patience = now + 2 * MTU_AGAIN_NS; now < patience;)
        step();
    cr_assert_gt(session->packets->flow.options.payload_max, (uint32_t)LEAT_PACKET_BYTES_BASE);
}

/* A probe of the path that is due and has no place in the window is no reason to be awake. */
Test(packets, a_probe_that_waits_for_the_window_wakes_nobody, .timeout = 60)
{
    start("packets", 0, 0, LEAT_PACKET_BYTES_BASE);
    attach();
    open_streams();
    badwire.cut = true;
    session->packets->flow.peer_window = 4;
    for (uint64_t i = 0; i < 100; i++) {
        uint8_t value[1000] = { 0 };
        const struct leat_record record = { .value = value, .value_size = sizeof value };
        if (leat_producer_send(&producer, &record) != 0)
            break;
    }
    for (int i = 0; i < 20000; i++) { /* a second: probes are given up after 0.3 */
        step();
        cr_assert_gt(session_packets_deadline(session), now, "after %d steps", i);
    }
    cr_assert_leq(session->packets->mtu.due_at, now);
}

/* Whoever waits on leat_client_fd alone hears of datagrams that the link has already from the
 * kernel, and one poll had no time for. */
Test(packets, what_the_link_still_holds_makes_the_descriptor_readable, .timeout = 60)
{
    enum { DATAGRAMS = 300 }; /* more than one poll takes */
    static const uint8_t noise[20];
    start("packets", 0, 0, BADWIRE_DATAGRAM_MAX);
    attach();
    for (int i = 0; i < 1000; i++)
        step();
    const int fd = client->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    struct pollfd readable = { .fd = fd, .events = POLLIN };
    client->armed = LEAT_NS_NEVER;
    client->next_deadline = LEAT_NS_NEVER;
    client_arm(client);
    cr_assert_eq(poll(&readable, 1, 0), 0);
    for (int i = 0; i < DATAGRAMS; i++)
        badwire_fly(&badwire.to_client, noise, sizeof noise);
    packet_port_receive(client);
    cr_assert_gt(badwire.to_client.count, 0u);
    client_arm(client);
    cr_assert_eq(poll(&readable, 1, 1000), 1);
    packet_port_receive(client);
    cr_assert_eq(badwire.to_client.count, 0u);
    client_arm(client);
    cr_assert_eq(poll(&readable, 1, 0), 0);
    client->timer = -1;
    close(fd);
}

Test(packets, nothing_but_attach_is_sent_before_it_is_answered, .timeout = 60)
{
    start("packets", 0, 0, BADWIRE_DATAGRAM_MAX);
    open_streams();
    const uint64_t value = 0;
    const struct leat_record record = { .value = &value, .value_size = sizeof value };
    cr_assert_eq(leat_producer_send(&producer, &record), 0);
    unsigned attaches = 0;
    for (int i = 0; i < 10000; i++) { /* the broker is silent for half a second */
        now += STEP_NS;
        client_step(client, now);
        for (uint32_t k = 0; k < badwire.to_broker.count; k++) {
            struct leat_packet packet;
            struct leat_frame frame;
            const struct badwire_datagram *f = &badwire.to_broker.datagrams[k];
            cr_assert_eq(leat_packet_decode(&packet, f->bytes, f->size), LEAT_OK);
            cr_assert_eq(leat_frame_decode(&frame, packet.frames, packet.frames_size), LEAT_OK);
            cr_assert_eq(frame.type, LEAT_FRAME_ATTACH);
            cr_assert_eq(frame.length, packet.frames_size);
            attaches++;
        }
        badwire.to_broker.count = 0;
    }
    cr_assert_gt(attaches, 2u, "it is repeated");
    cr_assert_lt(attaches, 50u, "with patience");
}

Test(packets, a_broker_that_never_answers_is_left_for_tcp, .timeout = 60)
{
    start("packets", 0, 0, BADWIRE_DATAGRAM_MAX);
    badwire.cut = true;
    const leat_ns began = now;
    while (client->transport != URL_TCP && now < began + 10 * LEAT_NS_PER_S)
        step();
    cr_assert_eq(client->transport, URL_TCP);
    cr_assert_eq(client->last_failure, LEAT_ERR_TIMEOUT);
    cr_assert_eq(fallback.type, LEAT_EVENT_FALLBACK);
    cr_assert_leq(now - began, 3 * LEAT_NS_PER_S);
    cr_assert_eq(client->port.link, NULL, "the port is closed");
}

Test(packets, a_path_that_dies_is_noticed_even_when_idle, .timeout = 60)
{
    start("packets", 0, 0, BADWIRE_DATAGRAM_MAX);
    attach();
    open_streams();
    publish_and_consume(100);
    const leat_ns idle = now;
    while (now < idle + 20 * LEAT_NS_PER_S)
        step();
    cr_assert_eq(client->transport, URL_UDP, "silence is no death: it was asked, and answered");
    badwire.cut = true;
    const leat_ns cut = now;
    while (client->transport != URL_TCP && now < cut + 10 * LEAT_NS_PER_S)
        step();
    cr_assert_eq(client->transport, URL_TCP);
    cr_assert_eq(client->last_failure, LEAT_ERR_UNREACHABLE);
    cr_assert_geq(now - cut, 2 * LEAT_NS_PER_S, "%llu", (unsigned long long)(now - cut));
    cr_assert_leq(now - cut, 6 * LEAT_NS_PER_S, "%llu", (unsigned long long)(now - cut));
}

/* Its grant may still be on its way to the shard when the first packet is there. */
Test(packets, a_shard_that_has_not_heard_of_the_session_is_asked_again, .timeout = 60)
{
    start("packets", 0, 0, BADWIRE_DATAGRAM_MAX);
    const struct leat_frame_reset reset = { .status = LEAT_ERR_UNKNOWN_SESSION };
    uint8_t bytes[LEAT_PACKET_HEADER_BYTES + LEAT_PACKET_GUARD_BYTES + LEAT_RESET_BYTES];
    const struct leat_packet packet = { .type = LEAT_PACKET_RESET,
                                        .length = sizeof bytes,
                                        .session = PACKET_BROKER_SESSION };
    client_step(client, now);
    cr_assert_eq(badwire.to_broker.count, 1u);
    badwire.to_broker.count = 0;
    leat_frame_write_reset(bytes + leat_packet_write(bytes, &packet), &reset);
    leat_packet_seal(bytes, sizeof bytes, NULL, 0);
    badwire_fly(&badwire.to_client, bytes, sizeof bytes);
    attach();
    cr_assert_eq(client->last_failure, 0);
    cr_assert_leq(now, LEAT_NS_PER_S + 100 * LEAT_NS_PER_MS);
}

Test(packets, only_the_token_of_the_grant_resets, .timeout = 60)
{
    start("packets", 0, 0, BADWIRE_DATAGRAM_MAX);
    attach();
    memset(session->reset_token, 7, sizeof session->reset_token);
    struct leat_frame_reset reset = { .status = LEAT_ERR_CLOSED };
    for (int turn = 0; turn < 2; turn++) {
        uint8_t bytes[LEAT_PACKET_HEADER_BYTES + LEAT_PACKET_GUARD_BYTES + LEAT_RESET_BYTES];
        const struct leat_packet packet = { .type = LEAT_PACKET_RESET,
                                            .length = sizeof bytes,
                                            .session = PACKET_BROKER_SESSION };
        leat_frame_write_reset(bytes + leat_packet_write(bytes, &packet), &reset);
        leat_packet_seal(bytes, sizeof bytes, NULL, 0);
        badwire_fly(&badwire.to_client, bytes, sizeof bytes);
        client_step(client, now);
        cr_assert_eq(client->last_failure, turn == 0 ? LEAT_OK : LEAT_ERR_CLOSED);
        memset(reset.token, 7, sizeof reset.token);
    }
    cr_assert_eq(client->transport, URL_UDP, "a reset says nothing against the path");
    cr_assert_eq(stats_now().packets_dropped, 1u);
}

/* What is not from the broker, or not as the broker sent it, changes nothing. */
Test(packets, a_packet_without_the_tag_or_damaged_changes_nothing, .timeout = 60)
{
    start("packets", 0, 0, BADWIRE_DATAGRAM_MAX);
    attach();
    const struct flow before = session->packets->flow;
    for (int turn = 0; turn < 4; turn++) {
        uint8_t bytes[LEAT_PACKET_OVERHEAD_BYTES + LEAT_RESET_BYTES];
        const struct leat_packet packet = { .type = LEAT_PACKET_SESSION,
                                            .session = PACKET_BROKER_SESSION,
                                            .number = 100,
                                            .tag = turn == 0   ? 0
                                                   : turn == 1 ? PACKET_BROKER_TAG_TO_BROKER
                                                               : PACKET_BROKER_TAG_TO_CLIENT,
                                            .length = sizeof bytes,
                                            .has_ack = true,
                                            .ack = { .largest = 1, .window = 1 } };
        struct leat_frame_reset reset = { .status = LEAT_ERR_CLOSED };
        memcpy(reset.token, session->reset_token, sizeof reset.token);
        leat_frame_write_reset(bytes + leat_packet_write(bytes, &packet), &reset);
        if (turn == 2) /* over a link that may damage batches */
            leat_packet_seal_partial(bytes, sizeof bytes, NULL, 0);
        else
            leat_packet_seal(bytes, sizeof bytes, NULL, 0);
        if (turn == 3)
            bytes[sizeof bytes - 1] ^= 1;
        badwire_fly(&badwire.to_client, bytes, sizeof bytes);
        client_step(client, now);
        cr_assert_eq(client->last_failure, LEAT_OK);
        cr_assert_eq(memcmp(&before, &session->packets->flow, sizeof before), 0);
        cr_assert_eq(stats_now().packets_dropped, (uint64_t)turn + 1);
    }
}

/* What a link that promises intact bytes damaged is not lost for good, and the promise is believed
 * once only. */
Test(packets, a_session_that_ended_for_damage_is_followed_by_ones_with_whole_checksums,
     .timeout = 60)
{
    start("packets", 0, 0, BADWIRE_DATAGRAM_MAX);
    badwire.link.limits.intact = session->may_be_partial = true;
    session_packets_connect(session);
    cr_assert(client_session_is_uncovered(session));
    const struct leat_frame_reset reset = { .status = LEAT_ERR_BAD_CRC };
    client_session_was_reset(session, &reset);
    cr_assert_eq(client->failure, LEAT_ERR_BAD_CRC);
    session_packets_connect(session);
    cr_assert_not(client_session_is_uncovered(session));
    client->seals = false;
    client->failure = 0;
    session_packets_connect(session);
    session->state = SESSION_UP;
    Leat__Control__SessionEnded ended = LEAT__CONTROL__SESSION_ENDED__INIT;
    Leat__Control__Response notice = LEAT__CONTROL__RESPONSE__INIT;
    ended.session = PACKET_BROKER_SESSION;
    ended.error = LEAT_ERR_BAD_CRC;
    notice.body_case = LEAT__CONTROL__RESPONSE__BODY_SESSION_ENDED;
    notice.session_ended = &ended;
    liveness_notice(client, &notice);
    session_packets_connect(session);
    cr_assert_not(client_session_is_uncovered(session), "nor when control is the one that says it");
}
