/* The part of leat.h for topics, groups and names of producers. Included by leat.h alone, whose
 * conventions and types it uses. */
/* ------------------------------------------------------------------ topics */

enum leat_overrun { LEAT_OVERRUN_EVICT = 0, LEAT_OVERRUN_BLOCK = 1 };

struct leat_topic_settings {
    size_t size;
    uint32_t partitions;       /* [1] */
    uint32_t record_bytes_max; /* key + headers + value [1 MiB]; at most 16 MiB */
    uint64_t ring_bytes;       /* per partition [64 MiB, or four of the largest record];
                                  rounded up to a power of two */
    uint64_t retention_ms;     /* [0: no limit by age] */
    uint64_t retention_bytes;  /* per partition [0: the whole ring] */
    int32_t overrun;           /* leat_overrun [evict] */
    uint32_t reserved0;
    uint64_t required_timeout_ms; /* [60,000] */
    uint64_t quota_publish_bytes; /* a second, all producers together [0: none] */
    uint64_t quota_deliver_bytes; /* a second, each subscription [0: none] */
};

struct leat_partition_info {
    uint32_t index;
    uint32_t shard;
    uint64_t log_epoch;
    uint64_t head_offset; /* oldest record kept */
    uint64_t next_offset; /* the next record's */
    uint64_t bytes;       /* in the log now */
    int32_t hugepages;
    uint32_t reserved;
};

struct leat_topic_info {
    const char *name;
    uint64_t id;
    struct leat_topic_settings settings; /* in force */
    const struct leat_partition_info *partitions;
    uint32_t partition_count; /* 0: the broker left it out at its start, for want of memory */
};

/* Each waits at most request_timeout_ns; LEAT_ERR_TIMEOUT. */
LEAT_API int leat_topic_create(leat_client *client, const char *name,
                               const struct leat_topic_settings *settings);
LEAT_API int leat_topic_delete(leat_client *client, const char *name);
/* Calls `visit` once a topic; `info` is valid during the call. name NULL: every topic. */
LEAT_API int leat_topic_describe(leat_client *client, const char *name,
                                 void (*visit)(void *user, const struct leat_topic_info *info),
                                 void *user);
/* The offset `at` stands for now: LEAT_START_EARLIEST the oldest kept, LEAT_START_LATEST the next
 * one's, LEAT_START_TIME the first appended at or after `time_ns`. Where the broker's clock was set
 * back, the newest records that cover `time_ns` count (schema/PROTOCOL.md, Times). */
LEAT_API int leat_topic_offset(leat_client *client, const char *name, uint32_t partition,
                               int32_t at, uint64_t time_ns, uint64_t *offset);

/* ------------------------------------------------------------------ groups */

enum leat_group_state {
    LEAT_GROUP_EMPTY = 0,  /* no members; committed offsets only */
    LEAT_GROUP_STABLE = 1, /* every member has what it is to have */
    LEAT_GROUP_MOVING = 2, /* some partition waits for its owner to let go */
};

struct leat_group_info {
    const char *name;
    int32_t state; /* leat_group_state */
    uint32_t members;
    uint32_t partitions; /* with a member or a committed offset */
    uint32_t reserved;
};

struct leat_group_member {
    const char *id;
    const char *client_name;
    const char *const *topics; /* it named when it joined; none in the answer about a huge group */
    uint32_t topic_count;
    uint32_t epoch;
    uint32_t assigned;  /* partitions */
    uint32_t leaving;   /* partitions it was asked to let go and has not yet */
    uint64_t silent_ms; /* since the broker heard of it; at session_timeout_ms it is out */
    uint64_t session_timeout_ms;
};

