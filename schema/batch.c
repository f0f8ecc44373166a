/* Batch and record layout: encoding, checking and iterating. */
#include "schema/batch.h"

#include "schema/bytes.h"
#include "schema/crc32c.h"

static_assert(LEAT_BATCH_BYTES_LIMIT % LEAT_ALIGN == 0, "the largest batch is a whole one");
static_assert(LEAT_BATCH_OVERHEAD_MAX
                  >= LEAT_BATCH_HEADER_BYTES + LEAT_RECORD_HEADER_BYTES + LEAT_ALIGN - 1,
              "a record of the largest size fits a batch of the largest size");

enum {
    ATTRIBUTES_KNOWN = LEAT_BATCH_CODEC_MASK | LEAT_BATCH_CONTROL,
    HEADER_SIZES_BYTES = 4, /* before each header: name_size, value_size */

    /* The records of a piece are walked right after its CRC, while it is in the L1 cache. */
    CHECK_PIECE_BYTES = 8 * LEAT_CRC32C_PIECE_BYTES,
};

static uint64_t align_up(uint64_t bytes)
{
    return (bytes + LEAT_ALIGN - 1) & ~(uint64_t)(LEAT_ALIGN - 1);
}

enum leat_error leat_batch_parse(struct leat_batch *out, const uint8_t *bytes, size_t size)
{
    if (size < LEAT_BATCH_HEADER_BYTES)
        return LEAT_AGAIN;
    const struct leat_batch_wire *wire = (const struct leat_batch_wire *)bytes;
    if (wire->format != LEAT_BATCH_FORMAT || (wire->attributes & ~ATTRIBUTES_KNOWN) != 0
        || (wire->attributes & LEAT_BATCH_CODEC_MASK) != 0)
        return LEAT_ERR_UNSUPPORTED;
    /* Load into locals and check those: reading back what was just stored in *out would stall on
     * store forwarding. */
    const uint32_t batch_size = leat_load32(wire->size);
    const uint32_t record_count = leat_load16(wire->last_record) + UINT32_C(1);
    const uint64_t base_offset = leat_load64(wire->base_offset);
    const uint64_t base_sequence = leat_load64(wire->base_sequence);
    if (batch_size <= LEAT_BATCH_HEADER_BYTES || batch_size > LEAT_BATCH_BYTES_LIMIT
        || batch_size % LEAT_ALIGN != 0
        || record_count > (batch_size - LEAT_BATCH_HEADER_BYTES) / LEAT_RECORD_HEADER_BYTES)
        return LEAT_ERR_MALFORMED;
    if (base_sequence > UINT64_MAX - record_count || base_offset > UINT64_MAX - record_count)
        return LEAT_ERR_MALFORMED;
    out->base_offset = base_offset;
    out->append_time_ns = leat_load64(wire->append_time_ns);
    out->producer_id = leat_load64(wire->producer_id);
    out->base_sequence = base_sequence;
    out->base_timestamp_ns = (int64_t)leat_load64(wire->base_timestamp_ns);
    out->leader_epoch = leat_load32(wire->leader_epoch);
    out->crc32c = leat_load32(wire->crc32c);
    out->size = batch_size;
    out->record_count = record_count;
    out->producer_epoch = leat_load32(wire->producer_epoch);
    out->attributes = wire->attributes;
    return LEAT_OK;
}

/* State of a walk over untrusted records. `at` is an offset and not a pointer: a hostile size may
 * move it beyond the batch, which is detected before anything is read there. */
struct walk {
    const uint8_t *bytes;
    uint64_t at;
    uint64_t end;
    uint64_t payload_max; /* largest key + headers + value so far */
    uint32_t count;
    bool broken;
};

static bool headers_fill(const uint8_t *headers, uint32_t size)
{
    uint32_t at = 0;
    for (uint32_t count = 0; at != size; count++) {
        if (size - at < HEADER_SIZES_BYTES || count == LEAT_HEADERS_MAX)
            return false;
        uint32_t both = (uint32_t)leat_load16(headers + at) + leat_load16(headers + at + 2);
        at += HEADER_SIZES_BYTES;
        if (size - at < both)
            return false;
        at += both;
    }
    return true;
}

