/* clang-format off */
#include "schema/frame.h"

#include <assert.h>

#include "schema/batch.h"
#include "schema/bytes.h"

/* Wire images. Every member is a byte array: alignment 1, no padding, overlays any buffer. */

struct header_wire {
    uint8_t type;
    uint8_t flags;
    uint8_t length[2];
    uint8_t stream[4];
};
static_assert(sizeof(struct header_wire) == LEAT_FRAME_HEADER_BYTES, "wire size");

struct attach_wire {
    struct header_wire header;
    uint8_t session[4];
    uint8_t version[2];
    uint8_t reserved[2];
    uint8_t token[LEAT_TOKEN_BYTES];
};
static_assert(sizeof(struct attach_wire) == LEAT_ATTACH_BYTES, "wire size");
static_assert(offsetof(struct attach_wire, version) == 12, "wire layout");
static_assert(offsetof(struct attach_wire, token) == 16, "wire layout");

struct attached_wire {
    struct header_wire header;
    uint8_t session[4];
    uint8_t status[2];
    uint8_t reserved[2];
};
static_assert(sizeof(struct attached_wire) == LEAT_ATTACHED_BYTES, "wire size");
static_assert(offsetof(struct attached_wire, status) == 12, "wire layout");

struct publish_wire {
    struct header_wire header;
    uint8_t piece_at[4];
    uint8_t batch_size[4];
};
static_assert(sizeof(struct publish_wire) == LEAT_PUBLISH_HEADER_BYTES, "wire size");
static_assert(offsetof(struct publish_wire, batch_size) == 12, "wire layout");

struct publish_ack_wire {
    struct header_wire header;
    uint8_t log_epoch[8];
};
static_assert(sizeof(struct publish_ack_wire) == LEAT_PUBLISH_ACK_HEADER_BYTES, "wire size");

struct run_wire {
    uint8_t first_sequence[8];
    uint8_t base_offset[8];
    uint8_t count[4];
    uint8_t retry_after_us[4];
    uint8_t status[2];
    uint8_t level;
    uint8_t reserved[5];
};
static_assert(sizeof(struct run_wire) == LEAT_ACK_RUN_BYTES, "wire size");
static_assert(offsetof(struct run_wire, count) == 16, "wire layout");
static_assert(offsetof(struct run_wire, status) == 24, "wire layout");
static_assert(offsetof(struct run_wire, level) == 26, "wire layout");
static_assert(sizeof(struct publish_ack_wire) + LEAT_ACK_RUNS_MAX * sizeof(struct run_wire)
                  <= LEAT_FRAME_BYTES_MAX,
              "every run fits one frame");

struct data_wire { /* DATA, PUBLISH_AT */
    struct header_wire header;
    uint8_t position[8];
};
static_assert(sizeof(struct data_wire) == LEAT_DATA_HEADER_BYTES, "wire size");

struct gap_wire {
    struct header_wire header;
    uint8_t position[8];
    uint8_t offset[8];
    uint8_t log_epoch[8];
    uint8_t reason;
    uint8_t reserved[7];
};
static_assert(sizeof(struct gap_wire) == LEAT_GAP_BYTES, "wire size");
static_assert(offsetof(struct gap_wire, log_epoch) == 24, "wire layout");
static_assert(offsetof(struct gap_wire, reason) == 32, "wire layout");

struct credit_wire {
    struct header_wire header;
    uint8_t limit[8];
    uint8_t consumed[8];
};
static_assert(sizeof(struct credit_wire) == LEAT_CREDIT_BYTES, "wire size");
static_assert(offsetof(struct credit_wire, consumed) == 16, "wire layout");

struct value_wire { /* BLOCKED, PING, PONG */
    struct header_wire header;
    uint8_t value[8];
};
static_assert(sizeof(struct value_wire) == LEAT_BLOCKED_BYTES, "wire size");
static_assert(sizeof(struct value_wire) == LEAT_PING_BYTES, "wire size");

struct reset_wire {
    struct header_wire header;
    uint8_t token[LEAT_TOKEN_BYTES];
    uint8_t status[2];
    uint8_t reserved[6];
};
static_assert(sizeof(struct reset_wire) == LEAT_RESET_BYTES, "wire size");
static_assert(offsetof(struct reset_wire, status) == 24, "wire layout");

struct commit_wire {
    struct header_wire header;
    uint8_t offset[8];
    uint8_t log_epoch[8];
    uint8_t lost_at_most[8];
    uint8_t lost_at_least[8];
};
static_assert(sizeof(struct commit_wire) == LEAT_COMMIT_BYTES, "wire size");
static_assert(offsetof(struct commit_wire, lost_at_least) == 32, "wire layout");

