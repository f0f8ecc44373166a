/* The part of leat.h for operators: topics, groups and names of producers. Only leat.h includes
 * this file; its conventions and types apply here too. */
/* ------------------------------------------------------------------ topics */

enum leat_overrun { LEAT_OVERRUN_EVICT = 0, LEAT_OVERRUN_BLOCK = 1 };

struct leat_topic_settings {
    size_t size;
    uint32_t partitions;       /* [1] */
    uint32_t record_bytes_max; /* key + headers + value [1 MiB]; at most 16 MiB */
    uint64_t ring_bytes;       /* per partition, rounded up to a power of two [64 MiB, or four
                                  records of the largest size] */
    uint64_t retention_ms;     /* [0: no limit by age] */
    uint64_t retention_bytes;  /* per partition [0: the whole ring] */
    int32_t overrun;           /* leat_overrun [evict] */
    uint32_t reserved0;
    uint64_t required_timeout_ms; /* [60,000] */
    uint64_t quota_publish_bytes; /* per second, all producers together [0: none] */
    uint64_t quota_deliver_bytes; /* per second, for each subscription [0: none] */
};

struct leat_partition_info {
    uint32_t index;
    uint32_t shard;
    uint64_t log_epoch;
    uint64_t head_offset; /* of the oldest record kept */
    uint64_t next_offset; /* of the next record to be appended */
    uint64_t bytes;       /* in the log now */
    int32_t hugepages;
    uint32_t reserved;
};

struct leat_topic_info {
    const char *name;
    uint64_t id;
    struct leat_topic_settings settings; /* in force */
    const struct leat_partition_info *partitions;
    uint32_t partition_count; /* 0: the broker had too little memory for the topic when it started
                               */
};

/* Each function waits at most request_timeout_ns, then returns LEAT_ERR_TIMEOUT. */
LEAT_API int leat_topic_create(leat_client *client, const char *name,
                               const struct leat_topic_settings *settings);
LEAT_API int leat_topic_delete(leat_client *client, const char *name);
/* Calls `visit` for each topic, or only for `name` if it is not NULL. `info` is valid during the
 * callback. */
LEAT_API int leat_topic_describe(leat_client *client, const char *name,
                                 void (*visit)(void *user, const struct leat_topic_info *info),
                                 void *user);
/* Sets *offset to the offset that `at` stands for now: LEAT_START_EARLIEST is the oldest record
 * kept, LEAT_START_LATEST the next record to be appended, LEAT_START_TIME the first record appended
 * at or after `time_ns`. If the broker's clock was set back, the newest records that cover
 * `time_ns` count (schema/PROTOCOL.md, Times). */
LEAT_API int leat_topic_offset(leat_client *client, const char *name, uint32_t partition,
                               int32_t at, uint64_t time_ns, uint64_t *offset);

/* ------------------------------------------------------------------ groups */

enum leat_group_state {
    LEAT_GROUP_EMPTY = 0,  /* no members, only committed offsets */
    LEAT_GROUP_STABLE = 1, /* every member has its assigned partitions */
    LEAT_GROUP_MOVING = 2, /* a partition waits for its owner to release it */
};

struct leat_group_info {
    const char *name;
    int32_t state; /* leat_group_state */
    uint32_t members;
    uint32_t partitions; /* that have a member or a committed offset */
    uint32_t reserved;
};

struct leat_group_member {
    const char *id;
    const char *client_name;
    const char *const *topics; /* named when it joined; none if the group is too large to report */
    uint32_t topic_count;
    uint32_t epoch;
    uint32_t assigned;  /* partitions */
    uint32_t leaving;   /* partitions that it was asked to release and still has */
    uint64_t silent_ms; /* since the broker last heard from it; at session_timeout_ms the broker
                           removes it */
    uint64_t session_timeout_ms;
};

struct leat_group_partition {
    const char *topic;
    const char *member;   /* id of the owner; NULL: none */
    const char *metadata; /* of the newest commit that carried some; any bytes but 0; NULL: none */
    uint32_t partition;
    int32_t error;    /* leat_error: the numbers below are unknown; or 0 */
    int32_t open;     /* 1: the owner reads it now */
    int32_t required; /* 1: producers wait for this group here, if the topic's overrun policy is
                         block */
    uint64_t log_epoch;
    uint64_t head_offset;         /* of the oldest record kept */
    uint64_t next_offset;         /* of the next record to be appended */
    uint64_t committed;           /* records below were processed; LEAT_NO_OFFSET: no commit */
    uint64_t committed_log_epoch; /* the log that `committed` belongs to. If it is not log_epoch,
                                     the group continues at head_offset */
    uint64_t commit_time_ns;
    uint64_t lag_records; /* kept and not committed */
    uint64_t lag_bytes;
    uint64_t lag_ms; /* age of the first uncommitted record, by monotonic time */
    /* Records that have ever left the log before the group committed them. The two are equal unless
     * a broker was killed: then some of the offsets it had reserved may not have been records. */
    uint64_t lost_at_least;
    uint64_t lost_at_most;
    uint64_t overrun_bytes; /* may be appended before the log drops the first uncommitted record */
    uint64_t overrun_ms;    /* the same as time, at the append rate of the records in the log; 0:
                               unknown */
};

