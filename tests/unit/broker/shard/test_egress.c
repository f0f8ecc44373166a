/* Goal: whatever the kernel takes of a flush, what arrives is whole frames in the right order: no
 * byte lost, doubled or cut, log bytes always from the position the frame says; and what was not
 * taken is told. Method: a socket pair with a tiny buffer, a reader of random appetite, a printed
 * seed; frames are decoded at the far end and held against what was staged. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/shard/egress.h"
#include "tests/support/seeded.h"

enum { LOG_BYTES = 1 << 20 };

static struct egress out;
static struct egress_batch batch;
static uint8_t memory[EGRESS_BYTES], log_bytes[LOG_BYTES];

static struct {
    int fds[2];
    uint8_t bytes[2 * LEAT_FRAME_BYTES_MAX];
    size_t have;
    uint64_t position; /* of the next log byte */
    uint64_t credits;  /* CREDIT frames seen, each with the number of the one before plus one */
    uint64_t acked;    /* sequences acknowledged */
} far;

static void open_pair(void)
{
    const int small = 4096;
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, far.fds), 0);
    setsockopt(far.fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    egress_init(&out, memory);
}

static void check_frame(const struct leat_frame *frame)
{
    switch (frame->type) {
    case LEAT_FRAME_DATA:
        cr_assert_eq(frame->data.position, far.position);
        cr_assert_arr_eq(frame->data.bytes, log_bytes + far.position, frame->data.size);
        far.position += frame->data.size;
        break;
    case LEAT_FRAME_CREDIT: cr_assert_eq(frame->credit.limit, ++far.credits); break;
    case LEAT_FRAME_PUBLISH_ACK:
        for (uint32_t i = 0; i < frame->publish_ack.run_count; i++) {
            const struct leat_ack_run run = leat_ack_run_at(&frame->publish_ack, i);
            cr_assert_eq(run.first_sequence, far.acked);
            far.acked += run.count;
        }
        break;
    default: cr_assert_fail("a frame nobody staged: %u", frame->type);
    }
}

/* Reads at most `appetite` bytes. */
static void read_some(size_t appetite)
{
    const size_t room = sizeof far.bytes - far.have;
    const ssize_t got = read(far.fds[1], far.bytes + far.have, appetite < room ? appetite : room);
    if (got > 0)
        far.have += (size_t)got;
    size_t used = 0;
    struct leat_frame frame;
    enum leat_error error;
    while ((error = leat_frame_decode(&frame, far.bytes + used, far.have - used)) == LEAT_OK) {
        check_frame(&frame);
        used += frame.length;
    }
    cr_assert_eq(error, LEAT_AGAIN);
    memmove(far.bytes, far.bytes + used, far.have - used);
    far.have -= used;
}

Test(egress, partial_writes_never_cut_double_or_lose_a_frame)
{
    struct seeded random = seeded_start("egress");
    seeded_fill(&random, log_bytes, sizeof log_bytes);
    open_pair();
    uint64_t position = 0, credits = 0, sequence = 0;
    while (far.position < LOG_BYTES || far.credits < credits || far.acked < sequence) {
        if (egress_room(&out) > EGRESS_ANSWER_BYTES && credits < 5000) {
            egress_credit(&out, 3, ++credits);
            const struct leat_ack_run run = { .first_sequence = sequence,
                                              .base_offset = 10 * sequence, /* never adjoining */
                                              .count = 1 + seeded_below(&random, 3),
                                              .level = LEAT_LEVEL_IN_RING };
            egress_ack(&out, 4, 77, &run);
            sequence += run.count;
        }
        if (!out.blocked) {
            int taken;
            uint64_t sent;
            batch.data_count = 0;
            while (position < LOG_BYTES && batch.data_count < 5) {
                uint32_t size = 1 + seeded_below(&random, 30000);
                if (size > LOG_BYTES - position)
                    size = (uint32_t)(LOG_BYTES - position);
                const struct egress_data data = { .position = position, .size = size };
                cr_assert(egress_add_data(&batch, 9, &data, log_bytes + position));
                position += size;
            }
            egress_flush(&out, &batch, far.fds[0], &taken, &sent);
            if (taken < batch.data_count)
                position = batch.data[taken].position;
        }
        read_some(1 + seeded_below(&random, 9000));
        out.blocked = false; /* as if epoll had said so; a full socket just says AGAIN again */
    }
    cr_assert_not(egress_pending(&out));
    cr_assert_eq(far.position, (uint64_t)LOG_BYTES);
}

Test(egress, adjoining_acks_become_one_run)
{
    open_pair();
    for (uint64_t i = 0; i < 1000; i++) {
        const struct leat_ack_run run = { .first_sequence = 2 * i,
                                          .base_offset = 500 + 2 * i,
                                          .count = 2,
                                          .level = LEAT_LEVEL_IN_RING };
        egress_ack(&out, 4, 77, &run);
    }
    int taken;
    uint64_t sent;
    batch.data_count = 0;
    cr_assert_eq(egress_flush(&out, &batch, far.fds[0], &taken, &sent), LEAT_OK);
    cr_assert_eq(sent, (uint64_t)LEAT_PUBLISH_ACK_HEADER_BYTES + LEAT_ACK_RUN_BYTES);
    read_some(SIZE_MAX);
    cr_assert_eq(far.acked, 2000u);
}

Test(egress, a_closed_peer_is_said)
{
    open_pair();
    close(far.fds[1]);
    egress_pong(&out, 1);
    int taken;
    uint64_t sent;
    batch.data_count = 0;
    cr_assert_eq(egress_flush(&out, &batch, far.fds[0], &taken, &sent), LEAT_ERR_CLOSED);
}