struct committed_wire {
    struct header_wire header;
    uint8_t offset[8];
    uint8_t log_epoch[8];
    uint8_t asked[8];
    uint8_t status[2];
    uint8_t reserved[6];
};
static_assert(sizeof(struct committed_wire) == LEAT_COMMITTED_BYTES, "wire size");
static_assert(offsetof(struct committed_wire, asked) == 24, "wire layout");
static_assert(offsetof(struct committed_wire, status) == 32, "wire layout");

static bool all_zero(const uint8_t *bytes, size_t size)
{
    uint8_t any = 0;
    for (size_t i = 0; i < size; i++)
        any |= bytes[i];
    return any == 0;
}

static int16_t load_status(const uint8_t *at)
{
    return (int16_t)leat_load16(at);
}

static bool decode_attach(struct leat_frame *out, const uint8_t *bytes)
{
    const struct attach_wire *wire = (const struct attach_wire *)bytes;
    out->attach.session = leat_load32(wire->session);
    out->attach.version = leat_load16(wire->version);
    memcpy(out->attach.token, wire->token, sizeof wire->token);
    return out->stream == 0 && all_zero(wire->reserved, sizeof wire->reserved);
}

static bool decode_attached(struct leat_frame *out, const uint8_t *bytes)
{
    const struct attached_wire *wire = (const struct attached_wire *)bytes;
    out->attached.session = leat_load32(wire->session);
    out->attached.status = load_status(wire->status);
    return out->stream == 0 && out->attached.status <= 0
           && all_zero(wire->reserved, sizeof wire->reserved);
}

static bool decode_publish(struct leat_frame *out, const uint8_t *bytes)
{
    const struct publish_wire *wire = (const struct publish_wire *)bytes;
    struct leat_frame_publish *publish = &out->publish;
    publish->bytes = bytes + sizeof *wire;
    publish->size = (uint32_t)(out->length - sizeof *wire);
    publish->piece_at = leat_load32(wire->piece_at);
    publish->batch_size = leat_load32(wire->batch_size);
    return publish->batch_size >= LEAT_BATCH_HEADER_BYTES + LEAT_RECORD_HEADER_BYTES
           && publish->batch_size <= LEAT_BATCH_BYTES_LIMIT && publish->batch_size % LEAT_ALIGN == 0
           && publish->size <= publish->batch_size
           && publish->piece_at <= publish->batch_size - publish->size;
}

static bool run_is_right(const struct leat_ack_run *run, const struct run_wire *wire)
{
    const bool appended = run->status == LEAT_OK;
    const bool has_level = appended || run->status == LEAT_ERR_DUPLICATE;
    if (run->count == 0 || run->first_sequence > UINT64_MAX - run->count || run->status > 0)
        return false;
    if (appended && run->base_offset > LEAT_OFFSET_NONE - run->count)
        return false;
    if (has_level ? run->level < LEAT_LEVEL_RECEIVED || run->level > LEAT_LEVEL_REPLICATED
                  : run->level != 0)
        return false;
    return all_zero(wire->reserved, sizeof wire->reserved);
}

static bool decode_publish_ack(struct leat_frame *out, const uint8_t *bytes)
{
    const struct publish_ack_wire *wire = (const struct publish_ack_wire *)bytes;
    struct leat_frame_publish_ack *ack = &out->publish_ack;
    const size_t body = out->length - sizeof *wire;
    ack->runs = bytes + sizeof *wire;
    ack->run_count = (uint32_t)(body / LEAT_ACK_RUN_BYTES);
    ack->log_epoch = leat_load64(wire->log_epoch);
    if (body % LEAT_ACK_RUN_BYTES != 0 || ack->run_count > LEAT_ACK_RUNS_MAX)
        return false;
    for (uint32_t i = 0; i < ack->run_count; i++) {
        const struct leat_ack_run run = leat_ack_run_at(ack, i);
        if (!run_is_right(&run, (const struct run_wire *)ack->runs + i))
            return false;
    }
    return true;
}

static bool decode_data(struct leat_frame *out, const uint8_t *bytes)
{
    const struct data_wire *wire = (const struct data_wire *)bytes;
    out->data.bytes = bytes + sizeof *wire;
    out->data.size = (uint32_t)(out->length - sizeof *wire);
    out->data.position = leat_load64(wire->position);
    return out->data.position <= UINT64_MAX - out->data.size;
}

