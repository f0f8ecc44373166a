/* Egress: what one session still has to send, and the one system call that sends it. */
#include "broker/shard/egress.h"

#include <assert.h>
#include <string.h>

#include "transport/link_tcp.h"

void egress_init(struct egress *out, uint8_t memory[EGRESS_BYTES])
{
    *out = (struct egress){ .stage = memory,
                            .spill = memory + EGRESS_STAGE_BYTES,
                            .ack_runs_max = LEAT_ACK_RUNS_MAX };
}

void egress_in_packets(struct egress *out, uint32_t frame_bytes_max)
{
    const uint32_t runs = (frame_bytes_max - LEAT_PUBLISH_ACK_HEADER_BYTES) / LEAT_ACK_RUN_BYTES;
    out->ack_runs_max = runs < LEAT_ACK_RUNS_MAX ? runs : LEAT_ACK_RUNS_MAX;
    out->ack_splits = true;
}

static uint32_t ack_bytes(uint32_t run_count)
{
    return run_count == 0 ? 0 : LEAT_PUBLISH_ACK_HEADER_BYTES + run_count * LEAT_ACK_RUN_BYTES;
}

uint32_t egress_room(const struct egress *out)
{
    return EGRESS_STAGE_BYTES - out->stage_to - ack_bytes(out->ack_run_count);
}

bool egress_pending(const struct egress *out)
{
    return out->stage_from != out->stage_to || out->spill_from != out->spill_to
           || out->ack_run_count != 0;
}

static void close_ack(struct egress *out)
{
    if (out->ack_run_count == 0)
        return;
    uint8_t *at = out->stage + out->stage_to;
    out->stage_to += (uint32_t)leat_frame_write_publish_ack(at, out->ack_stream, out->ack_log_epoch,
                                                            out->ack_runs, out->ack_run_count);
    out->ack_run_count = 0;
}

/* Reserves `size` bytes of the stage, behind the pending ack. */
static uint8_t *stage(struct egress *out, uint32_t size)
{
    assert(egress_room(out) >= size);
    close_ack(out);
    uint8_t *at = out->stage + out->stage_to;
    out->stage_to += size;
    return at;
}

void egress_gap(struct egress *out, uint32_t stream, const struct leat_frame_gap *gap)
{
    leat_frame_write_gap(stage(out, LEAT_GAP_BYTES), stream, gap);
}

void egress_credit(struct egress *out, uint32_t stream, uint64_t limit)
{
    const struct leat_frame_credit credit = { .limit = limit };
    leat_frame_write_credit(stage(out, LEAT_CREDIT_BYTES), stream, &credit);
}

void egress_blocked(struct egress *out, uint32_t stream, uint64_t limit)
{
    leat_frame_write_blocked(stage(out, LEAT_BLOCKED_BYTES), stream, limit);
}

void egress_pong(struct egress *out, uint64_t value)
{
    leat_frame_write_ping(stage(out, LEAT_PING_BYTES), LEAT_FRAME_PONG, value);
}

void egress_attached(struct egress *out, const struct leat_frame_attached *attached)
{
    leat_frame_write_attached(stage(out, LEAT_ATTACHED_BYTES), attached);
}

void egress_committed(struct egress *out, uint32_t stream,
                      const struct leat_frame_committed *committed)
{
    leat_frame_write_committed(stage(out, LEAT_COMMITTED_BYTES), stream, committed);
}

void egress_reset(struct egress *out, const struct leat_frame_reset *reset)
{
    leat_frame_write_reset(stage(out, LEAT_RESET_BYTES), reset);
}

static bool runs_adjoin(const struct leat_ack_run *a, const struct leat_ack_run *b)
{
    return a->status == LEAT_OK && b->status == LEAT_OK && a->level == b->level
           && a->first_sequence + a->count == b->first_sequence
           && a->base_offset + a->count == b->base_offset && a->count <= UINT32_MAX - b->count;
}

bool egress_is_remembered(int16_t status)
{
    return status == LEAT_OK || status == LEAT_ERR_DUPLICATE || status == LEAT_ERR_TOO_LARGE
           || status == LEAT_ERR_BAD_CRC || status == LEAT_ERR_MALFORMED
           || status == LEAT_ERR_UNSUPPORTED;
}

void egress_ack(struct egress *out, uint32_t stream, uint64_t log_epoch,
                const struct leat_ack_run *run)
{
    const bool alone = out->ack_splits && !egress_is_remembered(run->status);
    if (out->ack_run_count == out->ack_runs_max || out->ack_stream != stream
        || out->ack_log_epoch != log_epoch || alone)
        close_ack(out);
    if (out->ack_run_count != 0) {
        struct leat_ack_run *last = &out->ack_runs[out->ack_run_count - 1];
        if (runs_adjoin(last, run)) {
            last->count += run->count;
            return;
        }
    }
    assert(egress_room(out) >= ack_bytes(1));
    out->ack_stream = stream;
    out->ack_log_epoch = log_epoch;
    out->ack_runs[out->ack_run_count++] = *run;
    if (alone)
        close_ack(out);
}

