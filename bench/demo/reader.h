/* Reader: one subscriber of the demo, in a process of its own. It reports through shared memory.
 *
 * Role: consumes, compares every record with the expected line of the feed, byte for byte and in
 * order, and measures latency. The slow reader pauses on purpose.
 * Must not know: who publishes.
 *
 * Threads: each struct reader_report has one writer, its reader; the demo reads it at any time. */
#ifndef LEAT_BENCH_DEMO_READER_H
#define LEAT_BENCH_DEMO_READER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "bench/demo/book.h"
#include "bench/demo/feed.h"
#include "ops/histogram.h"

enum { DEMO_TOPICS = 2 };

extern const char *const demo_topics[DEMO_TOPICS];

struct reader_report {
    _Atomic bool ready; /* subscribed */
    /* Bytes of records consumed or reported lost; the publisher paces itself by this. */
    _Atomic uint64_t bytes_passed;
    _Atomic uint64_t records; /* consumed */
    /* Read by the demo after the process has ended. */
    uint64_t bytes;
    uint64_t gaps;
    uint64_t lost;  /* records reported by gaps */
    uint64_t wrong; /* records that differ from the feed or are out of place, and other faults */
    char fault[160];
    bool book_checked;
    struct book_report book;
    struct histogram latency_ns; /* from the moment a record was due to be published */
};

struct reader_options {
    const char *url;
    const struct feed *feed;
    unsigned topic_count; /* the first so many of demo_topics */
    bool check_book;
    bool slow;
    /* Set when everything is published: the slow reader stops pausing. */
    const _Atomic bool *hurry;
};

/* Consumes to the end of the feed. Returns the exit code of the process. */
int reader_run(const struct reader_options *options, struct reader_report *report);

#endif
