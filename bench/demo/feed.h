/* Feed: a recorded market-data feed in memory: its lines, their times of receipt, and its kind.
 *
 * Role: reads a plain or gzip file (a truncated one is refused), splits it into lines, detects its
 * kind, and assigns each line to the demo's topics.
 * Must not know: the bus.
 * Threads: read-only once loaded. */
#ifndef LEAT_BENCH_DEMO_FEED_H
#define LEAT_BENCH_DEMO_FEED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum feed_kind { FEED_SPOT, FEED_FUTURES, FEED_KRX, FEED_UNKNOWN };

enum { FEED_QUOTES = 1, FEED_TRADES = 2 }; /* bits of feed_line.topics */

struct feed_line {
    const char *text; /* without its newline */
    uint32_t size;
    uint32_t topics;
    uint64_t time_ns; /* since 1970; 0: the line does not begin with a time */
};

struct feed {
    char *bytes;
    size_t size;
    struct feed_line *lines;
    size_t count;
    enum feed_kind kind;
    bool timed; /* every line has a time */
    uint32_t line_bytes_max;
    const char *no_book; /* why no order book can be checked; NULL: it can */
};

/* Loads a file; end with feed_release. False: `said` gets the reason, and the feed is empty. */
bool feed_load(struct feed *feed, const char *path, char said[256]);
/* The same from `bytes`, allocated with malloc, which the feed then owns. */
bool feed_take(struct feed *feed, char *bytes, size_t size, char said[256]);
void feed_release(struct feed *feed);

const char *feed_kind_name(enum feed_kind kind);

#endif
