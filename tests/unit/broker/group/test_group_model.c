/* Goal: whatever members do, a partition never has two owners, is never long without one, moves
 * only when it must, and is left alone otherwise; commits never go backward. Method: the real
 * coordinator in virtual time among modelled clients and a modelled shard. Clients join, leave,
 * crash, come back (with the same id or another), and stall; every message takes its time, and some
 * never arrive. The invariants are looked at after every event; at the end the faults stop, and
 * everything must be owned, evenly, within two sessions. */
#include <criterion/criterion.h>
#include <string.h>

#include "broker/group/group.h"
#include "tests/support/seeded.h"
#include "tests/unit/broker/group/group_events.h"
#include "tests/unit/broker/group/group_moves.h"

enum {
    CLIENTS = 8,
    TOPICS = 2,
    PARTITIONS = 12, /* of all topics */
    SESSION_MS = 1000,
    DELAY_MS = 60,
    RUNS = 150,
    STEPS = 3000,
};
#define MS LEAT_NS_PER_MS

static const struct group_topic_ref topics[TOPICS] = { { "ticks", 1, 8 }, { "trades", 2, 4 } };

struct client {
    unsigned instance; /* counts its lives */
    bool alive, joined, fenced, is_static;
    leat_ns stalled_until;
    uint32_t epoch;
    uint32_t open; /* partitions it works on: bits */
    uint64_t number, awaited;
    uint64_t next[PARTITIONS];
    uint32_t stream[PARTITIONS]; /* their numbers */
    char id[32];
};

/* What the shard has: who commits to the partition. */
struct stream {
    bool open;
    unsigned client, instance;
    uint32_t joined_epoch, number;
    uint64_t committed;
};

struct world {
    struct seeded random;
    struct groups g;
    leat_ns now, shard_at;
    struct events events;
    uint32_t streams_opened;
    struct client clients[CLIENTS];
    struct stream streams[PARTITIONS];
    bool faults;
    unsigned moves, commits, grants;
    int entry; /* what `offsets` of a partition that was opened points at */
};

static struct world w;

static unsigned topic_of(unsigned partition, unsigned *index)
{
    *index = partition < topics[0].partitions ? partition : partition - topics[0].partitions;
    return partition < topics[0].partitions ? 0 : 1;
}

static struct group_partition *partition_of(unsigned partition)
{
    unsigned index;
    const unsigned t = topic_of(partition, &index);
    const struct group *group = groups_find(&w.g, "g");
    struct group_topic *topic = group != NULL ? group_find_topic(group, topics[t].name) : NULL;
    return topic != NULL ? &topic->partitions[index] : NULL;
}

static unsigned number_of(const struct group_partition *p)
{
    const unsigned index = (unsigned)(p - p->topic->partitions);
    return p->topic->id == 1 ? index : index + topics[0].partitions;
}

static void post_at(leat_ns at, struct event e)
{
    e.at = at;
    cr_assert(events_put(&w.events, e));
}

static leat_ns later(void)
{
    return w.now + seeded_below(&w.random, DELAY_MS) * MS;
}

static bool lost(void)
{
    return w.faults && seeded_below(&w.random, 12) == 0;
}

static void post(struct event e)
{
    if (!lost())
        post_at(later(), e);
}

/* Mail to the shard arrives in order, and always. */
static void post_to_shard(struct event e)
{
    const leat_ns at = later();
    w.shard_at = at > w.shard_at ? at : w.shard_at;
    post_at(w.shard_at, e);
}

/* ---- clients */

static struct event from(const struct client *c, enum kind kind)
{
    struct event e = { .kind = kind,
                       .client = (unsigned)(c - w.clients),
                       .instance = c->instance,
                       .epoch = c->epoch };
    strcpy(e.id, c->id);
    return e;
}

/* Asks control, and again when no answer comes. */
static void ask(struct client *c, enum kind kind)
{
    struct event e = from(c, kind);
    e.number = c->awaited = ++c->number;
    e.assigned = c->open;
    post(e);
    e.kind = EVENT_RETRY;
    post_at(w.now + (SESSION_MS / 3 + 3 * DELAY_MS) * MS, e);
}

