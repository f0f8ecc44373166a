/* A session over TCP, sending: small frames and batches in one write. */
#include <assert.h>
#include <string.h>
#include <sys/epoll.h>

#include "client/client_core.h"
#include "client/consumer.h"
#include "client/session.h"
#include "client/session_tcp.h"
#include "transport/link_tcp.h"

enum {
    PIECES_MAX = 64,           /* pieces of batches in one write */
    WRITE_BYTES_MAX = 1 << 19, /* approximate limit, so that streams take turns */
    CREDITS_MAX = 128,         /* in one write */
    CREDIT_COMMIT_BYTES = LEAT_CREDIT_BYTES + LEAT_COMMIT_BYTES,
    FIRST_BYTES_MAX =
        CLIENT_SMALL_FRAMES_BYTES + LEAT_PING_BYTES + CREDITS_MAX * CREDIT_COMMIT_BYTES,
};
static_assert((int)FIRST_BYTES_MAX <= (int)LEAT_FRAME_BYTES_MAX,
              "the small frames fit in the spill buffer");

/* A PUBLISH frame in a write: where it ends, and its publisher's cursor after it. */
struct cut {
    struct publisher *publisher;
    struct batch_queue_cursor after;
    size_t end;
};

struct write {
    struct iovec pieces[1 + 2 * PIECES_MAX];
    struct cut cuts[PIECES_MAX];
    unsigned cut_count;
    int piece_count;
    size_t bytes;
    size_t first_bytes; /* small frames, credits and commits, in pieces[0] */
    uint8_t first[FIRST_BYTES_MAX];
    uint8_t headers[PIECES_MAX][LEAT_PUBLISH_HEADER_BYTES];
};

static void add(struct write *w, const uint8_t *bytes, size_t size)
{
    w->pieces[w->piece_count++] = (struct iovec){ .iov_base = (uint8_t *)bytes, .iov_len = size };
    w->bytes += size;
}

static void add_first(struct write *w, struct client_session *session)
{
    memcpy(w->first, session->small, session->small_size);
    w->first_bytes = session->small_size;
    session->small_size = 0;
    if (session->pong_due)
        w->first_bytes +=
            leat_frame_write_ping(w->first + w->first_bytes, LEAT_FRAME_PONG, session->pong);
    session->pong_due = false;
    struct reader *reader;
    while (w->first_bytes + CREDIT_COMMIT_BYTES <= FIRST_BYTES_MAX
           && (reader = client_session_next_credit(session)) != NULL) {
        struct leat_frame_credit credit;
        if (!reader_quiet(reader) && partition_stream_credit(&reader->stream, &credit))
            w->first_bytes +=
                leat_frame_write_credit(w->first + w->first_bytes, reader->number, &credit);
        struct leat_frame_commit commit;
        if (reader_commit(reader, &commit))
            w->first_bytes +=
                leat_frame_write_commit(w->first + w->first_bytes, reader->number, &commit);
    }
    if (w->first_bytes > 0)
        add(w, w->first, w->first_bytes);
}

/* Adds BLOCKED once for each credit limit. */
static void say_blocked(struct client_session *session, struct publisher *publisher)
{
    const uint64_t credit = publisher->queue.credit;
    if (publisher->blocked_said == credit
        || session->small_size + LEAT_BLOCKED_BYTES > sizeof session->small)
        return;
    publisher->blocked_said = credit;
    session->client->stats.blocked++;
    session->small_size += (uint32_t)leat_frame_write_blocked(session->small + session->small_size,
                                                              publisher->number, credit);
}

/* Adds a publisher's batches. True if the write is full. */
static bool add_publisher(struct write *w, struct client_session *session,
                          struct publisher *publisher)
{
    struct batch_queue *queue = &publisher->queue;
    struct batch_queue_cursor cursor = batch_queue_cursor(queue);
    bool any = false;
    for (;;) {
        if (w->cut_count == PIECES_MAX || w->bytes >= WRITE_BYTES_MAX)
            return true;
        struct leat_frame_publish piece;
        const enum batch_queue_step step = batch_queue_next_in_order(queue, &cursor, &piece);
        if (step != BATCH_QUEUE_PIECE) {
            if (step == BATCH_QUEUE_BLOCKED)
                say_blocked(session, publisher);
            break;
        }
        any = true;
        uint8_t *header = w->headers[w->cut_count];
        add(w, header, leat_frame_write_publish(header, publisher->number, &piece));
        add(w, piece.bytes, piece.size);
        w->cuts[w->cut_count++] =
            (struct cut){ .publisher = publisher, .after = cursor, .end = w->bytes };
    }
    if (!any) /* a publisher stays in the list until its batches are known to be sent */
        client_session_unqueue_publisher(publisher);
    return false;
}

