/* Frames the way back: from what was decoded to the bytes its writer would write.
 *
 * Role: the oracle of everything that decodes frames.
 * Must not know: where frames come from.
 * Threads: any. */
#ifndef LEAT_TESTS_SUPPORT_FRAME_BACK_H
#define LEAT_TESTS_SUPPORT_FRAME_BACK_H

#include <string.h>

#include "schema/frame.h"

static inline size_t frame_back_runs(uint8_t *at, const struct leat_frame *frame)
{
    struct leat_ack_run runs[LEAT_ACK_RUNS_MAX];
    for (uint32_t i = 0; i < frame->publish_ack.run_count; i++)
        runs[i] = leat_ack_run_at(&frame->publish_ack, i);
    return leat_frame_write_publish_ack(at, frame->stream, frame->publish_ack.log_epoch, runs,
                                        frame->publish_ack.run_count);
}

/* What the writers make of a decoded frame; 0 for a type that nobody writes, and for a PAD, whose
 * body nobody reads. `at` has room for LEAT_FRAME_BYTES_MAX. */
static inline size_t frame_back(uint8_t *at, const struct leat_frame *frame)
{
    size_t size;
    switch (frame->type) {
    case LEAT_FRAME_PING:
    case LEAT_FRAME_PONG: return leat_frame_write_ping(at, frame->type, frame->ping);
    case LEAT_FRAME_BLOCKED:
        return leat_frame_write_blocked(at, frame->stream, frame->blocked_limit);
    case LEAT_FRAME_ATTACH: return leat_frame_write_attach(at, &frame->attach);
    case LEAT_FRAME_ATTACHED: return leat_frame_write_attached(at, &frame->attached);
    case LEAT_FRAME_PUBLISH:
        size = leat_frame_write_publish(at, frame->stream, &frame->publish);
        memcpy(at + size, frame->publish.bytes, frame->publish.size);
        return size + frame->publish.size;
    case LEAT_FRAME_PUBLISH_ACK: return frame_back_runs(at, frame);
    case LEAT_FRAME_DATA:
        size = leat_frame_write_data(at, frame->stream, frame->data.position, frame->data.size);
        memcpy(at + size, frame->data.bytes, frame->data.size);
        return size + frame->data.size;
    case LEAT_FRAME_PUBLISH_AT:
        size =
            leat_frame_write_publish_at(at, frame->stream, frame->data.position, frame->data.size);
        memcpy(at + size, frame->data.bytes, frame->data.size);
        return size + frame->data.size;
    case LEAT_FRAME_GAP: return leat_frame_write_gap(at, frame->stream, &frame->gap);
    case LEAT_FRAME_CREDIT: return leat_frame_write_credit(at, frame->stream, &frame->credit);
    case LEAT_FRAME_RESET: return leat_frame_write_reset(at, &frame->reset);
    case LEAT_FRAME_COMMIT: return leat_frame_write_commit(at, frame->stream, &frame->commit);
    case LEAT_FRAME_COMMITTED:
        return leat_frame_write_committed(at, frame->stream, &frame->committed);
    default: return 0;
    }
}

#endif
