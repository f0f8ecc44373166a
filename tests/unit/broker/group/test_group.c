/* Goal: each promise of the coordinator by itself: even and sticky assignment, hand-over only after
 * the owner let go, the shard dropped or a session passed, epochs that fence, bounded tables.
 * Method: requests in virtual time, one thing at a time; broker/group/group.h says what must come
 * of them. What happens when everything happens at once is test_group_model.c's. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/group/group.h"

enum { SESSION_MS = 900 };
#define MS LEAT_NS_PER_MS

static struct groups g;
static leat_ns now;
static unsigned outs[3], forgotten;
static int entry; /* what `offsets` of an opened partition points at */

static void count_out(void *user, struct group_member *member, enum group_out why)
{
    (void)user;
    (void)member;
    outs[why]++;
}

static void count_forgotten(void *user, struct group_partition *p)
{
    (void)user;
    group_partition_set_offsets(p, NULL);
    forgotten++;
}

static void set_up(void)
{
    const struct groups_hooks hooks = { .out = count_out, .forget = count_forgotten };
    cr_assert_eq(groups_open(&g, &hooks, LEAT_NS_PER_S), LEAT_OK);
    now = 5000 * MS;
    forgotten = 0;
    memset(outs, 0, sizeof outs);
}

static void tear_down(void)
{
    groups_close(&g);
}

TestSuite(group, .init = set_up, .fini = tear_down);

static const struct group_topic_ref six = { "six", 11, 6 }, two = { "two", 12, 2 };

static struct group_member *join_topics(const char *id, const struct group_topic_ref *topics,
                                        uint32_t count)
{
    struct group_member *member;
    const char *why;
    const struct group_join join = { .group = "g",
                                     .member_id = id,
                                     .client = "desk",
                                     .topics = topics,
                                     .topic_count = count,
                                     .session_ms = SESSION_MS };
    cr_assert_eq(groups_join(&g, &join, now, &member, &why), LEAT_OK, "%s", why);
    return member;
}

static struct group_member *join(const char *id)
{
    return join_topics(id, &six, 1);
}

static void step(void)
{
    groups_step(&g, now);
    while (groups_next_answer(&g) != NULL)
        ;
}

/* The shard lets go of everything at once. */
static unsigned drop_all(void)
{
    struct group_partition *p;
    unsigned count = 0;
    for (; (p = groups_next_drop(&g)) != NULL; count++)
        groups_dropped(&g, p);
    return count;
}

static struct group_topic *topic(const char *name)
{
    return group_find_topic(groups_find(&g, "g"), name);
}

static void open_all(const struct group_member *member)
{
    for (uint32_t t = 0; t < LEAT_GROUP_TOPICS_MAX; t++) {
        struct group_topic *in = member->group->topics[t];
        for (uint32_t i = 0; in != NULL && i < in->count; i++)
            if (in->partitions[i].owner == member)
                group_partition_set_offsets(&in->partitions[i], &entry);
    }
}

static enum leat_error beat(const char *id, uint32_t epoch, const uint32_t *owned, size_t count)
{
    struct group_member *member;
    const struct group_owned list = { .topic = "six", .partitions = owned, .count = count };
    const struct group_heartbeat heartbeat = { .group = "g",
                                               .member_id = id,
                                               .epoch = epoch,
                                               .wait_ms = 10000,
                                               .owned = &list,
                                               .owned_count = 1 };
    return groups_heartbeat(&g, &heartbeat, now, &member);
}

Test(group, one_member_has_everything_in_the_step_after_its_join)
{
    struct group_member *a = join("a");
    cr_assert_eq(a->assigned, 0u);
    groups_step(&g, now);
    cr_assert_eq(a->assigned, 6u);
    cr_assert_eq(groups_next_answer(&g), a, "its join is answered with what it got");
    cr_assert_null(groups_next_answer(&g));
    cr_assert_eq(group_may_open(a, a->epoch, &topic("six")->partitions[0]), LEAT_OK);
}