static void begin_client(struct client *c)
{
    c->alive = true;
    c->joined = c->fenced = false;
    c->instance++;
    c->epoch = 0;
    c->open = 0;
    if (c->is_static)
        snprintf(c->id, sizeof c->id, "static-%u", (unsigned)(c - w.clients));
    else
        snprintf(c->id, sizeof c->id, "member-%u-%u", (unsigned)(c - w.clients), c->instance);
    ask(c, EVENT_JOIN);
}

/* Takes a new assignment: lets go, opens, and says so. */
static void follow(struct client *c, const struct event *e)
{
    if (e->number != c->awaited)
        return; /* of an older request */
    c->joined = true;
    c->epoch = e->epoch;
    for (unsigned p = 0; p < PARTITIONS; p++) {
        const uint32_t bit = 1u << p;
        if ((c->open & bit) != 0 && (e->assigned & bit) == 0)
            c->open &= ~bit;
        if ((e->assigned & bit) != 0) {
            struct event open = from(c, EVENT_OPEN);
            open.partition = p;
            if ((c->open & bit) == 0)
                post(open);
        }
    }
    ask(c, EVENT_BEAT);
}

static void rejoin(struct client *c)
{
    c->joined = false;
    c->epoch = 0;
    c->open = 0;
    if (!c->is_static)
        snprintf(c->id, sizeof c->id, "member-%u-%u-%u", (unsigned)(c - w.clients), c->instance,
                 (unsigned)(c->number % 1000000));
    ask(c, EVENT_JOIN);
}

/* ---- control */

static void answer(const struct group_member *member)
{
    struct event e = { .kind = EVENT_ANSWER, .epoch = member->epoch };
    e.client = (unsigned)(uintptr_t)member->waiter - 1;
    e.instance = (unsigned)(member->request >> 32);
    e.number = member->request & UINT32_MAX;
    for (unsigned p = 0; p < PARTITIONS; p++) {
        const struct group_partition *at = partition_of(p);
        if (at != NULL && at->state == GROUP_OWNED && at->owner == member)
            e.assigned |= 1u << p;
    }
    cr_assert_eq(__builtin_popcount(e.assigned), (int)member->assigned);
    post(e);
}

static void refuse(unsigned client, unsigned instance, uint64_t number, enum leat_error error)
{
    const struct event e = { .kind = EVENT_REFUSAL,
                             .client = client,
                             .instance = instance,
                             .number = number,
                             .error = error };
    post(e);
}

static void member_out(void *user, struct group_member *member, enum group_out why)
{
    (void)user;
    if (member->waiting)
        refuse((unsigned)(uintptr_t)member->waiter - 1, (unsigned)(member->request >> 32),
               member->request & UINT32_MAX,
               why == GROUP_OUT_FENCED ? LEAT_ERR_FENCED : LEAT_ERR_UNKNOWN_MEMBER);
}

static void forget(void *user, struct group_partition *p)
{
    (void)user;
    group_partition_set_offsets(p, NULL);
}

static void *waiter_of(const struct event *e)
{
    return (void *)(uintptr_t)(e->client + 1);
}

static uint64_t request_of(const struct event *e)
{
    return (uint64_t)e->instance << 32 | e->number;
}

static void handle_join(const struct event *e)
{
    struct group_member *member;
    const char *why;
    const struct group_join join = { .group = "g",
                                     .member_id = e->id,
                                     .client = "",
                                     .topics = topics,
                                     .topic_count = TOPICS,
                                     .session_ms = SESSION_MS,
                                     .waiter = waiter_of(e),
                                     .request = request_of(e) };
    cr_assert_eq(groups_join(&w.g, &join, w.now, &member, &why), LEAT_OK);
}

