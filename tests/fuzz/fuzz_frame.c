/* Frames from hostile bytes: the decoder reads nothing beyond what it was given, and what it
 * accepts is what its writer would write. */
#include <stdlib.h>
#include <string.h>

#include "schema/frame.h"
#include "tests/support/frame_back.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int truth)
{
    if (!truth)
        abort();
}

static void check_publish_ack(const struct leat_frame *frame)
{
    const struct leat_frame_publish_ack *ack = &frame->publish_ack;
    require(ack->run_count >= 1 && ack->run_count <= LEAT_ACK_RUNS_MAX);
    for (uint32_t i = 0; i < ack->run_count; i++) {
        const struct leat_ack_run run = leat_ack_run_at(ack, i);
        require(run.count >= 1 && run.status <= 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    while (size != 0) {
        static uint8_t back[LEAT_FRAME_BYTES_MAX];
        struct leat_frame frame;
        if (leat_frame_decode(&frame, data, size) != LEAT_OK)
            return 0;
        require(frame.length >= LEAT_FRAME_HEADER_BYTES && frame.length <= size);
        switch (frame.type) {
        case LEAT_FRAME_PUBLISH:
            require(frame.publish.bytes + frame.publish.size == data + frame.length);
            require(frame.publish.piece_at + frame.publish.size <= frame.publish.batch_size);
            require(frame.publish.batch_size <= LEAT_BATCH_BYTES_LIMIT);
            break;
        case LEAT_FRAME_DATA:
        case LEAT_FRAME_PUBLISH_AT:
            require(frame.data.bytes + frame.data.size == data + frame.length);
            require(frame.data.size >= 1);
            require(frame.data.position + frame.data.size > frame.data.position);
            break;
        case LEAT_FRAME_PUBLISH_ACK: check_publish_ack(&frame); break;
        default: break;
        }
        const size_t written = frame_back(back, &frame);
        require(written == 0 || (written == frame.length && memcmp(back, data, written) == 0));
        data += frame.length;
        size -= frame.length;
    }
    return 0;
}
