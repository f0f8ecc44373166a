/* clang-format off */
/* Batch and record layout. The producer writes these bytes, the wire carries them, the log stores
 * them and the consumer reads them: one format from end to end.
 *
 * Role: the only file that knows this byte layout.
 * Must not know: topics, sessions, rings, who appends.
 * Threads: any; nothing here has state.
 *
 *      batch   [ header 64 B ][ record ][ record ] ... [ record ]          size % 8 == 0
 *      record  [ header 16 B ][ key ][ headers ][ value ][ 0..7 zero bytes ]
 *      headers { name_size u16, value_size u16, name, value } ...
 *
 * Integers are little-endian. Every member of a wire image is a byte array, so an image has
 * alignment 1 and may overlay any received buffer. */
/* clang-format on */
#ifndef LEAT_SCHEMA_BATCH_H
#define LEAT_SCHEMA_BATCH_H

#include <assert.h>
#include <stdalign.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schema/bytes.h"
#include "schema/error.h"
#include "schema/limits.h"

enum {
    LEAT_BATCH_FORMAT = 2,
    LEAT_BATCH_HEADER_BYTES = 64,
    LEAT_BATCH_STAMP_BYTES = 24, /* the broker's part: base_offset .. stamp_crc; crc32c follows */
    LEAT_BATCH_CRC_FROM = 28,    /* the CRC covers [28, size) */
    LEAT_RECORD_HEADER_BYTES = 16,
};

enum leat_batch_attribute {
    LEAT_BATCH_CODEC_MASK = 0x07, /* 0 = none; others are refused by this version */
    LEAT_BATCH_CONTROL = 0x08,    /* not application data */
};

struct leat_batch_wire {
    uint8_t base_offset[8];    /* broker: offset of the first record */
    uint8_t append_time_ns[8]; /* broker: wall clock, ns since 1970; PROTOCOL.md, Times */
    uint8_t leader_epoch[4];   /* broker: >= 1 */
    uint8_t stamp_crc[4];      /* broker: see leat_batch_stamp_protect; 0: not protected */
    uint8_t crc32c[4];         /* producer: over [28, size) */
    uint8_t size[4];           /* whole batch, header included */
    uint8_t format;            /* LEAT_BATCH_FORMAT */
    uint8_t attributes;
    uint8_t last_record[2]; /* number of records - 1 */
    uint8_t producer_epoch[4];
    uint8_t producer_id[8];
    uint8_t base_sequence[8];     /* of the first record; each record adds one */
    uint8_t base_timestamp_ns[8]; /* producer's wall clock, ns since 1970, signed */
};
static_assert(sizeof(struct leat_batch_wire) == LEAT_BATCH_HEADER_BYTES, "wire size");
static_assert(alignof(struct leat_batch_wire) == 1, "must overlay any buffer");
static_assert(offsetof(struct leat_batch_wire, leader_epoch) == 16, "wire layout");
static_assert(offsetof(struct leat_batch_wire, crc32c) == LEAT_BATCH_STAMP_BYTES, "wire layout");
static_assert(offsetof(struct leat_batch_wire, size) == LEAT_BATCH_CRC_FROM, "wire layout");
static_assert(offsetof(struct leat_batch_wire, format) == 32, "wire layout");
static_assert(offsetof(struct leat_batch_wire, producer_epoch) == 36, "wire layout");
static_assert(offsetof(struct leat_batch_wire, producer_id) == 40, "wire layout");
static_assert(offsetof(struct leat_batch_wire, base_sequence) == 48, "wire layout");
static_assert(offsetof(struct leat_batch_wire, base_timestamp_ns) == 56, "wire layout");

struct leat_record_wire {
    uint8_t value_size[4];         /* 0xFFFFFFFF = null */
    uint8_t key_size[2];           /* 0xFFFF = null */
    uint8_t headers_size[2];       /* encoded headers, bytes */
    uint8_t timestamp_delta_ns[8]; /* signed, to base_timestamp_ns */
};
static_assert(sizeof(struct leat_record_wire) == LEAT_RECORD_HEADER_BYTES, "wire size");
static_assert(alignof(struct leat_record_wire) == 1, "must overlay any buffer");
static_assert(offsetof(struct leat_record_wire, key_size) == 4, "wire layout");
static_assert(offsetof(struct leat_record_wire, headers_size) == 6, "wire layout");
static_assert(offsetof(struct leat_record_wire, timestamp_delta_ns) == 8, "wire layout");

#define LEAT_NULL_VALUE UINT32_MAX
#define LEAT_NULL_KEY UINT16_MAX

struct leat_batch {
    uint64_t base_offset;
    uint64_t append_time_ns;
    uint64_t producer_id;
    uint64_t base_sequence;
    int64_t base_timestamp_ns;
    uint32_t leader_epoch;
    uint32_t crc32c;
    uint32_t size;
    uint32_t record_count;
    uint32_t producer_epoch;
    uint8_t attributes;
};

struct leat_record_view {
    const uint8_t *key;     /* NULL when null */
    const uint8_t *headers; /* headers_size encoded bytes */
    const uint8_t *value;   /* NULL when null */
    uint32_t key_size;      /* 0 when null */
    uint32_t headers_size;
    uint32_t value_size; /* 0 when null */
    int64_t timestamp_ns;
};