/* The three sizes of a record header, loaded as one word: value u32, key u16, headers u16. */
static uint32_t value_of(uint64_t sizes)
{
    return (uint32_t)sizes == LEAT_NULL_VALUE ? 0 : (uint32_t)sizes;
}

static uint32_t key_of(uint64_t sizes)
{
    return (uint16_t)(sizes >> 32) == LEAT_NULL_KEY ? 0 : (uint16_t)(sizes >> 32);
}

static uint32_t headers_of(uint64_t sizes)
{
    return (uint32_t)(sizes >> 48);
}

/* Walks every record that begins before `stop`. The address of each record depends on the load of
 * the previous size: for small records this dependency chain takes as long as their CRC. Records of
 * a batch often have equal sizes, so a run of them is walked with a fixed step and one comparison
 * each, which the processor can overlap. */
static void walk_to(struct walk *walk, uint64_t stop)
{
    const uint8_t *bytes = walk->bytes;
    const uint64_t readable = walk->end - LEAT_RECORD_HEADER_BYTES + 1;
    const uint64_t limit = stop < readable ? stop : readable;
    uint64_t at = walk->at;
    uint64_t payload_max = walk->payload_max;
    uint32_t count = walk->count;
    while (at < limit) {
        const uint64_t sizes = leat_load64(bytes + at);
        const uint64_t payload = (uint64_t)value_of(sizes) + key_of(sizes) + headers_of(sizes);
        const uint64_t step = align_up(LEAT_RECORD_HEADER_BYTES + payload);
        payload_max = payload > payload_max ? payload : payload_max;
        if (headers_of(sizes) != 0) {
            const uint64_t from = at + LEAT_RECORD_HEADER_BYTES;
            if (payload > walk->end - from
                || !headers_fill(bytes + from + key_of(sizes), headers_of(sizes))) {
                walk->broken = true;
                return;
            }
            at += step;
            count++;
            continue;
        }
        do {
            at += step;
            count++;
        } while (at < limit && leat_load64(bytes + at) == sizes);
    }
    walk->at = at;
    walk->payload_max = payload_max;
    walk->count = count;
    walk->broken = at < stop; /* too few bytes for one more record header */
}

/* A batch of one record needs no walk, and in the smallest batches every instruction counts. */
static enum leat_error check_one(const struct leat_batch *batch, const uint8_t *bytes,
                                 uint32_t record_bytes_max)
{
    const uint64_t sizes = leat_load64(bytes + LEAT_BATCH_HEADER_BYTES);
    const uint64_t payload = (uint64_t)value_of(sizes) + key_of(sizes) + headers_of(sizes);
    const uint8_t *headers =
        bytes + LEAT_BATCH_HEADER_BYTES + LEAT_RECORD_HEADER_BYTES + key_of(sizes);
    if (leat_crc32c(bytes + LEAT_BATCH_CRC_FROM, batch->size - LEAT_BATCH_CRC_FROM)
        != batch->crc32c)
        return LEAT_ERR_BAD_CRC;
    if (LEAT_BATCH_HEADER_BYTES + align_up(LEAT_RECORD_HEADER_BYTES + payload) != batch->size
        || (headers_of(sizes) != 0 && !headers_fill(headers, headers_of(sizes))))
        return LEAT_ERR_MALFORMED;
    return payload > record_bytes_max ? LEAT_ERR_TOO_LARGE : LEAT_OK;
}

