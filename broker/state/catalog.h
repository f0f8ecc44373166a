/* Catalog: what outlives a run of the broker: topics with their settings and ids, the limits up to
 * which offsets are reserved, and the incarnation of the run.
 *
 * Role: hold it, and encode and decode it.
 * Must not know: files, partitions in memory, shards.
 *
 * Every id (of topics, logs, producers) is incarnation << 32 | counter, so none is used twice, even
 * across restarts. A folder that is restored from an old copy repeats incarnations. So that two
 * such runs hardly have an id in common, each counts from a random number. What must never be
 * confused (producers) is told apart by `run`.
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
    uint64_t offset_limit; /* every offset below may have been assigned */
    /* Every offset from here up to the log's end was assigned, in this life of the log or in an
     * earlier one. Below it, some offsets may have been reserved and never used when a broker was
     * killed. */
    uint64_t certain_offset;
    uint64_t first_offset; /* of this life of the log; not stored, like the fields below */
    struct reserve reserve;
    uint64_t written_limit; /* limit in the catalog that is being written, or was written last */
    bool wants;             /* waits for a higher limit to be stored */
};

struct catalog_topic {
    uint64_t id;
    char name[LEAT_NAME_BYTES_MAX + 1];
    struct topic_settings settings;
    bool left_out;                        /* there was no memory for its logs; not stored */
    struct catalog_partition *partitions; /* settings.partitions of them */
};

struct catalog {
    uint32_t incarnation;
    uint32_t counter; /* the last one that was used; not stored, like `run` */
    uint64_t run;     /* random */
    bool orderly;     /* the broker was stopped, not killed: offset_limit is each log's end */
    struct catalog_topic **topics; /* sorted by id */
    size_t count, room;
    size_t removed; /* topics removed and neither restored nor dropped */
};

void catalog_init(struct catalog *c);
void catalog_free(struct catalog *c);

/* Sets the incarnation of the run that begins: one more than that of the last run. In a new catalog
 * it is random and at most 2^31, because ids of other catalogs may still be in use. False: the
 * kernel gave no random bytes. */
bool catalog_next_run(struct catalog *c);
/* The same for a run without a folder: a random incarnation of 2^31 or more, which no earlier run
 * is likely to have had. */
bool catalog_only_run(struct catalog *c);

/* Returns a new id. LEAT_ERR_LIMIT: this run has used all of its ids, at least 2^31; the broker
 * must be restarted. */
enum leat_error catalog_new_id(struct catalog *c, uint64_t *id);

/* Adds a topic with this new id; its partitions are zeroed. The name must be new, and the settings
 * resolved. Errors: LEAT_ERR_LIMIT, LEAT_ERR_NO_MEMORY. */
enum leat_error catalog_add(struct catalog *c, const char *name, uint64_t id,
                            const struct topic_settings *settings, struct catalog_topic **out);
/* Removes the topic. Its place is kept until catalog_restore puts it back or catalog_drop frees
 * it. */
void catalog_remove(struct catalog *c, struct catalog_topic *topic);
void catalog_restore(struct catalog *c, struct catalog_topic *topic);
void catalog_drop(struct catalog *c, struct catalog_topic *topic);

struct catalog_topic *catalog_find(const struct catalog *c, uint64_t id);
/* The index in `topics` of the first topic with a higher id; c->count: none. */
size_t catalog_above(const struct catalog *c, uint64_t id);
struct catalog_topic *catalog_find_name(const struct catalog *c, const char *name);

/* Encodes the catalog; the caller frees the bytes. NULL: no memory. */
uint8_t *catalog_encode(const struct catalog *c, size_t *size);
/* Decodes into an empty catalog; `version` is the state file's. Errors: LEAT_ERR_STATE (*why:
 * static text), LEAT_ERR_NO_MEMORY. After an error the caller must still call catalog_free. */
enum leat_error catalog_decode(struct catalog *c, const uint8_t *bytes, size_t size,
                               uint32_t version, const char **why);

#endif
