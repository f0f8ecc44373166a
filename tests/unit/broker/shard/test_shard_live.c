/* Goal: a shard ends the sessions whose client is silent, or does not take what it is sent, for a
 * keepalive, says so to control, and spares those that live, also when it was itself away for long.
 * Method: one thread plays control (the mailboxes), the clients (sockets, and packets over a
 * simulated fabric) and time (shard_step's `now`). */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/log/partition.h"
#include "schema/batch.h"
#include "schema/session_id.h"
#include "tests/support/shard_peer.h"
#include "tests/support/wire.h"

enum {
    TCP_SESSION = 2 << LEAT_SESSION_GENERATION_BITS | 5,
    OTHER_SESSION = 3 << LEAT_SESSION_GENERATION_BITS | 5
};
#define KEEPALIVE SHARD_PEER_KEEPALIVE_NS

TestSuite(shard_live, .init = shard_peer_open, .fini = shard_peer_close, .timeout = 60);

static void pass(leat_ns time)
{
    shard_peer.now += time;
    shard_peer_shard_turn();
}

static int attach(uint32_t session)
{
    struct wire_grant grant = { .session = session, .token = { 3 } };
    struct message m = { .type = MESSAGE_GRANT_SESSION, .session = session };
    memcpy(m.grant.token, grant.token, sizeof grant.token);
    m.grant.expires_ns = shard_peer.now + LEAT_TOKEN_LIFE_NS;
    cr_assert_eq(mailbox_send(shard_peer.inbox, &m), LEAT_OK);
    shard_peer_shard_turn();
    const struct leat_frame_attach attach = { .session = session,
                                              .version = LEAT_PROTOCOL_VERSION,
                                              .token = { 3 } };
    uint8_t bytes[LEAT_ATTACH_BYTES], answer[LEAT_ATTACHED_BYTES];
    const int fd = wire_connect(shard_tcp_address(shard_peer.shard));
    cr_assert(wire_send(fd, bytes, leat_frame_write_attach(bytes, &attach)));
    while (recv(fd, answer, sizeof answer, MSG_DONTWAIT | MSG_PEEK) != sizeof answer)
        shard_peer_shard_turn();
    cr_assert(wire_receive(fd, answer, sizeof answer));
    return fd;
}

static void ping(int fd)
{
    uint8_t bytes[LEAT_PING_BYTES];
    cr_assert(wire_send(fd, bytes, leat_frame_write_ping(bytes, LEAT_FRAME_PING, 1)));
}

/* Control was told that this session ended, and of no other. */
static bool was_told(uint32_t session, int16_t status)
{
    struct message m;
    bool told = false;
    while (mailbox_receive(shard_peer.outbox, &m)) {
        if (m.type != MESSAGE_SESSION_CLOSED
            || (m.session == SHARD_PEER_SESSION && !shard_peer.attached))
            continue; /* a grant that is not used dies too */
        cr_assert_eq(m.session, session);
        cr_assert_eq(m.status, status);
        told = true;
    }
    return told;
}

static bool has_ended(int fd)
{
    uint8_t bytes[4096];
    ssize_t got;
    while ((got = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT)) > 0)
        ;
    return got == 0 || errno == ECONNRESET;
}

Test(shard_live, a_silent_connection_ends_and_control_is_told_why)
{
    const int silent = attach(TCP_SESSION), speaks = attach(OTHER_SESSION);
    for (int i = 0; i < 3; i++) {
        pass(KEEPALIVE / 3);
        ping(speaks);
        cr_assert_not(was_told(0, 0), "nobody was silent for a keepalive yet");
    }
    pass(KEEPALIVE / 3);
    cr_assert(was_told(TCP_SESSION, LEAT_ERR_TIMEOUT));
    cr_assert(has_ended(silent));
    cr_assert_eq(shard_peer_counted("leat_sessions_silent_total"), 1u);
    ping(speaks);
    for (int i = 0; i < 10; i++) {
        pass(KEEPALIVE / 3);
        ping(speaks);
    }
    cr_assert_not(was_told(0, 0));
    cr_assert_not(has_ended(speaks));
    close(silent);
    close(speaks);
}

Test(shard_live, a_client_that_leaves_is_told_to_control_without_an_error)
{
    const int fd = attach(TCP_SESSION);
    close(fd);
    while (!was_told(TCP_SESSION, LEAT_OK))
        shard_peer_shard_turn();
}

Test(shard_live, a_shard_that_was_away_hears_what_came_before_it_judges)
{
    enum { CLIENTS = 300 }; /* more than it is told of in one turn */
    int fds[CLIENTS];
    for (uint32_t i = 0; i < CLIENTS; i++)
        fds[i] = attach(leat_session_id(0, 2 + i, 5));
    shard_peer_attach();
    for (int i = 0; i < CLIENTS; i++)
        ping(fds[i]);
    shard_peer_send_pings(2000);
    pass(5 * KEEPALIVE);
    cr_assert_not(was_told(0, 0));
    cr_assert_eq(shard_peer_counted("leat_sessions_silent_total"), 0u);
    for (int i = 0; i < CLIENTS; i++) {
        cr_assert_not(has_ended(fds[i]));
        close(fds[i]);
    }
}

