/* Partition: one ordered log with its index, its producers' deduplication state and its required
 * readers.
 *
 * Role: check batches (duplicate, out of order, fenced, damaged, no room) and append them, return
 * slices by position, evict the oldest. The broker's append path is partition_publish.
 * Must not know: sessions, frames, sockets, topic names, the clock (`now` and wall time are
 * arguments), other partitions.
 *
 *        head                        visible = tail
 *   ......[batch][batch][batch][batch]..........        positions: bytes since the log was created
 *         ^ head_offset               ^ next_offset      offsets: records; they may have holes
 *
 * Threads: the owning shard, except partition_open and partition_close (the control thread, while
 * no shard owns the partition), partition_unpin and partition_stats (any thread). */
#ifndef LEAT_BROKER_LOG_PARTITION_H
#define LEAT_BROKER_LOG_PARTITION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/log/logmem.h"
#include "broker/log/producer_dedup.h"
#include "broker/log/required_readers.h"
#include "schema/batch.h"
#include "schema/error.h"
#include "schema/units.h"

struct partition;

enum partition_overrun { PARTITION_EVICT = 0, PARTITION_BLOCK = 1 };

struct partition_options {
    uint64_t topic_id;
    uint64_t log_epoch;
    uint64_t first_offset;   /* of the new log; above every offset ever assigned */
    uint64_t certain_offset; /* at most first_offset; see partition_certain_offset */
    uint64_t first_position; /* of the log's first byte; a multiple of LEAT_ALIGN */
    uint64_t offset_limit; /* offsets below are reserved; LEAT_OFFSET_NONE: no reservation needed */
    uint64_t ring_bytes;   /* power of two >= LEAT_RING_BYTES_MIN */
    uint64_t retention_bytes; /* 0: the whole ring */
    leat_ns retention_ns;     /* 0: no limit by age */
    leat_ns required_timeout_ns;
    uint32_t index; /* within its topic */
    uint32_t record_bytes_max;
    uint32_t leader_epoch;        /* >= 1 */
    uint32_t producers_max;       /* producers remembered; 0: PARTITION_PRODUCERS_DEFAULT */
    uint8_t overrun;              /* partition_overrun */
    struct memory_budget *memory; /* charged for producers' state; outlives it; NULL: no limit */
};

enum { PARTITION_PRODUCERS_DEFAULT = 1024 };

/* The largest batch in bytes that such a topic accepts: a batch of one largest record, or one full
 * frame where the ring has room for four of them. */
uint32_t partition_largest_batch(uint64_t ring_bytes, uint32_t record_bytes_max);

/* Reserves all memory that the log will ever need, from `budget`. Control thread.
 * LEAT_ERR_NO_MEMORY: the budget lacks *missing_bytes, or, when that is 0, the kernel refused.
 * LEAT_ERR_INVALID: an option is out of range. */
enum leat_error partition_open(struct partition **out, const struct partition_options *options,
                               struct logmem_budget *budget, uint64_t *missing_bytes);
/* No shard may own it any more. NULL: a no-op. */
void partition_close(struct partition *p);

/* Immutable after open. */
uint64_t partition_topic_id(const struct partition *p);
uint32_t partition_index(const struct partition *p);
uint64_t partition_log_epoch(const struct partition *p);
/* Every offset from here up to the log's end was assigned to a record, in this life of the log or
 * in an earlier one (schema/loss.h). */
uint64_t partition_certain_offset(const struct partition *p);
uint32_t partition_batch_bytes_max(const struct partition *p); /* see partition_largest_batch */
bool partition_hugepages(const struct partition *p);

/* ---- in */

struct publish_result {
    enum leat_error status;  /* LEAT_OK, LEAT_ERR_DUPLICATE, or why it was refused */
    uint64_t first_sequence; /* of the batch that the result is about */
    uint32_t count;
    uint32_t retry_after_us; /* with LEAT_BUSY */
    uint64_t base_offset;    /* LEAT_OFFSET_NONE when unknown */
};

/* clang-format off */
/* Publishes one whole batch of `size` bytes, as received, for `producer`, which was opened on this
 * partition. Checks header, producer, CRC and records, then stamps a copy in the ring.
 *
 *   LEAT_OK                appended, now or earlier with an offset that is still known
 *   LEAT_ERR_DUPLICATE     appended earlier; the offset is no longer known
 *   LEAT_BUSY              the log is full under `block`, no offsets are reserved, a chunk is
 *                          pinned, or there is no memory to remember the result. The sequence is
 *                          NOT consumed, and no batch behind it is appended
 *   LEAT_ERR_OUT_OF_ORDER  the sequence is above the next one, or a batch that would be FENCED is
 *                          damaged. The sequence is NOT consumed
 *   LEAT_ERR_FENCED        the id or epoch is not the producer's, or its sequence numbers were
 *                          used for other records (see producer_dedup_check)
 *   LEAT_ERR_BAD_CRC       damaged, by the sender or on the way. The sequence is NOT consumed. A
 *                          caller that knows that the bytes arrived as they were sent refuses the
 *                          batch with partition_refuse
 *   LEAT_ERR_MALFORMED, LEAT_ERR_TOO_LARGE, LEAT_ERR_UNSUPPORTED
 *                          refused for good. When the header could be trusted this far and the
 *                          sequence is the next one, it IS consumed. A batch whose header does not
 *                          parse has count 0: the session must end
 *
 * `now` is monotonic; `wall_ns` is ns since 1970. */
