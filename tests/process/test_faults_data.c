/* Goal: whatever comes on a shard's data port, the one who sent it gets a typed answer or a closed
 * connection, the others feel nothing, and the broker lives.
 * Method: a real leatd; a raw peer that says what no client would, beside a well-behaved raw peer
 * whose publish-and-read-back must go on working after every attack. Random bytes come from a
 * printed seed. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "schema/batch.h"
#include "schema/bytes.h"
#include "tests/support/leatd.h"
#include "tests/support/wire.h"

enum { RING = 1 << 20 };

static struct leatd broker;

/* The bystander: a producer and a reader of its own topic. */
static struct {
    int control, data;
    struct wire_producer producer;
    struct wire_subscription subscription;
    struct wire_reader reader;
    uint64_t sequence;
    uint64_t position;
} good;

static void good_open(void)
{
    int16_t status;
    good.control = wire_control(broker.control);
    cr_assert_eq(wire_create_topic(good.control, "good", RING, 1), 0);
    const struct wire_grant grant = wire_open_session(good.control, 0);
    good.data = wire_attach(broker.data[0], &grant, &status);
    cr_assert_eq(status, LEAT_OK);
    good.producer = wire_open_producer(good.control, "good", grant.session);
    good.subscription = wire_open_subscription(good.control, "good", grant.session);
    good.sequence = 0;
    good.position = good.subscription.position;
    wire_reader_init(&good.reader, good.data);
}

/* Publishes one record and reads it back through the log. */
static void good_still_works(void)
{
    uint8_t batch[512], credit[LEAT_CREDIT_BYTES];
    const size_t size =
        wire_make_batch(batch, sizeof batch, &good.producer, good.sequence++, 1, 100);
    const struct leat_frame_credit more = { .limit = good.position + (1 << 20),
                                            .consumed = good.position };
    leat_frame_write_credit(credit, good.subscription.stream, &more);
    cr_assert(wire_send(good.data, credit, sizeof credit));
    cr_assert(wire_publish(good.data, good.producer.stream, batch, size));

    bool acked = false;
    size_t got = 0;
    while (!acked || got < size) {
        struct leat_frame frame;
        cr_assert(wire_next_frame(&good.reader, &frame), "the bystander was disconnected");
        if (frame.type == LEAT_FRAME_PUBLISH_ACK) {
            cr_assert_eq(leat_ack_run_at(&frame.publish_ack, 0).status, LEAT_OK);
            acked = true;
        } else if (frame.type == LEAT_FRAME_DATA) {
            cr_assert_eq(frame.data.position, good.position);
            for (size_t i = 0; i < frame.data.size; i++, got++)
                cr_assert(got < LEAT_BATCH_STAMP_BYTES || frame.data.bytes[i] == batch[got]);
            good.position += frame.data.size;
        }
    }
}

static void set_up(void)
{
    leatd_start(&broker);
    good_open();
    good_still_works();
}

static void tear_down(void)
{
    good_still_works();
    cr_assert(leatd_alive(&broker), "the broker died");
    cr_assert_not(leatd_log_has(&broker, "Sanitizer"), "see %s", broker.log_path);
    leatd_end(&broker);
}

TestSuite(faults_data, .init = set_up, .fini = tear_down, .timeout = 120);

static int attach_new(uint32_t *session)
{
    int16_t status;
    const struct wire_grant grant = wire_open_session(good.control, 0);
    const int fd = wire_attach(broker.data[0], &grant, &status);
    cr_assert_eq(status, LEAT_OK);
    if (session != NULL)
        *session = grant.session;
    return fd;
}

