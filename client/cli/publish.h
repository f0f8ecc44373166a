/* The loop of `leat pub`: records from a source, at their pace, to a producer that may be busy.
 *
 * Role: split key and value, keep time, wait instead of dropping, count what was answered.
 * Must not know: options' spelling, what is printed at the end.
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
    /* What is asked for. */
    const struct leat_header *headers;
    uint32_t headers_count;
    uint32_t headers_bytes;
    uint8_t separator[PUBLISH_SEPARATOR_MAX];
    size_t separator_size; /* 0: records have no key */
    int32_t partition;
    uint64_t count; /* UINT64_MAX: all */
    double speed;   /* 0: as fast as possible */
    bool timed;     /* `field` says when a record was recorded */
    struct timefield field;
    uint64_t timeout_ns; /* the broker may accept nothing for so long; 0: for ever */
    /* What came of it. */
    struct publish_partition *partitions;
    uint64_t sent;
    uint64_t answered;
    uint64_t failed;
    uint64_t bytes;         /* keys and values of what was sent */
    uint64_t failed_number; /* of the first one refused */
    int32_t failed_status;
    /* Pace. */
    uint64_t first_time_ns;
    uint64_t first_send_ns;
    uint64_t progress_ns; /* when the broker last took or answered something */
    struct cli_progress progress;
};

/* For the producer's options, with the struct publish as user. */
void publish_on_delivery(void *user, const struct leat_delivery *delivery);

/* Sends everything and waits for every answer. 0 or EXIT_FAILED, having said why; what was sent
 * before a failure is answered for all the same. */
int publish_run(struct publish *p);

#endif
