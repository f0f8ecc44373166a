/* A session over TCP, receiving: frames cut out of the byte stream, slices straight into
 * windows. */
#include <assert.h>
#include <string.h>

#include "client/client_core.h"
#include "client/consumer.h"
#include "client/session.h"
#include "client/session_tcp.h"
#include "transport/link_tcp.h"

enum {
    ROUNDS_MAX = 8, /* per call, so that other work gets its turn */
    /* While a large slice is being received, read little beyond it: bytes that go through the stage
     * are copied once more, bytes after the next slice's header are not. */
    STAGE_BEHIND_SLICE_BYTES = 1 << 13,
};

static void pong(struct client_session *session, uint64_t value)
{
    session->pong_due = true;
    session->pong = value;
    client_dirty(session->client, session);
}

static void gap(struct client_session *session, const struct leat_frame *frame)
{
    struct reader *reader = client_session_stream(session, frame->stream, STREAM_READER);
    if (reader == NULL)
        return;
    if (frame->gap.reason == LEAT_REASON_REVOKED) {
        reader_dropped(reader);
        return;
    }
    if (partition_stream_gap_in_order(&reader->stream, &frame->gap) != LEAT_OK)
        client_session_broken(session, "a GAP points below data that it sent");
    reader_arrived(reader);
}

static void handle(struct client_session *session, const struct leat_frame *frame)
{
    switch (frame->type) {
    case LEAT_FRAME_GAP: gap(session, frame); break;
    case LEAT_FRAME_PING: pong(session, frame->ping); break;
    case LEAT_FRAME_RESET: client_session_was_reset(session, &frame->reset); break;
    default: client_session_handle(session, frame); break;
    }
}

/* Handles the header of a slice and the part of it in the stage. Returns the bytes taken from the
 * stage. */
static uint32_t begin_slice(struct client_session *session, const struct leat_frame *frame,
                            uint32_t have)
{
    const uint32_t here = have < frame->data.size ? have : frame->data.size;
    struct reader *reader = client_session_stream(session, frame->stream, STREAM_READER);
    uint8_t *into = NULL;
    if (reader != NULL) {
        if (partition_stream_data_in_order(&reader->stream, frame->data.position, frame->data.size,
                                           &into)
            != LEAT_OK) {
            client_session_broken(session, "DATA out of order, or beyond the credit");
            return here;
        }
        memcpy(into, frame->data.bytes, here);
        partition_stream_arrived(&reader->stream, here);
        reader_arrived(reader);
        into += here;
    }
    session->slice_reader = reader;
    session->slice_at = into;
    session->slice_left = frame->data.size - here;
    return here;
}

/* Handles frames in the stage; the rest of the last one moves to its beginning. */
static unsigned take_staged(struct client_session *session)
{
    unsigned handled = 0;
    uint32_t at = 0;
    while (at < session->staged && session->client->failure == 0) {
        if (session->slice_left > 0) { /* a slice of a closed stream goes through the stage */
            assert(session->slice_reader == NULL);
            const uint32_t left = session->staged - at;
            const uint32_t drop = left < session->slice_left ? left : session->slice_left;
            session->slice_left -= drop;
            at += drop;
            continue;
        }
        struct leat_frame frame;
        const enum leat_error error =
            leat_frame_decode_head(&frame, session->stage + at, session->staged - at);
        if (error == LEAT_AGAIN)
            break;
        if (error != LEAT_OK) {
            client_session_broken(session, "a frame does not parse");
            break;
        }
        handled++;
        if (frame.type == LEAT_FRAME_DATA) {
            at += LEAT_DATA_HEADER_BYTES;
            at += begin_slice(session, &frame, session->staged - at);
        } else {
            handle(session, &frame);
            at += frame.length;
        }
    }
    session->staged -= at;
    if (session->staged > 0 && at > 0)
        memmove(session->stage, session->stage + at, session->staged);
    return handled;
}

/* Counts received bytes as part of the slice being received, up to `got`. Returns how many were
 * part of it. */
static uint32_t take_slice(struct client_session *session, uint32_t got)
{
    const uint32_t size = got < session->slice_left ? got : session->slice_left;
    session->slice_at += size;
    session->slice_left -= size;
    partition_stream_arrived(&session->slice_reader->stream, size);
    reader_arrived(session->slice_reader);
    return size;
}

unsigned session_tcp_receive(struct client_session *session)
{
    struct leat_client *client = session->client;
    unsigned handled = 0;
    for (unsigned round = 0; round < ROUNDS_MAX && client->failure == 0; round++) {
        struct iovec pieces[2];
        int count = 0;
        size_t room = SESSION_STAGE_BYTES - session->staged;
        const bool straight = session->slice_left > 0 && session->slice_reader != NULL;
        if (straight) {
            assert(session->staged == 0);
            pieces[count++] =
                (struct iovec){ .iov_base = session->slice_at, .iov_len = session->slice_left };
            if (session->slice_left > STAGE_BEHIND_SLICE_BYTES)
                room = STAGE_BEHIND_SLICE_BYTES;
        }
        pieces[count++] =
            (struct iovec){ .iov_base = session->stage + session->staged, .iov_len = room };
        const size_t asked = room + (straight ? session->slice_left : 0);
        size_t got;
        const enum leat_error error = link_tcp_receive_pieces(session->fd, pieces, count, &got);
        client->stats.receive_calls++;
        if (error == LEAT_AGAIN)
            break;
        if (error != LEAT_OK) {
            client_fail(client, LEAT_ERR_UNREACHABLE, "the connection to shard %u at %s was lost",
                        session->shard, client->endpoints[session->shard].text);
            break;
        }
        client->stats.bytes_received += got;
        session->heard = client->now;
        session->asked = false;
        uint32_t behind = (uint32_t)got;
        if (straight) {
            behind -= take_slice(session, behind);
            handled += session->slice_left == 0;
        }
        session->staged += behind;
        handled += take_staged(session);
        if (got < asked)
            break;
    }
    return handled;
}