/* Splitmix64, so that a seed replays anywhere. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static uint64_t print_seed(void)
{
    uint64_t seed = 0;
    const char *given = getenv("SEED");
    if (given != NULL)
        seed = strtoull(given, NULL, 0);
    else
        cr_assert_eq(getrandom(&seed, sizeof seed, 0), (ssize_t)sizeof seed);
    cr_log_info("SEED=%llu", (unsigned long long)seed);
    return seed;
}

Test(faults_data, a_token_works_once_and_only_whole)
{
    int16_t status;
    struct wire_grant grant = wire_open_session(good.control, 0);
    struct wire_grant forged = grant;
    forged.token[15] ^= 1;
    const int refused = wire_attach(broker.data[0], &forged, &status);
    cr_assert_eq(status, LEAT_ERR_UNKNOWN_SESSION);
    cr_assert(wire_wait_closed(refused));

    const int first = wire_attach(broker.data[0], &grant, &status);
    cr_assert_eq(status, LEAT_OK, "a wrong guess must not burn the real token");
    const int again = wire_attach(broker.data[0], &grant, &status);
    cr_assert_eq(status, LEAT_ERR_UNKNOWN_SESSION);
    cr_assert(wire_wait_closed(again));
    close(first);
}

Test(faults_data, an_attach_of_another_version_is_told_so_and_keeps_the_token)
{
    const struct wire_grant grant = wire_open_session(good.control, 0);
    int16_t status;
    for (uint16_t version = LEAT_PROTOCOL_VERSION - 1; version <= LEAT_PROTOCOL_VERSION + 1;
         version += 2) {
        const int refused = wire_attach_as(broker.data[0], &grant, version, &status);
        cr_assert_eq(status, LEAT_ERR_VERSION);
        cr_assert(wire_wait_closed(refused));
        close(refused);
    }
    const int fd = wire_attach(broker.data[0], &grant, &status);
    cr_assert_eq(status, LEAT_OK);
    close(fd);
}

Test(faults_data, frames_before_attach_close_the_connection)
{
    const int fd = wire_connect(broker.data[0]);
    uint8_t ping[LEAT_PING_BYTES];
    cr_assert(wire_send(fd, ping, leat_frame_write_ping(ping, LEAT_FRAME_PING, 7)));
    cr_assert(wire_wait_closed(fd));
}

Test(faults_data, random_bytes_end_only_their_sender)
{
    uint64_t random = print_seed();
    for (int round = 0; round < 200; round++) {
        uint8_t noise[512];
        for (size_t i = 0; i < sizeof noise; i += 8)
            leat_store64(noise + i, next_random(&random));
        const bool attached = round % 2 == 0;
        const int fd = attached ? attach_new(NULL) : wire_connect(broker.data[0]);
        /* Some noise looks like the start of a long frame: close our half so that nobody waits. */
        wire_send(fd, noise, 1 + next_random(&random) % sizeof noise);
        shutdown(fd, SHUT_WR);
        cr_assert(wire_wait_closed(fd), "round %d", round);
        close(fd);
    }
}

Test(faults_data, a_bad_frame_gets_a_reset_that_says_why)
{
    struct wire_grant grant = wire_open_session(good.control, 0);
    int16_t status;
    const int fd = wire_attach(broker.data[0], &grant, &status);
    uint8_t bad[LEAT_PING_BYTES];
    leat_frame_write_ping(bad, LEAT_FRAME_PING, 1);
    bad[0] = 0xEE; /* unknown, and must be understood */
    cr_assert(wire_send(fd, bad, sizeof bad));
    struct wire_reader reader;
    struct leat_frame frame;
    wire_reader_init(&reader, fd);
    cr_assert(wire_next_frame(&reader, &frame));
    cr_assert_eq(frame.type, LEAT_FRAME_RESET);
    cr_assert_arr_eq(frame.reset.token, grant.reset_token, LEAT_TOKEN_BYTES);
    cr_assert_lt(frame.reset.status, 0);
    cr_assert_not(wire_next_frame(&reader, &frame), "and then it closes");
}

Test(faults_data, unknown_frames_that_may_be_skipped_are_skipped)
{
    const int fd = attach_new(NULL);
    uint8_t bytes[2 * LEAT_PING_BYTES];
    leat_frame_write_ping(bytes, LEAT_FRAME_PING, 1);
    bytes[0] = 0x6E;
    leat_frame_write_ping(bytes + LEAT_PING_BYTES, LEAT_FRAME_PING, 42);
    cr_assert(wire_send(fd, bytes, sizeof bytes));
    struct wire_reader reader;
    struct leat_frame frame;
    wire_reader_init(&reader, fd);
    cr_assert(wire_next_frame(&reader, &frame));
    cr_assert_eq(frame.type, LEAT_FRAME_PONG);
    cr_assert_eq(frame.ping, 42u);
}

Test(faults_data, frames_one_byte_at_a_time_still_work)
{
    const int fd = attach_new(NULL);
    uint8_t ping[LEAT_PING_BYTES];
    leat_frame_write_ping(ping, LEAT_FRAME_PING, 9);
    for (size_t i = 0; i < sizeof ping; i++)
        cr_assert(wire_send(fd, ping + i, 1));
    struct wire_reader reader;
    struct leat_frame frame;
    wire_reader_init(&reader, fd);
    cr_assert(wire_next_frame(&reader, &frame));
    cr_assert_eq(frame.ping, 9u);
}

/* One attached attacker with a producer on a topic of its own. */
struct attacker {
    int fd;
    struct wire_producer producer;
    struct wire_reader reader;
};