Test(group, a_partition_waits_for_its_owner_and_then_for_the_shard)
{
    static const uint32_t kept[] = { 0, 1, 2 };
    struct group_member *a = join("a");
    step();
    open_all(a);
    const uint32_t before = a->epoch;
    struct group_member *b = join("b");
    step();
    cr_assert(a->assigned == 3 && a->leaving == 3 && b->assigned == 0);
    cr_assert_gt(a->epoch, before);
    /* A heartbeat from before it was asked lets nothing go. */
    cr_assert_eq(beat("a", before, NULL, 0), LEAT_OK);
    step();
    cr_assert_eq(a->leaving, 3u);
    for (uint32_t i = 0; i < 3; i++)
        cr_assert_eq(topic("six")->partitions[kept[i]].state, GROUP_OWNED, "the first are kept");
    cr_assert_eq(beat("a", a->epoch, kept, 3), LEAT_OK);
    step();
    cr_assert(a->leaving == 0 && b->assigned == 0, "the shard still has the streams");
    cr_assert_eq(drop_all(), 3u);
    step();
    cr_assert(a->assigned == 3 && b->assigned == 3);
}

Test(group, who_does_not_let_go_loses_it_after_a_session)
{
    static const uint32_t all[] = { 0, 1, 2, 3, 4, 5 };
    struct group_member *a = join("a");
    step();
    open_all(a);
    struct group_member *b = join("b");
    step();
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(drop_all(), 0u);
        now += SESSION_MS / 4 * MS;
        if (i == 3)
            break;
        group_forget_waiter(&g, a);
        group_forget_waiter(&g, b);
        cr_assert_eq(beat("a", a->epoch, all, 6), LEAT_OK);
        cr_assert_eq(beat("b", b->epoch, NULL, 0), LEAT_OK);
        step();
    }
    step();
    cr_assert_eq(drop_all(), 3u);
    step();
    cr_assert(a->assigned == 3 && b->assigned == 3);
    cr_assert_eq(outs[GROUP_OUT_SILENT], 0u);
}

Test(group, a_silent_member_is_out_and_its_partitions_go_on)
{
    struct group_member *a = join("a"), *b = join("b");
    step();
    open_all(a);
    open_all(b);
    now += (SESSION_MS - 1) * MS;
    cr_assert_eq(beat("b", b->epoch, NULL, 0), LEAT_OK);
    step();
    cr_assert_eq(outs[GROUP_OUT_SILENT], 0u);
    now += MS;
    cr_assert_leq(groups_deadline(&g), now);
    step();
    cr_assert_eq(outs[GROUP_OUT_SILENT], 1u);
    cr_assert_eq(beat("a", 1, NULL, 0), LEAT_ERR_UNKNOWN_MEMBER);
    cr_assert_eq(drop_all(), 3u);
    step();
    cr_assert_eq(b->assigned, 6u);
}

/* It could not have said anything: the broker owed it the answer all the while. */
Test(group, a_broker_that_was_stopped_does_not_take_its_members_for_silent)
{
    struct group_member *a = join("a");
    step();
    cr_assert_eq(beat("a", a->epoch, NULL, 0), LEAT_OK);
    now += 10 * SESSION_MS * MS;
    groups_step(&g, now);
    cr_assert_eq(groups_next_answer(&g), a);
    cr_assert_eq(outs[GROUP_OUT_SILENT], 0u);
    now += SESSION_MS * MS - 1;
    step();
    cr_assert_eq(outs[GROUP_OUT_SILENT], 0u);
    now += 1;
    step();
    cr_assert_eq(outs[GROUP_OUT_SILENT], 1u, "it had a whole session from that answer on");
}

Test(group, the_same_id_keeps_its_partitions_and_fences_the_older_one)
{
    struct group_member *a = join("a"), *b = join("b");
    step();
    open_all(a);
    open_all(b);
    const uint32_t before = a->epoch;
    struct group_partition *mine = NULL;
    for (uint32_t i = 0; i < 6; i++)
        mine = topic("six")->partitions[i].owner == a ? &topic("six")->partitions[i] : mine;
    cr_assert_eq(join("a"), a);
    cr_assert_eq(outs[GROUP_OUT_FENCED], 1u);
    cr_assert_eq(beat("a", before, NULL, 0), LEAT_ERR_FENCED);
    step();
    cr_assert_eq(a->assigned, 0u, "the shard has the older one's streams");
    cr_assert_eq(drop_all(), 3u);
    step();
    cr_assert_eq(a->assigned, 3u);
    cr_assert_eq(mine->owner, a);
    cr_assert_eq(b->assigned, 3u);
    cr_assert_eq(group_may_open(a, before, mine), LEAT_ERR_FENCED);
    cr_assert_eq(group_may_open(a, a->epoch, mine), LEAT_OK);
    cr_assert_eq(group_may_open(b, b->epoch, mine), LEAT_ERR_NOT_ASSIGNED);
    cr_assert_eq(beat("a", a->epoch + 1, NULL, 0), LEAT_ERR_FENCED,
                 "of another life of the broker");
}

