/* Order book: rebuilt from a snapshot and depth updates, compared with the feed's best quotes.
 *
 * Spot updates chain by U == previous u + 1, futures by pu == previous u. After the first 50
 * updates the best bid and ask, price and quantity, must equal those of the latest bookTicker whose
 * u is not above the update's. A lost, duplicated or reordered update breaks this.
 *
 * Role: takes lines, returns a report.
 * Must not know: where lines come from, the bus.
 * Threads: one. */
#ifndef LEAT_BENCH_DEMO_BOOK_H
#define LEAT_BENCH_DEMO_BOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct book;

struct book_report {
    uint64_t updates;  /* depth updates seen */
    uint64_t compared; /* best quotes compared */
    uint64_t equal;
    char wrong[256]; /* the first fault; empty: none */
};

struct book *book_new(bool futures); /* NULL: no memory */
void book_line(struct book *book, const char *text, size_t size);
/* Compares the quotes; call it once. The report is valid as long as the book. */
const struct book_report *book_finish(struct book *book);
void book_free(struct book *book);

#endif