static void attacker_open(struct attacker *a, const char *topic)
{
    uint32_t session;
    cr_assert_eq(wire_create_topic(good.control, topic, RING, 1), 0);
    a->fd = attach_new(&session);
    a->producer = wire_open_producer(good.control, topic, session);
    wire_reader_init(&a->reader, a->fd);
}

static struct leat_ack_run next_run(struct attacker *a)
{
    struct leat_frame frame;
    do
        cr_assert(wire_next_frame(&a->reader, &frame), "closed instead of answered");
    while (frame.type != LEAT_FRAME_PUBLISH_ACK);
    return leat_ack_run_at(&frame.publish_ack, 0);
}

Test(faults_data, refused_batches_consume_their_sequence_and_the_next_goes_on)
{
    static struct attacker a;
    static uint8_t batch[1 << 16];
    attacker_open(&a, "refused");

    size_t size = wire_make_batch(batch, sizeof batch, &a.producer, 0, 1, 100);
    batch[size - 9] ^= 0x40; /* inside the value: the CRC no longer fits */
    cr_assert(wire_publish(a.fd, a.producer.stream, batch, size));
    struct leat_ack_run run = next_run(&a);
    cr_assert_eq(run.status, LEAT_ERR_BAD_CRC);
    cr_assert_eq(run.first_sequence, 0u);

    size = wire_make_batch(batch, sizeof batch, &a.producer, 1, 3, 100);
    cr_assert(wire_publish(a.fd, a.producer.stream, batch, size));
    run = next_run(&a);
    cr_assert_eq(run.status, LEAT_OK);
    cr_assert_eq(run.base_offset, 0u, "the refused batch left no hole in the offsets");
    cr_assert_eq(run.count, 3u);

    cr_assert(wire_publish(a.fd, a.producer.stream, batch, size));
    run = next_run(&a);
    cr_assert(run.status == LEAT_OK, "a duplicate gets its old answer, not %d", run.status);
    cr_assert_eq(run.base_offset, 0u);

    size = wire_make_batch(batch, sizeof batch, &a.producer, 9, 1, 100);
    cr_assert(wire_publish(a.fd, a.producer.stream, batch, size));
    cr_assert_eq(next_run(&a).status, LEAT_ERR_OUT_OF_ORDER);

    a.producer.epoch += 1;
    size = wire_make_batch(batch, sizeof batch, &a.producer, 4, 1, 100);
    cr_assert(wire_publish(a.fd, a.producer.stream, batch, size));
    cr_assert_eq(next_run(&a).status, LEAT_ERR_FENCED);
}

Test(faults_data, other_records_under_used_numbers_are_fenced_and_never_acked)
{
    static struct attacker a;
    static uint8_t batch[1 << 12];
    attacker_open(&a, "stolen");
    size_t size = wire_make_batch(batch, sizeof batch, &a.producer, 0, 2, 100);
    cr_assert(wire_publish(a.fd, a.producer.stream, batch, size));
    cr_assert_eq(next_run(&a).status, LEAT_OK);
    size = wire_make_batch(batch, sizeof batch, &a.producer, 0, 2, 92);
    cr_assert(wire_publish(a.fd, a.producer.stream, batch, size));
    struct leat_ack_run run = next_run(&a);
    cr_assert_eq(run.status, LEAT_ERR_FENCED);
    cr_assert(run.first_sequence == 0 && run.count == 2);
    size = wire_make_batch(batch, sizeof batch, &a.producer, 0, 1, 100);
    cr_assert(wire_publish(a.fd, a.producer.stream, batch, size));
    cr_assert_eq(next_run(&a).status, LEAT_ERR_FENCED, "cut differently: not sent again for ever");
}

static int open_as(int control, const char *topic, uint32_t session,
                   const struct wire_producer *who, uint32_t *stream)
{
    Leat__Control__OpenProducer open = LEAT__CONTROL__OPEN_PRODUCER__INIT;
    open.topic = (char *)topic;
    open.sessions = &session;
    open.n_sessions = 1;
    open.producer_id = who->id;
    open.producer_epoch = who->epoch;
    open.resume_token =
        (ProtobufCBinaryData){ LEAT_RESUME_TOKEN_BYTES, (uint8_t *)who->resume_token };
    Leat__Control__Request request = LEAT__CONTROL__REQUEST__INIT;
    request.id = 9;
    request.body_case = LEAT__CONTROL__REQUEST__BODY_OPEN_PRODUCER;
    request.open_producer = &open;
    Leat__Control__Response *response = wire_request(control, &request);
    cr_assert_not_null(response);
    const int error = response->error;
    if (error == 0)
        *stream = response->producer->streams[0]->stream;
    leat__control__response__free_unpacked(response, NULL);
    return error;
}