Test(group, a_change_of_mind_takes_nothing_away)
{
    struct group_member *a = join("a");
    step();
    open_all(a);
    struct group_member *b = join("b");
    step();
    cr_assert_eq(a->leaving, 3u);
    cr_assert_eq(groups_leave(&g, "g", "b", b->epoch), LEAT_OK);
    step();
    cr_assert(a->assigned == 6 && a->leaving == 0);
    cr_assert_eq(drop_all(), 0u);
    cr_assert_eq(outs[GROUP_OUT_LEFT], 1u);
}

Test(group, a_heartbeat_is_held_until_there_is_news)
{
    struct group_member *a = join("a");
    step();
    cr_assert_eq(beat("a", a->epoch, NULL, 0), LEAT_OK);
    groups_step(&g, now);
    cr_assert_null(groups_next_answer(&g));
    join("b");
    groups_step(&g, now);
    const struct group_member *first = groups_next_answer(&g);
    const struct group_member *second = groups_next_answer(&g);
    cr_assert(first != second && (first == a || second == a), "news travel at once");
    cr_assert_eq(beat("a", a->epoch, NULL, 0), LEAT_OK);
    now += (SESSION_MS / 3 - 1) * MS;
    groups_step(&g, now);
    cr_assert_null(groups_next_answer(&g));
    now += MS;
    groups_step(&g, now);
    cr_assert_eq(groups_next_answer(&g), a, "it is never held longer than a third of a session");
}

Test(group, topics_that_all_name_are_shared_as_one_heap)
{
    const struct group_topic_ref both[] = { six, two };
    struct group_member *m[4];
    char id[8];
    for (int i = 0; i < 4; i++) {
        snprintf(id, sizeof id, "m%d", i);
        m[i] = join_topics(id, both, 2);
    }
    step();
    for (int i = 0; i < 4; i++)
        cr_assert_eq(m[i]->assigned, 2u);
}

Test(group, a_topic_is_for_those_who_name_it)
{
    const struct group_topic_ref both[] = { six, two };
    struct group_member *a = join_topics("a", both, 2), *b = join_topics("b", &two, 1);
    step();
    cr_assert_eq(a->assigned, 7u);
    cr_assert_eq(b->assigned, 1u);
    for (uint32_t i = 0; i < 6; i++)
        cr_assert_eq(topic("six")->partitions[i].owner, a);
}

Test(group, deleted_topics_go_and_come_back_by_name)
{
    struct group_member *a = join("a");
    step();
    open_all(a);
    cr_assert_eq(beat("a", a->epoch, NULL, 0), LEAT_OK);
    groups_topic_removed(&g, six.name, six.id);
    cr_assert_eq(forgotten, 6u);
    groups_step(&g, now);
    cr_assert_eq(groups_next_answer(&g), a);
    cr_assert_eq(a->assigned, 0u);
    const struct group_topic_ref again = { "six", 99, 3 };
    groups_topic_added(&g, &again);
    step();
    cr_assert_eq(a->assigned, 3u);
    cr_assert_eq(topic("six")->id, 99u);
}

Test(group, a_group_is_deleted_when_nobody_and_no_stream_is_left)
{
    struct group_member *a = join("a");
    step();
    open_all(a);
    cr_assert_eq(groups_delete(&g, "g"), LEAT_ERR_GROUP_NOT_EMPTY);
    cr_assert_eq(groups_leave(&g, "g", "a", a->epoch), LEAT_OK);
    cr_assert_eq(groups_delete(&g, "g"), LEAT_BUSY);
    drop_all();
    step();
    cr_assert_not_null(groups_find(&g, "g"), "its offsets are kept");
    cr_assert_eq(groups_delete(&g, "g"), LEAT_OK);
    cr_assert_eq(forgotten, 6u);
    cr_assert_eq(groups_delete(&g, "g"), LEAT_ERR_UNKNOWN_GROUP);
}

Test(group, a_group_without_members_and_offsets_is_forgotten)
{
    const struct group_member *a = join("a");
    step();
    cr_assert_eq(groups_leave(&g, "g", "a", a->epoch), LEAT_OK);
    step();
    cr_assert_null(groups_find(&g, "g"));
    cr_assert_eq(g.count, 0u);
}