static bool decode_gap(struct leat_frame *out, const uint8_t *bytes)
{
    const struct gap_wire *wire = (const struct gap_wire *)bytes;
    out->gap.position = leat_load64(wire->position);
    out->gap.offset = leat_load64(wire->offset);
    out->gap.log_epoch = leat_load64(wire->log_epoch);
    out->gap.reason = wire->reason;
    return wire->reason >= LEAT_REASON_OVERRUN && wire->reason <= LEAT_REASON_REVOKED
           && all_zero(wire->reserved, sizeof wire->reserved);
}

static bool decode_credit(struct leat_frame *out, const uint8_t *bytes)
{
    const struct credit_wire *wire = (const struct credit_wire *)bytes;
    out->credit.limit = leat_load64(wire->limit);
    out->credit.consumed = leat_load64(wire->consumed);
    return true;
}

static bool decode_reset(struct leat_frame *out, const uint8_t *bytes)
{
    const struct reset_wire *wire = (const struct reset_wire *)bytes;
    memcpy(out->reset.token, wire->token, sizeof wire->token);
    out->reset.status = load_status(wire->status);
    return out->stream == 0 && out->reset.status <= 0
           && all_zero(wire->reserved, sizeof wire->reserved);
}

static bool decode_commit(struct leat_frame *out, const uint8_t *bytes)
{
    const struct commit_wire *wire = (const struct commit_wire *)bytes;
    out->commit.offset = leat_load64(wire->offset);
    out->commit.log_epoch = leat_load64(wire->log_epoch);
    out->commit.lost_at_most = leat_load64(wire->lost_at_most);
    out->commit.lost_at_least = leat_load64(wire->lost_at_least);
    return out->commit.offset != LEAT_OFFSET_NONE
           && out->commit.lost_at_least <= out->commit.lost_at_most;
}

static bool decode_committed(struct leat_frame *out, const uint8_t *bytes)
{
    const struct committed_wire *wire = (const struct committed_wire *)bytes;
    out->committed.offset = leat_load64(wire->offset);
    out->committed.log_epoch = leat_load64(wire->log_epoch);
    out->committed.asked = leat_load64(wire->asked);
    out->committed.status = load_status(wire->status);
    return out->committed.status <= 0 && out->committed.asked != LEAT_OFFSET_NONE
           && all_zero(wire->reserved, sizeof wire->reserved);
}

static bool decode_blocked(struct leat_frame *out, const uint8_t *bytes)
{
    out->blocked_limit = leat_load64(((const struct value_wire *)bytes)->value);
    return true;
}

static bool decode_ping(struct leat_frame *out, const uint8_t *bytes)
{
    out->ping = leat_load64(((const struct value_wire *)bytes)->value);
    return out->stream == 0;
}

static bool decode_pad(struct leat_frame *out, const uint8_t *bytes)
{
    (void)out;
    (void)bytes;
    return true;
}

struct layout {
    uint16_t length_min;
    uint16_t length_max;
    bool (*decode)(struct leat_frame *out, const uint8_t *bytes); /* NULL: no such type */
};

enum {
    MUST_UNDERSTAND = 0x80,
};

