/* Names: the names of producers that control remembers, with who opened each last.
 *
 * Role: a table by name, in order, and by the stream that a name was opened with. Must not know:
 * sessions, shards, how long a name is kept (control_producer_names.c), who may have how many
 * (shares.h). Threads: control's. */
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
    uint32_t tried_epoch; /* the newest that an opening took, which may have failed */
    /* Made again from what a client of an earlier run of the broker presented: it was granted in
     * the run `claimed_run`. */
    uint32_t claimed_epoch;
    uint64_t claimed_id, claimed_run;
    /* The stream of its first partition that it was opened with last; session 0: it is closed. */
    uint64_t topic_id;
    uint32_t session, stream;
    uint32_t opening; /* operations under way */
    bool idle;        /* was seen not to be in use: at idle_since */
    leat_ns idle_since;
    struct share_maker *maker;             /* who opened it first */
    TAILQ_ENTRY(producer_name) of_maker;   /* in maker->names */
    TAILQ_ENTRY(producer_name) of_address; /* in maker->address->names */
    LIST_ENTRY(producer_name) stream_node; /* while session is not 0 */
    char name[LEAT_NAME_BYTES_MAX + 1];
};

LIST_HEAD(producer_name_bucket, producer_name);

struct producer_names {
    struct producer_name **all; /* by name */
    uint32_t count, room;
    uint32_t hand; /* of a walk that goes on now and then: the next to be looked at */
    struct producer_name_bucket streams[PRODUCER_NAMES_STREAM_BUCKETS];
};

/* NULL: nobody has opened it. */
struct producer_name *producer_names_find(const struct producer_names *names, const char *name);
/* The first whose name is above `name`: its place in `all`; names->count: none. */
uint32_t producer_names_above(const struct producer_names *names, const char *name);
/* The name is new; it is in the lists of `maker`. LEAT_ERR_NO_MEMORY. */
enum leat_error producer_names_add(struct producer_names *names, const char *name,
                                   struct share_maker *maker, struct producer_name **out);
/* Nobody holds its memory. */
void producer_names_remove(struct producer_names *names, struct producer_name *name);
/* Looks at the next `count` in order and removes those that `goes` says. `gone` gives back the
 * place of each, after it: its maker, which is in no list of names any more, may go with it. */
void producer_names_walk(struct producer_names *names, uint32_t count,
                         bool (*goes)(void *user, struct producer_name *name),
                         void (*gone)(void *user, struct share_maker *maker), void *user);
/* It was opened with this stream, or (session 0) is closed. */
void producer_names_bind(struct producer_names *names, struct producer_name *name, uint32_t session,
                         uint32_t stream);
/* NULL: no name was opened with it. */
struct producer_name *producer_names_find_stream(const struct producer_names *names,
                                                 uint32_t session, uint32_t stream);
/* It is the last of its maker's and its address's that give way. */
void producer_names_used(struct producer_name *name);
void producer_names_free(struct producer_names *names);

#endif