Test(shard_live, a_silent_session_in_packets_ends_and_control_is_told_why)
{
    shard_peer_attach();
    for (int i = 0; i < 10; i++) {
        pass(KEEPALIVE / 3);
        shard_peer_send_pings(1);
        shard_peer_turn();
    }
    for (int i = 0; i < 1000; i++)
        shard_peer_turn(); /* nothing is on the way any more */
    cr_assert_not(was_told(0, 0));
    pass(KEEPALIVE * 9 / 10);
    cr_assert_not(was_told(0, 0));
    pass(KEEPALIVE / 4);
    cr_assert(was_told(SHARD_PEER_SESSION, LEAT_ERR_TIMEOUT));
    UNTIL(shard_peer.resets == 1, 100);
    cr_assert_eq(shard_peer.reset, LEAT_ERR_TIMEOUT);
}

/* ---- a socket that does not drain */

static void publish_much(int fd, uint32_t session)
{
    static uint8_t batch[1 << 16];
    const struct message opened =
        shard_peer_ask((struct message){ .type = MESSAGE_OPEN_PUBLISH,
                                         .session = session,
                                         .partition = shard_peer.partition,
                                         .publish = { .producer_id = 9, .producer_epoch = 1 } });
    cr_assert_eq(opened.status, LEAT_OK);
    const struct wire_producer producer = { .id = 9, .epoch = 1, .stream = opened.stream };
    for (uint64_t i = 0; i < 3; i++) {
        const size_t size = wire_make_batch(batch, sizeof batch, &producer, i * 10, 10, 3000);
        cr_assert(wire_publish(fd, opened.stream, batch, size));
        shard_peer_shard_turn();
    }
}

/* Asks for everything again and again, through new streams, until the socket is full. */
static void fill(int fd, uint32_t session)
{
    for (int i = 0; i < 400; i++) {
        const struct message opened =
            shard_peer_ask((struct message){ .type = MESSAGE_OPEN_SUBSCRIPTION,
                                             .session = session,
                                             .partition = shard_peer.partition,
                                             .subscribe = { .at = PARTITION_EARLIEST } });
        cr_assert_eq(opened.status, LEAT_OK);
        uint8_t bytes[LEAT_CREDIT_BYTES];
        const struct leat_frame_credit credit = { .limit = UINT64_MAX / 2 };
        cr_assert(wire_send(fd, bytes, leat_frame_write_credit(bytes, opened.stream, &credit)));
        shard_peer_shard_turn();
    }
}

static void read_some(int fd, size_t most)
{
    uint8_t bytes[4096];
    while (most > 0 && recv(fd, bytes, sizeof bytes, MSG_DONTWAIT) > 0)
        most -= most < sizeof bytes ? most : sizeof bytes;
    for (int i = 0; i < 10; i++)
        shard_peer_shard_turn();
}

Test(shard_live, a_reader_that_speaks_and_does_not_read_ends)
{
    const int writer = attach(OTHER_SESSION), reader = attach(TCP_SESSION);
    publish_much(writer, OTHER_SESSION);
    fill(reader, TCP_SESSION);
    leat_ns passed = 0;
    while (!was_told(TCP_SESSION, LEAT_ERR_TIMEOUT)) {
        cr_assert_leq(passed, 2 * KEEPALIVE, "it is still there");
        ping(writer);
        uint8_t bytes[LEAT_PING_BYTES];
        send(reader, bytes, leat_frame_write_ping(bytes, LEAT_FRAME_PING, 1),
             MSG_DONTWAIT | MSG_NOSIGNAL);
        pass(KEEPALIVE / 4);
        passed += KEEPALIVE / 4;
    }
    cr_assert_geq(passed, KEEPALIVE);
    cr_assert_eq(shard_peer_counted("leat_sessions_stuck_total"), 1u);
    cr_assert_eq(shard_peer_counted("leat_sessions_silent_total"), 0u);
    close(reader);
    close(writer);
}

Test(shard_live, a_reader_that_reads_slowly_stays)
{
    const int writer = attach(OTHER_SESSION), reader = attach(TCP_SESSION);
    publish_much(writer, OTHER_SESSION);
    fill(reader, TCP_SESSION);
    for (int i = 0; i < 12; i++) {
        ping(writer);
        ping(reader);
        read_some(reader, 1 << 18);
        pass(KEEPALIVE / 3);
        cr_assert_not(was_told(0, 0), "round %d", i);
    }
    close(reader);
    close(writer);
}
