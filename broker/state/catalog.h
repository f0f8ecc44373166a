/* Catalog: what outlives a broker: topics with their settings and ids, how far offsets were
 * promised, and the number of this life of the broker.
 *
 * Role: hold it, turn it into bytes and back. Must not know: files, partitions in memory, shards.
 *
 * Every id that is given out (topics, logs, producers) is incarnation << 32 | counter: none is used
 * twice, across restarts too. A folder that is restored from an old copy has incarnations again
 * that were there before; so that two such runs have hardly an id in common, each counts from a
 * random number. What must never be taken for another's (a producer) is told apart by `run`.
 * Threads: control. */
#ifndef LEAT_BROKER_STATE_CATALOG_H
#define LEAT_BROKER_STATE_CATALOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/shared/topics.h"
#include "broker/state/reserve.h"
#include "schema/error.h"

enum { CATALOG_TOPICS_MAX = 65536 };

struct catalog_partition {
    uint64_t log_epoch;
    uint64_t offset_limit; /* every offset below may have been given out */
    /* Every offset from here on that is below the log's end was given out, in this life of the log
     * or in an earlier one. Below it some may have been reserved and not used when a broker was
     * killed. */
    uint64_t certain_offset;
    uint64_t first_offset; /* of this life of the log; this and the rest are not stored */
    struct reserve reserve;
    uint64_t written_limit; /* in what is being written, or was written last */
    bool wants;             /* waits for a higher limit to be stored */
};

struct catalog_topic {
    uint64_t id;
    char name[LEAT_NAME_BYTES_MAX + 1];
    struct topic_settings settings;
    bool left_out;                        /* there was no room for its logs; not stored */
    struct catalog_partition *partitions; /* settings.partitions of them */
};

struct catalog {
    uint32_t incarnation;
    uint32_t counter; /* last one given out; this and `run` are not stored */
    uint64_t run;     /* random */
    bool orderly;     /* offset_limit is each log's end: the broker stopped, and did not die */
    struct catalog_topic **topics; /* sorted by id */
    size_t count, room;
    size_t removed; /* and neither put back nor dropped */
};

void catalog_init(struct catalog *c);
void catalog_free(struct catalog *c);

/* Its incarnation becomes that of the run that begins: one more than the last run's; of a catalog
 * that is new, one that no other catalog is likely to have had, since what that one gave out may be
 * about still: at most 2^31. False: the kernel gave no random bytes. */
bool catalog_next_run(struct catalog *c);
/* The same for a run without a folder: an incarnation above 2^31 that no earlier run is likely to
 * have had. */
bool catalog_only_run(struct catalog *c);

/* A new id. LEAT_ERR_LIMIT: this run has given out all that it has, 2^31 at least; the broker must
 * be restarted. */
enum leat_error catalog_new_id(struct catalog *c, uint64_t *id);

/* A topic with this new id; its partitions are zero. The name must be new, the settings resolved.
 * LEAT_ERR_LIMIT, LEAT_ERR_NO_MEMORY. */
enum leat_error catalog_add(struct catalog *c, const char *name, uint64_t id,
                            const struct topic_settings *settings, struct catalog_topic **out);
/* Takes it out; its place is kept until catalog_restore puts it back or catalog_drop frees it. */
void catalog_remove(struct catalog *c, struct catalog_topic *topic);
void catalog_restore(struct catalog *c, struct catalog_topic *topic);
void catalog_drop(struct catalog *c, struct catalog_topic *topic);

struct catalog_topic *catalog_find(const struct catalog *c, uint64_t id);
/* The place in `topics` of the first with a higher id; c->count: none. */
size_t catalog_above(const struct catalog *c, uint64_t id);
struct catalog_topic *catalog_find_name(const struct catalog *c, const char *name);

/* The bytes of it; the caller frees. NULL: no memory. */
uint8_t *catalog_encode(const struct catalog *c, size_t *size);
/* Into an empty catalog; `version` is the state file's. LEAT_ERR_STATE (*why: static text),
 * LEAT_ERR_NO_MEMORY. On an error catalog_free is still owed. */
enum leat_error catalog_decode(struct catalog *c, const uint8_t *bytes, size_t size,
                               uint32_t version, const char **why);

#endif
