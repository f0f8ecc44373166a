#include <string.h>

#include "client/client_core.h"
#include "client/consumer.h"
#include "client/session.h"
#include "client/session_packets.h"

void packet_link_pong(struct packet_link *packets, uint64_t value)
{
    if (packets->pong_count == PACKET_LINK_PONGS_MAX) {
        packets->pong_count--;
        memmove(&packets->pongs[0], &packets->pongs[1],
                packets->pong_count * sizeof packets->pongs[0]);
    }
    packets->pongs[packets->pong_count++] = value;
}

void packet_link_pong_again(struct packet_link *packets, uint64_t value)
{
    if (packets->pong_count == PACKET_LINK_PONGS_MAX)
        return; /* all of them are newer */
    memmove(&packets->pongs[1], &packets->pongs[0], packets->pong_count * sizeof packets->pongs[0]);
    packets->pongs[0] = value;
    packets->pong_count++;
}

/* Anyone can write one; only the broker can write this token. A shard may hear from us before it
 * has heard of us: ATTACH is repeated, and if it never helps the time to be up runs out. */
static void was_reset(struct data_link *link, const struct leat_frame_reset *reset)
{
    if (memcmp(reset->token, link->reset_token, sizeof link->reset_token) != 0)
        link->client->stats.packets_dropped++;
    else if (link->state != LINK_ATTACHING || reset->status != LEAT_ERR_UNKNOWN_SESSION)
        data_link_was_reset(link, reset);
}

static bool data(struct data_link *link, const struct leat_frame *frame)
{
    struct reader *reader = data_link_stream(link, frame->stream, STREAM_READER);
    if (reader == NULL)
        return true;
    const bool taken = partition_stream_take(&reader->stream, frame->data.position,
                                             frame->data.bytes, frame->data.size);
    reader_arrived(reader);
    return taken;
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
    partition_stream_gap_any(&reader->stream, &frame->gap);
    reader_arrived(reader);
}

/* False: there was no room for what it brings. */
static bool handle(struct data_link *link, const struct leat_frame *frame)
{
    struct packet_link *packets = link->packets;
    switch (frame->type) {
    case LEAT_FRAME_DATA: return data(link, frame);
    case LEAT_FRAME_GAP: gap(link, frame); break;
    case LEAT_FRAME_PING: packet_link_pong(packets, frame->ping); break;
    case LEAT_FRAME_PONG:
        if (mtu_pong(&packets->mtu, frame->ping))
            flow_resize(&packets->flow, packets->mtu.bytes, link->client->now);
        break;
    case LEAT_FRAME_RESET: was_reset(link, &frame->reset); break;
    default: data_link_handle(link, frame); break;
    }
    return true;
}

/* False: not all of it was taken, so that its sender has to send the content again. Every frame may
 * come more than once. */
static bool take_frames(struct data_link *link, const struct leat_packet *packet)
{
    bool taken = true;
    for (uint32_t at = 0; at < packet->frames_size && link->client->failure == 0;) {
        struct leat_frame frame;
        if (leat_frame_decode(&frame, packet->frames + at, packet->frames_size - at) != LEAT_OK) {
            link->client->stats.packets_dropped++; /* noise that a checksum let through */
            return false;
        }
        taken = handle(link, &frame) && taken;
        at += frame.length;
    }
    return taken;
}

bool packet_link_is_genuine(const struct data_link *link, const struct leat_packet *packet,
                            const uint8_t *bytes)
{
    if (packet->type == LEAT_PACKET_RESET) /* from a shard that may not know the session's tags */
        return leat_packet_is_intact(packet, bytes, false);
    return leat_packet_tag_is(packet, link->tag_to_client)
           && leat_packet_is_intact(packet, bytes, link->packets->may_be_partial);
}

unsigned packet_link_take(struct data_link *link, const struct leat_packet *packet)
{
    struct leat_client *client = link->client;
    struct flow *flow = &link->packets->flow;
    uint64_t number;
    if (packet->type == LEAT_PACKET_RESET) {
        struct leat_frame frame;
        if (leat_frame_decode(&frame, packet->frames, packet->frames_size) == LEAT_OK
            && frame.type == LEAT_FRAME_RESET)
            was_reset(link, &frame.reset);
        return 1;
    }
    if (flow_open(flow, packet, &number, client->now) != FLOW_NEW) {
        client_dirty(client, link); /* its sender missed our acknowledgement */
        return 0;
    }
    if (packet->has_ack)
        flow_acked(flow, &packet->ack, client->now);
    if (take_frames(link, packet))
        flow_take(flow, number, packet->frames_size > 0, (packet->flags & LEAT_PACKET_ACK_NOW) != 0,
                  client->now);
    /* What came may let something go; an acknowledgement waits for company until its time, and what
     * it left out is lost at another. */
    if (packet_link_has_content(link) || flow_ack_due(flow, client->now)) {
        client_dirty(client, link);
    } else {
        client_timer_at(client, flow->received.ack_at);
        client_timer_at(client, flow->sent.loss_at);
    }
    return 1;
}
