/* Producer deduplication: what a partition remembers of each idempotent producer, and the table of
 * producers.
 *
 * Role: decide whether a batch (producer id, epoch, base_sequence, count, CRC) is new, a duplicate,
 * out of order or fenced. Remember the last LEAT_IN_FLIGHT_BATCHES_MAX results, so that a duplicate
 * gets its original answer.
 * Must not know: rings, bytes, sessions, clocks.
 *
 * A final refusal consumes its sequence like an append does; LEAT_BUSY does not. The table is
 * bounded and shared by the rule of maker.h. A producer that no stream is bound to may be
 * forgotten, longest idle first, when its maker needs the room or when it was idle for too long. A
 * forgotten producer is told so when it resumes, and goes on from its first unanswered sequence.
 *
 * Memory: PRODUCER_DEDUP_BYTES for each producer when it is opened. Room for results is allocated
 * when its first batch arrives, and is small at first. A producer that never sent a batch is
 * forgotten after PRODUCER_DEDUP_UNUSED_IDLE_NS: nothing is lost with it. All memory is charged to
 * a budget.
 *
 * Threads: the owning shard. Allocates in producer_dedup_table_open, producer_dedup_open and
 * producer_dedup_reserve, and in producer_dedup_check for a producer's first
 * LEAT_IN_FLIGHT_BATCHES_MAX batches. */
#ifndef LEAT_BROKER_LOG_PRODUCER_DEDUP_H
#define LEAT_BROKER_LOG_PRODUCER_DEDUP_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/log/idmap.h"
#include "broker/log/maker.h"
#include "broker/log/memory_budget.h"
#include "schema/error.h"
#include "schema/limits.h"
#include "schema/units.h"

struct producer_dedup;       /* one producer on one partition */
struct producer_dedup_table; /* of one partition */

struct producer_dedup_verdict {
    enum leat_error status; /* LEAT_OK: new, append it; else the answer, see producer_dedup_check */
    bool answered;          /* seen before: status and base_offset are the original answer */
    uint64_t base_offset;
};

enum {
    PRODUCER_DEDUP_BYTES = 120,       /* of a producer that has sent nothing */
    PRODUCER_DEDUP_RESULT_BYTES = 32, /* of each remembered result */
    PRODUCER_DEDUP_SHARE_BYTES = 56,  /* of each connection and each address with producers */
    PRODUCER_DEDUP_FIRST_RESULTS = 4, /* room for results when the first batch arrives */
};
#define PRODUCER_DEDUP_UNUSED_IDLE_NS (300 * LEAT_NS_PER_S)

/* Opens a table that remembers `capacity` producers. `budget` must outlive the table; NULL: no
 * limit. Errors: LEAT_ERR_NO_MEMORY. */
enum leat_error producer_dedup_table_open(struct producer_dedup_table **out, uint32_t capacity,
                                          struct memory_budget *budget);
void producer_dedup_table_close(struct producer_dedup_table *table);

enum producer_dedup_open_how {
    PRODUCER_DEDUP_NEW,    /* first opening of this (id, epoch): starts at sequence 0 */
    PRODUCER_DEDUP_RESUME, /* continues an earlier session */
};

/* clang-format off */
/* Finds or creates the state of producer `id` and binds it: a bound producer is never forgotten. A
 * newer epoch replaces an older one of the same id. *was_bound: another stream was bound to the
 * producer. The binding passes to the caller, and that stream must let go without
 * producer_dedup_unbind. A producer that exists already counts for `maker` from now on; the table
 * does not get fuller. A refusal changes nothing:
 *
 *   LEAT_ERR_FENCED            a newer epoch exists
 *   LEAT_ERR_PRODUCER_EXPIRED  RESUME, and nothing is remembered, or only an older epoch
 *   LEAT_ERR_LIMIT             the table, or the maker's share of it, is full of bound producers:
 *                              see producer_dedup_refused_share
 *   LEAT_ERR_NO_MEMORY */
/* clang-format on */
enum leat_error producer_dedup_open(struct producer_dedup_table *table, uint64_t id, uint32_t epoch,
                                    enum producer_dedup_open_how how, const struct maker *maker,
                                    struct producer_dedup **out, bool *was_bound);
void producer_dedup_unbind(struct producer_dedup *producer, leat_ns now);

/* Reserves the place of `id` until producer_dedup_release, and creates it if there is none.
 * Meanwhile producer_dedup_open cannot fail for want of a place. Nothing else changes. Errors:
 * LEAT_ERR_LIMIT, LEAT_ERR_NO_MEMORY. */
enum leat_error producer_dedup_reserve(struct producer_dedup_table *table, uint64_t id,
                                       const struct maker *maker, struct producer_dedup **out);
/* Ends the reservation. A place that was created for it and never opened is removed. */
void producer_dedup_release(struct producer_dedup *producer, leat_ns now);

/* How much `maker` has of the table and how much it may have: why one more producer was refused. */
struct producer_share {
    enum share_verdict verdict;
    uint32_t taken, share;
};
struct producer_share producer_dedup_refused_share(struct producer_dedup_table *table,
                                                   const struct maker *maker);

/* A newer epoch was granted: everything of `id` below `epoch` is refused from now on. A no-op when
 * the producer is not known here: there is nothing to refuse. */
void producer_dedup_fence(struct producer_dedup_table *table, uint64_t id, uint32_t epoch);

/* Forgets unbound producers that have been idle since before now - idle_ns. Those that never sent a
 * batch are forgotten after PRODUCER_DEDUP_UNUSED_IDLE_NS if that is less. Returns how many. */
uint32_t producer_dedup_expire(struct producer_dedup_table *table, leat_ns now, leat_ns idle_ns);

/* The client says that everything below `sequence` was answered. The next sequence never
 * decreases. */
void producer_dedup_skip(struct producer_dedup *producer, uint64_t sequence);

uint64_t producer_dedup_id(const struct producer_dedup *producer);
uint64_t producer_dedup_next_sequence(const struct producer_dedup *producer);
uint32_t producer_dedup_epoch(const struct producer_dedup *producer);

/* clang-format off */
/* Says what to do with a batch whose header carries `crc`:
 *
 *   LEAT_OK                new: append it or refuse it for good, then call producer_dedup_record
 *   LEAT_BUSY              new, but there is no memory to remember its result; nothing has changed
 *   answered               appended or refused earlier: repeat that answer
 *   LEAT_ERR_DUPLICATE     its sequence numbers were used too long ago to compare the content
 *   LEAT_ERR_OUT_OF_ORDER  a batch before it is missing
 *   LEAT_ERR_FENCED        wrong epoch; or its sequence numbers were used by a batch of another
 *                          content or length, so two producers write under one identity */
/* clang-format on */
struct producer_dedup_verdict producer_dedup_check(struct producer_dedup *producer, uint32_t epoch,
                                                   uint64_t first_sequence, uint32_t count,
                                                   uint32_t crc);

/* The answer that was given to the batch that began at `first_sequence`, and its number of records.
 * False: no longer remembered; *verdict is LEAT_ERR_DUPLICATE without an offset. */
bool producer_dedup_recall(const struct producer_dedup *producer, uint64_t first_sequence,
                           uint32_t *count, struct producer_dedup_verdict *verdict);

/* Remembers the result of a batch for which producer_dedup_check said LEAT_OK: it was appended at
 * `base_offset`, or refused with `status`. */
void producer_dedup_record(struct producer_dedup *producer, uint64_t first_sequence, uint32_t count,
                           uint32_t crc, enum leat_error status, uint64_t base_offset);

#endif