Test(group, tables_have_an_end)
{
    struct group_member *member;
    const char *why;
    char id[16];
    for (int i = 0; i < LEAT_GROUP_MEMBERS_MAX; i++) {
        snprintf(id, sizeof id, "m%d", i);
        join(id);
    }
    step();
    const struct group_join more = { .group = "g",
                                     .member_id = "one-more",
                                     .client = "",
                                     .topics = &six,
                                     .topic_count = 1,
                                     .session_ms = SESSION_MS };
    cr_assert_eq(groups_join(&g, &more, now, &member, &why), LEAT_ERR_LIMIT);
    cr_assert_not_null(strstr(why, "1024 members"));
    const struct group_topic_ref large[] = {
        { "l0", 1, 4096 }, { "l1", 2, 4096 }, { "l2", 3, 4096 }, { "l3", 4, 4096 }, { "l4", 5, 1 }
    };
    const struct group_join wide = { .group = "wide",
                                     .member_id = "",
                                     .client = "desk",
                                     .topics = large,
                                     .topic_count = 5,
                                     .session_ms = SESSION_MS };
    cr_assert_eq(groups_join(&g, &wide, now, &member, &why), LEAT_ERR_LIMIT);
    cr_assert_not_null(strstr(why, "16384 partitions"));
    step();
    cr_assert_null(groups_find(&g, "wide"), "what was made for nothing is gone");
    const struct group_join last = { .group = "last",
                                     .member_id = "",
                                     .client = "desk",
                                     .topics = &two,
                                     .topic_count = 1,
                                     .session_ms = SESSION_MS };
    const uint32_t others = GROUPS_PARTITIONS_MAX - g.partitions - 1; /* too many to make */
    cr_assert_eq(g.partitions, six.partitions);
    g.partitions += others;
    cr_assert_eq(groups_join(&g, &last, now, &member, &why), LEAT_ERR_LIMIT);
    cr_assert_not_null(strstr(why, "partitions of all groups"));
    g.partitions -= others;
    cr_assert_eq(groups_join(&g, &last, now, &member, &why), LEAT_OK);
    step();
    cr_assert_eq(g.partitions, six.partitions + two.partitions);
    groups_topic_removed(&g, two.name, two.id);
    cr_assert_eq(g.partitions, six.partitions);
}

/* Its place was taken while it was gone. */
Test(group, a_topic_that_comes_back_too_large_is_refused_and_taken_when_there_is_room)
{
    const struct group_topic_ref large[] = {
        { "l0", 1, 1 }, { "l1", 2, 4096 }, { "l2", 3, 4096 }, { "l3", 4, 4096 }, { "l4", 5, 4095 }
    };
    const struct group_topic_ref back = { "l0", 6, 4096 };
    const struct group_join late = { .group = "g",
                                     .member_id = "late",
                                     .client = "desk",
                                     .topics = &back,
                                     .topic_count = 1,
                                     .session_ms = SESSION_MS };
    struct group_member *member;
    struct group_topic *found;
    const char *why = NULL;
    join_topics("a", large, 5);
    step();
    groups_topic_removed(&g, "l0", 1);
    step();
    groups_topic_added(&g, &back);
    step();
    cr_assert_eq(groups_restore(&g, "g", &back, NULL, &found, &why), LEAT_ERR_LIMIT);
    cr_assert_not_null(strstr(why, "16384 partitions"));
    cr_assert_eq(groups_join(&g, &late, now, &member, &why), LEAT_ERR_LIMIT);
    step();
    groups_topic_removed(&g, "l1", 2);
    step();
    cr_assert_eq(groups_restore(&g, "g", &back, NULL, &found, &why), LEAT_OK);
    cr_assert_eq(found->count, 4096u);
    cr_assert_eq(found->id, 6u);
    step();
    cr_assert_not_null(found->partitions[0].owner, "it is named by a member");
}

Test(group, a_topic_that_was_made_for_nothing_is_forgotten)
{
    struct group_topic *found;
    const char *why;
    join("a");
    step();
    cr_assert_eq(groups_restore(&g, "g", &two, NULL, &found, &why), LEAT_OK);
    step();
    cr_assert_null(topic("two"));
}

