/* The loop of `leat pub`: records from a source to a producer that may be busy, at the pace of the
 * source.
 *
 * Role: split key and value, keep the pace, wait instead of dropping, count answers.
 * Must not know: how options are spelled, what is printed at the end.
 * Threads: one. */
#ifndef LEAT_CLIENT_CLI_PUBLISH_H
#define LEAT_CLIENT_CLI_PUBLISH_H

#include <stdbool.h>
#include <stdint.h>

#include "client/cli/cli.h"
#include "client/cli/source.h"
#include "client/cli/timefield.h"

enum { PUBLISH_SEPARATOR_MAX = 64 };

struct publish_partition {
    uint64_t records;
    uint64_t first_offset; /* LEAT_NO_OFFSET: none known */
    uint64_t last_offset;
};

struct publish {
    struct cli *cli;
    const char *topic;
    struct source *source;
    const char *source_name; /* "stdin" or the file */
    leat_producer *producer;
    uint32_t record_bytes_max;
    /* Options. */
    const struct leat_header *headers;
    uint32_t headers_count;
    uint32_t headers_bytes;
    uint8_t separator[PUBLISH_SEPARATOR_MAX];
    size_t separator_size; /* 0: records have no key */
    int32_t partition;
    uint64_t count; /* UINT64_MAX: all */
    double speed;   /* 0: as fast as possible */
    bool timed;     /* `field` gives the time of a record */
    struct timefield field;
    uint64_t timeout_ns; /* give up if the broker accepts nothing for this long; 0: never */
    /* Results. */
    struct publish_partition *partitions;
    uint64_t sent;
    uint64_t answered;
    uint64_t failed;
    uint64_t bytes;         /* keys and values of the records sent */
    uint64_t failed_number; /* of the first record refused */
    int32_t failed_status;
    /* Pace. */
    uint64_t first_time_ns;
    uint64_t first_send_ns;
    uint64_t progress_ns; /* when the broker last accepted or answered something */
    struct cli_progress progress;
};

/* on_delivery of the producer's options; `user` is the struct publish. */
void publish_on_delivery(void *user, const struct leat_delivery *delivery);

/* Sends everything and waits for every answer. Returns 0, or EXIT_FAILED after an error message.
 * Records sent before a failure are still waited for. */
int publish_run(struct publish *p);

#endif