/* Every batch that is delivered says its producer's id and epoch. */
Test(faults_data, who_says_a_producers_id_and_epoch_gets_nothing_and_disturbs_nothing)
{
    const int thief = wire_control(broker.control);
    const struct wire_grant grant = wire_open_session(thief, 0);
    uint32_t stream;
    struct wire_producer guess = good.producer;
    memset(guess.resume_token, 0, sizeof guess.resume_token);
    cr_assert_eq(open_as(thief, "good", grant.session, &guess, &stream), LEAT_ERR_FENCED);
    good_still_works();
    guess.epoch = 9; /* never granted */
    cr_assert_eq(open_as(thief, "good", grant.session, &guess, &stream), LEAT_ERR_FENCED);
    good_still_works();
    close(thief);
}

/* Who lost its producer to another stream hears so at once, not when it publishes again. */
Test(faults_data, the_stream_that_loses_its_producer_is_told_at_once_and_answered_after)
{
    static struct attacker a;
    static uint8_t batch[1 << 12];
    struct leat_frame frame;
    uint32_t session, stream = 0;
    attacker_open(&a, "moved");
    size_t size = wire_make_batch(batch, sizeof batch, &a.producer, 0, 1, 100);
    cr_assert(wire_publish(a.fd, a.producer.stream, batch, size));
    cr_assert_eq(next_run(&a).status, LEAT_OK);
    const int other = attach_new(&session);
    cr_assert_eq(open_as(good.control, "moved", session, &a.producer, &stream), 0);
    cr_assert(wire_next_frame(&a.reader, &frame));
    cr_assert_eq(frame.type, LEAT_FRAME_PUBLISH_ACK);
    cr_assert_eq(frame.stream, a.producer.stream);
    cr_assert_eq(leat_ack_run_at(&frame.publish_ack, 0).status, LEAT_ERR_FENCED);
    size = wire_make_batch(batch, sizeof batch, &a.producer, 1, 1, 100);
    cr_assert(wire_publish(a.fd, a.producer.stream, batch, size));
    struct leat_ack_run run = next_run(&a);
    cr_assert(run.status == LEAT_ERR_FENCED && run.first_sequence == 1, "not dropped in silence");
    uint8_t blocked[LEAT_BLOCKED_BYTES];
    leat_frame_write_blocked(blocked, a.producer.stream, 0);
    cr_assert(wire_send(a.fd, blocked, sizeof blocked));
    cr_assert_eq(next_run(&a).status, LEAT_ERR_FENCED, "nor left to wait for credit");
    cr_assert(wire_publish(other, stream, batch, size));
    struct wire_reader reader;
    wire_reader_init(&reader, other);
    cr_assert(wire_next_frame(&reader, &frame));
    cr_assert_eq(frame.type, LEAT_FRAME_PUBLISH_ACK);
    run = leat_ack_run_at(&frame.publish_ack, 0);
    cr_assert(run.status == LEAT_OK && run.base_offset == 1);
}

Test(faults_data, who_waits_for_credit_of_a_stream_that_is_not_there_is_told)
{
    static struct attacker a;
    attacker_open(&a, "gone");
    uint8_t blocked[LEAT_BLOCKED_BYTES];
    leat_frame_write_blocked(blocked, a.producer.stream ^ 0x5555, 0);
    cr_assert(wire_send(a.fd, blocked, sizeof blocked));
    cr_assert_eq(next_run(&a).status, LEAT_ERR_UNKNOWN_STREAM);
}

Test(faults_data, a_record_above_the_topics_limit_is_refused_by_name)
{
    static struct attacker a;
    static uint8_t batch[1 << 18];
    attacker_open(&a, "large"); /* record_bytes_max = RING / 8 = 128 KiB */
    const size_t size = wire_make_batch(batch, sizeof batch, &a.producer, 0, 1, RING / 8 + 1);
    for (size_t at = 0; at < size;) {
        uint8_t header[LEAT_PUBLISH_HEADER_BYTES];
        const size_t piece =
            size - at < LEAT_PUBLISH_PIECE_BYTES_MAX ? size - at : LEAT_PUBLISH_PIECE_BYTES_MAX;
        const struct leat_frame_publish publish = { .size = (uint32_t)piece,
                                                    .piece_at = (uint32_t)at,
                                                    .batch_size = (uint32_t)size };
        leat_frame_write_publish(header, a.producer.stream, &publish);
        if (!wire_send(a.fd, header, sizeof header) || !wire_send(a.fd, batch + at, piece))
            break;
        at += piece;
    }
    cr_assert_eq(next_run(&a).status, LEAT_ERR_TOO_LARGE);
}