/* By type; types that must be understood come first. */
static const struct layout *layout_of(uint8_t type)
{
    static const struct layout needed[] = {
        [LEAT_FRAME_ATTACH - MUST_UNDERSTAND] = { LEAT_ATTACH_BYTES, LEAT_ATTACH_BYTES,
                                                  decode_attach },
        [LEAT_FRAME_ATTACHED -
            MUST_UNDERSTAND] = { LEAT_ATTACHED_BYTES, LEAT_ATTACHED_BYTES, decode_attached },
        [LEAT_FRAME_PUBLISH - MUST_UNDERSTAND] = { LEAT_PUBLISH_HEADER_BYTES + 1,
                                                   LEAT_FRAME_BYTES_MAX, decode_publish },
        [LEAT_FRAME_PUBLISH_ACK -
            MUST_UNDERSTAND] = { LEAT_PUBLISH_ACK_HEADER_BYTES + LEAT_ACK_RUN_BYTES,
                                 LEAT_PUBLISH_ACK_HEADER_BYTES
                                     + LEAT_ACK_RUNS_MAX * LEAT_ACK_RUN_BYTES,
                                 decode_publish_ack },
        [LEAT_FRAME_DATA -
            MUST_UNDERSTAND] = { LEAT_DATA_HEADER_BYTES + 1, LEAT_FRAME_BYTES_MAX, decode_data },
        [LEAT_FRAME_GAP - MUST_UNDERSTAND] = { LEAT_GAP_BYTES, LEAT_GAP_BYTES, decode_gap },
        [LEAT_FRAME_CREDIT -
            MUST_UNDERSTAND] = { LEAT_CREDIT_BYTES, LEAT_CREDIT_BYTES, decode_credit },
        [LEAT_FRAME_RESET - MUST_UNDERSTAND] = { LEAT_RESET_BYTES, LEAT_RESET_BYTES, decode_reset },
        [LEAT_FRAME_PUBLISH_AT -
            MUST_UNDERSTAND] = { LEAT_DATA_HEADER_BYTES + 1, LEAT_FRAME_BYTES_MAX, decode_data },
        [LEAT_FRAME_COMMIT -
            MUST_UNDERSTAND] = { LEAT_COMMIT_BYTES, LEAT_COMMIT_BYTES, decode_commit },
        [LEAT_FRAME_COMMITTED -
            MUST_UNDERSTAND] = { LEAT_COMMITTED_BYTES, LEAT_COMMITTED_BYTES, decode_committed },
    };
    static const struct layout optional[] = {
        [LEAT_FRAME_PING] = { LEAT_PING_BYTES, LEAT_PING_BYTES, decode_ping },
        [LEAT_FRAME_PONG] = { LEAT_PING_BYTES, LEAT_PING_BYTES, decode_ping },
        [LEAT_FRAME_BLOCKED] = { LEAT_BLOCKED_BYTES, LEAT_BLOCKED_BYTES, decode_blocked },
        [LEAT_FRAME_PAD] = { LEAT_FRAME_HEADER_BYTES, LEAT_FRAME_BYTES_MAX, decode_pad },
    };
    static const struct layout unknown = { LEAT_FRAME_HEADER_BYTES, LEAT_FRAME_BYTES_MAX, NULL };
    const bool must = (type & MUST_UNDERSTAND) != 0;
    const size_t index = type & ~MUST_UNDERSTAND & 0xFF;
    const size_t count = must ? sizeof needed / sizeof *needed : sizeof optional / sizeof *optional;
    if (index < count) {
        const struct layout *layout = must ? &needed[index] : &optional[index];
        if (layout->decode != NULL)
            return layout;
    }
    return must ? NULL : &unknown;
}

static enum leat_error decode(struct leat_frame *out, const uint8_t *bytes, size_t size,
                              bool head_suffices)
{
    if (size < LEAT_FRAME_HEADER_BYTES)
        return LEAT_AGAIN;
    const struct header_wire *wire = (const struct header_wire *)bytes;
    const uint16_t length = leat_load16(wire->length);
    const struct layout *layout = layout_of(wire->type);
    if (layout == NULL || length < layout->length_min || length > layout->length_max
        || (layout->decode != NULL && wire->flags != 0))
        return LEAT_ERR_MALFORMED;
    const bool head = head_suffices && wire->type == LEAT_FRAME_DATA;
    if (size < (head ? LEAT_DATA_HEADER_BYTES : length))
        return LEAT_AGAIN;
    out->type = wire->type;
    out->flags = wire->flags;
    out->length = length;
    out->stream = leat_load32(wire->stream);
    return layout->decode == NULL || layout->decode(out, bytes) ? LEAT_OK : LEAT_ERR_MALFORMED;
}

enum leat_error leat_frame_decode(struct leat_frame *out, const uint8_t *bytes, size_t size)
{
    return decode(out, bytes, size, false);
}

enum leat_error leat_frame_decode_head(struct leat_frame *out, const uint8_t *bytes, size_t size)
{
    return decode(out, bytes, size, true);
}

void leat_frame_peek(struct leat_frame *out, const uint8_t *bytes)
{
    const struct header_wire *header = (const struct header_wire *)bytes;
    out->type = header->type;
    out->flags = header->flags;
    out->length = leat_load16(header->length);
    out->stream = leat_load32(header->stream);
    if (out->type == LEAT_FRAME_PUBLISH_ACK) {
        out->publish_ack.runs = bytes + sizeof(struct publish_ack_wire);
        out->publish_ack.run_count =
            (uint32_t)((out->length - sizeof(struct publish_ack_wire)) / LEAT_ACK_RUN_BYTES);
        return;
    }
    const struct layout *layout = layout_of(out->type);
    if (layout != NULL && layout->decode != NULL)
        layout->decode(out, bytes);
}

