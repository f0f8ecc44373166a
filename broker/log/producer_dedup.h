/* Producer: what a partition remembers of each idempotent producer, and the table of them.
 *
 * Role: decide of a batch (producer id, epoch, base_sequence, count, CRC): new, duplicate, gap or
 * fenced; remember the last LEAT_IN_FLIGHT_BATCHES_MAX results so that a duplicate gets its old
 * answer. Must not know: rings, bytes, sessions, clocks.
 *
 * A definitive refusal consumes its sequence like an append does, LEAT_BUSY does not.
 * The table is bounded, and shared out: see maker.h. A producer that no stream is bound to may be
 * forgotten, oldest first, when its maker needs its room or when it was idle too long. A forgotten
 * producer is told so when it resumes, and goes on from its first unanswered sequence.
 *
 * Memory: PRODUCER_DEDUP_BYTES each when it is opened; room for results when its first batch comes,
 * little at first. One that never sent a batch is forgotten after PRODUCER_DEDUP_UNUSED_IDLE_NS:
 * nothing is lost with it. All of it is charged to a budget.
 *
 * Threads: the owning shard. Allocates in producer_dedup_table_open and producer_open, and in
 * producer_dedup_check for a producer's first LEAT_IN_FLIGHT_BATCHES_MAX batches. */
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
    enum leat_error status; /* LEAT_OK: new, append it. Else the answer: see below */
    bool answered;          /* seen before: status and base_offset are the old answer */
    uint64_t base_offset;
};

enum {
    PRODUCER_DEDUP_BYTES = 120, /* of one that sent nothing; each remembered result: */
    PRODUCER_DEDUP_RESULT_BYTES = 32,
    PRODUCER_DEDUP_SHARE_BYTES = 56,  /* of each connection, and of each address, that has any */
    PRODUCER_DEDUP_FIRST_RESULTS = 4, /* that there is room for when the first batch comes */
};
#define PRODUCER_DEDUP_UNUSED_IDLE_NS (300 * LEAT_NS_PER_S)

/* `capacity`: producers remembered. `budget`: kept; NULL: no limit. LEAT_ERR_NO_MEMORY. */
enum leat_error producer_dedup_table_open(struct producer_dedup_table **out, uint32_t capacity,
                                          struct memory_budget *budget);
void producer_dedup_table_close(struct producer_dedup_table *table);

enum producer_dedup_open_how {
    PRODUCER_DEDUP_NEW,    /* first opening of this (id, epoch): starts at sequence 0 */
    PRODUCER_DEDUP_RESUME, /* goes on from an earlier session */
};

/* Finds or creates the state and binds it (a bound producer is never forgotten). An older epoch of
 * the same id is replaced; *was_bound tells that another stream was bound to it: the binding is
 * handed over, and that stream must let go without producer_dedup_unbind. One that is there counts
 * for `maker` from now on; the table gets no fuller by it. Nothing is changed by a refusal:
 *
 *   LEAT_ERR_FENCED            a newer epoch exists
 *   LEAT_ERR_PRODUCER_EXPIRED  RESUME, and nothing is remembered (or only an older epoch)
 *   LEAT_ERR_LIMIT             the table, or the maker's share of it, is full of bound producers:
 *                              producer_refused_share
 *   LEAT_ERR_NO_MEMORY */
enum leat_error producer_dedup_open(struct producer_dedup_table *table, uint64_t id, uint32_t epoch,
                                    enum producer_dedup_open_how how, const struct maker *maker,
                                    struct producer_dedup **out, bool *was_bound);
void producer_dedup_unbind(struct producer_dedup *producer, leat_ns now);

/* Keeps a place for `id`, made where there is none, until producer_dedup_release: producer_open
 * cannot lack one meanwhile. Nothing else is changed. LEAT_ERR_LIMIT, LEAT_ERR_NO_MEMORY. */
enum leat_error producer_dedup_reserve(struct producer_dedup_table *table, uint64_t id,
                                       const struct maker *maker, struct producer_dedup **out);
/* A place that was made for it and never opened goes. */
void producer_dedup_release(struct producer_dedup *producer, leat_ns now);

/* What `maker` has of the table, and what it may have: why one more was refused. */
struct producer_share {
    enum share_verdict verdict;
    uint32_t taken, share;
};
struct producer_share producer_dedup_refused_share(struct producer_dedup_table *table,
                                                   const struct maker *maker);

/* A newer epoch was given out: everything of `id` below `epoch` is refused from now on, also when
 * the producer is not known here yet (then there is nothing to refuse). */
void producer_dedup_fence(struct producer_dedup_table *table, uint64_t id, uint32_t epoch);

/* Forgets unbound producers idle since before now - idle_ns, and those that never sent anything
 * after PRODUCER_DEDUP_UNUSED_IDLE_NS if that is less. Returns how many. */
uint32_t producer_dedup_expire(struct producer_dedup_table *table, leat_ns now, leat_ns idle_ns);

/* Its client says that everything below `sequence` was answered. Numbers only ever go up. */
void producer_dedup_skip(struct producer_dedup *producer, uint64_t sequence);

uint64_t producer_dedup_id(const struct producer_dedup *producer);
uint64_t producer_dedup_next_sequence(const struct producer_dedup *producer);
uint32_t producer_dedup_epoch(const struct producer_dedup *producer);

/* What is to be done with a batch whose header says `crc`:
 *
 *   LEAT_OK                append (or refuse for good), then call producer_dedup_record
 *   LEAT_BUSY              new, but there is no memory to remember its result: nothing is changed
 *   answered               appended or refused earlier: repeat that answer
 *   LEAT_ERR_DUPLICATE     its numbers were used before, too long ago to compare what it holds
 *   LEAT_ERR_OUT_OF_ORDER  a batch before it is missing
 *   LEAT_ERR_FENCED        wrong epoch; or its numbers were used by a batch of another content or
 *                          another length, so that two producers write under one identity */
struct producer_dedup_verdict producer_dedup_check(struct producer_dedup *producer, uint32_t epoch,
                                                   uint64_t first_sequence, uint32_t count,
                                                   uint32_t crc);

/* The answer given to the batch that began at `first_sequence`, and how many records it had. False:
 * not remembered; *verdict is then LEAT_ERR_DUPLICATE without an offset. */
bool producer_dedup_recall(const struct producer_dedup *producer, uint64_t first_sequence,
                           uint32_t *count, struct producer_dedup_verdict *verdict);

/* The batch producer_dedup_check said LEAT_OK to was appended at base_offset, or refused with
 * `status`.
 */
void producer_dedup_record(struct producer_dedup *producer, uint64_t first_sequence, uint32_t count,
                           uint32_t crc, enum leat_error status, uint64_t base_offset);

#endif
