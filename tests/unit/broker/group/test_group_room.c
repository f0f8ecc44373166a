/* Goal: a topic that its group has no room for, when it is made again, is said of at once to those
 * who named it, taken when there is room, and forgotten when it is deleted. Method: requests to the
 * coordinator by itself, in virtual time. */
#include <criterion/criterion.h>

#include "broker/group/group.h"

enum { SESSION_MS = 900 };

static struct groups g;
static const leat_ns now = 5000 * LEAT_NS_PER_MS;

static void ignore_out(void *user, struct group_member *member, enum group_out why)
{
    (void)user;
    (void)member;
    (void)why;
}

static void set_up(void)
{
    const struct groups_hooks hooks = { .out = ignore_out };
    cr_assert_eq(groups_open(&g, &hooks, LEAT_NS_PER_S), LEAT_OK);
}

static void tear_down(void)
{
    groups_close(&g);
}

TestSuite(group_room, .init = set_up, .fini = tear_down);

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

static void step(void)
{
    groups_step(&g, now);
    while (groups_next_answer(&g) != NULL)
        ;
}

static struct group_topic *topic(const char *name)
{
    return group_find_topic(groups_find(&g, "g"), name);
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

/* Its members hear it at once, and again with each heartbeat; what other groups take is tried again
 * then. */
Test(group_room, members_of_a_topic_that_there_is_no_room_for_are_answered)
{
    const struct group_topic_ref small[] = { { "l0", 1, 1 }, { "six", 11, 6 } };
    const struct group_topic_ref large[] = {
        { "l1", 2, 4096 }, { "l2", 3, 4096 }, { "l3", 4, 4096 }, { "l4", 5, 4089 }
    };
    const struct group_topic_ref back = { "l0", 6, 7 };
    struct group_member *a = join_topics("a", small, 2), *b = join_topics("b", large, 4);
    step();
    groups_topic_removed(&g, "l0", 1);
    step();
    const uint32_t before = a->epoch, of_b = b->epoch;
    cr_assert_eq(beat("a", before, NULL, 0), LEAT_OK);
    cr_assert(a->waiting, "there is no news");
    groups_topic_added(&g, &back);
    step();
    cr_assert_not(a->waiting, "it was answered");
    cr_assert_gt(a->epoch, before);
    cr_assert_eq(b->epoch, of_b, "it did not name the topic");
    cr_assert_eq(topic("l0")->refused_id, 6u);
    cr_assert_eq(topic("l0")->refused, LEAT_ERR_LIMIT);
    cr_assert_eq(topic("l0")->group->refused, 1u);
    groups_topic_removed(&g, "l4", 5); /* the settling that follows finds the room */
    step();
    cr_assert_eq(topic("l0")->id, 6u);
    cr_assert_eq(topic("l0")->refused_id, 0u);
    cr_assert_eq(topic("l0")->group->refused, 0u);
    cr_assert_not_null(topic("l0")->partitions[0].owner);
}

/* Deleted while it was refused: nothing is said of it any more, and its place is counted out. */
Test(group_room, a_refused_topic_goes_again)
{
    const struct group_topic_ref large[] = {
        { "l0", 1, 1 }, { "l1", 2, 4096 }, { "l2", 3, 4096 }, { "l3", 4, 4096 }, { "l4", 5, 4095 }
    };
    const struct group_topic_ref back = { "l0", 6, 2 };
    struct group_member *a = join_topics("a", large, 5);
    step();
    groups_topic_removed(&g, "l0", 1);
    groups_topic_added(&g, &back);
    step();
    cr_assert_eq(topic("l0")->group->refused, 1u);
    const uint32_t before = a->epoch;
    groups_topic_removed(&g, "l0", 6);
    step();
    cr_assert_eq(topic("l0")->group->refused, 0u);
    cr_assert_gt(a->epoch, before);
    groups_topic_removed(&g, "l1", 2);
    step();
    cr_assert_eq(topic("l0")->id, 0u, "there is none");
}
