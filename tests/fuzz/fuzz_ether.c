/* Frames from hostile bytes: the parser reads nothing beyond what it was given, everything it
 * points to lies inside, and an answer is no larger than its question. The first byte says what is
 * tolerated, the others are the frame. */
#include <stdlib.h>
#include <string.h>

#include "transport/ether.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int truth)
{
    if (!truth)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > 65536)
        return 0;
    struct ether_self self = { .ip = 0x0A090001,
                               .mac = { 2, 0, 0, 0, 0, 1 },
                               .partial_checksums = data[0] & 1,
                               .alone = data[0] & 2 };
    const uint32_t frame_size = (uint32_t)size - 1;
    uint8_t *frame = malloc(frame_size != 0 ? frame_size : 1);
    require(frame != NULL);
    memcpy(frame, data + 1, frame_size);
    struct ether_frame got;
    ether_parse(&got, &self, frame, frame_size);
    switch (got.kind) {
    case ETHER_DATAGRAM:
        require(got.payload >= frame + ETHER_BYTES + ETHER_OVERHEAD_BYTES);
        require(got.size <= frame_size - (uint32_t)(got.payload - frame));
        require(got.source_port != 0 && got.source_ip != self.ip);
        break;
    case ETHER_ARP: require(ether_answer_arp(frame, &got, &self) <= frame_size); break;
    case ETHER_ECHO: require(ether_answer_echo(frame, &got) <= frame_size); break;
    case ETHER_DROP: require(got.drop < LINK_DROP_NO_BUFFER); break;
    }
    free(frame);
    return 0;
}
