/* Limits of the protocol. Each is defined only here, and checked against the others. */
#ifndef LEAT_SCHEMA_LIMITS_H
#define LEAT_SCHEMA_LIMITS_H

#include <assert.h>

#include "schema/units.h"

enum {
    LEAT_PROTOCOL_VERSION = 2,

    LEAT_NAME_BYTES_MAX = 249, /* topic and group names: [A-Za-z0-9._-] (Kafka's rule) */
    LEAT_CLIENT_NAME_BYTES_MAX = 249,
    LEAT_PARTITIONS_MAX = 4096, /* of one topic */
    LEAT_SHARDS_MAX = 64,

    LEAT_FRAME_BYTES_MAX = 65528,     /* header included; u16, a multiple of 8 */
    LEAT_CONTROL_BYTES_MAX = 1 << 20, /* one protobuf message, without its length prefix */

    LEAT_CONTROL_HELLO_BYTES_MAX = 2048, /* the same, for the first message of a connection */

    LEAT_ALIGN = 8,                 /* of batches and records in the log */
    LEAT_KEY_BYTES_MAX = 65534,     /* u16; 0xFFFF means "no key" */
    LEAT_HEADERS_BYTES_MAX = 65535, /* all headers of one record, encoded */
    LEAT_HEADERS_MAX = 64,          /* headers of one record */
    LEAT_BATCH_RECORDS_MAX = 1 << 16,
    LEAT_RECORD_BYTES_DEFAULT = 1 << 20, /* a topic's record_bytes_max: key + headers + value */
    LEAT_RECORD_BYTES_LIMIT = 1 << 24,   /* the largest record_bytes_max */
    LEAT_BATCH_OVERHEAD_MAX = 128,       /* batch header, record header and padding of one record */
    LEAT_BATCH_BYTES_LIMIT = LEAT_RECORD_BYTES_LIMIT + LEAT_BATCH_OVERHEAD_MAX, /* of any batch */

    LEAT_GROUP_TOPICS_MAX = 64,     /* that one member subscribes to */
    LEAT_GROUP_MEMBERS_MAX = 1024,  /* of one group */
    LEAT_GROUP_METADATA_MAX = 1024, /* bytes of text with a commit on control */
    LEAT_GROUP_SESSION_MS_MIN = 100,
    LEAT_GROUP_SESSION_MS_MAX = 3600000,
    LEAT_GROUP_SESSION_MS_DEFAULT = 10000,

    /* Unacknowledged batches of one publish stream. The broker remembers as many results. */
    LEAT_IN_FLIGHT_BATCHES_MAX = 64,
    LEAT_TOKEN_BYTES = 16,
    /* Of a producer: the number of the broker's run that made it, and a code. */
    LEAT_RESUME_TOKEN_BYTES = 8 + LEAT_TOKEN_BYTES,
    LEAT_RING_BYTES_MIN = 1 << 16,
    LEAT_CHUNK_BYTES = 1 << 15, /* pin granularity of a log ring */
};

#define LEAT_RING_BYTES_LIMIT (UINT64_C(1) << 40)
#define LEAT_RING_BYTES_DEFAULT (UINT64_C(64) * LEAT_MIB)
#define LEAT_QUOTA_BYTES_LIMIT (UINT64_C(1) << 50) /* per second */
/* The largest first_unanswered of a producer that resumes: enough sequence numbers remain. */
#define LEAT_SEQUENCE_RESUMED_MAX (UINT64_C(1) << 62)
#define LEAT_TOKEN_LIFE_NS (10 * LEAT_NS_PER_S) /* from grant to ATTACH */

static_assert(LEAT_FRAME_BYTES_MAX % LEAT_ALIGN == 0 && LEAT_FRAME_BYTES_MAX <= 0xFFFF, "u16");
static_assert(LEAT_KEY_BYTES_MAX < 0xFFFF, "0xFFFF is the null key");
static_assert(LEAT_RING_BYTES_MIN % LEAT_CHUNK_BYTES == 0, "rings are whole chunks");

#endif
