/* Shares: how much a client may use of control's tables. */
#include <stdio.h>

#include "broker/control/control_state.h"

/* What the entries of each table are, and how to free some. */
static const struct share_words TABLES[] = {
    [SHARE_GROUPS] = { "groups", "delete some (leat group delete)" },
    [SHARE_GROUP_PARTITIONS] = { "partitions of groups",
                                 "name fewer topics, or delete some groups" },
    [SHARE_MEMBERS] = { "members of groups", "let some members leave" },
    [SHARE_NAMES] = { "names of producers",
                      "delete some (leat producer delete), or use producers without a name" },
    [SHARE_CONNECTIONS] = { "control connections", "close some, or raise connections_max" },
    [SHARE_SESSIONS] = { "sessions of a shard", "close some, or raise sessions_max" },
};

static_assert((int)GROUPS_PARTITIONS_MAX <= (int)OFFSETS_MAX,
              "each partition of a group has room for its offset");

enum leat_error control_shares_open(struct control *control)
{
    uint32_t sizes[SHARE_TABLES_MAX] = { [SHARE_GROUPS] = GROUPS_MAX,
                                         [SHARE_GROUP_PARTITIONS] = GROUPS_PARTITIONS_MAX,
                                         [SHARE_MEMBERS] = GROUPS_MEMBERS_MAX,
                                         [SHARE_NAMES] = CONTROL_NAMES_MAX,
                                         [SHARE_CONNECTIONS] = control->config->connections_max };
    for (uint32_t i = 0; i < control->shard_count; i++)
        sizes[SHARE_SESSIONS + i] = control->config->sessions_max;
    return shares_open(&control->shares, sizes, SHARE_SESSIONS + control->shard_count,
                       control->options.memory);
}

const char *control_share_refused(struct control *control, enum share_verdict verdict,
                                  uint32_t size, uint32_t taken, uint32_t share,
                                  const struct share_words *words)
{
    char *text = control->share_text;
    metric_add(&control->counters.shares_refused, 1);
    const size_t room = sizeof control->share_text;
    switch (verdict) {
    case SHARE_CONNECTION_FULL:
        snprintf(text, room,
                 "this connection uses %u of the %u %s; one connection may have an eighth, "
                 "%u: %s",
                 taken, size, words->things, share, words->what_to_do);
        break;
    case SHARE_ADDRESS_FULL:
        snprintf(text, room,
                 "clients of your address use %u of the %u %s; one address may have half of "
                 "what others leave, %u: %s",
                 taken, size, words->things, share, words->what_to_do);
        break;
    default:
        snprintf(text, room, "all %u %s are in use: %s", size, words->things, words->what_to_do);
        break;
    }
    return text;
}

static void say(struct control *control, const struct share_maker *maker, uint32_t table,
                enum share_verdict verdict)
{
    const struct shares *shares = &control->shares;
    uint32_t taken = 0, share = 0;
    if (verdict == SHARE_CONNECTION_FULL) {
        taken = maker->taken[table];
        share = shares_of_connection(shares, table);
    } else if (verdict == SHARE_ADDRESS_FULL) {
        taken = maker->address->taken[table];
        share = shares_of_address(shares, maker, table);
    }
    control_share_refused(control, verdict, shares->sizes[table], taken, share,
                          &TABLES[table < SHARE_SESSIONS ? table : SHARE_SESSIONS]);
}

bool control_may_take(struct control *control, const struct share_maker *maker, uint32_t table,
                      uint32_t count, const char **why)
{
    const enum share_verdict verdict = shares_may_take(&control->shares, maker, table, count);
    if (verdict == SHARE_OK)
        return true;
    say(control, maker, table, verdict);
    *why = control->share_text;
    return false;
}

static uint32_t table_of(enum group_table table)
{
    switch (table) {
    case GROUP_TABLE_GROUPS: return SHARE_GROUPS;
    case GROUP_TABLE_PARTITIONS: return SHARE_GROUP_PARTITIONS;
    case GROUP_TABLE_MEMBERS: return SHARE_MEMBERS;
    }
    return SHARE_GROUPS;
}

bool control_group_take(void *user, void *maker, enum group_table table, uint32_t count,
                        const char **why)
{
    struct control *control = user;
    if (!control_may_take(control, maker, table_of(table), count, why))
        return false;
    shares_take(&control->shares, maker, table_of(table), count);
    return true;
}

void control_group_give_back(void *user, void *maker, enum group_table table, uint32_t count)
{
    struct control *control = user;
    shares_give_back(&control->shares, maker, table_of(table), count);
}