Test(faults_data, pieces_that_lie_end_the_session)
{
    static struct attacker a;
    static uint8_t batch[1 << 12];
    attacker_open(&a, "pieces");
    const size_t size = wire_make_batch(batch, sizeof batch, &a.producer, 0, 1, 2000);
    uint8_t header[LEAT_PUBLISH_HEADER_BYTES];
    /* The second half first. */
    const struct leat_frame_publish publish = { .size = (uint32_t)size / 2,
                                                .piece_at = (uint32_t)(size - size / 2),
                                                .batch_size = (uint32_t)size };
    leat_frame_write_publish(header, a.producer.stream, &publish);
    cr_assert(wire_send(a.fd, header, sizeof header));
    cr_assert(wire_send(a.fd, batch, size / 2));
    struct leat_frame frame;
    cr_assert(wire_next_frame(&a.reader, &frame));
    cr_assert_eq(frame.type, LEAT_FRAME_RESET);
}

Test(faults_data, a_client_that_dies_in_mid_frame_leaves_nothing_in_the_log)
{
    static struct attacker a;
    static uint8_t batch[1 << 12];
    attacker_open(&a, "midframe");
    const size_t size = wire_make_batch(batch, sizeof batch, &a.producer, 0, 1, 2000);
    uint8_t header[LEAT_PUBLISH_HEADER_BYTES];
    const struct leat_frame_publish publish = { .size = (uint32_t)size,
                                                .batch_size = (uint32_t)size };
    leat_frame_write_publish(header, a.producer.stream, &publish);
    cr_assert(wire_send(a.fd, header, sizeof header));
    cr_assert(wire_send(a.fd, batch, size / 2));
    const struct linger at_once = { .l_onoff = 1 };
    setsockopt(a.fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(a.fd); /* RST */

    uint32_t session;
    const int fd = attach_new(&session);
    struct wire_producer next = wire_open_producer(good.control, "midframe", session);
    const size_t whole = wire_make_batch(batch, sizeof batch, &next, 0, 1, 10);
    cr_assert(wire_publish(fd, next.stream, batch, whole));
    wire_reader_init(&a.reader, fd);
    cr_assert_eq(next_run(&a).base_offset, 0u);
}

Test(faults_data, batches_for_a_stream_that_does_not_exist_harm_nobody)
{
    static struct attacker a;
    static uint8_t batch[1 << 12];
    attacker_open(&a, "stranger");
    const size_t size = wire_make_batch(batch, sizeof batch, &a.producer, 0, 1, 100);
    cr_assert(wire_publish(a.fd, a.producer.stream ^ 0x5555, batch, size));
    cr_assert_eq(next_run(&a).status, LEAT_ERR_UNKNOWN_STREAM);
    /* Nor what is no batch at all. */
    const struct leat_frame_publish first = { .size = 10, .batch_size = 1000 };
    uint8_t piece[LEAT_PUBLISH_HEADER_BYTES + 10] = { 0 };
    leat_frame_write_publish(piece, a.producer.stream ^ 0x5555, &first);
    cr_assert(wire_send(a.fd, piece, sizeof piece));
    cr_assert_eq(next_run(&a).status, LEAT_ERR_UNKNOWN_STREAM);
    cr_assert(wire_publish(a.fd, a.producer.stream, batch, size));
    cr_assert_eq(next_run(&a).status, LEAT_OK);
}

Test(faults_data, a_client_that_reads_nothing_costs_bounded_memory)
{
    leatd_end(&broker);
    leatd_start_measured(&broker);
    good_open();
    static struct attacker a;
    static uint8_t pings[1000 * LEAT_PING_BYTES];
    attacker_open(&a, "deaf");
    for (size_t i = 0; i < sizeof pings; i += LEAT_PING_BYTES)
        leat_frame_write_ping(pings + i, LEAT_FRAME_PING, i);
    const uint64_t before = leatd_rss_bytes(&broker);
    const struct timeval patience = { .tv_sec = 1 };
    setsockopt(a.fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    /* Each has an answer of its own. Until the broker stops taking them: the kernel holds some
     * 10 MiB of each direction. */
    size_t sent = 0;
    while (sent < 128 * LEAT_MIB) {
        const ssize_t n = send(a.fd, pings, sizeof pings, MSG_NOSIGNAL);
        if (n <= 0)
            break;
        sent += (size_t)n;
    }
    cr_assert_lt(sent, 128 * LEAT_MIB, "the broker takes what it cannot answer");
    good_still_works();
    cr_assert_lt(leatd_rss_bytes(&broker), before + 16 * LEAT_MIB);
}