uint32_t leat_frame_length(const uint8_t *frame)
{
    return leat_load16(((const struct header_wire *)frame)->length);
}

uint32_t leat_frame_scan(const uint8_t *frame, bool *carries_batches)
{
    const struct header_wire *wire = (const struct header_wire *)frame;
    *carries_batches = wire->type == LEAT_FRAME_DATA || wire->type == LEAT_FRAME_PUBLISH_AT;
    return leat_load16(wire->length);
}

struct leat_ack_run leat_ack_run_at(const struct leat_frame_publish_ack *ack, uint32_t index)
{
    assert(index < ack->run_count);
    const struct run_wire *wire = (const struct run_wire *)ack->runs + index;
    return (struct leat_ack_run){
        .first_sequence = leat_load64(wire->first_sequence),
        .base_offset = leat_load64(wire->base_offset),
        .count = leat_load32(wire->count),
        .retry_after_us = leat_load32(wire->retry_after_us),
        .status = load_status(wire->status),
        .level = wire->level,
    };
}

static void write_header(struct header_wire *wire, uint8_t type, size_t length, uint32_t stream)
{
    assert(length <= LEAT_FRAME_BYTES_MAX);
    wire->type = type;
    wire->flags = 0;
    leat_store16(wire->length, (uint16_t)length);
    leat_store32(wire->stream, stream);
}

size_t leat_frame_write_attach(uint8_t *at, const struct leat_frame_attach *attach)
{
    struct attach_wire *wire = (struct attach_wire *)at;
    write_header(&wire->header, LEAT_FRAME_ATTACH, sizeof *wire, 0);
    leat_store32(wire->session, attach->session);
    leat_store16(wire->version, attach->version);
    memset(wire->reserved, 0, sizeof wire->reserved);
    memcpy(wire->token, attach->token, sizeof wire->token);
    return sizeof *wire;
}

size_t leat_frame_write_attached(uint8_t *at, const struct leat_frame_attached *attached)
{
    struct attached_wire *wire = (struct attached_wire *)at;
    write_header(&wire->header, LEAT_FRAME_ATTACHED, sizeof *wire, 0);
    leat_store32(wire->session, attached->session);
    leat_store16(wire->status, (uint16_t)attached->status);
    memset(wire->reserved, 0, sizeof wire->reserved);
    return sizeof *wire;
}

size_t leat_frame_write_publish(uint8_t *at, uint32_t stream,
                                const struct leat_frame_publish *publish)
{
    assert(publish->size >= 1 && publish->size <= LEAT_PUBLISH_PIECE_BYTES_MAX);
    assert(publish->size <= publish->batch_size);
    assert(publish->piece_at <= publish->batch_size - publish->size);
    struct publish_wire *wire = (struct publish_wire *)at;
    write_header(&wire->header, LEAT_FRAME_PUBLISH, sizeof *wire + publish->size, stream);
    leat_store32(wire->piece_at, publish->piece_at);
    leat_store32(wire->batch_size, publish->batch_size);
    return sizeof *wire;
}

size_t leat_frame_write_publish_ack(uint8_t *at, uint32_t stream, uint64_t log_epoch,
                                    const struct leat_ack_run *runs, uint32_t run_count)
{
    assert(run_count >= 1 && run_count <= LEAT_ACK_RUNS_MAX);
    struct publish_ack_wire *wire = (struct publish_ack_wire *)at;
    const size_t length = sizeof *wire + run_count * sizeof(struct run_wire);
    write_header(&wire->header, LEAT_FRAME_PUBLISH_ACK, length, stream);
    leat_store64(wire->log_epoch, log_epoch);
    struct run_wire *run = (struct run_wire *)(at + sizeof *wire);
    for (uint32_t i = 0; i < run_count; i++, run++) {
        leat_store64(run->first_sequence, runs[i].first_sequence);
        leat_store64(run->base_offset, runs[i].base_offset);
        leat_store32(run->count, runs[i].count);
        leat_store32(run->retry_after_us, runs[i].retry_after_us);
        leat_store16(run->status, (uint16_t)runs[i].status);
        run->level = runs[i].level;
        memset(run->reserved, 0, sizeof run->reserved);
    }
    return length;
}

static size_t write_bytes_at(uint8_t *at, uint8_t type, uint32_t stream, uint64_t position,
                             uint32_t size)
{
    assert(size >= 1 && size <= LEAT_DATA_BYTES_MAX);
    struct data_wire *wire = (struct data_wire *)at;
    write_header(&wire->header, type, sizeof *wire + size, stream);
    leat_store64(wire->position, position);
    return sizeof *wire;
}