struct leat_header_view {
    const uint8_t *name;
    const uint8_t *value;
    uint16_t name_size;
    uint16_t value_size;
};

/* Reads and checks the header only. `size` is the number of readable bytes at `bytes`. On LEAT_OK:
 * 64 < out->size <= LEAT_BATCH_BYTES_LIMIT, out->size % 8 == 0, 1 <= record_count <= what could
 * fit in out->size, and no sequence or offset of the batch overflows a u64. It does NOT check
 * out->size against `size`: perhaps only a piece of the batch has arrived.
 * LEAT_AGAIN: `size` < LEAT_BATCH_HEADER_BYTES. LEAT_ERR_UNSUPPORTED: unknown format, codec or
 * attribute. LEAT_ERR_MALFORMED. On every error *out is untouched. */
enum leat_error leat_batch_parse(struct leat_batch *out, const uint8_t *bytes, size_t size);

/* Fields of a header that was parsed before, for walking the batches of a log. Offsets may have
 * holes: read the first offset of the next batch from its header, do not compute it. */
static inline uint32_t leat_batch_size_at(const uint8_t *bytes)
{
    return leat_load32(((const struct leat_batch_wire *)bytes)->size);
}

static inline uint32_t leat_batch_count_at(const uint8_t *bytes)
{
    return leat_load16(((const struct leat_batch_wire *)bytes)->last_record) + UINT32_C(1);
}

static inline uint64_t leat_batch_offset_at(const uint8_t *bytes)
{
    return leat_load64(((const struct leat_batch_wire *)bytes)->base_offset);
}

/* Checks, in one pass, all that must hold before a batch may be appended or reach an application:
 * the CRC matches; record_count records fill [64, batch->size) exactly, and so do the headers in
 * each; no record has more than LEAT_HEADERS_MAX headers, or key + headers + value above
 * record_bytes_max. The content of padding is not checked; the CRC covers it.
 * `bytes` holds at least batch->size bytes, and `batch` was parsed from them by leat_batch_parse.
 * LEAT_ERR_BAD_CRC, LEAT_ERR_MALFORMED, LEAT_ERR_TOO_LARGE; the first of these that applies. */
enum leat_error leat_batch_check(const struct leat_batch *batch, const uint8_t *bytes,
                                 uint32_t record_bytes_max);

/* Iterates over the records of a batch that passed leat_batch_check. */
struct leat_record_iterator {
    const uint8_t *next;
    uint32_t left; /* records not yet handed out */
    int64_t base_timestamp_ns;
};
void leat_record_iterate(struct leat_record_iterator *it, const struct leat_batch *batch,
                         const uint8_t *bytes);
/* False after the last record. Views point into the batch. */
bool leat_record_next(struct leat_record_iterator *it, struct leat_record_view *out);

/* Reads the next header at *cursor (start at view.headers, end at headers + headers_size) and
 * moves *cursor past it. False at the end. The bytes must have passed leat_batch_check. */
bool leat_header_next(const uint8_t **cursor, const uint8_t *end, struct leat_header_view *out);

/* Size of one record in a batch, padding included. 0 if one of the sizes is over its limit, or
 * their sum is over LEAT_RECORD_BYTES_LIMIT. A null key or value has size 0. */
uint64_t leat_record_bytes(uint32_t key_size, uint32_t headers_size, uint32_t value_size);

/* Writes one record at `at` (room for leat_record_bytes) and returns its size. A NULL pointer is a
 * null key or value. `headers` are already encoded. `at` must not overlap the data it copies. */
uint32_t leat_record_write(uint8_t *at, const struct leat_record_view *record,
                           int64_t base_timestamp_ns);

/* Writes one encoded header at `at` (room for 4 + name + value) and returns its size. */
uint32_t leat_header_write(uint8_t *at, const struct leat_header_view *header);

/* Producer: writes the header, with the CRC, of a batch whose records are at bytes + 64. Uses all
 * fields of `batch` except crc32c and the broker's three, which become 0. */
void leat_batch_seal(uint8_t *bytes, const struct leat_batch *batch);

/* Broker: writes the first LEAT_BATCH_STAMP_BYTES, which the CRC does not cover. Sets stamp_crc
 * to 0. */
void leat_batch_stamp(uint8_t *bytes, uint64_t base_offset, uint64_t append_time_ns,
                      uint32_t leader_epoch);

/* stamp_crc protects the stamp of batches that are stored outside the broker's memory. It is a
 * CRC-32C over [0, 20) and the field crc32c. Its seed is the CRC of topic id, partition and log
 * epoch, so that an intact batch in the wrong log fails the check. */
uint32_t leat_batch_stamp_seed(uint64_t topic_id, uint32_t partition, uint64_t log_epoch);
/* Broker: sets stamp_crc of a stamped batch; never to 0, which means "not protected". */
void leat_batch_stamp_protect(uint8_t *bytes, uint32_t seed);
/* False if the stamp is damaged or belongs to another log. A stamp_crc of 0 passes. */
bool leat_batch_stamp_check(const uint8_t *bytes, uint32_t seed);

#endif
