/* Oracle: what was published, acknowledged and delivered in one life of one partition's log, and
 * whether that fits together.
 *
 * Role: the invariants. An offset holds one record, for every reader and in every acknowledgement;
 * a record has one offset; a reader gets offsets one after the other, or is told exactly which it
 * will not get.
 * Must not know: how any of it came about.
 * Threads: one. Any breach is reported to `broken`. */
#ifndef LEAT_TESTS_SIM_ORACLE_H
#define LEAT_TESTS_SIM_ORACLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ORACLE_OFFSETS_MAX = 1 << 15, ORACLE_READERS_MAX = 4 };

struct oracle_reader {
    bool started;
    uint64_t next;    /* offset */
    uint64_t highest; /* it ever stood at, in whatever life */
    uint64_t delivered, lost;
};

struct oracle {
    uint64_t log_epoch;
    uint64_t *record; /* by offset: record id + 1; 0: not known */
    uint8_t *acked;   /* by offset */
    uint64_t acked_count;
    struct oracle_reader readers[ORACLE_READERS_MAX];
    void (*broken)(void *user, const char *what, uint64_t a, uint64_t b);
    void *user;
};

void oracle_open(struct oracle *l, uint64_t log_epoch,
                 void (*broken)(void *user, const char *what, uint64_t a, uint64_t b), void *user);
void oracle_close(struct oracle *l);

void oracle_acked(struct oracle *l, uint64_t offset, uint64_t record);
/* Reader `index` goes on from `offset` now. */
void oracle_reader_at(struct oracle *l, unsigned index, uint64_t offset);
void oracle_delivered(struct oracle *l, unsigned index, uint64_t offset, uint64_t record);
void oracle_gap(struct oracle *l, unsigned index, uint64_t first, uint64_t next);
/* At the end: the log holds `next_offset` records, and reader `index` has been told of all. */
void oracle_check_end(const struct oracle *l, unsigned index, uint64_t next_offset);
/* No record has two offsets. */
void oracle_check_once(const struct oracle *l, uint64_t next_offset);

#endif