/* clang-format on */
void partition_publish(struct partition *p, struct producer_dedup *producer, const uint8_t *batch,
                       size_t size, leat_ns now, uint64_t wall_ns, struct publish_result *result);

/* Refuses a batch with `status`: one of which only the header was received, because it is larger
 * than the topic accepts, or one that arrived damaged. Consumes its sequence if that is the next
 * one. */
void partition_refuse(struct partition *p, struct producer_dedup *producer,
                      const uint8_t header[LEAT_BATCH_HEADER_BYTES], enum leat_error status,
                      struct publish_result *result);

/* All offsets below `limit` are reserved now. */
void partition_offset_limit(struct partition *p, uint64_t limit);
/* True once each time half of the reserved offsets are used: more should be requested. */
bool partition_wants_offsets(struct partition *p);

/* Tells the partition the time. Call before a seek by TIME: the wall clock may have been stepped
 * since the last append, which starts a new line of times (broker/log/times.h). */
void partition_see_clock(struct partition *p, leat_ns now, uint64_t wall_ns);

/* Evicts what retention does not keep, and drops the marks of required readers that were away, or
 * held producers back, for too long. Age is monotonic time, so steps of the wall clock do not
 * matter. Call about every 100 ms; it is cheap when there is nothing to do, and the work per call
 * is bounded. Returns the number of required readers that lost their mark, and sets `lost` to
 * them. */
unsigned partition_retain(struct partition *p, leat_ns now,
                          struct required_lost lost[REQUIRED_READERS_MAX]);

/* ---- out */

uint64_t partition_head(const struct partition *p);        /* position of the oldest batch */
uint64_t partition_head_offset(const struct partition *p); /* its first offset */
uint64_t partition_visible(const struct partition *p);     /* readers get the bytes below */
uint64_t partition_next_offset(const struct partition *p);

/* Returns the log's bytes at `position`, head <= position < visible. They are contiguous for *size
 * = min(max, visible - position) bytes. Valid until head passes `position`: for the owning shard,
 * until the next publish or retain. */
const uint8_t *partition_slice(const struct partition *p, uint64_t position, uint64_t max,
                               uint64_t *size);

/* Bytes that can be appended before the log evicts the byte at `position`; 0: none, or it is
 * evicted. */
uint64_t partition_room_above(const struct partition *p, uint64_t position);
/* The age of the batch at `position` in ns of monotonic time, or a little less. `position` is a
 * batch boundary, head <= position < visible. */
leat_ns partition_age(const struct partition *p, uint64_t position, leat_ns now);

/* Keeps [position, position + size) from being overwritten until partition_unpin (any thread).
 * False: the bytes must be copied, because they cross a chunk boundary or are not in the newest
 * half of the ring. *chunk is the argument of partition_unpin. */
bool partition_pin(struct partition *p, uint64_t position, uint32_t size, uint32_t *chunk);
void partition_unpin(struct partition *p, uint32_t chunk);
/* True while anything is pinned: the partition may not be closed then. */
bool partition_is_pinned(const struct partition *p);
/* True once after a publish that was answered BUSY because of a pin. */
bool partition_take_pinned(struct partition *p);

/* For a `position` below the head: true when appends overwrote it, false when retention evicted
 * it. */
bool partition_overran(const struct partition *p, uint64_t position);

enum partition_seek_at {
    PARTITION_LATEST = 0,
    PARTITION_EARLIEST = 1,
    PARTITION_OFFSET = 2,
    PARTITION_TIME = 3,
};

struct partition_place {
    uint64_t position; /* batch boundary */
    uint64_t offset; /* of the wanted record, in the batch at `position`; next_offset at the tail */
};

/* Finds where a reader begins. An OFFSET below the head gives the head, and the caller reports the
 * gap. An OFFSET above next_offset is LEAT_ERR_OUT_OF_RANGE. TIME gives the first record stamped
 * `value` or later in the newest line of times that covers `value`, or the tail when there is none.
 * The work is bounded: it walks one index step of batches, and what was appended within
 * TIMES_SPREAD_NS while the clock was slewed. */
enum leat_error partition_seek(const struct partition *p, enum partition_seek_at at, uint64_t value,
                               struct partition_place *out);

/* ---- required readers: producers wait for them when overrun is block
 *
 * See broker/log/required_readers.h. A mark may point into a batch: that batch is kept whole. */

/* True once after a publish that was answered BUSY because required readers hold the log.
 * *name_hash is the name of the reader that is furthest behind. */
bool partition_take_held(struct partition *p, uint64_t *name_hash);
int partition_required_attach(struct partition *p, uint64_t name_hash, uint64_t position,
                              struct maker maker, uint64_t *given_up);
void partition_required_advance(struct partition *p, int handle, uint64_t position);
void partition_required_detach(struct partition *p, int handle, leat_ns now);

/* ---- producers */

/* The partition's table of producers; see broker/log/producer_dedup.h for its rules. */
struct producer_dedup_table *partition_producers(struct partition *p);

/* ---- statistics (any thread; each number is exact, but together they are no snapshot) */

struct partition_stats {
    uint64_t head_position, tail_position, head_offset, next_offset;
    uint64_t batches_in, records_in, bytes_in; /* appended since it was opened */
    uint64_t duplicates, refused, busy, evicted_records;
    uint64_t required_lost;
};
void partition_stats(const struct partition *p, struct partition_stats *out);

#endif