static void handle_beat(const struct event *e)
{
    uint32_t lists[TOPICS][PARTITIONS];
    struct group_owned owned[TOPICS] = { 0 };
    for (unsigned t = 0; t < TOPICS; t++)
        owned[t] = (struct group_owned){ .topic = topics[t].name,
                                         .topic_id = topics[t].id,
                                         .partitions = lists[t] };
    for (unsigned p = 0; p < PARTITIONS; p++) {
        unsigned index;
        const unsigned t = topic_of(p, &index);
        if ((e->assigned >> p & 1) != 0)
            lists[t][owned[t].count++] = index;
    }
    struct group_member *member;
    const struct group_heartbeat beat = { .group = "g",
                                          .member_id = e->id,
                                          .epoch = e->epoch,
                                          .wait_ms = SESSION_MS,
                                          .owned = owned,
                                          .owned_count = TOPICS,
                                          .waiter = waiter_of(e),
                                          .request = request_of(e) };
    if (groups_speaks(&w.g, "g", e->id, e->epoch, &member) == LEAT_OK && member->waiting) {
        answer(member);
        group_forget_waiter(&w.g, member);
    }
    const enum leat_error error = groups_heartbeat(&w.g, &beat, w.now, &member);
    if (error != LEAT_OK)
        refuse(e->client, e->instance, e->number, error);
}

static void handle_open(const struct event *e)
{
    struct group_member *member;
    struct group_partition *p = partition_of(e->partition);
    if (groups_speaks(&w.g, "g", e->id, e->epoch, &member) != LEAT_OK
        || group_may_open(member, e->epoch, p) != LEAT_OK)
        return;
    struct event opened = *e;
    opened.kind = EVENT_OPENED;
    opened.epoch = member->joined_epoch;
    group_partition_set_offsets(p, &w.entry);
    post_to_shard(opened);
}

/* ---- invariants */

/* Whoever a partition is granted to is the only one who can have a stream of it. */
static void check_owners(void)
{
    for (unsigned p = 0; p < PARTITIONS; p++) {
        const struct group_partition *at = partition_of(p);
        const struct stream *s = &w.streams[p];
        if (at == NULL || at->state != GROUP_OWNED || !s->open)
            continue;
        cr_assert_str_eq(w.clients[s->client].instance == s->instance ? w.clients[s->client].id
                                                                      : at->owner->id,
                         at->owner->id, "partition %u is granted while another has it", p);
        cr_assert_eq(s->joined_epoch, at->owner->joined_epoch,
                     "partition %u: an earlier holder of the id still has a stream", p);
    }
}

/* A group keeps count, so that a list of groups costs what it is long. */
static void check_counts(void)
{
    for (uint32_t g = 0; g < w.g.count; g++) {
        const struct group *group = w.g.all[g];
        uint32_t in_use = 0, leaving = 0, dropping = 0;
        for (uint32_t t = 0; t < LEAT_GROUP_TOPICS_MAX; t++) {
            const struct group_topic *topic = group->topics[t];
            for (uint32_t i = 0; topic != NULL && i < topic->count; i++) {
                in_use += group_partition_in_use(&topic->partitions[i]);
                leaving += topic->partitions[i].state == GROUP_LEAVING;
                dropping += topic->partitions[i].state == GROUP_DROPPING;
            }
        }
        cr_assert_eq(group->in_use, in_use);
        cr_assert_eq(group->leaving, leaving);
        cr_assert_eq(group->dropping, dropping);
    }
}

struct snapshot {
    struct group_member *owner[PARTITIONS];
    uint32_t epoch[PARTITIONS];
};

static void look(struct snapshot *s)
{
    for (unsigned p = 0; p < PARTITIONS; p++) {
        const struct group_partition *at = partition_of(p);
        const bool owned = at != NULL && at->state == GROUP_OWNED;
        s->owner[p] = owned ? at->owner : NULL;
        s->epoch[p] = owned ? at->epoch : 0;
    }
}

static unsigned least_moves(const struct snapshot *before)
{
    const struct group *group = groups_find(&w.g, "g");
    int has[LEAT_GROUP_MEMBERS_MAX];
    if (group == NULL || group->member_count == 0)
        return 0;
    for (uint32_t i = 0; i < group->member_count; i++) {
        has[i] = 0;
        for (unsigned p = 0; p < PARTITIONS; p++)
            has[i] += before->owner[p] == group->members[i];
    }
    return group_least_moves(has, (int)group->member_count, PARTITIONS);
}

