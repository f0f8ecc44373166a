/* A session over packets, receiving: from packets to frames to streams. */
#include <string.h>

#include "client/client_core.h"
#include "client/consumer.h"
#include "client/session.h"
#include "client/session_packets.h"

void session_packets_pong(struct session_packets *packets, uint64_t value)
{
    if (packets->pong_count == SESSION_PACKETS_PONGS_MAX) {
        packets->pong_count--;
        memmove(&packets->pongs[0], &packets->pongs[1],
                packets->pong_count * sizeof packets->pongs[0]);
    }
    packets->pongs[packets->pong_count++] = value;
}

void session_packets_pong_again(struct session_packets *packets, uint64_t value)
{
    if (packets->pong_count == SESSION_PACKETS_PONGS_MAX)
        return; /* all queued ones are newer */
    memmove(&packets->pongs[1], &packets->pongs[0], packets->pong_count * sizeof packets->pongs[0]);
    packets->pongs[0] = value;
    packets->pong_count++;
}

/* Anyone can send a RESET, but only the broker knows this token. A shard may hear from us before
 * control has told it of the session: ATTACH is repeated, and if that never helps the session's
 * deadline passes. */
static void was_reset(struct client_session *session, const struct leat_frame_reset *reset)
{
    if (memcmp(reset->token, session->reset_token, sizeof session->reset_token) != 0)
        session->client->stats.packets_dropped++;
    else if (session->state != SESSION_ATTACHING || reset->status != LEAT_ERR_UNKNOWN_SESSION)
        client_session_was_reset(session, reset);
}

static bool data(struct client_session *session, const struct leat_frame *frame)
{
    struct reader *reader = client_session_stream(session, frame->stream, STREAM_READER);
    if (reader == NULL)
        return true;
    const bool taken = partition_stream_data_any_order(&reader->stream, frame->data.position,
                                                       frame->data.bytes, frame->data.size);
    reader_arrived(reader);
    return taken;
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
    partition_stream_gap_any_order(&reader->stream, &frame->gap);
    reader_arrived(reader);
}

/* Handles one frame. False: there was no room for its content. */
static bool handle(struct client_session *session, const struct leat_frame *frame)
{
    struct session_packets *packets = session->packets;
    switch (frame->type) {
    case LEAT_FRAME_DATA: return data(session, frame);
    case LEAT_FRAME_GAP: gap(session, frame); break;
    case LEAT_FRAME_PING: session_packets_pong(packets, frame->ping); break;
    case LEAT_FRAME_PONG:
        if (mtu_pong(&packets->mtu, frame->ping))
            flow_resize(&packets->flow, packets->mtu.bytes, session->client->now);
        break;
    case LEAT_FRAME_RESET: was_reset(session, &frame->reset); break;
    default: client_session_handle(session, frame); break;
    }
    return true;
}

/* Handles the frames of a packet; each may be a repetition. False: not everything was taken, so
 * that the sender has to send the content again. */
static bool take_frames(struct client_session *session, const struct leat_packet *packet)
{
    bool taken = true;
    for (uint32_t at = 0; at < packet->frames_size && session->client->failure == 0;) {
        struct leat_frame frame;
        if (leat_frame_decode(&frame, packet->frames + at, packet->frames_size - at) != LEAT_OK) {
            session->client->stats.packets_dropped++; /* damage that the checksum did not detect */
            return false;
        }
        taken = handle(session, &frame) && taken;
        at += frame.length;
    }
    return taken;
}

bool session_packets_is_genuine(const struct client_session *session,
                                const struct leat_packet *packet, const uint8_t *bytes)
{
    if (packet->type == LEAT_PACKET_RESET) /* the shard may not know the session's tags */
        return leat_packet_is_intact(packet, bytes, false);
    return leat_packet_tag_is(packet, session->tag_to_client)
           && leat_packet_is_intact(packet, bytes, session->packets->may_be_partial);
}

unsigned session_packets_take(struct client_session *session, const struct leat_packet *packet)
{
    struct leat_client *client = session->client;
    struct flow *flow = &session->packets->flow;
    uint64_t number;
    if (packet->type == LEAT_PACKET_RESET) {
        struct leat_frame frame;
        if (leat_frame_decode(&frame, packet->frames, packet->frames_size) == LEAT_OK
            && frame.type == LEAT_FRAME_RESET)
            was_reset(session, &frame.reset);
        return 1;
    }
    if (flow_open(flow, packet, &number, client->now) != FLOW_NEW) {
        client_dirty(client, session); /* the sender missed our acknowledgement */
        return 0;
    }
    if (packet->has_ack)
        flow_acked(flow, &packet->ack, client->now);
    if (take_frames(session, packet))
        flow_take(flow, number, packet->frames_size > 0, (packet->flags & LEAT_PACKET_ACK_NOW) != 0,
                  client->now);
    /* The packet may allow something to be sent. Otherwise a pending acknowledgement waits for
     * other frames until its delay is over, and the received one may have armed the loss timer. */
    if (session_packets_has_content(session) || flow_ack_due(flow, client->now)) {
        client_dirty(client, session);
    } else {
        client_timer_at(client, flow->received.ack_at);
        client_timer_at(client, flow->sent.loss_at);
    }
    return 1;
}