size_t leat_frame_write_data(uint8_t *at, uint32_t stream, uint64_t position, uint32_t size)
{
    return write_bytes_at(at, LEAT_FRAME_DATA, stream, position, size);
}

size_t leat_frame_write_publish_at(uint8_t *at, uint32_t stream, uint64_t position, uint32_t size)
{
    return write_bytes_at(at, LEAT_FRAME_PUBLISH_AT, stream, position, size);
}

size_t leat_frame_write_pad(uint8_t *at, uint32_t size)
{
    assert(size >= LEAT_FRAME_HEADER_BYTES && size <= LEAT_FRAME_BYTES_MAX);
    write_header((struct header_wire *)at, LEAT_FRAME_PAD, size, 0);
    memset(at + LEAT_FRAME_HEADER_BYTES, 0, size - LEAT_FRAME_HEADER_BYTES);
    return size;
}

size_t leat_frame_write_gap(uint8_t *at, uint32_t stream, const struct leat_frame_gap *gap)
{
    struct gap_wire *wire = (struct gap_wire *)at;
    write_header(&wire->header, LEAT_FRAME_GAP, sizeof *wire, stream);
    leat_store64(wire->position, gap->position);
    leat_store64(wire->offset, gap->offset);
    leat_store64(wire->log_epoch, gap->log_epoch);
    wire->reason = gap->reason;
    memset(wire->reserved, 0, sizeof wire->reserved);
    return sizeof *wire;
}

size_t leat_frame_write_credit(uint8_t *at, uint32_t stream, const struct leat_frame_credit *credit)
{
    struct credit_wire *wire = (struct credit_wire *)at;
    write_header(&wire->header, LEAT_FRAME_CREDIT, sizeof *wire, stream);
    leat_store64(wire->limit, credit->limit);
    leat_store64(wire->consumed, credit->consumed);
    return sizeof *wire;
}

static size_t write_value(uint8_t *at, uint8_t type, uint32_t stream, uint64_t value)
{
    struct value_wire *wire = (struct value_wire *)at;
    write_header(&wire->header, type, sizeof *wire, stream);
    leat_store64(wire->value, value);
    return sizeof *wire;
}

size_t leat_frame_write_blocked(uint8_t *at, uint32_t stream, uint64_t limit)
{
    return write_value(at, LEAT_FRAME_BLOCKED, stream, limit);
}

size_t leat_frame_write_ping(uint8_t *at, uint8_t type, uint64_t value)
{
    assert(type == LEAT_FRAME_PING || type == LEAT_FRAME_PONG);
    return write_value(at, type, 0, value);
}

size_t leat_frame_write_reset(uint8_t *at, const struct leat_frame_reset *reset)
{
    struct reset_wire *wire = (struct reset_wire *)at;
    write_header(&wire->header, LEAT_FRAME_RESET, sizeof *wire, 0);
    memcpy(wire->token, reset->token, sizeof wire->token);
    leat_store16(wire->status, (uint16_t)reset->status);
    memset(wire->reserved, 0, sizeof wire->reserved);
    return sizeof *wire;
}

size_t leat_frame_write_commit(uint8_t *at, uint32_t stream, const struct leat_frame_commit *commit)
{
    assert(commit->offset != LEAT_OFFSET_NONE && commit->lost_at_least <= commit->lost_at_most);
    struct commit_wire *wire = (struct commit_wire *)at;
    write_header(&wire->header, LEAT_FRAME_COMMIT, sizeof *wire, stream);
    leat_store64(wire->offset, commit->offset);
    leat_store64(wire->log_epoch, commit->log_epoch);
    leat_store64(wire->lost_at_most, commit->lost_at_most);
    leat_store64(wire->lost_at_least, commit->lost_at_least);
    return sizeof *wire;
}

size_t leat_frame_write_committed(uint8_t *at, uint32_t stream,
                                  const struct leat_frame_committed *committed)
{
    struct committed_wire *wire = (struct committed_wire *)at;
    write_header(&wire->header, LEAT_FRAME_COMMITTED, sizeof *wire, stream);
    leat_store64(wire->offset, committed->offset);
    leat_store64(wire->log_epoch, committed->log_epoch);
    leat_store64(wire->asked, committed->asked);
    leat_store16(wire->status, (uint16_t)committed->status);
    memset(wire->reserved, 0, sizeof wire->reserved);
    return sizeof *wire;
}