static void step(void)
{
    struct snapshot before, after;
    struct group_member *member;
    struct group_partition *p;
    look(&before);
    groups_step(&w.g, w.now);
    look(&after);
    unsigned moved = 0;
    for (unsigned i = 0; i < PARTITIONS; i++) {
        const struct group_partition *at = partition_of(i);
        moved += before.owner[i] != NULL && at != NULL && at->state == GROUP_LEAVING;
        cr_assert(before.owner[i] == NULL || before.owner[i] != after.owner[i]
                      || before.epoch[i] == after.epoch[i],
                  "partition %u was granted anew to who had it", i);
        w.grants += after.owner[i] != NULL && after.owner[i] != before.owner[i];
    }
    cr_assert_leq(moved, least_moves(&before), "more was taken away than had to be");
    w.moves += moved;
    check_owners();
    check_counts();
    while ((member = groups_next_answer(&w.g)) != NULL)
        answer(member);
    while ((p = groups_next_drop(&w.g)) != NULL) {
        const struct event e = { .kind = EVENT_DROP, .partition = number_of(p) };
        post_to_shard(e);
    }
}

/* ---- the shard */

static void handle_opened(const struct event *e)
{
    struct stream *s = &w.streams[e->partition];
    struct client *c = &w.clients[e->client];
    s->open = true;
    s->client = e->client;
    s->instance = e->instance;
    s->joined_epoch = e->epoch;
    s->number = ++w.streams_opened; /* an older stream of the same client is over */
    if (c->instance != e->instance || !c->alive || strcmp(c->id, e->id) != 0)
        return; /* it has gone meanwhile; the stream waits to be dropped */
    c->open |= 1u << e->partition;
    c->next[e->partition] = s->committed;
    c->stream[e->partition] = s->number;
}

static void handle_commit(const struct event *e)
{
    struct stream *s = &w.streams[e->partition];
    if (!s->open || s->number != e->epoch)
        return; /* no such stream */
    cr_assert_geq(e->number, s->committed, "partition %u: a commit of an older owner came late",
                  e->partition);
    s->committed = e->number;
    w.commits++;
}

/* ---- the world */

static void take(const struct event *e)
{
    struct client *c = &w.clients[e->client];
    const bool mine = c->alive && c->instance == e->instance;
    switch (e->kind) {
    case EVENT_JOIN: handle_join(e); break;
    case EVENT_BEAT: handle_beat(e); break;
    case EVENT_LEAVE: groups_leave(&w.g, "g", e->id, e->epoch); break;
    case EVENT_OPEN: handle_open(e); break;
    case EVENT_OPENED: handle_opened(e); break;
    case EVENT_COMMIT: handle_commit(e); break;
    case EVENT_DROP: {
        struct event dropped = *e;
        w.streams[e->partition].open = false;
        dropped.kind = EVENT_DROPPED;
        post_at(later(), dropped);
        break;
    }
    case EVENT_DROPPED: groups_dropped(&w.g, partition_of(e->partition)); break;
    case EVENT_ANSWER:
        if (mine)
            follow(c, e);
        break;
    case EVENT_REFUSAL:
        if (!mine || e->number != c->awaited)
            break;
        if (e->error == LEAT_ERR_FENCED)
            c->alive = false;
        else
            rejoin(c);
        break;
    case EVENT_RETRY:
        if (mine && e->number == c->awaited)
            ask(c, c->joined ? EVENT_BEAT : EVENT_JOIN);
        break;
    case EVENT_BEGIN:
        if (!c->alive)
            begin_client(c);
        break;
    }
}

/* A client that stalls takes what came when it wakes. */
static bool to_client(const struct event *e)
{
    return e->kind == EVENT_ANSWER || e->kind == EVENT_REFUSAL || e->kind == EVENT_RETRY;
}

static void go_on(void)
{
    struct event e;
    leat_ns deadline = groups_deadline(&w.g);
    if (!events_take(&w.events, &e)) {
        w.now = deadline > w.now && deadline != LEAT_NS_NEVER ? deadline : w.now + MS;
        step();
        return;
    }
    if (deadline < e.at && deadline > w.now) {
        events_put_back(&w.events, e);
        w.now = deadline;
        step();
        return;
    }
    if (to_client(&e) && w.clients[e.client].stalled_until > e.at) {
        const leat_ns woken = w.clients[e.client].stalled_until;
        post_at(woken, e);
        return;
    }
    w.now = e.at > w.now ? e.at : w.now;
    take(&e);
    step();
}