enum leat_error leat_batch_check(const struct leat_batch *batch, const uint8_t *bytes,
                                 uint32_t record_bytes_max)
{
    assert(batch->size > LEAT_BATCH_HEADER_BYTES && batch->size <= LEAT_BATCH_BYTES_LIMIT);
    if (batch->record_count == 1)
        return check_one(batch, bytes, record_bytes_max);
    struct walk walk = { .bytes = bytes, .at = LEAT_BATCH_HEADER_BYTES, .end = batch->size };
    uint32_t crc = 0;
    uint32_t done = LEAT_BATCH_CRC_FROM;
    for (; batch->size - done >= CHECK_PIECE_BYTES; done += CHECK_PIECE_BYTES) {
        crc = leat_crc32c_extend(crc, bytes + done, CHECK_PIECE_BYTES);
        if (!walk.broken)
            walk_to(&walk, done + CHECK_PIECE_BYTES);
    }
    crc = leat_crc32c_extend(crc, bytes + done, batch->size - done);
    if (!walk.broken)
        walk_to(&walk, batch->size);

    if (crc != batch->crc32c)
        return LEAT_ERR_BAD_CRC;
    if (walk.broken || walk.at != batch->size || walk.count != batch->record_count)
        return LEAT_ERR_MALFORMED;
    return walk.payload_max > record_bytes_max ? LEAT_ERR_TOO_LARGE : LEAT_OK;
}

void leat_record_iterate(struct leat_record_iterator *it, const struct leat_batch *batch,
                         const uint8_t *bytes)
{
    it->next = bytes + LEAT_BATCH_HEADER_BYTES;
    it->left = batch->record_count;
    it->base_timestamp_ns = batch->base_timestamp_ns;
}

bool leat_record_next(struct leat_record_iterator *it, struct leat_record_view *out)
{
    if (it->left == 0)
        return false;
    const struct leat_record_wire *wire = (const struct leat_record_wire *)it->next;
    uint32_t value_size = leat_load32(wire->value_size);
    uint32_t key_size = leat_load16(wire->key_size);
    bool null_value = value_size == LEAT_NULL_VALUE;
    bool null_key = key_size == LEAT_NULL_KEY;

    out->key_size = null_key ? 0 : key_size;
    out->headers_size = leat_load16(wire->headers_size);
    out->value_size = null_value ? 0 : value_size;
    const uint8_t *key = it->next + LEAT_RECORD_HEADER_BYTES;
    const uint8_t *value = key + out->key_size + out->headers_size;
    out->key = null_key ? NULL : key;
    out->headers = key + out->key_size;
    out->value = null_value ? NULL : value;
    /* Unsigned, so that a hostile delta wraps instead of being undefined. */
    out->timestamp_ns =
        (int64_t)((uint64_t)it->base_timestamp_ns + leat_load64(wire->timestamp_delta_ns));

    it->next += align_up((uint64_t)(value - it->next) + out->value_size);
    it->left--;
    return true;
}

bool leat_header_next(const uint8_t **cursor, const uint8_t *end, struct leat_header_view *out)
{
    const uint8_t *at = *cursor;
    if (at == end)
        return false;
    out->name_size = leat_load16(at);
    out->value_size = leat_load16(at + 2);
    out->name = at + HEADER_SIZES_BYTES;
    out->value = out->name + out->name_size;
    *cursor = out->value + out->value_size;
    assert(*cursor <= end);
    return true;
}

uint64_t leat_record_bytes(uint32_t key_size, uint32_t headers_size, uint32_t value_size)
{
    uint64_t payload = (uint64_t)key_size + headers_size + value_size;
    if (key_size > LEAT_KEY_BYTES_MAX || headers_size > LEAT_HEADERS_BYTES_MAX
        || payload > LEAT_RECORD_BYTES_LIMIT)
        return 0;
    return align_up(LEAT_RECORD_HEADER_BYTES + payload);
}

static uint8_t *append(uint8_t *at, const uint8_t *bytes, uint32_t size)
{
    if (size > 0) /* memcpy(NULL) is undefined even for 0 bytes */
        memcpy(at, bytes, size);
    return at + size;
}

uint32_t leat_record_write(uint8_t *at, const struct leat_record_view *record,
                           int64_t base_timestamp_ns)
{
    const uint32_t key_size = record->key != NULL ? record->key_size : 0;
    const uint32_t value_size = record->value != NULL ? record->value_size : 0;
    const uint64_t bytes = leat_record_bytes(key_size, record->headers_size, value_size);
    assert(bytes != 0);

    /* The padding is in the last word: zero that word before the data is written over it. */
    leat_store64(at + bytes - LEAT_ALIGN, 0);
    struct leat_record_wire *wire = (struct leat_record_wire *)at;
    leat_store32(wire->value_size, record->value != NULL ? value_size : LEAT_NULL_VALUE);
    leat_store16(wire->key_size, record->key != NULL ? (uint16_t)key_size : LEAT_NULL_KEY);
    leat_store16(wire->headers_size, (uint16_t)record->headers_size);
    leat_store64(wire->timestamp_delta_ns,
                 (uint64_t)record->timestamp_ns - (uint64_t)base_timestamp_ns);

    uint8_t *next = at + LEAT_RECORD_HEADER_BYTES;
    next = append(next, record->key, key_size);
    next = append(next, record->headers, record->headers_size);
    append(next, record->value, value_size);
    return (uint32_t)bytes;
}