static void build(struct write *w, struct client_session *session)
{
    w->cut_count = 0;
    w->piece_count = 0;
    w->bytes = 0;
    add_first(w, session);
    struct publisher *publisher = TAILQ_FIRST(&session->publishers), *next;
    for (; publisher != NULL; publisher = next) {
        next = TAILQ_NEXT(publisher, ready_node);
        if (!add_publisher(w, session, publisher))
            continue;
        /* Move to the end of the list. */
        TAILQ_REMOVE(&session->publishers, publisher, ready_node);
        TAILQ_INSERT_TAIL(&session->publishers, publisher, ready_node);
        break;
    }
}

static void commit(struct leat_client *client, const struct cut *cut)
{
    batch_queue_commit(&cut->publisher->queue, &cut->after);
    if (cut->after.piece_at == 0)
        client->stats.batches_sent++;
}

static void wait_for_room(struct client_session *session)
{
    if (session->watches_output)
        return;
    struct epoll_event event = { .events = EPOLLIN | EPOLLOUT };
    event.data.ptr = session;
    epoll_ctl(session->client->epoll, EPOLL_CTL_MOD, session->fd, &event);
    session->watches_output = true;
}

/* After `sent` bytes went out: keeps the rest of the frame that was cut, so that the stream does
 * not depend on the batch any more. Frames after it count as unsent. */
static void spill(struct client_session *session, const struct write *w, size_t sent)
{
    /* Unit 0 is the small frames, unit k the frame of cut k - 1; [from, end) is the unit's
     * range. */
    size_t from = 0, end = w->first_bytes;
    unsigned unit = 0;
    while (end <= sent) {
        if (unit > 0)
            commit(session->client, &w->cuts[unit - 1]);
        if (unit == w->cut_count)
            return;
        from = end;
        end = w->cuts[unit++].end;
    }
    if (sent == from && unit > 0)
        return;
    size_t at = 0;
    for (int i = 0; i < w->piece_count && at < end; at += w->pieces[i++].iov_len) {
        const size_t piece_end = at + w->pieces[i].iov_len;
        if (piece_end <= sent)
            continue;
        const size_t skip = sent > at ? sent - at : 0;
        const size_t size = w->pieces[i].iov_len - skip;
        memcpy(session->spill + session->spill_size, (const uint8_t *)w->pieces[i].iov_base + skip,
               size);
        session->spill_size += (uint32_t)size;
    }
    if (unit > 0)
        commit(session->client, &w->cuts[unit - 1]);
}

/* Writes the pieces. LEAT_OK: everything was sent. */
static enum leat_error send_pieces(struct client_session *session, const struct iovec *pieces,
                                   int count, size_t *sent)
{
    struct leat_client *client = session->client;
    *sent = 0;
    const enum leat_error error = link_tcp_send(session->fd, pieces, count, sent);
    client->stats.send_calls++;
    client->stats.bytes_sent += *sent;
    if (error != LEAT_OK && error != LEAT_AGAIN)
        client_fail(client, LEAT_ERR_UNREACHABLE, "the connection to shard %u at %s was lost",
                    session->shard, client->endpoints[session->shard].text);
    return error;
}

static bool send_spill(struct client_session *session)
{
    while (session->spill_at < session->spill_size) {
        const struct iovec rest = { .iov_base = session->spill + session->spill_at,
                                    .iov_len = session->spill_size - session->spill_at };
        size_t sent;
        if (send_pieces(session, &rest, 1, &sent) != LEAT_OK)
            return false;
        session->spill_at += (uint32_t)sent;
    }
    session->spill_at = session->spill_size = 0;
    return true;
}

void session_tcp_flush(struct client_session *session)
{
    struct leat_client *client = session->client;
    while (client->failure == 0) {
        if (!send_spill(session)) {
            wait_for_room(session);
            return;
        }
        struct write w;
        build(&w, session);
        if (w.bytes == 0)
            return;
        size_t sent;
        const enum leat_error error = send_pieces(session, w.pieces, w.piece_count, &sent);
        if (error != LEAT_OK && error != LEAT_AGAIN)
            return;
        spill(session, &w, sent);
        if (sent < w.bytes) {
            wait_for_room(session);
            return;
        }
    }
}
