/* Producer names: the table of names that control remembers.
 *
 * Role: a table sorted by name, with an index by the stream that a name was last opened with.
 * Must not know: sessions, shards, when a name expires (control_producer_names.c), how many names a
 * client may have (shares.h).
 * Threads: control. */
#ifndef LEAT_BROKER_CONTROL_PRODUCER_NAMES_H
#define LEAT_BROKER_CONTROL_PRODUCER_NAMES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "broker/control/shares.h"
#include "schema/error.h"
#include "schema/limits.h"
#include "schema/units.h"

enum { PRODUCER_NAMES_STREAM_BUCKETS = 4096 };

struct producer_name {
    uint64_t id;
    uint32_t epoch;       /* in force */
    uint32_t tried_epoch; /* the newest one used by an opening, which may have failed */
    /* Set if the entry was recreated from the grant of an earlier run of the broker, `claimed_run`.
     */
    uint32_t claimed_epoch;
    uint64_t claimed_id, claimed_run;
    /* The stream of partition 0 with which it was last opened; session 0: it is closed. */
    uint64_t topic_id;
    uint32_t session, stream;
    uint32_t opening; /* operations under way */
    bool idle;        /* was found unused at idle_since */
    leat_ns idle_since;
    struct share_maker *maker;             /* the creator, to which it is charged */
    TAILQ_ENTRY(producer_name) of_maker;   /* in maker->names */
    TAILQ_ENTRY(producer_name) of_address; /* in maker->address->names */
    LIST_ENTRY(producer_name) stream_node; /* while session is not 0 */
    char name[LEAT_NAME_BYTES_MAX + 1];
};

LIST_HEAD(producer_name_bucket, producer_name);

struct producer_names {
    struct producer_name **all; /* sorted by name */
    uint32_t count, room;
    uint32_t hand; /* of producer_names_walk: index of the next entry */
    struct producer_name_bucket streams[PRODUCER_NAMES_STREAM_BUCKETS];
};

/* NULL: there is no such name. */
struct producer_name *producer_names_find(const struct producer_names *names, const char *name);
/* The index in `all` of the first name greater than `name`; names->count: none. */
uint32_t producer_names_above(const struct producer_names *names, const char *name);
/* Adds a new name, also to the lists of `maker`. LEAT_ERR_NO_MEMORY. */
enum leat_error producer_names_add(struct producer_names *names, const char *name,
                                   struct share_maker *maker, struct producer_name **out);
/* Removes and frees the entry. */
void producer_names_remove(struct producer_names *names, struct producer_name *name);
/* Scans the next `count` names, cyclically, and removes those for which `goes` returns true. After
 * each removal `gone` is called; it may free the maker, which no longer refers to the name. */
void producer_names_walk(struct producer_names *names, uint32_t count,
                         bool (*goes)(void *user, struct producer_name *name),
                         void (*gone)(void *user, struct share_maker *maker), void *user);
/* The name was opened with this stream or (session 0) was closed. */
void producer_names_bind(struct producer_names *names, struct producer_name *name, uint32_t session,
                         uint32_t stream);
/* The name that was opened with the stream; NULL: none. */
struct producer_name *producer_names_find_stream(const struct producer_names *names,
                                                 uint32_t session, uint32_t stream);
/* Moves the name to the end of the lists of its maker and its address: it is evicted last. */
void producer_names_used(struct producer_name *name);
void producer_names_free(struct producer_names *names);

#endif
