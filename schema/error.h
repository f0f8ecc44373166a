/* Error codes: one list for the API, the wire protocol and the admin API.
 *
 * Must not know: who fails, logging, errno, threads.
 *
 * A code tells the CALLER what to do next. Codes are part of the ABI and of the wire protocol:
 * append, never renumber. A broken invariant is not an error: assert.
 *
 * This file is pasted into the installed leat.h, so it may include nothing. */
#ifndef LEAT_SCHEMA_ERROR_H
#define LEAT_SCHEMA_ERROR_H

/* clang-format off */
#define LEAT_ERROR_MAP(X)                                                                          \
    X(LEAT_AGAIN,                -1, "nothing yet; poll and try again")                            \
    X(LEAT_BUSY,                 -2, "no room now; poll and try again")                            \
    X(LEAT_ERR_INVALID,          -3, "invalid argument")                                           \
    X(LEAT_ERR_MALFORMED,        -4, "the bytes do not parse")                                     \
    X(LEAT_ERR_TOO_LARGE,        -5, "larger than the limit allows")                               \
    X(LEAT_ERR_BAD_CRC,          -6, "the checksum does not match the bytes")                      \
    X(LEAT_ERR_VERSION,          -7, "no protocol version in common")                              \
    X(LEAT_ERR_UNKNOWN_TOPIC,    -8, "no such topic")                                              \
    X(LEAT_ERR_TOPIC_EXISTS,     -9, "the topic exists already")                                   \
    X(LEAT_ERR_UNKNOWN_PARTITION, -10, "no such partition")                                        \
    X(LEAT_ERR_UNKNOWN_SESSION,  -11, "the session or its token is unknown, used or expired")      \
    X(LEAT_ERR_UNKNOWN_STREAM,   -12, "no such publish stream or subscription")                    \
    X(LEAT_ERR_FENCED,           -13, "a newer epoch of this producer or member exists")           \
    X(LEAT_ERR_OUT_OF_ORDER,     -14, "a batch before this one is missing")                        \
    X(LEAT_ERR_DUPLICATE,        -15, "appended before; its offset is no longer known")            \
    X(LEAT_ERR_PRODUCER_EXPIRED, -16, "the broker has forgotten this producer; reopen it")         \
    X(LEAT_ERR_LOG_EPOCH,        -17, "the offset belongs to another life of this log")            \
    X(LEAT_ERR_OUT_OF_RANGE,     -18, "the offset is not in the log")                              \
    X(LEAT_ERR_LIMIT,            -19, "a configured limit is reached")                             \
    X(LEAT_ERR_NO_MEMORY,        -20, "not enough memory left in the budget")                      \
    X(LEAT_ERR_CLOSED,           -21, "closed")                                                    \
    X(LEAT_ERR_TIMEOUT,          -22, "no answer in time")                                         \
    X(LEAT_ERR_UNREACHABLE,      -23, "the broker cannot be reached")                              \
    X(LEAT_ERR_CIRCUIT_OPEN,     -24, "too many failures in a row; attempts are paused")           \
    X(LEAT_ERR_LOST,             -25, "the record was lost")                                       \
    X(LEAT_ERR_STATE,            -26, "a state file is torn, corrupt or from a newer version")     \
    X(LEAT_ERR_IO,               -27, "the operating system refused")                              \
    X(LEAT_ERR_NOFD,             -28, "this link has no file descriptor to wait on")               \
    X(LEAT_ERR_UNSUPPORTED,      -29, "not supported by this build or this broker")                \
    X(LEAT_ERR_PROTOCOL,         -30, "the peer broke the protocol")                               \
    X(LEAT_ERR_THROTTLED,        -31, "a rate limit is used up")                                   \
    X(LEAT_ERR_UNKNOWN_GROUP,    -32, "no such consumer group")                                    \
    X(LEAT_ERR_UNKNOWN_MEMBER,   -33, "the group does not know this member, or no longer; join")   \
    X(LEAT_ERR_NOT_ASSIGNED,     -34, "the partition is not assigned to this member")              \
    X(LEAT_ERR_GROUP_NOT_EMPTY,  -35, "the group has members")
/* clang-format on */

enum leat_error {
    LEAT_OK = 0,
#define X(name, value, text) name = (value),
    LEAT_ERROR_MAP(X)
#undef X
};

#endif