struct leat_group_description {
    const char *name;
    int32_t state;  /* leat_group_state */
    uint32_t epoch; /* of the assignment as a whole */
    const struct leat_group_member *members;
    const struct leat_group_partition *partitions;
    uint32_t member_count;
    uint32_t partition_count;
    int32_t cut; /* 1: the answer is incomplete because it was too large; ask topic by topic */
    uint32_t reserved;
};

/* Which committed offsets leat_group_reset() moves, and where to. */
struct leat_group_reset_options {
    size_t size;
    int32_t partition; /* of the topic; -1: all of them */
    int32_t at;        /* leat_start */
    uint64_t value;    /* of `at`: an offset, or a time in ns since 1970 */
    int32_t dry_run;   /* 1: change nothing, only report what would change */
    int32_t reserved;
};

struct leat_group_move {
    const char *topic;
    uint32_t partition;
    uint32_t reserved;
    uint64_t from; /* the old committed offset; LEAT_NO_OFFSET: none */
    uint64_t from_log_epoch;
    uint64_t to;
    uint64_t log_epoch;
};

/* Each function waits at most request_timeout_ns for each request, then returns LEAT_ERR_TIMEOUT.
 * What `visit` gets is valid during the callback. LEAT_ERR_UNKNOWN_GROUP: nobody ever joined the
 * group or committed for it. For a moment after its last member left, leat_group_reset() and
 * leat_group_delete() return LEAT_BUSY: retry. */

/* Calls `visit` for each group, ordered by name. */
LEAT_API int leat_group_list(leat_client *client,
                             void (*visit)(void *user, const struct leat_group_info *info),
                             void *user);
/* Calls `visit` once. A NULL topic selects partitions of all topics. */
LEAT_API int leat_group_describe(leat_client *client, const char *group, const char *topic,
                                 void (*visit)(void *user,
                                               const struct leat_group_description *description),
                                 void *user);
/* Moves committed offsets of a group without members to what options->at stands for now; `options`
 * is required. An offset below the oldest record kept becomes the offset of that record. Calls
 * `visit`, which may be NULL, for each partition. All partitions are tried first: if one is
 * refused, none is changed.
 *
 * Returns 0 or:
 *   LEAT_ERR_GROUP_NOT_EMPTY   the group has members
 *   LEAT_ERR_OUT_OF_RANGE      an offset is above the end of the log
 *   LEAT_ERR_UNKNOWN_TOPIC, LEAT_ERR_UNKNOWN_PARTITION, LEAT_ERR_UNKNOWN_GROUP, LEAT_BUSY,
 *   LEAT_ERR_INVALID, LEAT_ERR_TIMEOUT */
LEAT_API int leat_group_reset(leat_client *client, const char *group, const char *topic,
                              const struct leat_group_reset_options *options,
                              void (*visit)(void *user, const struct leat_group_move *move),
                              void *user);
/* Deletes a group and its committed offsets. LEAT_ERR_GROUP_NOT_EMPTY: the group has members. */
LEAT_API int leat_group_delete(leat_client *client, const char *group);

/* ---- names of producers. The broker remembers a name until it is deleted, or until no producer
 * has had it open for the broker's offsets_retention_ms. */

struct leat_producer_name {
    const char *name;
    uint32_t epoch;   /* how many times it was opened */
    int32_t open;     /* 1: a producer has it open */
    uint64_t idle_ms; /* how long no producer has had it open, as far as the broker knows */
};

/* Calls `visit` for each name, in order. */
LEAT_API int leat_producer_name_list(leat_client *client,
                                     void (*visit)(void *user,
                                                   const struct leat_producer_name *name),
                                     void *user);
/* Deletes a name: the next producer that opens it is a new one. LEAT_BUSY: a producer has it open.
 * LEAT_ERR_PRODUCER_EXPIRED: the name does not exist. */
LEAT_API int leat_producer_name_delete(leat_client *client, const char *name);
