/* Goal: a client that is asked faster than it can answer answers what was asked last: an older
 * answer says nothing that a newer one does not. Method: the library's session, over a socket pair
 * and in packets over a wire in this process, is given more PINGs at once than it has room for. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/client_core.h"
#include "client/session.h"
#include "client/session_packets.h"
#include "client/session_tcp.h"
#include "schema/packet.h"
#include "tests/support/badwire.h"
#include "tests/support/packet_broker.h"
#include "transport/link_udp.h"

enum { PINGS = 40, ROOM = PINGS * LEAT_PING_BYTES };

static struct leat_client *client;
static struct client_session *session;

static void start(void)
{
    client = calloc(1, sizeof *client);
    session = calloc(1, sizeof *session);
    client->epoll = client->timer = -1;
    client->now = LEAT_NS_PER_S;
    control_channel_init(&client->control, NULL, NULL);
    TAILQ_INIT(&client->held);
    TAILQ_INIT(&client->producers);
    TAILQ_INIT(&client->consumers);
    client->sessions[0] = session;
    client->sessions_end = 1;
    session->client = client;
    session->id = PACKET_BROKER_SESSION;
    session->tag_to_broker = PACKET_BROKER_TAG_TO_BROKER;
    session->tag_to_client = PACKET_BROKER_TAG_TO_CLIENT;
    session->fd = -1;
    TAILQ_INIT(&session->publishers);
    TAILQ_INIT(&session->credits);
}

/* PINGs of the values 1 to PINGS. */
static uint32_t write_pings(uint8_t *at)
{
    uint32_t size = 0;
    for (uint64_t value = 1; value <= PINGS; value++)
        size += (uint32_t)leat_frame_write_ping(at + size, LEAT_FRAME_PING, value);
    return size;
}

/* The largest value that the PONGs in these bytes answer, and how many there are. */
static uint64_t newest_answer(const uint8_t *bytes, size_t size, unsigned *count)
{
    uint64_t newest = 0;
    struct leat_frame frame;
    for (size_t at = 0; leat_frame_decode(&frame, bytes + at, size - at) == LEAT_OK;
         at += frame.length) {
        if (frame.type != LEAT_FRAME_PONG)
            continue;
        (*count)++;
        newest = frame.ping > newest ? frame.ping : newest;
    }
    return newest;
}

Test(client_pings, over_a_connection_the_newest_is_answered)
{
    uint8_t bytes[ROOM];
    int ends[2];
    unsigned count = 0;
    start();
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
    session->fd = ends[0];
    session->state = SESSION_UP;
    session->stage = malloc(SESSION_STAGE_BYTES);
    session->spill = malloc(LEAT_FRAME_BYTES_MAX);
    const uint32_t size = write_pings(bytes);
    cr_assert_eq(write(ends[1], bytes, size), (ssize_t)size);
    session_tcp_receive(session);
    session_tcp_flush(session);
    const ssize_t got = read(ends[1], bytes, sizeof bytes);
    cr_assert_gt(got, 0, "nothing was answered");
    cr_assert_eq(newest_answer(bytes, (size_t)got, &count), (uint64_t)PINGS);
    session_tcp_flush(session);
    cr_assert_lt(read(ends[1], bytes, sizeof bytes), 0, "and nothing twice");
    free(session->stage);
    free(session->spill);
    close(ends[0]);
    close(ends[1]);
}

Test(client_pings, in_packets_the_newest_are_answered)
{
    uint8_t bytes[LEAT_PACKET_HEADER_BYTES + LEAT_PACKET_GUARD_BYTES + ROOM];
    start();
    badwire = (struct badwire){ .link = { .ops = &badwire_ops,
                                          .limits = { .payload_max = 1472, .polled = true } },
                                .seed = seeded_start("1"),
                                .path_bytes = 1472 };
    client->port.link = &badwire.link;
    struct endpoint *endpoint = &client->packet_endpoints[0];
    endpoint->known = true;
    cr_assert_eq(link_tcp_address("127.0.0.1", 7430, &endpoint->address), LEAT_OK);
    cr_assert(link_udp_peer(&endpoint->address, &badwire.broker));
    loop_jitter_init(&client->port.gap);
    session_packets_connect(session);
    session->state = SESSION_UP;
    session->packets->attach_due = false;
    const struct leat_packet packet = { .type = LEAT_PACKET_SESSION,
                                        .flags = LEAT_PACKET_ACK_NOW,
                                        .length = sizeof bytes,
                                        .session = PACKET_BROKER_SESSION,
                                        .number = 1,
                                        .tag = PACKET_BROKER_TAG_TO_CLIENT };
    const size_t at = leat_packet_write(bytes, &packet);
    cr_assert_eq(at + write_pings(bytes + at), sizeof bytes);
    leat_packet_seal(bytes, sizeof bytes, NULL, 0);
    struct leat_packet came;
    cr_assert_eq(leat_packet_decode(&came, bytes, sizeof bytes), LEAT_OK);
    cr_assert(session_packets_is_genuine(session, &came, bytes));
    cr_assert_eq(session_packets_take(session, &came), 1u);
    session_packets_flush(session);
    badwire.link.ops->flush(&badwire.link, client->now);
    uint64_t newest = 0;
    unsigned count = 0;
    for (uint32_t i = 0; i < badwire.to_broker.count; i++) {
        const struct badwire_datagram *sent = &badwire.to_broker.datagrams[i];
        cr_assert_eq(leat_packet_decode(&came, sent->bytes, sent->size), LEAT_OK);
        const uint64_t best = newest_answer(came.frames, came.frames_size, &count);
        newest = best > newest ? best : newest;
    }
    cr_assert_eq(newest, (uint64_t)PINGS);
    cr_assert(count >= 1 && count <= SESSION_PACKETS_PONGS_MAX, "%u", count);
}
