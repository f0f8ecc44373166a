/* Offsets file: the encoding of the groups' committed offsets.
 *
 *      group      name_size u8 | name | topics u16
 *        topic    id u64 | partitions u16
 *          partition  index u32 | log_epoch u64 | offset u64 | commit_ns u64 | lost_at_most u64
 *                     | lost_at_least u64 (not in version 1) | metadata_size u16 | metadata
 *
 * Groups are in the order of their names, partitions in that of their numbers. All integers are
 * little-endian. Checksum and version are the envelope's (broker/state/statefile.h).
 *
 * Role: encode and decode; offsets_file_check validates all of it before anything is used.
 * Must not know: tables of groups, files, which topics exist.
 * Threads: any; nothing here has state. */
#ifndef LEAT_BROKER_STATE_OFFSETS_FILE_H
#define LEAT_BROKER_STATE_OFFSETS_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schema/error.h"
#include "schema/limits.h"

enum {
    OFFSETS_FILE_ROW_BYTES = 46, /* without the metadata */
    OFFSETS_FILE_TOPIC_BYTES = 10,
    OFFSETS_FILE_GROUP_BYTES = 3,          /* without the name */
    OFFSETS_FILE_METADATA_BYTES = 1 << 28, /* of all rows; more is not stored */
};

struct offsets_row {
    uint32_t partition;
    uint64_t log_epoch; /* >= 1 */
    uint64_t offset;    /* never LEAT_OFFSET_NONE */
    uint64_t commit_ns;
    uint64_t lost_at_least; /* at most lost_at_most */
    uint64_t lost_at_most;
    uint16_t metadata_size;
    const char *metadata; /* not terminated by a zero */
};

/* ---- encoding: call for a group, its topics, and their partitions, in this order */

struct offsets_writer {
    uint8_t *bytes; /* the caller frees */
    size_t size, room;
    size_t group_at, topic_at; /* where the counts of the last group and topic are; 0: none */
    bool failed;               /* no memory */
};

void offsets_file_group(struct offsets_writer *w, const char *name);
void offsets_file_topic(struct offsets_writer *w, uint64_t topic_id);
void offsets_file_partition(struct offsets_writer *w, const struct offsets_row *row);

/* ---- decoding */

/* `version` is the state file's. LEAT_ERR_STATE: *why is static text. */
enum leat_error offsets_file_check(const uint8_t *bytes, size_t size, uint32_t version,
                                   const char **why);

struct offsets_reader {
    const uint8_t *at, *end;     /* of checked bytes */
    uint16_t topics, partitions; /* left in this group and in this topic */
    char group[LEAT_NAME_BYTES_MAX + 1];
    uint64_t topic_id;
    uint32_t version;
    struct offsets_row row;
};

void offsets_file_begin(struct offsets_reader *r, const uint8_t *bytes, size_t size,
                        uint32_t version);
/* Decodes the next row, with its group and topic. False: at the end. */
bool offsets_file_next(struct offsets_reader *r);

#endif