/* Moves what is left to the front, because room is counted from the end. */
static void close_up(struct egress *out)
{
    if (out->stage_from == 0)
        return;
    memmove(out->stage, out->stage + out->stage_from, out->stage_to - out->stage_from);
    out->stage_to -= out->stage_from;
    out->stage_from = 0;
}

const uint8_t *egress_first(struct egress *out, uint32_t *size)
{
    close_ack(out);
    if (out->stage_from == out->stage_to)
        return NULL;
    const uint8_t *first = out->stage + out->stage_from;
    *size = leat_frame_length(first);
    return first;
}

void egress_took_first(struct egress *out, uint32_t size)
{
    out->stage_from += size;
    if (out->stage_from == out->stage_to)
        out->stage_from = out->stage_to = 0;
    else if (out->stage_from >= EGRESS_STAGE_BYTES / 2)
        close_up(out);
}

bool egress_add_data(struct egress_batch *batch, uint32_t stream, const struct egress_data *data,
                     const uint8_t *bytes)
{
    if (batch->data_count == EGRESS_DATA_MAX)
        return false;
    const int i = batch->data_count++;
    batch->data[i] = *data;
    leat_frame_write_data(batch->headers[i], stream, data->position, data->size);
    batch->pieces[2 + 2 * i] =
        (struct iovec){ .iov_base = batch->headers[i], .iov_len = LEAT_DATA_HEADER_BYTES };
    batch->pieces[3 + 2 * i] = (struct iovec){ .iov_base = (void *)bytes, .iov_len = data->size };
    return true;
}

/* Consumes up to `sent` bytes from the front of [*from, *to). Returns what is left of `sent`. */
static size_t take(uint32_t *from, uint32_t *to, size_t sent)
{
    const uint32_t held = *to - *from;
    if (sent >= held) {
        *from = *to = 0;
        return sent - held;
    }
    *from += (uint32_t)sent;
    return 0;
}

/* Frame `i` was cut after `sent` of its bytes: copies the rest to the spill. */
static void keep_rest(struct egress *out, const struct egress_batch *batch, int i, size_t sent)
{
    uint8_t *to = out->spill;
    for (int part = 0; part < 2; part++) {
        const struct iovec *piece = &batch->pieces[2 + 2 * i + part];
        const size_t skip = sent < piece->iov_len ? sent : piece->iov_len;
        memcpy(to, (const uint8_t *)piece->iov_base + skip, piece->iov_len - skip);
        to += piece->iov_len - skip;
        sent -= skip;
    }
    out->spill_from = 0;
    out->spill_to = (uint32_t)(to - out->spill);
}

enum leat_error egress_flush(struct egress *out, struct egress_batch *batch, int fd, int *taken,
                             uint64_t *sent_bytes)
{
    struct iovec *first = batch->pieces + 2;
    int pieces = 2 * batch->data_count;
    size_t total = 0;
    *taken = 0;
    *sent_bytes = 0;
    close_ack(out);
    if (out->stage_from != out->stage_to) {
        *--first = (struct iovec){ .iov_base = out->stage + out->stage_from,
                                   .iov_len = out->stage_to - out->stage_from };
        pieces++;
    }
    if (out->spill_from != out->spill_to) {
        *--first = (struct iovec){ .iov_base = out->spill + out->spill_from,
                                   .iov_len = out->spill_to - out->spill_from };
        pieces++;
    }
    for (int i = 0; i < pieces; i++)
        total += first[i].iov_len;
    if (total == 0)
        return LEAT_OK;

    size_t sent = 0;
    const enum leat_error error = link_tcp_send(fd, first, pieces, &sent);
    if (error == LEAT_ERR_CLOSED)
        return error;
    *sent_bytes = sent;
    out->blocked = sent < total;
    size_t left = take(&out->spill_from, &out->spill_to, sent);
    if (out->spill_from == out->spill_to)
        left = take(&out->stage_from, &out->stage_to, left);
    for (int i = 0; i < batch->data_count && left != 0; i++) {
        const size_t frame = LEAT_DATA_HEADER_BYTES + (size_t)batch->data[i].size;
        if (left < frame)
            keep_rest(out, batch, i, left);
        left -= left < frame ? left : frame;
        *taken = i + 1;
    }
    close_up(out);
    return out->blocked ? LEAT_AGAIN : LEAT_OK;
}
