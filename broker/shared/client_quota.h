/* Client quotas: the rates of all clients that use one client name.
 *
 * Role: (client name) -> one bucket for each shard, for all sessions of the name. What was
 * overdrawn is owed by the next client of that name.
 * Must not know: configuration, who is held back.
 *
 *      control: client_quota_take ---> with the grant of each session ---> shard: takes from its
 *                                                                         own bucket
 *      control: client_quota_release <-- the shard has ended the session
 *
 * A name without sessions is forgotten once it owes nothing. Until then it keeps its place, even if
 * there is none for other names.
 *
 * Threads: control's. A bucket belongs to its shard while a session of the name exists. */
#ifndef LEAT_BROKER_SHARED_CLIENT_QUOTA_H
#define LEAT_BROKER_SHARED_CLIENT_QUOTA_H

#include <stdalign.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "broker/log/memory_budget.h"
#include "broker/shared/quota.h"
#include "schema/limits.h"

enum { CLIENT_QUOTAS_MAX = 65536 };

/* The rates of one name on one shard. */
struct client_bucket {
    alignas(64) struct quota publish;
    struct quota deliver;
    struct quota_hold publish_hold, deliver_hold;
};

struct client_quota {
    uint32_t sessions;
    struct memory_budget *memory; /* what it is charged to */
    LIST_ENTRY(client_quota) same_place;
    TAILQ_ENTRY(client_quota) idle_node; /* names without sessions, longest so first */
    char name[LEAT_CLIENT_NAME_BYTES_MAX + 1];
    struct client_bucket buckets[]; /* by shard */
};

struct client_quotas {
    LIST_HEAD(client_quota_list, client_quota) * places; /* by name */
    TAILQ_HEAD(, client_quota) idle;
    uint32_t count;
    uint32_t shards;
};

/* False: no memory. */
bool client_quotas_open(struct client_quotas *all, uint32_t shards);
/* No shard may have a session any more. A zeroed struct: a no-op. */
void client_quotas_close(struct client_quotas *all);

/* Returns the quota of this name; NULL: there is none. */
struct client_quota *client_quota_find(const struct client_quotas *all, const char *name);
/* Takes the quota for one more session of the name. A new name is charged to `memory` and
 * references it (NULL: no limit). NULL: no room for another name. */
struct client_quota *client_quota_take(struct client_quotas *all, const char *name,
                                       struct memory_budget *memory, leat_ns now);
/* A session of the name has ended. NULL: a no-op. */
void client_quota_release(struct client_quotas *all, struct client_quota *quota);

#endif