uint32_t leat_header_write(uint8_t *at, const struct leat_header_view *header)
{
    leat_store16(at, header->name_size);
    leat_store16(at + 2, header->value_size);
    uint8_t *next = append(at + HEADER_SIZES_BYTES, header->name, header->name_size);
    next = append(next, header->value, header->value_size);
    return (uint32_t)(next - at);
}

void leat_batch_seal(uint8_t *bytes, const struct leat_batch *batch)
{
    assert(batch->size > LEAT_BATCH_HEADER_BYTES && batch->size <= LEAT_BATCH_BYTES_LIMIT);
    assert(batch->size % LEAT_ALIGN == 0);
    assert(batch->record_count >= 1 && batch->record_count <= LEAT_BATCH_RECORDS_MAX);
    struct leat_batch_wire *wire = (struct leat_batch_wire *)bytes;
    memset(wire, 0, sizeof *wire);
    leat_store32(wire->size, batch->size);
    leat_store16(wire->last_record, (uint16_t)(batch->record_count - 1));
    wire->format = LEAT_BATCH_FORMAT;
    wire->attributes = batch->attributes;
    leat_store32(wire->producer_epoch, batch->producer_epoch);
    leat_store64(wire->producer_id, batch->producer_id);
    leat_store64(wire->base_sequence, batch->base_sequence);
    leat_store64(wire->base_timestamp_ns, (uint64_t)batch->base_timestamp_ns);
    leat_store32(wire->crc32c,
                 leat_crc32c(bytes + LEAT_BATCH_CRC_FROM, batch->size - LEAT_BATCH_CRC_FROM));
}

void leat_batch_stamp(uint8_t *bytes, uint64_t base_offset, uint64_t append_time_ns,
                      uint32_t leader_epoch)
{
    struct leat_batch_wire *wire = (struct leat_batch_wire *)bytes;
    leat_store64(wire->base_offset, base_offset);
    leat_store64(wire->append_time_ns, append_time_ns);
    leat_store32(wire->leader_epoch, leader_epoch);
    leat_store32(wire->stamp_crc, 0);
}

uint32_t leat_batch_stamp_seed(uint64_t topic_id, uint32_t partition, uint64_t log_epoch)
{
    uint8_t identity[20];
    leat_store64(identity, topic_id);
    leat_store32(identity + 8, partition);
    leat_store64(identity + 12, log_epoch);
    return leat_crc32c(identity, sizeof identity);
}

/* Never 0, which means "not protected". */
static uint32_t stamp_crc(const struct leat_batch_wire *wire, uint32_t seed)
{
    const uint8_t *stamp = (const uint8_t *)wire;
    uint32_t crc = leat_crc32c_extend(seed, stamp, offsetof(struct leat_batch_wire, stamp_crc));
    crc = leat_crc32c_extend(crc, wire->crc32c, sizeof wire->crc32c);
    return crc != 0 ? crc : 1;
}

void leat_batch_stamp_protect(uint8_t *bytes, uint32_t seed)
{
    struct leat_batch_wire *wire = (struct leat_batch_wire *)bytes;
    leat_store32(wire->stamp_crc, stamp_crc(wire, seed));
}

bool leat_batch_stamp_check(const uint8_t *bytes, uint32_t seed)
{
    const struct leat_batch_wire *wire = (const struct leat_batch_wire *)bytes;
    const uint32_t said = leat_load32(wire->stamp_crc);
    return said == 0 || said == stamp_crc(wire, seed);
}
