/* Partition: one ordered log with its index, its producers' memory and its required readers.
 *
 * Role: take batches in (duplicate? gap? fenced? whole? room?), keep them, hand out slices of
 * them by position, forget the oldest. The append path of the broker is partition_publish.
 * Must not know: sessions, frames, sockets, topics' names, the clock (`now` and wall time are
 * arguments), what other partitions do.
 *
 *        head                        visible = tail
 *   ......[batch][batch][batch][batch]..........        positions: bytes since the log was created
 *         ^ head_offset               ^ next_offset      offsets: records; they may have holes
 *
 * Threads: everything is for the owning shard, except partition_open and partition_close (control,
 * while no shard has it) and partition_stats (any thread). */
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
    uint64_t first_offset;    /* of a new log; above every offset ever given out */
    uint64_t certain_offset;  /* at most first_offset; see partition_certain_offset */
    uint64_t first_position;  /* of its first byte; a multiple of LEAT_ALIGN */
    uint64_t offset_limit;    /* reserved so far; LEAT_OFFSET_NONE: no reservation needed */
    uint64_t ring_bytes;      /* power of two >= LEAT_RING_BYTES_MIN */
    uint64_t retention_bytes; /* 0: the whole ring */
    leat_ns retention_ns;     /* 0: no limit by age */
    leat_ns required_timeout_ns;
    uint32_t index; /* within its topic */
    uint32_t record_bytes_max;
    uint32_t leader_epoch;        /* >= 1 */
    uint32_t producers_max;       /* remembered; 0: PARTITION_PRODUCERS_DEFAULT */
    uint8_t overrun;              /* partition_overrun */
    struct memory_budget *memory; /* of what producers make it remember; kept; NULL: no limit */
};

enum { PARTITION_PRODUCERS_DEFAULT = 1024 };

/* The largest batch such a topic takes: one largest record, or one full frame where the ring has
 * room for four of them. */
uint32_t partition_largest_batch(uint64_t ring_bytes, uint32_t record_bytes_max);

/* Reserves everything the log will ever need, from `budget`. Control thread.
 * LEAT_ERR_NO_MEMORY: *missing_bytes says how much the budget lacks (0: the kernel refused).
 * LEAT_ERR_INVALID: a size is out of range. */
enum leat_error partition_open(struct partition **out, const struct partition_options *options,
                               struct logmem_budget *budget, uint64_t *missing_bytes);
/* No shard has it any more. NULL is a no-op. */
void partition_close(struct partition *p);

/* Immutable after open. */
uint64_t partition_topic_id(const struct partition *p);
uint32_t partition_index(const struct partition *p);
uint64_t partition_log_epoch(const struct partition *p);
/* Every offset from here on that is below the log's end was given to a record, in this life of the
 * log or in an earlier one (schema/loss.h). */
uint64_t partition_certain_offset(const struct partition *p);
uint32_t partition_batch_bytes_max(const struct partition *p); /* of the topic's largest record */
bool partition_hugepages(const struct partition *p);

/* ---- in */

struct publish_result {
    enum leat_error status;  /* LEAT_OK, LEAT_ERR_DUPLICATE, or why not */
    uint64_t first_sequence; /* what the result is about */
    uint32_t count;
    uint32_t retry_after_us; /* LEAT_BUSY */
    uint64_t base_offset;    /* LEAT_OFFSET_NONE when unknown */
};

/* One whole batch of producer `producer` (as opened on this partition), `size` bytes; the shard may
 * have received it just now. Checks header, producer, CRC and records; stamps a copy into the ring.
 *   LEAT_OK                appended, or appended before and its offset is still known
 *   LEAT_ERR_DUPLICATE     appended before, offset no longer known
 *   LEAT_BUSY              full under `block`, offsets not yet reserved, a chunk pinned, or no
 *                          memory to remember the result: the sequence is NOT consumed; nothing
 *                          behind it is appended
 *   LEAT_ERR_OUT_OF_ORDER  sequence above the next one, or what would be FENCED is damaged: not
 *                          consumed
 *   LEAT_ERR_FENCED        id or epoch are not the producer's, or its numbers were used for other
 *                          records (see producer_dedup_check)
 *   LEAT_ERR_BAD_CRC       damaged, here or on the way: not consumed. Who knows that the bytes came
 *                          as they were sent refuses it with partition_refuse
 *   LEAT_ERR_MALFORMED, TOO_LARGE, UNSUPPORTED: refused for good; when the header could be
 *                          trusted this far and the sequence is the next one, it IS consumed. A
 *                          batch whose header does not parse has count 0: the session must end.
 * `now` is monotonic, `wall_ns` since 1970. */
void partition_publish(struct partition *p, struct producer_dedup *producer, const uint8_t *batch,
                       size_t size, leat_ns now, uint64_t wall_ns, struct publish_result *result);

/* The same for a batch of which only the header came, because it is larger than the topic takes, or
 * which came damaged: the refusal `status` consumes its sequence if it is the next one. */
