/* Codes that stand in frames and that applications get to see: ack levels and GAP reasons.
 *
 * Must not know: who sends them, or why.
 *
 * Each list is written once. Numbers are part of the ABI and of the wire protocol: append, never
 * renumber. Reasons also have the name that text and JSON output shows.
 *
 * This file is pasted into the installed leat.h, so it may include nothing. */
#ifndef LEAT_SCHEMA_CODES_H
#define LEAT_SCHEMA_CODES_H

/* clang-format off */

/* What an acknowledgement guarantees.
 *   RECEIVED    the broker has the record; it is not in the log yet (not used yet)
 *   IN_RING     the record is in the log, in the broker's memory: lost if the broker process dies
 *   DURABLE     the record is on disk (not used yet)
 *   REPLICATED  other brokers have the record too (not used yet) */
#define LEAT_LEVEL_MAP(X)                                                                          \
    X(LEAT_LEVEL_RECEIVED,   1)                                                                    \
    X(LEAT_LEVEL_IN_RING,    2)                                                                    \
    X(LEAT_LEVEL_DURABLE,    3)                                                                    \
    X(LEAT_LEVEL_REPLICATED, 4)

/* Why the broker sends a GAP.
 *   OVERRUN        the writer overtook the reader (overrun policy `evict`)
 *   RETENTION      the records reached their age or size limit before they were read
 *   LOG_RESTARTED  the broker restarted; its log begins above the old offsets
 *   TOPIC_DELETED  the topic was deleted; nothing follows. Applications get
 *                  LEAT_EVENT_TOPIC_DELETED instead
 *   REVOKED        the shard has dropped the stream; nothing follows. Usually the group took the
 *                  partition from the member; the GAP's offset is then the committed one
 *                  (all ones: none, or no longer known). Applications get LEAT_EVENT_REVOKED
 *                  instead */
#define LEAT_REASON_MAP(X)                                                                         \
    X(LEAT_REASON_OVERRUN,       1, "overrun")                                                     \
    X(LEAT_REASON_RETENTION,     2, "retention")                                                   \
    X(LEAT_REASON_LOG_RESTARTED, 3, "log_restarted")                                               \
    X(LEAT_REASON_TOPIC_DELETED, 4, "topic_deleted")                                               \
    X(LEAT_REASON_REVOKED,       5, "revoked")

/* clang-format on */

enum leat_level {
#define X(name, value) name = (value),
    LEAT_LEVEL_MAP(X)
#undef X
};

enum leat_reason {
    LEAT_REASON_NONE = 0, /* never on the wire: the event is not a GAP, or the log has a hole */
#define X(name, value, text) name = (value),
    LEAT_REASON_MAP(X)
#undef X
};

#endif