Test(group, members_without_an_id_are_named_apart)
{
    const struct group_member *a = join(""), *b = join("");
    cr_assert_str_neq(a->id, b->id);
    cr_assert_eq(strncmp(a->id, "desk-", 5), 0, "%s", a->id);
}

Test(group, one_step_looks_at_a_bounded_number_of_partitions)
{
    enum { GROUPS = 12 };
    static const struct group_topic_ref large[] = {
        { "l0", 1, 4096 }, { "l1", 2, 4096 }, { "l2", 3, 4096 }, { "l3", 4, 4096 }
    };
    char name[16];
    const char *why;
    struct group_member *members[GROUPS];
    for (unsigned i = 0; i < GROUPS; i++) {
        snprintf(name, sizeof name, "g%u", i);
        const struct group_join join = { .group = name,
                                         .member_id = "a",
                                         .client = "desk",
                                         .topics = large,
                                         .topic_count = 4,
                                         .session_ms = SESSION_MS };
        cr_assert_eq(groups_join(&g, &join, now, &members[i], &why), LEAT_OK);
    }
    unsigned steps = 0, before = 0;
    while (groups_deadline(&g) == 0) {
        unsigned settled = 0;
        groups_step(&g, now);
        while (groups_next_answer(&g) != NULL)
            ;
        for (unsigned i = 0; i < GROUPS; i++)
            settled += members[i]->assigned == 4 * 4096;
        cr_assert_gt(settled, before, "a step takes something on");
        cr_assert_leq((settled - before) * GROUP_PARTITIONS_MAX,
                      2u * GROUPS_STEP_PARTITIONS + GROUP_PARTITIONS_MAX);
        before = settled;
        steps++;
    }
    cr_assert_eq(before, (unsigned)GROUPS);
    cr_assert_geq(steps, 2u);
}

Test(group, a_topic_is_found_in_the_groups_that_have_it_and_in_no_other)
{
    join_topics("a", &six, 1);
    step();
    cr_assert_eq(groups_next_topic(&g, "two", NULL), NULL);
    struct group_topic *found = groups_next_topic(&g, "six", NULL);
    cr_assert_eq(found, topic("six"));
    cr_assert_eq(groups_next_topic(&g, "six", found), NULL);
}

/* ---- who made what */

static struct maker {
    uint32_t entries;
    bool gone; /* it has nothing any more: it may be forgotten */
} makers[2];

static bool take_entries(void *user, void *maker, enum group_table table, uint32_t count,
                         const char **why)
{
    struct maker *m = maker;
    (void)user;
    (void)table;
    (void)why;
    cr_assert_not(m->gone, "charged to one that may be forgotten");
    m->entries += count;
    return true;
}

static void give_entries_back(void *user, void *maker, enum group_table table, uint32_t count)
{
    struct maker *m = maker;
    (void)user;
    (void)table;
    cr_assert_not(m->gone, "given back to one that may be forgotten");
    cr_assert_geq(m->entries, count);
    m->entries -= count;
    m->gone = m->entries == 0;
}

static void join_as(struct maker *maker, const char *id, const struct group_topic_ref *topics,
                    uint32_t count)
{
    struct group_member *member;
    const char *why;
    const struct group_join join = { .group = "g",
                                     .member_id = id,
                                     .client = "desk",
                                     .topics = topics,
                                     .topic_count = count,
                                     .session_ms = SESSION_MS,
                                     .maker = maker };
    cr_assert_eq(groups_join(&g, &join, now, &member, &why), LEAT_OK);
    groups_step(&g, now);
    while (groups_next_answer(&g) != NULL)
        ;
}

Test(group, a_topic_that_comes_back_is_charged_to_somebody_who_is_there)
{
    const struct group_topic_ref both[] = { six, two }, again = { "two", 99, 4 };
    g.hooks.take = take_entries;
    g.hooks.give_back = give_entries_back;
    join_as(&makers[0], "a", &six, 1);
    join_as(&makers[1], "b", &two, 1);
    join_as(&makers[0], "a", both, 2);
    groups_topic_removed(&g, "two", two.id);
    cr_assert_eq(groups_leave(&g, "g", "b", group_find_member(groups_find(&g, "g"), "b")->epoch),
                 LEAT_OK);
    step();
    cr_assert(makers[1].gone, "nothing is its own any more");
    groups_topic_added(&g, &again);
    step();
    cr_assert_eq(topic("two")->count, 4u);
    groups_topic_removed(&g, "two", again.id);
    step();
}
