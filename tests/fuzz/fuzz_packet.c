/* Datagrams from hostile bytes: header and frames. The decoders read nothing beyond what they were
 * given, and what they accept is what their writers would write. */
#include <stdlib.h>
#include <string.h>

#include "schema/bytes.h"
#include "schema/frame.h"
#include "schema/packet.h"
#include "tests/support/frame_back.h"

enum { CRC_AT = LEAT_PACKET_HEADER_BYTES + 8 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int truth)
{
    if (!truth)
        abort();
}

static void check_frames(const uint8_t *at, size_t size)
{
    static uint8_t back[LEAT_FRAME_BYTES_MAX];
    struct leat_frame frame;
    while (size != 0 && leat_frame_decode(&frame, at, size) == LEAT_OK) {
        require(frame.length >= LEAT_FRAME_HEADER_BYTES && frame.length <= size);
        const size_t written = frame_back(back, &frame);
        require(written == 0 || (written == frame.length && memcmp(back, at, written) == 0));
        at += frame.length;
        size -= frame.length;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct leat_packet packet;
    uint8_t back[LEAT_PACKET_OVERHEAD_BYTES];
    if (leat_packet_decode(&packet, data, size) != LEAT_OK)
        return 0;
    require(packet.length <= size);
    require(packet.frames + packet.frames_size == data + packet.length);
    const size_t headers = leat_packet_write(back, &packet);
    leat_store32(back + CRC_AT, packet.crc);
    require(packet.frames == data + headers && memcmp(back, data, headers) == 0);
    require(leat_packet_is_intact(&packet, data, true)
            || !leat_packet_is_intact(&packet, data, false));
    check_frames(packet.frames, packet.frames_size);
    return 0;
}