static void work(void)
{
    struct client *c = &w.clients[seeded_below(&w.random, CLIENTS)];
    const unsigned p = seeded_below(&w.random, PARTITIONS);
    if (!c->alive || c->stalled_until > w.now || (c->open >> p & 1) == 0)
        return;
    struct event commit = from(c, EVENT_COMMIT);
    commit.partition = p;
    commit.epoch = c->stream[p];
    commit.number = c->next[p] += seeded_below(&w.random, 5);
    /* One connection: commits arrive in order, as the shard's mail does. */
    post_to_shard(commit);
}

static void disturb(void)
{
    struct client *c = &w.clients[seeded_below(&w.random, CLIENTS)];
    switch (seeded_below(&w.random, 60)) {
    case 0: c->alive = false; break; /* crash */
    case 1: c->stalled_until = w.now + seeded_below(&w.random, 2 * SESSION_MS) * MS; break;
    case 2:
        if (c->alive && c->joined)
            post(from(c, EVENT_LEAVE));
        c->alive = false;
        break;
    case 3:
    case 4:
    case 5:
        if (!c->alive)
            post_at(later(), from(c, EVENT_BEGIN));
        break;
    default: break;
    }
}

static void check_end(void)
{
    const struct group *group = groups_find(&w.g, "g");
    unsigned alive = 0, least = PARTITIONS, most = 0;
    for (unsigned i = 0; i < CLIENTS; i++)
        alive += w.clients[i].alive;
    if (alive == 0) {
        cr_assert(group == NULL || group->member_count == 0, "the dead are still members");
        return;
    }
    cr_assert_not_null(group);
    cr_assert_eq(group->member_count, alive);
    for (uint32_t i = 0; i < group->member_count; i++) {
        least = group->members[i]->assigned < least ? group->members[i]->assigned : least;
        most = group->members[i]->assigned > most ? group->members[i]->assigned : most;
        cr_assert_eq(group->members[i]->leaving, 0u);
    }
    cr_assert_leq(most - least, 1u, "from %u to %u partitions a member", least, most);
    for (unsigned p = 0; p < PARTITIONS; p++) {
        cr_assert_eq(partition_of(p)->state, GROUP_OWNED, "partition %u has no owner", p);
        cr_assert(w.streams[p].open, "partition %u: its owner has no stream", p);
        cr_assert_str_eq(w.clients[w.streams[p].client].id, partition_of(p)->owner->id);
    }
}

static void run(uint64_t seed)
{
    const struct groups_hooks hooks = { .out = member_out, .forget = forget };
    memset(&w, 0, sizeof w);
    w.random.state = seed;
    w.now = 1000 * MS;
    w.faults = true;
    cr_assert_eq(groups_open(&w.g, &hooks, LEAT_NS_PER_S), LEAT_OK);
    for (unsigned i = 0; i < CLIENTS; i++) {
        w.clients[i].is_static = seeded_below(&w.random, 2) == 0;
        if (seeded_below(&w.random, 2) == 0)
            begin_client(&w.clients[i]);
    }
    for (unsigned i = 0; i < STEPS; i++) {
        work();
        disturb();
        go_on();
    }
    w.faults = false;
    for (unsigned i = 0; i < CLIENTS; i++)
        w.clients[i].stalled_until = 0;
    /* What was lost is asked again within a heartbeat, the dead are out within a session, what they
     * had is handed on within a few delays. */
    const leat_ns end = w.now + (3 * SESSION_MS + 20 * DELAY_MS) * MS;
    while (w.now < end)
        go_on();
    check_end();
    groups_close(&w.g);
}

Test(group_model, no_two_owners_no_long_gap_no_needless_move, .timeout = 300)
{
    struct seeded seeds = seeded_start("group_model");
    unsigned moves = 0, commits = 0, grants = 0;
    for (unsigned i = 0; i < RUNS; i++) {
        const uint64_t seed = seeded_next(&seeds);
        run(seed);
        moves += w.moves;
        commits += w.commits;
        grants += w.grants;
    }
    fprintf(stderr, "group_model: %u runs, %u grants, %u moves, %u commits\n", RUNS, grants, moves,
            commits);
    cr_assert(moves > 100 && commits > 1000 && grants > 1000);
}
