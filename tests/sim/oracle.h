/* Ledger: what was published, acknowledged and delivered in one life of one partition's log, and
 * whether that fits together.
 *
 * Role: the invariants. An offset holds one record, for every reader and in every acknowledgement;
 * a record has one offset; a reader gets offsets one after the other, or is told exactly which it
 * will not get.
 * Must not know: how any of it came about. Threads: one. Any breach is reported to `broken`. */
#ifndef LEAT_TESTS_SIM_LEDGER_H
#define LEAT_TESTS_SIM_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LEDGER_OFFSETS_MAX = 1 << 15, LEDGER_READERS_MAX = 4 };

struct ledger_reader {
    bool started;
    uint64_t next;    /* offset */
    uint64_t highest; /* it ever stood at, in whatever life */
    uint64_t delivered, lost;
};

struct ledger {
    uint64_t log_epoch;
    uint64_t *record; /* by offset: record id + 1; 0: not known */
    uint8_t *acked;   /* by offset */
    uint64_t acked_count;
    struct ledger_reader readers[LEDGER_READERS_MAX];
    void (*broken)(void *user, const char *what, uint64_t a, uint64_t b);
    void *user;
};

void ledger_open(struct ledger *l, uint64_t log_epoch,
                 void (*broken)(void *user, const char *what, uint64_t a, uint64_t b), void *user);
void ledger_close(struct ledger *l);

void ledger_acked(struct ledger *l, uint64_t offset, uint64_t record);
/* Reader `index` goes on from `offset` now. */
void ledger_reader_at(struct ledger *l, unsigned index, uint64_t offset);
void ledger_delivered(struct ledger *l, unsigned index, uint64_t offset, uint64_t record);
void ledger_gap(struct ledger *l, unsigned index, uint64_t first, uint64_t next);
/* At the end: the log holds `next_offset` records, and reader `index` has been told of all. */
void ledger_check_end(const struct ledger *l, unsigned index, uint64_t next_offset);
/* No record has two offsets. */
void ledger_check_once(const struct ledger *l, uint64_t next_offset);

#endif
