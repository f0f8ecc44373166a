#include <assert.h>
#include <string.h>

#include "client/client_core.h"
#include "client/consumer.h"
#include "client/session.h"
#include "client/session_tcp.h"
#include "transport/link_tcp.h"

enum {
    ROUNDS_MAX = 8, /* of one call; others want a turn too */
    /* While a large slice is under way, little is taken behind it: what comes through the stage is
     * copied once more, what comes behind the next frame's head is not. */
    STAGE_BEHIND_SLICE_BYTES = 1 << 13,
};

static void pong(struct data_link *link, uint64_t value)
{
    link->pong_due = true;
    link->pong = value;
    client_dirty(link->client, link);
}

static void gap(struct data_link *link, const struct leat_frame *frame)
{
    struct reader *reader = data_link_stream(link, frame->stream, STREAM_READER);
    if (reader == NULL)
        return;
    if (frame->gap.reason == LEAT_GAP_REVOKED) {
        reader_dropped(reader);
        return;
    }
    if (partition_stream_gap(&reader->stream, &frame->gap) != LEAT_OK)
        data_link_broken(link, "a GAP points below what it sent");
    reader_arrived(reader);
}

static void handle(struct data_link *link, const struct leat_frame *frame)
{
    switch (frame->type) {
    case LEAT_FRAME_GAP: gap(link, frame); break;
    case LEAT_FRAME_PING: pong(link, frame->ping); break;
    case LEAT_FRAME_RESET: data_link_was_reset(link, &frame->reset); break;
    default: data_link_handle(link, frame); break;
    }
}

/* The head of a slice, and what of it is in the stage. Returns the bytes taken from the stage. */
static uint32_t begin_slice(struct data_link *link, const struct leat_frame *frame, uint32_t have)
{
    const uint32_t here = have < frame->data.size ? have : frame->data.size;
    struct reader *reader = data_link_stream(link, frame->stream, STREAM_READER);
    uint8_t *into = NULL;
    if (reader != NULL) {
        if (partition_stream_data(&reader->stream, frame->data.position, frame->data.size, &into)
            != LEAT_OK) {
            data_link_broken(link, "DATA where it was not expected, or beyond the credit");
            return here;
        }
        memcpy(into, frame->data.bytes, here);
        partition_stream_arrived(&reader->stream, here);
        reader_arrived(reader);
        into += here;
    }
    link->slice_reader = reader;
    link->slice_at = into;
    link->slice_left = frame->data.size - here;
    return here;
}

/* Frames out of the stage; what is left of the last one moves to its beginning. */
static unsigned take_staged(struct data_link *link)
{
    unsigned handled = 0;
    uint32_t at = 0;
    while (at < link->staged && link->client->failure == 0) {
        if (link->slice_left > 0) { /* of a closed stream: it went through the stage */
            assert(link->slice_reader == NULL);
            const uint32_t left = link->staged - at;
            const uint32_t drop = left < link->slice_left ? left : link->slice_left;
            link->slice_left -= drop;
            at += drop;
            continue;
        }
        struct leat_frame frame;
        const enum leat_error error =
            leat_frame_decode_head(&frame, link->stage + at, link->staged - at);
        if (error == LEAT_AGAIN)
            break;
        if (error != LEAT_OK) {
            data_link_broken(link, "a frame does not parse");
            break;
        }
        handled++;
        if (frame.type == LEAT_FRAME_DATA) {
            at += LEAT_DATA_HEADER_BYTES;
            at += begin_slice(link, &frame, link->staged - at);
        } else {
            handle(link, &frame);
            at += frame.length;
        }
    }
    link->staged -= at;
    if (link->staged > 0 && at > 0)
        memmove(link->stage, link->stage + at, link->staged);
    return handled;
}

/* The first `got` received bytes belong to the slice under way; returns how many did. */
static uint32_t take_slice(struct data_link *link, uint32_t got)
{
    const uint32_t size = got < link->slice_left ? got : link->slice_left;
    link->slice_at += size;
    link->slice_left -= size;
    partition_stream_arrived(&link->slice_reader->stream, size);
    reader_arrived(link->slice_reader);
    return size;
}

unsigned tcp_link_receive(struct data_link *link)
{
    struct leat_client *client = link->client;
    unsigned handled = 0;
    for (unsigned round = 0; round < ROUNDS_MAX && client->failure == 0; round++) {
        struct iovec pieces[2];
        int count = 0;
        size_t room = LINK_STAGE_BYTES - link->staged;
        const bool straight = link->slice_left > 0 && link->slice_reader != NULL;
        if (straight) {
            assert(link->staged == 0);
            pieces[count++] =
                (struct iovec){ .iov_base = link->slice_at, .iov_len = link->slice_left };
            if (link->slice_left > STAGE_BEHIND_SLICE_BYTES)
                room = STAGE_BEHIND_SLICE_BYTES;
        }
        pieces[count++] = (struct iovec){ .iov_base = link->stage + link->staged, .iov_len = room };
        const size_t asked = room + (straight ? link->slice_left : 0);
        size_t got;
        const enum leat_error error = link_tcp_receive_pieces(link->fd, pieces, count, &got);
        client->stats.receive_calls++;
        if (error == LEAT_AGAIN)
            break;
        if (error != LEAT_OK) {
            client_fail(client, LEAT_ERR_UNREACHABLE, "the connection to shard %u at %s was lost",
                        link->shard, client->endpoints[link->shard].text);
            break;
        }
        client->stats.bytes_received += got;
        link->heard = client->now;
        link->asked = false;
        uint32_t behind = (uint32_t)got;
        if (straight) {
            behind -= take_slice(link, behind);
            handled += link->slice_left == 0;
        }
        link->staged += behind;
        handled += take_staged(link);
        if (got < asked)
            break;
    }
    return handled;
}