void partition_refuse(struct partition *p, struct producer_dedup *producer,
                      const uint8_t header[LEAT_BATCH_HEADER_BYTES], enum leat_error status,
                      struct publish_result *result);

/* More offsets were reserved: up to (not including) `limit`. */
void partition_offset_limit(struct partition *p, uint64_t limit);
/* True once each time the reserve has fallen to half and more should be asked for. */
bool partition_wants_offsets(struct partition *p);

/* What the clocks say. Call before a seek by TIME: since the last append the wall clock may have
 * been stepped, which begins a new line of times (broker/log/times.h). */
void partition_see_clock(struct partition *p, leat_ns now, uint64_t wall_ns);

/* Forgets what retention says (age runs by monotonic time, whatever the wall clock does), and
 * takes the marks from required readers that were away, or held producers back, for too long. Call
 * about every 100 ms; cheap when there is nothing to do. Work per call is bounded. Returns the
 * number of required readers that just lost their mark; `lost`: which. */
unsigned partition_retain(struct partition *p, leat_ns now,
                          struct required_lost lost[REQUIRED_READERS_MAX]);

/* ---- out */

uint64_t partition_head(const struct partition *p);        /* position of the oldest batch */
uint64_t partition_head_offset(const struct partition *p); /* its first offset */
uint64_t partition_visible(const struct partition *p);     /* readers are served up to here */
uint64_t partition_next_offset(const struct partition *p);

/* The log's bytes at `position`, head <= position < visible, contiguous for
 * min(max, visible - position) bytes, which is returned in *size. Valid until head passes
 * `position`, that is, for the owning shard, until the next publish or retain. */
const uint8_t *partition_slice(const struct partition *p, uint64_t position, uint64_t max,
                               uint64_t *size);

/* Bytes that can be appended before the log loses what lies at `position`; 0: it has. */
uint64_t partition_room_above(const struct partition *p, uint64_t position);
/* How long ago, by monotonic time, the batch at `position` was appended, or a little less; head <=
 * position < visible, a batch boundary. */
leat_ns partition_age(const struct partition *p, uint64_t position, leat_ns now);

/* Keeps [position, position + size) from being overwritten until partition_unpin (any thread).
 * False: it may not be sent by reference (it crosses a chunk, or is not in the newest half of the
 * ring): copy it. *chunk is for unpinning. */
bool partition_pin(struct partition *p, uint64_t position, uint32_t size, uint32_t *chunk);
void partition_unpin(struct partition *p, uint32_t chunk);
/* True until every one was unpinned: it may not be closed. */
bool partition_is_pinned(const struct partition *p);
/* True once after a publish that was answered BUSY because such a pin stood in its way. */
bool partition_take_pinned(struct partition *p);

/* A reader at `position`, below the head, was overtaken by the writer; false: by retention. */
bool partition_overran(const struct partition *p, uint64_t position);

enum partition_seek_at {
    PARTITION_LATEST = 0,
    PARTITION_EARLIEST = 1,
    PARTITION_OFFSET = 2,
    PARTITION_TIME = 3,
};

struct partition_place {
    uint64_t position; /* batch boundary */
    uint64_t offset;   /* wanted record: in the batch at `position`, or next_offset at the tail */
};

/* Finds where a reader begins. OFFSET below head: the head (the caller reports the gap). OFFSET
 * above next_offset: LEAT_ERR_OUT_OF_RANGE. TIME: the first record stamped `value` or later in the
 * newest line of times that covers `value`, and the tail when there is none. Bounded work: one
 * index step of batches is walked, and what was appended in TIMES_SPREAD_NS while the clock was
 * slewed. */
enum leat_error partition_seek(const struct partition *p, enum partition_seek_at at, uint64_t value,
                               struct partition_place *out);

/* ---- readers that producers wait for (overrun = block); see broker/log/required_readers.h
 * A mark may stand anywhere: the batch it stands in is held whole. */

/* True once after a publish that was answered BUSY because required readers hold the log: the name
 * of the one that is furthest behind. */
bool partition_take_held(struct partition *p, uint64_t *name_hash);
int partition_required_attach(struct partition *p, uint64_t name_hash, uint64_t position,
                              struct maker maker, uint64_t *given_up);
void partition_required_advance(struct partition *p, int handle, uint64_t position);
void partition_required_detach(struct partition *p, int handle, leat_ns now);

/* ---- producers */

/* The state of (id) on this partition for `epoch`; see broker/log/producer_dedup.h for the table's
 * rules.
 */
struct producer_dedup_table *partition_producers(struct partition *p);

/* ---- seeing (any thread; each number is exact, together they are a close picture) */

struct partition_stats {
    uint64_t head_position, tail_position, head_offset, next_offset;
    uint64_t batches_in, records_in, bytes_in; /* appended since it was opened */
    uint64_t duplicates, refused, busy, evicted_records;
    uint64_t required_lost;
};
void partition_stats(const struct partition *p, struct partition_stats *out);

#endif