struct leat_group_partition {
    const char *topic;
    const char *member;   /* id of its owner; NULL: none */
    const char *metadata; /* of the newest commit that had some, any bytes but 0; NULL: none */
    uint32_t partition;
    int32_t error;    /* leat_error: the numbers below are not known; or 0 */
    int32_t open;     /* 1: the owner reads it now */
    int32_t required; /* 1: producers of a topic that blocks wait for this group here */
    uint64_t log_epoch;
    uint64_t head_offset;         /* oldest record kept */
    uint64_t next_offset;         /* the next record's */
    uint64_t committed;           /* everything below was processed; LEAT_NO_OFFSET: no commit */
    uint64_t committed_log_epoch; /* the life of the log it belongs to; when that is another than
                                     log_epoch, the group goes on at head_offset */
    uint64_t commit_time_ns;
    uint64_t lag_records; /* kept and not committed */
    uint64_t lag_bytes;
    uint64_t lag_ms; /* age of the first record not committed, by monotonic time */
    /* Records that left the log before the group committed them, ever. The two are the same but
     * where a broker was killed: then some of the offsets it had reserved may not have been
     * records. */
    uint64_t lost_at_least;
    uint64_t lost_at_most;
    uint64_t overrun_bytes; /* to be appended before the log loses the first one not committed */
    uint64_t overrun_ms;    /* the same in time, at the rate of what the log holds; 0: unknown */
};

struct leat_group_description {
    const char *name;
    int32_t state;  /* leat_group_state */
    uint32_t epoch; /* of the assignment as a whole */
    const struct leat_group_member *members;
    const struct leat_group_partition *partitions;
    uint32_t member_count;
    uint32_t partition_count;
    int32_t cut; /* 1: there is more than fits an answer; ask topic by topic */
    uint32_t reserved;
};

struct leat_group_move {
    const char *topic;
    uint32_t partition;
    uint32_t reserved;
    uint64_t from; /* what stood committed; LEAT_NO_OFFSET: nothing */
    uint64_t from_log_epoch;
    uint64_t to;
    uint64_t log_epoch;
};

/* Each request waits at most request_timeout_ns; LEAT_ERR_TIMEOUT. What `visit` is given is valid
 * during the call. LEAT_ERR_UNKNOWN_GROUP: nobody ever joined it or committed for it. A group whose
 * last member has just left answers LEAT_BUSY to reset and delete for a moment: ask again. */

/* Calls `visit` once a group, in the order of names. */
LEAT_API int leat_group_list(leat_client *client,
                             void (*visit)(void *user, const struct leat_group_info *info),
                             void *user);
/* Calls `visit` once. topic NULL: partitions of every topic. */
LEAT_API int leat_group_describe(leat_client *client, const char *group, const char *topic,
                                 void (*visit)(void *user,
                                               const struct leat_group_description *description),
                                 void *user);
/* Moves the committed offset of one partition, or of all (partition -1), to what `at` (leat_start)
 * and `value` (its offset or time) stand for now; an offset below the oldest record kept becomes
 * that record's. dry_run 1: only says what would be. `visit` (may be NULL) is called once a
 * partition. Every partition is tried first: one that refuses leaves all where they are.
 * LEAT_ERR_GROUP_NOT_EMPTY (it must have no members), LEAT_ERR_OUT_OF_RANGE (above the log's end),
 * LEAT_ERR_UNKNOWN_TOPIC, LEAT_ERR_UNKNOWN_PARTITION. */
LEAT_API int leat_group_reset(leat_client *client, const char *group, const char *topic,
                              int32_t partition, int32_t at, uint64_t value, int32_t dry_run,
                              void (*visit)(void *user, const struct leat_group_move *move),
                              void *user);
/* Forgets it with its committed offsets. LEAT_ERR_GROUP_NOT_EMPTY: it must have no members. */
LEAT_API int leat_group_delete(leat_client *client, const char *group);

/* ---- names of producers: the broker remembers them until nobody has had one open for its
 * offsets_retention_ms, or until they are deleted */

struct leat_producer_name {
    const char *name;
    uint32_t epoch;   /* counts its openings */
    int32_t open;     /* 1: somebody has it open */
    uint64_t idle_ms; /* for how long nobody has had it open, as far as is known */
};

/* Calls `visit` once a name, in their order. */
LEAT_API int leat_producer_name_list(leat_client *client,
                                     void (*visit)(void *user,
                                                   const struct leat_producer_name *name),
                                     void *user);
/* The name's next opening is that of a new producer. LEAT_BUSY: somebody has it open;
 * LEAT_ERR_PRODUCER_EXPIRED: there is no such name. */
LEAT_API int leat_producer_name_delete(leat_client *client, const char *name);
